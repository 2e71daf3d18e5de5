"""The verb ``merge``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

from initreg.cli.flags import typed
from initreg.cli.options import (
    add_for,
    add_opening,
    add_rules,
    metadata_of,
    opening_of,
    rules_of,
    sources_with_rules,
)
from initreg.cli.printing import show_json
from initreg.cli.screen import show_fitted
from initreg.cli.verbs.convert import add_saving, progress_bar, written_text, written_to
from initreg.errors import RuleError, SourceNotFound

# Those of initreg.merging.combined, which parsing does not import.
_METHODS = (
    *("average", "ema", "lerp", "slerp", "task", "ties", "dare-linear", "dare-ties", "lora"),
)
_SWITCH = {"yes": True, "no": False}
_PER_SOURCE = ("weight", "density")
_NUMBERS = ("t", "decay", "factor")
SUMMARY = "Merge models: average, EMA, slerp, task arithmetic, TIES, DARE, or LoRA."
EXAMPLES = (
    ("initreg merge a.npz b.h5 soup.npz", "averages two models"),
    ("initreg merge lora new.npz --method lora --base a.npz", "LoRA in its model"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="what is merged, as for 'initreg diff', or adapters",
    )
    parser.add_argument(
        "destination",
        metavar="DESTINATION",
        help="what to write; its extension decides the format",
    )
    parser.add_argument(
        "--method",
        metavar="NAME",
        choices=_METHODS,
        default="average",
        help=f"{', '.join(_METHODS[:-1])} or {_METHODS[-1]} (default: average)",
    )
    parser.add_argument("--base", metavar="SOURCE", help="the model that the others are changes of")
    for name, metavar, what in (
        ("weight", "NUMBERS", "one for all sources, or for each: 0.7,0.3"),
        ("density", "NUMBERS", "the part of the changes that ties, dare keep"),
        ("t", "NUMBER", "where lerp and slerp go, from 0 to 1"),
        ("decay", "NUMBER", "what each source leaves of the average"),
        ("factor", "NUMBER", "multiply the sum of the changes"),
    ):
        parser.add_argument(f"--{name}", metavar=metavar, action="append", help=what)
    parser.add_argument(
        "--normalize", metavar="yes|no", choices=_SWITCH, help="divide the sum by the weights"
    )
    parser.add_argument(
        "--rescale",
        metavar="HOW",
        choices=("density", "l1", "none"),
        help="what dare drops, by: density, l1 or none",
    )
    parser.add_argument("--seed", type=int, metavar="NUMBER", help="of what dare drops")
    parser.add_argument(
        "--alpha", type=float, metavar="NUMBER", help="of an adapter that does not say it"
    )
    parser.add_argument(
        "--fan-in-fan-out",
        metavar="yes|no",
        choices=_SWITCH,
        help="square kernels have their inputs first",
    )
    parser.add_argument(
        "--as-given", action="store_true", help="ema: the sources are in the right order"
    )
    parser.add_argument(
        "--by",
        metavar="WAY",
        choices=("name", "place", "order"),
        help="match arrays by name, place or order",
    )
    parser.add_argument(
        "--on-missing",
        metavar="WHAT",
        choices=("error", "keep", "drop"),
        default="error",
        help="arrays that a source lacks: error, keep, drop",
    )
    parser.add_argument(
        "--on-conflict",
        metavar="WHAT",
        choices=("error", "first", "last"),
        default="error",
        help="counters that differ: error, first or last",
    )
    parser.add_argument("--dtype", help="of the floats of the result")
    parser.add_argument("--dry-run", action="store_true", help="show the plan, and write nothing")
    parser.add_argument("--force", action="store_true", help="replace what is at the destination")
    parser.add_argument("--all", action="store_true", help="show every name")
    add_opening(parser)
    add_saving(parser)
    add_for(parser, add_rules(parser))


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0, or 1 if a dry run shows that the merge would fail."""
    from initreg.api.merging import merge
    from initreg.cli.destinations import refuse_existing

    if options.base == "":
        raise SourceNotFound("'': the path is empty")
    based = options.base is not None
    # All of them, for the options that name a source.
    options.sources = [*([options.base] if based else []), *options.sources]
    sources = sources_with_rules(options, options.sources)
    given: dict[str, Any] = {**opening_of(options), **rules_of(options), **_parameters(options)}
    with progress_bar() as progress:
        if not options.force:
            refuse_existing(options.destination)
        found = merge(
            sources[based:],
            options.destination,
            method=options.method,
            base=sources[0] if based else None,
            by=options.by,
            on_missing=options.on_missing,
            on_conflict=options.on_conflict,
            dtype=options.dtype,
            dry_run=options.dry_run,
            to=options.to,
            compress=options.compress,
            shard_size=options.shard_size,
            manifest=options.manifest,
            metadata=metadata_of(options),
            progress=progress,
            **given,
        )
    error = found.plan.error()
    limit = None if options.all else 20
    if found.path is None:
        if options.json:
            answer = found.to_dict()
            show_json(answer | ({"error": type(error).__name__} if error is not None else {}))
        else:
            show_fitted(typed(found.plan.to_text(limit)))
            for remedy in dict.fromkeys(row.remedy for row in found.plan.rows if row.remedy):
                show_fitted(typed(remedy))
            show_fitted(
                "it would be written" if error is None else "it would fail: nothing written"
            )
        return 0 if error is None else 1
    written = written_to(found.path, options.to)
    if options.json:
        show_json(found.to_dict() | written)
    else:
        show_fitted(typed(found.plan.to_text(limit)))
        show_fitted(written_text(written))
    return 0


def _parameters(options: argparse.Namespace) -> dict[str, Any]:
    """The parameters of the method that were typed, as keywords."""
    found: dict[str, Any] = {
        name: _numbers(name, getattr(options, name))
        for name in (*_PER_SOURCE, *_NUMBERS)
        if getattr(options, name) is not None
    }
    for name in ("normalize", "rescale", "seed", "alpha", "fan_in_fan_out"):
        value = getattr(options, name)
        if value is not None:
            found[name] = _SWITCH.get(value, value)
    return found | ({"as_given": True} if options.as_given else {})


def _numbers(name: str, texts: Sequence[str]) -> Any:
    """``["0.5", "head*=1,0"]`` as ``{"*": 0.5, "head*": [1, 0]}``."""
    found: dict[str, Any] = {}
    for text in texts:
        glob, equals, numbers = text.rpartition("=")
        values = [_float(each) for each in numbers.split(",")]
        if any(isinstance(each, str) for each in values):
            raise RuleError(f"--{name} {text}: give a number, or several with ',' between them")
        key = glob if equals else "*"
        if key in found:
            raise RuleError(f"--{name}: it is given twice for {key!r}. Give it once")
        found[key] = values[0] if len(values) == 1 else values
    return found["*"] if [*found] == ["*"] else found


def _float(text: str) -> float | str:
    try:
        found = float(text)
    except ValueError:
        return text
    return found if math.isfinite(found) else text
