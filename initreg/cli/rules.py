"""The rules, as options of the command line: the same as the keywords of SmartInit."""

from __future__ import annotations

import argparse
import ast
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from initreg.errors import RuleError

if TYPE_CHECKING:
    from initreg.api.opening import OpeningOptions
    from initreg.rules.rules import RuleOptions


def add_opening(parser: argparse.ArgumentParser) -> None:
    """How a source is opened. An option that is not typed is at the default of the functions."""
    parser.add_argument("--format", help="the format's name, where the source does not show it")
    parser.add_argument(
        "--allow-pickle",
        action="store_true",
        default=None,
        help="open a pickle, which can run any code: only for files that you made yourself",
    )
    parser.add_argument(
        "--max-inflation",
        type=float,
        metavar="TIMES",
        help="refuse packed arrays that unpack to more than this many times their size "
        "(default: 1000)",
    )


def opening_of(options: argparse.Namespace) -> OpeningOptions:
    """The options of :func:`add_opening` that were typed, as keywords."""
    names = ("format", "allow_pickle", "max_inflation")
    typed = {name: getattr(options, name) for name in names}
    return cast("OpeningOptions", {n: value for n, value in typed.items() if value is not None})


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Each may be given several times. Arrays are named by globs: '*' is any run of characters."""
    rules = parser.add_argument_group("rules, in the order in which they are applied")

    def add(option: str, metavar: Any, help: str, **more: Any) -> None:
        rules.add_argument(option, metavar=metavar, help=help, **more)

    add("--keep", "GLOB", "keep these arrays alone", action="append")
    add("--drop", "GLOB", "leave these arrays out", action="append")
    add("--strip-prefix", "PREFIX", "take it from the names that have it")
    add("--rename", ("OLD", "NEW"), "rename one array", action="append", nargs=2)
    regex = ("REGEX", "REPLACEMENT")
    add("--rename-regex", regex, "rename as Python's re.sub does", action="append", nargs=2)
    add("--prefix", "PREFIX", "put it before every name")
    add("--transpose", "GLOB", "reverse the axes", action="append")
    add("--permute", "GLOB=AXES", "reorder the axes: 'conv*=2,3,1,0'", action="append")
    add("--slice", "GLOB=AXIS,START,STOP", "take a slice of one axis", action="append")
    pad = "make one axis longer: 'emb=0,32000', 'emb=0,32000,mean'"
    add("--pad", "GLOB=AXIS,LENGTH[,FILL]", pad, action="append")
    to = "to another dtype: all floats, or 'step=int32'"
    add("--cast", "[GLOB=]DTYPE", to, action="append")


def rules_of(options: argparse.Namespace) -> RuleOptions:
    """The options as keywords. Raises RuleError for what cannot be read."""
    renames: list[Any] = []
    if options.rename:
        renames.append(exact := dict(options.rename))
        if len(exact) < len(options.rename):
            raise RuleError("--rename: one name is renamed twice; give each OLD once")
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


def _split(text: str, name: str) -> tuple[str, str]:
    glob, equals, value = text.rpartition("=")
    if not equals:
        raise RuleError(f"--{name} {text}: give a glob, '=', and what to do: --{name} 'emb*=0,5'")
    return glob, value


def _numbers(text: str) -> tuple[Any, ...]:
    """``0,,5`` as (0, None, 5); what is no number stays text, and the rule says what it takes."""
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
    return dict(_split(each, "cast") for each in given)


def follows(options: Mapping[str, Any], typed: Mapping[str, Any]) -> bool:
    """Whether typing these options, too, applies them after all that are typed already."""
    from initreg.rules.rules import ORDER

    last = max(map(ORDER.index, typed), default=-1)
    several = ("rename", "transpose", "permute")  # and those given later go last, too
    return all(
        ORDER.index(name) > last
        or (ORDER.index(name) == last and name in several and not _is_exact(name, value))
        for name, value in options.items()
    )


def _is_exact(name: str, value: Any) -> bool:
    """Exact renames go before the regular expressions."""
    return name == "rename" and isinstance(value, Mapping)


def quote(text: str) -> str:
    """Text as a shell takes it: control characters as ``$'\\033'``, which can be printed."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_typed, text)) + "'"


def _typed(c: str) -> str:
    """A character between ``$'`` and ``'``. Source: POSIX.1-2024, 2.2.4 Dollar-Single-Quotes."""
    if c in "\\'":
        return f"\\{c}"
    if c.isprintable():
        return c
    is_byte = "\udc80" <= c <= "\udcff"  # of a path that is no text
    data = c.encode(errors="surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"\\{byte:03o}" for byte in data)


def flags(options: Mapping[str, Any]) -> str:
    """Keywords of SmartInit, as a hint has them, as they are typed here."""
    typed: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if name == "rename" and isinstance(value, Mapping):
            typed += [f"--rename {quote(old)} {quote(new)}" for old, new in value.items()]
        elif name == "rename":
            typed += [f"--rename-regex {quote(old)} {quote(new)}" for old, new in value]
        elif isinstance(value, Mapping):
            for glob, given in value.items():
                text = given if isinstance(given, str) else ",".join(map(str, given))
                typed.append(f"{flag} {quote(f'{glob}={text}')}")
        else:
            each = [value] if isinstance(value, str) else value
            # What begins with a dash would be taken for an option.
            gaps = ["=" if text.startswith("-") else " " for text in each]
            typed += [f"{flag}{gap}{quote(text)}" for text, gap in zip(each, gaps, strict=True)]
    return " ".join(typed)
