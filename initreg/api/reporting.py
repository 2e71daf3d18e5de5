"""report: what is in one source, or in two, as a page that a browser shows."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Unpack

from initreg.api.chain import Link, merged, open_chain, some_links
from initreg.api.diffing import Diff, Watch, compare_sources
from initreg.api.opening_options import SourceOptions, spelt_out, split
from initreg.api.progressing import Done, shown
from initreg.api.reported import ReportedArray, ReportedSource
from initreg.api.smart_init import SmartInit
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.heat_maps import HeatMaker, HeatMap
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.saved import Progress
from initreg.arrays.statistics import Statistics, statistics
from initreg.arrays.streaming import at_hand, position
from initreg.dtypes import is_number
from initreg.errors import InitregError, UnwritableFile
from initreg.names import as_read
from initreg.option_spelling import either
from initreg.rules.keywords import Rules
from initreg.text.wording import count_numbers, plural, size_text

if TYPE_CHECKING:
    from initreg.plan.plan import Plan

_MOST_FRAMED = 2 << 20  # characters of a page that a notebook saves
_CELLS = 4 << 20  # of all heat maps together, a byte each
_EDGES = (12, 96)  # the fewest and the most rows of cells of one


@dataclass(frozen=True, slots=True)
class Report:
    """The result of :func:`report`.

    Args:
        sources: the source, or A and B.
        arrays: the arrays in the order of the source. Of two, those that only A has come last.
        diff: how the two differ, None for one source.
        plan: what restoring the source, or B, onto the target would do. None without a target.
    """

    sources: tuple[ReportedSource, ...]
    arrays: tuple[ReportedArray, ...]
    diff: Diff | None = None
    plan: Plan | None = None

    def to_dict(self) -> dict[str, Any]:
        """What the page says, as plain dicts, lists and strings."""
        return {
            "sources": [
                {
                    "label": each.label,
                    "format": each.format,
                    "arrays": each.arrays,
                    "numbers": each.numbers,
                    "nbytes": each.nbytes,
                    "metadata": dict(each.metadata),
                }
                for each in self.sources
            ],
            "is_same": None if self.diff is None else self.diff.is_same,
            "how": (self.diff and self.diff.how) or None,
            "arrays": [each.to_dict() for each in self.arrays],
            "plan": self.plan and self.plan.to_dict(),
        }

    def to_html(self) -> str:
        """The page: HTML that asks no server for anything."""
        from initreg.api.report_html import page

        return page(self.sources, self.arrays, self.diff, self.plan)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page, whole or not at all.

        Args:
            path: a path or a URL that ends in ``.html``. A page that exists is replaced.

        Raises:
            UnwritableFile: it cannot be written, or has another ending.
        """
        from initreg.storage.uploading import written_to

        check_ending(path)
        with written_to(path, alone=True) as output:
            output.file().write_text(self.to_html(), "utf-8")

    def to_text(self) -> str:
        """What the report is about, in a few lines."""
        lines = [
            f"{each.label}: {each.format}, {plural(each.arrays, 'array')}, "
            f"{plural(each.numbers, 'number')}, {size_text(each.nbytes)}"
            for each in self.sources
        ]
        if self.diff is not None:
            lines.append(self.diff.summary)
        if self.plan is not None:
            verdict = str(self.plan.verdict)
            lines.append(f"the plan fails: {verdict}" if verdict else "the plan can be carried out")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        """The page in a frame, which a notebook shows, or a few lines if the page is large.

        The frame has an origin of its own, so that its script sees nothing of the notebook.
        """
        from initreg.text.markup import notebook, text

        page = self.to_html()
        if len(page) > _MOST_FRAMED:
            hint = "The page is too large for a notebook: report.save('report.html') writes it."
            return notebook(f"<pre>{text(self.to_text())}</pre>", f"<p>{text(hint)}</p>")
        return (
            f'<iframe title="report" sandbox="allow-scripts" width="100%" height="700" '
            f'srcdoc="{escape(page)}"></iframe>'
        )


