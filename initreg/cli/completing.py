"""What can be typed next: verbs, options, their choices, names of arrays, and files.

The scripts of ``initreg completion SHELL`` ask for it with ``initreg __complete SHELL WORD...``,
where the last word is the one that is being typed. Each line of the answer is a text and, after a
tab, what it is for. A line ``:files`` asks the shell for its own completion of files.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence

from initreg.cli.helping import TOPICS, Described
from initreg.errors import is_fault
from initreg.names import separator

FILES = ":files"
_MOST = 5_000  # names of arrays
_LAST = ("--json", "--help")
_FEW = 40  # that are shown whole
# The options whose values are names of arrays, or begin with one.
_OF_NAMES = (
    *("--keep", "--drop", "--rename", "--transpose", "--permute", "--reshape", "--cast", "--view"),
    *("--scale", "--split", "--unstack", "--gates", "--take", "--slice", "--pad", "--add"),
    *("--expect-unused", "--ignore", "--strip-prefix", "--sum", "--concat", "--stack"),
)
_OF_VARIABLES = ("--expect-missing",)  # of the target
_TEXTS = ("--to", "--format")

Found = Iterator[tuple[str, str]]


def complete(top: Described, words: Sequence[str]) -> list[str]:
    """The lines of an answer.

    Args:
        top: the parser of the whole command line.
        words: what was typed after ``initreg``, the last word perhaps in part.
    """
    *before, word = words or [""]
    before = [each for each in before if each != "="]  # as bash parts --keep=GLOB
    word = "" if word == "=" else word
    found = [each for each in _found(top, before, word) if each[0].startswith((word, FILES))]
    if word.startswith("-"):
        found.sort(key=lambda each: _LAST.index(each[0]) if each[0] in _LAST else -1)
    elif len(found) > _FEW:
        found = _in_steps(found, word)
    return [f"{t}\t{what}" if what else t for t, what in found if (t + what).isprintable()]


def unquoted(words: Sequence[str]) -> list[str]:
    """Words as bash passes them, without their quotes. The last one may lack its closing quote."""
    found = []
    for word in words:
        for end in ("", "'", '"'):
            with contextlib.suppress(ValueError):
                found.append("".join(shlex.split(word + end)))
                break
        else:
            found.append(word)
    return found


def _in_steps(found: list[tuple[str, str]], word: str) -> list[tuple[str, str]]:
    """Many names up to their next separator, as a shell completes paths."""
    gap = separator(text for text, _ in found)
    steps: dict[str, str] = {}
    for text, what in found:
        begin, cut, _ = text[len(word) :].partition(gap)
        steps.setdefault(word + begin + cut, "" if cut else what)
    return list(steps.items())


def _found(top: Described, before: Sequence[str], word: str) -> Found:
    verb = next((each for each in before if not each.startswith("-")), None)
    if verb is None:
        options = {"--help": "show the verbs", "--version": "print the version"}
        verbs = {name: parser.description or "" for name, parser in top.verbs.items()}
        yield from (options if word.startswith("-") else verbs).items()
        return
    parser = top.verbs.get(verb)
    if parser is None:
        return
    typed = list(before[before.index(verb) + 1 :])
    action = None if "--" in typed else _pending(parser, typed)
    if action is not None:
        yield from _values(parser, action, typed, word)
    elif word.startswith("-") and "--" not in typed:
        for each in parser._actions:
            if each.option_strings and each.help is not argparse.SUPPRESS:
                yield each.option_strings[-1], _short(each.help or "")
    elif verb == "help":
        yield from ((name, each.description or "") for name, each in top.verbs.items())
        yield from ((topic, "what many verbs share") for topic in TOPICS)
    else:
        yield from _arguments(parser, typed, word)


def _pending(parser: Described, typed: Sequence[str]) -> argparse.Action | None:
    """The option whose value is being typed, if it is one."""
    for back, each in enumerate(reversed(typed), 1):
        name, equals, _ = each.partition("=")
        if name in parser._option_string_actions:
            action = parser._option_string_actions.get(name)
            needs = getattr(action, "nargs", 0)
            takes = 1 if needs is None else needs if isinstance(needs, int) else 1
            return action if action is not None and not equals and back <= takes else None
    return None


def _values(parser: Described, action: argparse.Action, typed: Sequence[str], word: str) -> Found:
    option = action.option_strings[-1]
    if action.choices is not None:
        yield from ((str(choice), "") for choice in action.choices)
    elif option in _TEXTS:
        yield from ((name, "a format") for name in _formats(saving=option == "--to"))
    elif option == "--for":
        yield from ((source, "a source") for source in _sources(parser, typed))
    elif option in _OF_VARIABLES:
        yield from _names([target for target in [_value(typed, "--onto")] if target])
    elif option == "--rename" and typed[-1] != option:
        return  # the new name
    elif option in _OF_NAMES:
        yield from _names(_sources(parser, typed))
    else:
        yield FILES, ""


def _arguments(parser: Described, typed: Sequence[str], word: str) -> Found:
    """Files; or names of arrays, for a verb whose argument is one."""
    actions = parser._get_positional_actions()
    place = len(_positionals(parser, typed))
    action = actions[min(place, len(actions) - 1)] if actions else None
    if action is None:
        return
    if action.choices is not None:
        yield from ((str(choice), "") for choice in action.choices)
    elif str(action.metavar).startswith("NAME") and place:
        yield from _names(_positionals(parser, typed)[:1])
    else:
        yield FILES, ""


def _positionals(parser: Described, typed: Sequence[str]) -> list[str]:
    """The arguments that are not options or their values."""
    found: list[str] = []
    skip = 0
    for number, each in enumerate(typed):
        if each == "--":
            return found + list(typed[number + 1 :])
        if skip:
            skip -= 1
        elif each.startswith("-"):
            name, equals, _ = each.partition("=")
            needs = getattr(parser._option_string_actions.get(name), "nargs", 0)
            skip = 0 if equals else 1 if needs is None else needs if isinstance(needs, int) else 1
        else:
            found.append(each)
    return found


def _sources(parser: Described, typed: Sequence[str]) -> list[str]:
    """The arguments that can be opened."""
    return [
        each for each in _positionals(parser, typed) if os.path.exists(each) or _has_parts(each)
    ]


def _has_parts(path: str) -> bool:
    """Whether it is the prefix of a checkpoint."""
    return os.path.exists(f"{path}.index")


def _value(typed: Sequence[str], option: str) -> str | None:
    """The value of an option that was typed."""
    for one, other in itertools.pairwise(typed):
        if one == option:
            return other
    return None


def _names(sources: Iterable[str]) -> Found:
    """The names of arrays in files. What cannot be opened has none, and nothing is fetched."""
    from initreg.api.opening import open as open_source
    from initreg.names import as_read
    from initreg.text.wording import shape_text

    for source in sources:
        try:
            with open_source(source) as opened:
                specs = {spec.name: spec for spec in opened.specs()}
                for name in as_read(list(specs))[:_MOST]:
                    yield name, f"{shape_text(specs[name].shape)} {specs[name].dtype}"
        except BaseException as error:
            if not is_fault(error):
                raise


def _formats(saving: bool) -> list[str]:
    from initreg.plugin.installed import default_registry

    registry = default_registry()
    return registry.savers() if saving else registry.formats()


def _short(text: str) -> str:
    """An explanation in a few words."""
    begin = text.replace("%%", "%").split("; ")[0].split(" (default")[0]
    return begin if len(begin) <= 60 else begin[:57] + "..."
