"""Hints about the order of axes: what to type for arrays that would fit in another one."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from initreg.names import Patterns
from initreg.plan.axes import FRAMEWORKS, Axes, kept_order
from initreg.plan.axis_pairs import Reordered, Study
from initreg.plan.rows import Hint
from initreg.plan.transposing import how, shown
from initreg.specs import ArraySpec
from initreg.text.wording import plural, shared

_SHOWN = 3  # names in the words of a hint


def reorderings(found: Study, arrays: Sequence[ArraySpec], source: str = "source") -> list[Hint]:
    """The hints about the order of axes of one source's arrays.

    The code of the first one moves the axes of all arrays that need it. If an array fits in two
    orders, each has a hint of its own.

    Args:
        found: what is known of the order of axes.
        arrays: all arrays of the source, so that a glob matches no others.
        source: the code that names the source.
    """
    hints = []
    for framework, axes in _readings(found).items():
        options = _options(axes, arrays)
        hints.append(Hint(_words(found, axes, framework), options, source))
    moved = {e.name: _as_reshaped(e) for e in found.needed if e.is_reshaped}
    if moved and len(moved) == len(found.needed) and not found.along:
        words = f"{plural(len(moved), 'array')} would fit if only axes of length 1 are moved"
        hints.append(Hint(words, _options(moved, arrays), source))
    if found.asked and not hints:
        hints.append(Hint(f"{_asked(found)}: pass transpose or permute if it is", {}, source))
    reasons: dict[str, list[str]] = {}
    for name, why in found.stuck:
        reasons.setdefault(why, []).append(name)
    hints += [Hint(f"{_some(names)} {why}", {}, source) for why, names in reasons.items()]
    return hints


def _readings(found: Study) -> dict[str, dict[str, Axes]]:
    """For each framework that the source may be from, the axes of all arrays that it explains.

    A framework that explains no more than another one is left out.
    """
    explained = {}
    for framework in FRAMEWORKS:
        axes = {
            each.name: each.orders[framework]
            for each in (*found.needed, *found.along)
            if framework in each.orders
        }
        needed = {each.name for each in found.needed if framework in each.orders}
        if axes and (needed or not found.needed):
            explained[framework] = axes, needed
    readings: dict[str, dict[str, Axes]] = {}
    for framework, (axes, needed) in sorted(explained.items(), key=lambda e: -len(e[1][1])):
        if not any(
            axes.items() <= explained[other][0].items() or needed < explained[other][1]
            for other in readings
        ):
            readings[framework] = axes
    return readings


def _as_reshaped(each: Reordered) -> Axes:
    return kept_order(each.pair.array.shape, each.pair.variable.shape or ())


# --- words ----------------------------------------------------------------------------------------


def _words(found: Study, axes: Mapping[str, Axes], framework: str) -> str:
    needed = [each.name for each in found.needed if each.name in axes]
    along = [each.name for each in found.along if each.name in axes]
    ways = {how(order) for order in axes.values()}
    way = ways.pop() if len(ways) == 1 else "with their axes in other orders"
    way += "" if way == "transposed" else f", as if from {framework}"
    either = "fits" if len(along) == 1 else "fit"
    if needed:
        words = f"{plural(len(needed), 'array')} would fit {way}"
        if along:
            goes = "goes" if len(along) == 1 else "go"
            words += f", and {_some(along)}, which {either} either way, {goes} with them"
    elif len(along) == 1:
        pair = next(each.pair for each in found.along if each.name == along[0])
        words = f"{shown(along[0])} {found.doubts[pair.name]}"
    else:
        words = f"{_some(along)} {either} {way} as well, like other kernels"
    if found.asked:
        words += f"; {_asked(found)}"
    flattened = [pair.array.name for pair in found.flattened if pair.array.name in axes]
    if flattened:
        words += f"; inputs of {_some(flattened)} that are flattened are in another order, too"
    made = [pair.array.name for pair in found.unflattened if pair.array.name in axes]
    if made:
        words += f"; outputs of {_some(made)} that become an image are in another order, too"
    return words


def _asked(found: Study) -> str:
    names = [each.name for each in found.asked]
    return f"{_some(names)} may need it, too, which shapes do not show"


def _some(names: Sequence[str]) -> str:
    more = f" and {plural(len(names) - _SHOWN, 'more array')}" if len(names) > _SHOWN else ""
    return ", ".join(map(shown, names[:_SHOWN])) + more


# --- options --------------------------------------------------------------------------------------


def _options(axes: Mapping[str, Axes], arrays: Sequence[ArraySpec]) -> dict[str, Any]:
    """The rules that put the axes of these arrays in this order, and touch no others."""
    by_order: dict[Axes, list[str]] = {}
    for name, order in axes.items():
        by_order.setdefault(_plain(order), []).append(name)
    options: dict[str, Any] = {}
    transposed = by_order.pop((), None)
    if transposed:
        options["transpose"] = _globs(transposed, arrays)
    permuted = {each: order for order, names in by_order.items() for each in _globs(names, arrays)}
    if permuted:
        options["permute"] = permuted
    return options


def _plain(axes: Axes) -> Axes:
    """The order, or () if it reverses the axes, which is what ``transpose=`` does."""
    return () if axes == tuple(reversed(range(len(axes)))) else axes


def _globs(wanted: Sequence[str], arrays: Sequence[ArraySpec]) -> list[str]:
    """The wanted names, or one glob if it matches exactly these among all arrays."""
    if len(wanted) > 3:
        chosen = set(wanted)
        for each in _common(wanted):
            pattern = Patterns(each, "transpose")
            hits = {array.name for array in arrays if pattern.hits(array.name, *array.aliases)}
            if hits == chosen:
                return [each]
    return list(map(glob.escape, wanted))


def _common(names: Sequence[str]) -> Iterable[str]:
    """Globs of what names have in common: the last part, or the beginning and the end."""
    first = re.search(r"[/.][^/.]*$", names[0])
    start, end = names[0], names[0]
    for name in names:
        start = start[: shared(start, name)]
        end = end[len(end) - shared(reversed(end), reversed(name)) :]
    if first and end.endswith(first[0]):
        yield "*" + glob.escape(first[0])
    shortest = min(map(len, names))
    if (start or end) and len(start) + len(end) <= shortest:
        yield f"{glob.escape(start)}*{glob.escape(end)}"