def check_ending(path: str | os.PathLike[str]) -> None:
    """Raise UnwritableFile if a page cannot be called so. Who forgets the page names a source."""
    if not os.fspath(path).lower().endswith((".html", ".htm")):
        raise UnwritableFile(f"{os.fspath(path)}: a report is a page. End its name in .html")


@spelt_out(SourceOptions)
def report(
    source: Any,
    other: Any = None,
    *,
    target: Any = None,
    values: bool = True,
    rtol: float = 0.0,
    atol: float = 0.0,
    by: str | None = None,
    progress: Progress | bool | None = None,
    **options: Unpack[SourceOptions],
) -> Report:
    """What is in one source, or how two differ: sizes, statistics, histograms and heat maps.

    Arrays are read in pieces, as by :func:`initreg.stats` and :func:`initreg.diff`.

    Args:
        source: anything that :class:`initreg.SmartInit` takes. In a chain the last array of a name
            counts.
        other: a second source, B, which is compared with the first one, A.
        target: what the source, or B, may be restored onto: a model, or anything that
            :meth:`initreg.SmartInit.plan` takes. Nothing is written.
        values: whether values are read. Otherwise the report says names, shapes and sizes.
        rtol: how much values of A and B may differ: as for :func:`initreg.diff`.
        atol: the same.
        by: by which of their names arrays are matched, as for :class:`initreg.SmartInit`.
        progress: as for :func:`initreg.diff`. Two sources are gone through twice, once for their
            differences.
        options: ``format``, ``verify``, ``mmap``, ``allow_pickle``, ``native``,
            ``max_inflation``, ``storage_options`` and the rules, as for :class:`initreg.SmartInit`.
            They apply to both sources. For rules of its own, pass a source as a SmartInit.

    Returns:
        A :class:`Report`. ``save(path)`` writes its page.

    Raises:
        InitregError: a source is empty, and what :func:`initreg.open`, :func:`initreg.diff` and
            :meth:`initreg.SmartInit.plan` raise.

    >>> initreg.report("base.npz", "tuned.npz").save("report.html")  # doctest: +SKIP
    """
    if other is not None and not values:
        raise InitregError(
            "two sources are compared by their values. Leave out the second one, or "
            + either("values=False", "--no-values")
        )
    given: dict[str, Any] = {**options}
    opening, rules = split(given, "report")
    like = Link(None, opening, (Rules.of(**rules),))
    second = source if other is None else other
    plan = None if target is None else SmartInit(second, by=by, **given).plan(target)
    with ExitStack() as stack:
        links = some_links(source, like, "report")
        others = [] if other is None else some_links(other, like, "report")
        maps = open_chain([*links, *others], stack)
        one, two = maps[: len(links)], maps[len(links) :]
        arrays = merged(two or one)
        edge = _edge([*merged(one).values(), *arrays.values()] if two else arrays.values())
        diff, changed = None, dict[str, HeatMap]()
        if other is not None:
            diff, changed = _compared(source, other, rtol, atol, by, given, edge, progress)
        with shown(progress if values else None) as told:
            found = _Gathered(edge if values else 0, diff, changed, plan, told)
            reported = found.arrays(arrays, merged(one) if two else {})
        sources = [_source(one), *([_source(two)] if two else [])]
    return Report(tuple(sources), reported, diff, plan)


def _source(maps: list[ArrayMap]) -> ReportedSource:
    arrays = merged(maps)
    metadata: dict[str, str] = {}
    for each in maps:
        metadata |= each.metadata
    return ReportedSource(
        " + ".join(each.label for each in maps),
        " + ".join(dict.fromkeys(each.format for each in maps)),
        len(arrays),
        count_numbers(each.spec for each in arrays.values()),
        sum(each.spec.nbytes or 0 for each in arrays.values()),
        metadata,
    )


def _before(origin: str, name: str, arrays: Mapping[str, LazyArray]) -> LazyArray | None:
    """The array of A that was compared, which rules may have renamed. None if several may be it."""
    found = [array for array in arrays.values() if array.spec.origin == origin]
    if len(found) == 1:
        return found[0]
    return arrays.get(name) if not found or arrays.get(name) in found else None


