"""The help of the command line: what fits a screen, with the rest on pages of its own.

``initreg VERB --help`` shows the options of the verb, and those rules and options of opening that
people need most. It names the others. ``initreg help rules`` and ``initreg help opening`` explain
all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from initreg.cli.colours import Paint, painter, text_width
from initreg.errors import printable

# Which options of a group are explained in the help of each verb. The others are only named there.
TOPICS = {
    "rules": (
        *("--rules", "--reverse", "--keep", "--drop", "--strip-prefix", "--prefix"),
        *("--rename", "--cast"),
    ),
    "opening": ("--format",),
    "saving": ("--to", "--compress"),
}
_LAST = {"saving": 1, "rules": 2, "opening": 3}  # where the groups are in the help
# What one wants, and the verbs for it.
GROUPS = {
    "look": ("ls", "show", "stats", "probe", "report"),
    "compare": ("diff", "verify"),
    "restore": ("plan", "map", "resume"),
    "write": ("convert", "merge", "dump"),
    "initreg itself": ("plugins", "new-plugin", "completion", "help"),
}
OTHERS = "of plugins"
START = (
    ("initreg ls model.npz", "what is in it"),
    ("initreg diff a.h5 b.safetensors", "what differs, and by how much"),
    ("initreg plan a.npz --onto model.py:build", "what a restore would do"),
    ("initreg convert a.ckpt b.safetensors", "the same weights in another format"),
)
_OF_ALL = ("json", "help")  # options that every verb has, which come last
_COLUMN = 26  # where explanations begin


class Described(argparse.ArgumentParser):
    """A parser with what its help needs.

    Attributes:
        find_verbs: finds the parsers of all verbs, by name, as each of them has it, too.
        examples: commands, each with what it does.
        has_verbs: whether this is the parser of the whole command line.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.find_verbs: Callable[[], Mapping[str, Described]] = dict
        self.examples: Sequence[tuple[str, str]] = ()
        self.has_verbs = False

    @property
    def verbs(self) -> Mapping[str, Described]:
        """The parsers of all verbs, by name."""
        return self.find_verbs()


def usage_text(parser: Described) -> str:
    """The usage of a verb in one line: its arguments, and the options that it needs.

    Args:
        parser: the parser of the verb, or of the whole command line.
    """
    if parser.usage is not None:
        return parser.usage
    if parser.has_verbs:
        return f"{parser.prog} VERB [OPTION]... [ARGUMENT]..."
    words = [parser.prog, "[OPTION]..."]
    words += [_argument(action) for action in parser._get_positional_actions()]
    words += [_invocation(a) for a in parser._get_optional_actions() if a.required]
    return " ".join(words)


def help_text(parser: Described, everything: bool = False) -> str:
    """The help of one verb, or of the whole command line.

    Args:
        parser: its parser.
        everything: whether rare options are explained, too.
    """
    paint = painter(sys.stdout)
    if parser.has_verbs:
        return "\n".join(_top(parser, paint))
    lines = _wrapped(parser.description or "", text_width())
    lines += ["", f"{paint('usage', 'bold')}: {usage_text(parser)}"]
    groups = sorted(parser._action_groups, key=lambda g: _LAST.get(g.title or "", 0))
    for group in groups:
        lines += _group(parser.prog, group, paint, everything)
    if parser.examples:
        lines += ["", paint("examples", "bold"), *_examples(parser.examples)]
    return "\n".join(lines)


def topic_text(topic: str, parsers: Iterable[Described]) -> str:
    """All options of a group, such as the rules.

    Args:
        topic: its title, one of ``TOPICS``.
        parsers: those of the verbs, one of which has the group.
    """
    verbs = []
    shown: dict[str, list[str]] = {}
    about = ""
    for parser in parsers:
        for group in parser._action_groups:
            if group.title == topic:
                verbs.append(parser.prog.rpartition(" ")[2])
                about = group.description or ""
                for action in group._group_actions:
                    name = _invocation(action)
                    shown.setdefault(action.option_strings[-1], _row(name, _explained(action)))
    lines = [painter(sys.stdout)(topic, "bold")]
    lines += _wrapped(about, text_width(), **_indented(2))
    lines += (line for rows in shown.values() for line in rows)
    used = _wrapped(f"These options are for the verbs {', '.join(verbs)}.", text_width())
    return "\n".join([*lines, "", *used])


