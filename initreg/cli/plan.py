"""Show what restoring sources onto a target would do, without writing anything."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from initreg.cli.rules import add_opening, add_rules, flags, follows, opening_of, rules_of
from initreg.errors import MissingLibrary, SourceNotFound

if TYPE_CHECKING:
    from initreg.plan.plan import Plan

_POLICIES = ("warn", "error", "ignore")  # initreg.plan.Policy, which parsing does not import


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="a file, folder or checkpoint's prefix; of several, the later one wins",
    )
    parser.add_argument(
        "--onto",
        metavar="TARGET",
        required=True,
        help="a source, for its names and shapes, or package.module:callable or file.py:callable "
        "that builds a model",
    )
    add_opening(parser)
    parser.add_argument(
        "--ignore-mismatch", action="store_true", help="pass over arrays that do not fit"
    )
    parser.add_argument("--on-missing", choices=_POLICIES, default="warn", help="default: warn")
    parser.add_argument("--on-unused", choices=_POLICIES, default="warn", help="default: warn")
    for option, what in (
        ("--expect-missing", "variables that no source needs to supply"),
        ("--expect-unused", "arrays that no variable needs to take"),
        ("--ignore", "variables and arrays to leave alone though they match"),
    ):
        parser.add_argument(option, metavar="GLOB", action="append", default=[], help=what)
    parser.add_argument(
        "--all", action="store_true", help="show every name, folded, however long that gets"
    )
    add_rules(parser)


def run(options: argparse.Namespace) -> int:
    """0 if it would load, 1 if it would fail, 2 if it cannot be planned."""
    from initreg.api.smart_init import SmartInit
    from initreg.cli.onto import target_of

    if "" in options.sources:
        raise SourceNotFound("'': an empty path names nothing")
    rules = rules_of(options)
    smart_init = SmartInit(
        options.sources,
        ignore_mismatch=options.ignore_mismatch,
        on_missing=options.on_missing,
        on_unused=options.on_unused,
        expect_missing=options.expect_missing,
        expect_unused=options.expect_unused,
        ignore=options.ignore,
        **opening_of(options),
        **rules,
    )
    with ExitStack() as stack:
        # The format is that of the source; the target shows its own.
        target = target_of(options.onto, stack, **{**opening_of(options), "format": None})
        plan = smart_init.plan(target)
    error = plan.error()
    if options.json:
        answer = plan.to_dict()
        if error is not None:
            answer |= {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _show(plan, None if options.all else 20)
        # The options hold for all sources, and are applied in an order of their own: where that
        # would not do what the hint says, it ends in Python.
        for hint in plan.hints:
            fits = len(options.sources) == 1 and follows(hint.options, rules)
            remedy = flags(hint.options) if fits else hint.code
            print(f"hint: {hint.words}" + (f": {remedy}" if hint.options else ""))
        print("it would load" if error is None else f"it would fail: {plan.verdict}")
    return 0 if error is None else 1


def _show(plan: Plan, limit: int | None) -> None:
    """With colours on a terminal, if rich is there; as plain text otherwise."""
    bare = plan.with_hints(())  # they are told as what is typed here
    if sys.stdout.isatty():
        try:
            from initreg.plan.tables import rich_table

            shown = rich_table(bare, limit)
        except MissingLibrary:
            pass
        else:
            from rich import print as rich_print

            rich_print(shown)
            return
    print(bare.to_text(limit))