def _has_map(array: LazyArray) -> bool:
    return len(array.shape) == 2 and min(array.shape) > 1 and is_number(array.spec.dtype)


def _edge(arrays: Iterable[LazyArray]) -> int:
    """The most rows of cells of a heat map, so that all of them together stay small."""
    count = sum(map(_has_map, arrays))
    return min(max(math.isqrt(_CELLS // max(count, 1)), _EDGES[0]), _EDGES[1])


def _compared(
    a: Any,
    b: Any,
    rtol: float,
    atol: float,
    by: str | None,
    options: Any,
    edge: int,
    progress: Progress | bool | None,
) -> tuple[Diff, dict[str, HeatMap]]:
    """How two sources differ, and for the arrays that do, where."""
    makers: dict[str, HeatMaker] = {}

    def watching(name: str, array: LazyArray) -> Watch | None:
        if not _has_map(array):
            return None
        makers[name] = HeatMaker((array.shape[0], array.shape[1]), edge)
        return makers[name].add

    diff = compare_sources(a, b, rtol, atol, by, options, watching, progress)
    differ = {each.name for each in diff.of("different", "close")}
    return diff, {name: makers[name].result() for name in makers if name in differ}


class _Gathered:
    """What a report says of each array.

    Args:
        edge: the most rows of cells of a heat map. With 0 no values are read.
        diff: how two sources differ.
        changed: where arrays differ.
        plan: the plan.
        progress: what is told how many bytes are done.
    """

    def __init__(
        self,
        edge: int,
        diff: Diff | None,
        changed: Mapping[str, HeatMap],
        plan: Plan | None,
        progress: Progress | None,
    ) -> None:
        self._progress = progress
        self._edge = edge
        self._differences = {each.name: each for each in diff.arrays} if diff else {}
        self._changed = changed
        self._plan: dict[str, str] = {}
        for row in plan or ():
            if row.array_dtype is not None:
                self._plan[row.name] = row.kind.value
                self._plan[row.array or row.name] = row.kind.value

    def arrays(
        self, arrays: Mapping[str, LazyArray], before: Mapping[str, LazyArray]
    ) -> tuple[ReportedArray, ...]:
        """What there is to say of each array.

        Args:
            arrays: those of the source, or of B.
            before: those of A.
        """
        only = {
            each.name: before[each.name]
            for each in self._differences.values()
            if each.kind == "only in A" and each.name in before
        }
        order = {**only, **arrays}
        done = Done(self._progress, order.values())
        found = {}
        names = sorted(order, key=lambda name: position(order[name]))
        each = [order[name] for name in names]
        for name, array in zip(names, at_hand(each) if self._edge else each, strict=True):
            found[name] = self._array(name, array, before)
            done.add(array)
        left = [name for name in only if name not in arrays]
        return tuple(found[name] for name in (*as_read(list(arrays)), *as_read(left)))

    def _array(self, name: str, array: LazyArray, before: Mapping[str, LazyArray]) -> ReportedArray:
        spec, difference = array.spec, self._differences.get(name)
        why = str(spec.unreadable or "")
        values, heat_map = self._values(array) if not why else (None, None)
        earlier = None
        if difference is not None and difference.kind in ("different", "close", "shape"):
            other = _before(difference.array or name, name, before)
            if other is not None and not other.spec.unreadable:
                earlier, _ = self._values(other, with_map=False)
        return ReportedArray(
            name,
            spec.shape,
            spec.dtype,
            spec.nbytes,
            values,
            heat_map,
            why,
            difference,
            self._changed.get(name),
            earlier,
            self._plan.get(name, ""),
        )

    def _values(
        self, array: LazyArray, with_map: bool = True
    ) -> tuple[Statistics | None, HeatMap | None]:
        if not self._edge or array.spec.opaque is not None:
            return None, None
        if not (with_map and _has_map(array)):
            return statistics(array), None
        maker = HeatMaker((array.shape[0], array.shape[1]), self._edge)
        found = statistics(array, maker.add)
        return found, None if found is None else maker.result()
