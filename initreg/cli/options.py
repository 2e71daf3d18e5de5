"""The options of opening and the rules, on the command line: the keywords of SmartInit."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from initreg.errors import RuleError, SourceNotFound
from initreg.plugin.hookspecs import OpenOptions

if TYPE_CHECKING:
    from initreg.api.opening_options import OpeningOptions
    from initreg.rules.keywords import RuleOptions


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the sources of a chain."""
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="a file, a folder or the prefix of a checkpoint; if several have a name, the last "
        "one wins",
    )


def sources_of(options: argparse.Namespace) -> list[str]:
    """The sources of :func:`add_sources`. Raises SourceNotFound if one is empty."""
    if "" in options.sources:
        raise SourceNotFound("'': the path is empty")
    return list(options.sources)


def add_opening(parser: argparse.ArgumentParser) -> None:
    """Add the options of opening. One that is not typed has the default of the functions."""
    parser.add_argument("--format", help="the format of the source, if the source does not show it")
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        default=None,
        help="open a pickle, which can run any code; only for files that you made yourself",
    )
    parser.add_argument(
        "--max-inflation",
        type=float,
        metavar="TIMES",
        help="refuse packed arrays that unpack to more than this many times their size "
        f"(default: {OpenOptions().max_inflation:g})",
    )


def opening_of(options: argparse.Namespace) -> OpeningOptions:
    """The options of :func:`add_opening` that were typed, as keywords."""
    names = ("format", "allow_pickle", "max_inflation")
    typed = {name: getattr(options, name) for name in names}
    return cast("OpeningOptions", {n: value for n, value in typed.items() if value is not None})


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Add the rules."""
    rules = parser.add_argument_group(
        "rules, in the order in which they are applied",
        "Those that take a GLOB, a name or a regex may be given several times. In a GLOB, * "
        "matches any run of characters.",
    )

    def add(option: str, metavar: Any, help: str, **more: Any) -> None:
        rules.add_argument(option, metavar=metavar, help=help, **more)

    add("--keep", "GLOB", "keep only these arrays", action="append")
    add("--drop", "GLOB", "leave these arrays out", action="append")
    add("--strip-prefix", "PREFIX", "remove it from the names that have it")
    add("--rename", ("OLD", "NEW"), "rename one array", action="append", nargs=2)
    regex = ("REGEX", "REPLACEMENT")
    add("--rename-regex", regex, "rename as Python's re.sub does", action="append", nargs=2)
    add("--prefix", "PREFIX", "put this before every name")
    add("--transpose", "GLOB", "reverse the axes", action="append")
    add("--permute", "GLOB=AXES", "reorder the axes: 'conv*=2,3,1,0'", action="append")
    add("--slice", "GLOB=AXIS,START,STOP", "take a slice of one axis", action="append")
    pad = "make one axis longer: 'emb=0,32000' or 'emb=0,32000,mean'"
    add("--pad", "GLOB=AXIS,LENGTH[,FILL]", pad, action="append")
    to = "cast all floats to a dtype, or some arrays: 'step=int32'"
    add("--cast", "[GLOB=]DTYPE", to, action="append")


def rules_of(options: argparse.Namespace) -> RuleOptions:
    """The rules as keywords. Raises RuleError for one that cannot be parsed."""
    renames: list[Any] = []
    if options.rename:
        renames.append(exact := dict(options.rename))
        if len(exact) < len(options.rename):
            raise RuleError("--rename: a name is renamed twice. Give each OLD once")
    renames += [tuple(pair) for pair in options.rename_regex or ()]
    rules: dict[str, Any] = {
        "keep": options.keep,
        "drop": options.drop or (),
        "strip_prefix": options.strip_prefix,
        "rename": renames or None,
        "prefix": options.prefix,
        "transpose": options.transpose or (),
        "cast": _cast(options.cast),
    }
    for name in ("permute", "slice", "pad"):
        given = getattr(options, name)
        rules[name] = {
            glob: _numbers(text) for glob, text in (_split(each, name) for each in given or ())
        }
    return cast("RuleOptions", {name: rule for name, rule in rules.items() if rule})


_EXAMPLES = {
    "permute": "'conv*=2,3,1,0'",
    "slice": "'emb*=0,0,5'",
    "pad": "'emb*=0,5'",
    "cast": "step=int32",
}


def _split(text: str, name: str) -> tuple[str, str]:
    glob, equals, value = text.rpartition("=")
    if not equals:
        raise RuleError(
            f"--{name} {text}: give a glob, '=' and a value, as in --{name} {_EXAMPLES[name]}"
        )
    return glob, value


def _numbers(text: str) -> tuple[Any, ...]:
    """``0,,5`` as (0, None, 5). Anything else stays text, and the rule says what it takes."""
    found: list[Any] = []
    for part in text.split(","):
        try:
            found.append(ast.literal_eval(part.strip()) if part.strip() else None)
        except (ValueError, SyntaxError):
            found.append(part.strip())
    return tuple(found)


def _cast(given: Sequence[str] | None) -> Any:
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    if sum("=" not in each for each in given) > 1:
        raise RuleError("--cast DTYPE can be given only once. For some arrays: --cast GLOB=DTYPE")
    return dict(_split(each, "cast") for each in given)


def follows(options: Mapping[str, Any], typed: Mapping[str, Any]) -> bool:
    """Whether these options, if they are added, are applied after those that are typed already."""
    from initreg.rules.keywords import ORDER

    last = max(map(ORDER.index, typed), default=-1)
    several = ("rename", "transpose", "permute")  # these may be given again, and are applied last
    return all(
        ORDER.index(name) > last
        or (ORDER.index(name) == last and name in several and not _is_exact(name, value))
        for name, value in options.items()
    )


def _is_exact(name: str, value: Any) -> bool:
    """Whether these are exact renames, which are applied before regular expressions."""
    return name == "rename" and isinstance(value, Mapping)