def _top(parser: Described, paint: Paint) -> Iterator[str]:
    """The verbs, by what one wants."""
    yield from _wrapped(parser.description or "", text_width())
    yield ""
    yield f"{paint('usage', 'bold')}: {usage_text(parser)}"
    placed = {name for names in GROUPS.values() for name in names}
    more = [name for name in parser.verbs if name not in placed]
    for title, names in (*GROUPS.items(), (OTHERS, more)):
        found = [name for name in names if name in parser.verbs]
        if found:
            yield ""
            yield paint(title, "bold")
        for name in found:
            yield from _row(name, _short(parser.verbs[name].description or ""), column=14)
    yield ""
    yield paint("examples", "bold")
    yield from _examples(START)
    yield ""
    text = (
        "'initreg VERB --help' or 'initreg help VERB' shows the options of a verb, 'initreg help "
        f"rules' the rules. {parser.epilog or ''}"
    )
    yield from _wrapped(text, text_width())


def _short(summary: str) -> str:
    """The summary of a verb in one line: without what follows a colon, if that is too much."""
    room = text_width() - 14
    return summary if len(summary) <= room else summary.partition(": ")[0].rstrip(".") + "."


def _group(
    prog: str, group: argparse._ArgumentGroup, paint: Paint, everything: bool
) -> Iterator[str]:
    actions = [a for a in group._group_actions if a.help is not argparse.SUPPRESS]
    if not actions:
        return
    actions.sort(key=lambda a: _OF_ALL.index(a.dest) + 1 if a.dest in _OF_ALL else 0)
    common = TOPICS.get(group.title or "")
    named = []
    if common is not None and not everything:
        named = [a for a in actions if a.option_strings[-1] not in common]
        actions = [a for a in actions if a.option_strings[-1] in common]
    title = {"positional arguments": "arguments"}.get(group.title or "", group.title or "")
    yield ""
    yield paint(title, "bold")
    if everything and group.description:
        yield from _wrapped(group.description, text_width(), **_indented(2))
    for action in actions:
        name = _invocation(action) if action.option_strings else str(action.metavar)
        yield from _row(name, _explained(action))
    if named:
        flags = [action.option_strings[-1] for action in named]
        text = f"also {', '.join(flags)}: see 'initreg help {group.title}'"
        yield from _wrapped(text, text_width(), break_on_hyphens=False, **_indented(2))


def _explained(action: argparse.Action) -> str:
    if action.dest == "help":
        return "show this help"
    formatter = argparse.HelpFormatter("")
    return formatter._expand_help(action) if action.help else ""


def _invocation(action: argparse.Action) -> str:
    """What is typed: ``--rename OLD NEW``."""
    if not action.option_strings:
        return _argument(action)
    names = ", ".join(action.option_strings)
    if action.nargs == 0:
        return names
    if isinstance(action.metavar, tuple):
        value = " ".join(action.metavar)
    elif action.metavar is None and action.choices is not None:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = action.metavar or action.dest.upper()
    if action.nargs == "+":
        value += "..."
    return f"{names} {value}"


def _argument(action: argparse.Action) -> str:
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if isinstance(action.nargs, int):
        return " ".join([name] * action.nargs)
    return {"+": f"{name}...", "*": f"[{name}]...", "?": f"[{name}]"}.get(action.nargs or "", name)


def _row(begin: str, text: str, column: int = _COLUMN) -> list[str]:
    """A line that explains something, or several."""
    width = text_width()
    breaks: dict[str, Any] = {"break_on_hyphens": False, "break_long_words": False}
    wrapped = _wrapped(printable(text), width - column, **breaks)
    begin = f"  {printable(begin)}"
    if len(begin) > column - 2 or not wrapped:
        return [begin, *(" " * column + line for line in wrapped)]
    return [begin.ljust(column) + wrapped[0], *(" " * column + line for line in wrapped[1:])]


def _examples(examples: Sequence[tuple[str, str]]) -> Iterator[str]:
    room = text_width() - 6
    fitting = [len(command) for command, what in examples if len(command) + len(what) <= room]
    width = max(fitting, default=0)
    for command, what in examples:
        if len(command) > width or width + len(what) > room:
            yield f"  $ {command}"
            yield " " * 6 + what
        else:
            yield f"  $ {command:<{width}}  {what}"


def _wrapped(text: str, width: int, **options: Any) -> list[str]:
    import textwrap  # for help alone: a listing starts without it

    return textwrap.wrap(text, width, **options)


def _indented(count: int) -> dict[str, Any]:
    return {"initial_indent": " " * count, "subsequent_indent": " " * count}
