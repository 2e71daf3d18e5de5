"""The verb ``plan``."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING

from initreg.cli.flags import flags, message, typed
from initreg.cli.options import (
    add_opening,
    add_rules,
    add_sources,
    follows,
    opening_of,
    rules_of,
    sources_of,
)
from initreg.cli.printing import show_json
from initreg.cli.screen import Style, show_fitted

if TYPE_CHECKING:
    from initreg.plan.plan import Plan

_POLICIES = ("warn", "error", "ignore")  # initreg.plan.Policy, which parsing does not import

SUMMARY = "Show what a restore would do, without writing anything."
EXAMPLES = (
    ("initreg plan a.npz --onto model.py:build", "onto code that builds a model"),
    ("initreg plan a.npz --onto b.h5", "onto the names and shapes of a file"),
    ("initreg plan a.npz --onto b.h5 --drop 'head/*'", "without the head"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_sources(parser)
    parser.add_argument(
        "--onto",
        metavar="TARGET",
        required=True,
        help="a source, for its names and shapes, or code that builds a model: "
        "package.module:callable or file.py:callable",
    )
    add_opening(parser)
    parser.add_argument(
        "--ignore-mismatch", action="store_true", help="skip arrays that do not fit"
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
        "--by",
        choices=("name", "place", "order"),
        help="by which of their names arrays are matched. Default: chosen for each source",
    )
    parser.add_argument(
        "--all", action="store_true", help="show every name, however many there are"
    )
    add_rules(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0 if it would load, and 1 if it would fail."""
    from initreg.api.smart_init import SmartInit
    from initreg.cli.onto_option import target_of
    from initreg.plan.rows import Hint

    rules = rules_of(options)
    smart_init = SmartInit(
        sources_of(options),
        ignore_mismatch=options.ignore_mismatch,
        on_missing=options.on_missing,
        on_unused=options.on_unused,
        expect_missing=options.expect_missing,
        expect_unused=options.expect_unused,
        ignore=options.ignore,
        by=options.by,
        **opening_of(options),
        **rules,
    )
    with ExitStack() as stack:
        # --format is that of the sources. The format of the target is recognised.
        target = target_of(options.onto, stack, **{**opening_of(options), "format": None})
        plan = smart_init.plan(target)
    # Options apply to all sources, in an order of their own. A hint that needs something else ends
    # in Python code.
    hints = []
    for hint in plan.hints:
        fits = len(options.sources) == 1 and follows(hint.options, rules)
        remedy = flags(hint.options) if fits else hint.code
        hints.append(f"{hint.words}: {remedy}" if hint.options else typed(hint.words))
    error = plan.with_hints([Hint(text, {}, "") for text in hints]).error()
    if options.json:
        answer = plan.to_dict()
        if error is not None:
            answer |= {"error": type(error).__name__, "message": message(error)}
        show_json(answer)
    else:
        limit = None if options.all else 20
        lines = [typed(plan.with_hints(()).to_text(limit)), *(f"hint: {text}" for text in hints)]
        verdict = typed(plan.verdict)
        lines.append("it would load" if error is None else f"it would fail: {verdict}")
        show_fitted("\n".join(lines), _style(plan, limit))
    return 0 if error is None else 1


def _style(plan: Plan, limit: int | None) -> Style:
    """The style of a line of a plan: red for faults, yellow for what to look at."""
    from initreg.plan.terminal import section_style
    from initreg.plan.text import sections

    styles = {"it would load": "green"}
    for section in sections(plan, limit):
        styles[f"  {section.count:,} {section.title}"] = section_style(section)
    begins = {"hint: ": "cyan", "it would fail: ": "red", "  unmatched pattern: ": "yellow"}
    first = typed(plan.to_text(0)).partition("\n")[0]

    def style(line: str) -> str:
        if line == first:
            return "bold" if plan.ok else "red"
        found = (how for begin, how in begins.items() if line.startswith(begin))
        return styles.get(line) or next(found, "")

    return style
