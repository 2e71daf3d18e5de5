"""stats: what the values of a source are like."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Unpack

from initreg.api.chain import Link, merged, open_chain, some_links
from initreg.api.opening_options import SourceOptions, spelt_out, split
from initreg.api.progressing import Done, shown
from initreg.arrays.saved import Progress
from initreg.arrays.statistics import Statistics, statistics, together
from initreg.arrays.streaming import at_hand, position
from initreg.errors import InitregError
from initreg.names import as_read, natural, separator
from initreg.option_spelling import option
from initreg.rules.keywords import Rules
from initreg.text.tables import lay_out
from initreg.text.wording import plural, printable, shape_text

KEYS: tuple[str, ...] = ("name", "size", "dtype", "file")
KEYS += ("mean", "std", "min", "max", "norm", "zeros", "nan", "inf")
_HEAD = (
    "NAME",
    "SHAPE",
    "DTYPE",
    "MEAN",
    "STD",
    "MIN",
    "MAX",
    "NORM",
    "ZEROS",
    "NAN",
    "INF",
    "HISTOGRAM",
)
_SPARE = (11, 8, 7, 2, 4)  # the columns that a narrow terminal does without, the first first


@dataclass(frozen=True, slots=True)
class ArrayStats:
    """One array, or the arrays of one layer, and what their values are like.

    Args:
        name: the name, or the beginning of the names of the arrays.
        shape: the shape. None for several arrays.
        dtype: the dtype, a name as in :mod:`initreg.dtypes`. For several arrays, all of theirs.
        arrays: how many arrays these are.
        values: the statistics. None if the values are not numbers, or cannot be read.
        why: why they cannot be read, or "".
        nbytes: how many bytes they have. None if that is not known.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: str
    arrays: int = 1
    values: Statistics | None = None
    why: str = ""
    nbytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and strings."""
        return {
            "name": self.name,
            "shape": None if self.shape is None else list(self.shape),
            "dtype": self.dtype,
            "arrays": self.arrays,
            "nbytes": self.nbytes,
            "values": None if self.values is None else self.values.to_dict(),
            "why": self.why or None,
        }


@dataclass(frozen=True, slots=True)
class Stats:
    """The result of :func:`stats`.

    Args:
        source: what messages call the source.
        arrays: the arrays in the order of the source, or as they were sorted.
        total: the statistics of all of them together.
    """

    source: str
    arrays: tuple[ArrayStats, ...]
    total: Statistics

    def sorted(self, key: str) -> Stats:
        """The same arrays by name or dtype, or the largest figure first.

        Args:
            key: ``"name"``, for which ``vars/2`` comes before ``vars/10``, ``"dtype"``, ``"size"``,
                or the name of a figure, such as ``"norm"``. ``"file"`` changes nothing.
        """
        if key not in KEYS:
            raise InitregError(option("sort", key) + f": give one of {', '.join(KEYS)}")
        found = list(self.arrays)
        if key != "file":
            found.sort(key=lambda each: natural(each.name))
            if key != "name":
                found.sort(key=lambda each: sort_key(each, key))
        return Stats(self.source, tuple(found), self.total)

    def as_read(self) -> Stats:
        """The same arrays in the order of the file, or by name if that is the file's order."""
        by_name = {each.name: each for each in self.arrays}
        ordered = tuple(by_name[name] for name in as_read(list(by_name)))
        return Stats(self.source, ordered, self.total)

    def to_depth(self, depth: int) -> Stats:
        """The arrays whose names have the same first parts, together, as ``du -d`` does it.

        Parts are separated by ``/``, or by ``.`` if no name has a ``/``.

        Args:
            depth: how many parts of the names: ``1`` for ``encoder`` and ``head``.
        """
        if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
            raise InitregError(option("depth", depth) + ": give a number of at least 1")
        groups: dict[str, list[ArrayStats]] = {}
        gap = separator(each.name for each in self.arrays)
        for each in self.arrays:
            groups.setdefault(gap.join(each.name.split(gap)[:depth]), []).append(each)
        found = (
            found[0] if len(found) == 1 else group(name + gap, found)
            for name, found in groups.items()
        )
        return Stats(self.source, tuple(found), self.total)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain dicts, lists and strings."""
        return {
            "source": self.source,
            "arrays": [each.to_dict() for each in self.arrays],
            "total": self.total.to_dict(),
        }

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, bars: bool = True) -> str:
        """A table with a line for each array, and one for all of them.

        Args:
            bars: whether histograms are shown, for which a terminal needs Unicode.
        """
        lines, _ = stats_table(self.arrays, bars=bars)
        return "\n".join([*lines, *self.footer()])

    def footer(self) -> list[str]:
        """The lines below the table: what cannot be read, and all arrays together."""
        lines = [f"{printable(a.name)}: {printable(a.why)}" for a in self.arrays if a.why]
        count, total = sum(each.arrays for each in self.arrays), self.total
        figures = f": {_figures(total)}" if total.count else ""  # there may be nothing but strings
        return [*lines, f"{plural(count, 'array')}, {total.count:,} numbers{figures}"]

    def _repr_html_(self) -> str:
        """The table as HTML, which a notebook shows. NaN and infinities are red."""
        from initreg.text.markup import LIMIT, notebook, table, text, verdict

        total = self.total
        wrong = ""
        if total.nan or total.inf:
            found = f"{total.nan:,} NaN and {total.inf:,} infinite of {total.count:,} numbers"
            wrong = verdict(found, is_bad=True)
        hidden = len(self.arrays) - LIMIT
        more = f"... and {plural(hidden, 'array')} more: print(stats)" if hidden > 0 else ""
        body = table(_HEAD, map(_row, self.arrays[:LIMIT]), range(3, 12), more)
        last = f"<p>{text(self.footer()[-1])}</p>"
        return notebook(wrong, f"<p><code>{text(self.source)}</code></p>", body, last)


def sort_key(each: ArrayStats, key: str) -> Any:
    """By what an array, or several, are sorted: the largest figure first."""
    if key == "dtype":
        return each.dtype
    found = each.nbytes if key == "size" else getattr(each.values, key, None)
    return float("inf") if found is None else -found


def stats_table(
    arrays: Sequence[ArrayStats], *, bars: bool = True, **layout: Any
) -> tuple[list[str], list[str]]:
    """The lines of a table of statistics, and the columns for which there was no room.

    Args:
        arrays: its lines.
        bars: whether histograms are shown, for which a terminal needs Unicode.
        layout: ``width``, ``paint`` and ``marked``, as for :func:`initreg.text.tables.lay_out`.
    """
    rows = [_row(each) if bars else (*_row(each)[:-1], "") for each in arrays]
    if not rows:
        return [], []
    return lay_out(_HEAD, rows, right=range(3, 11), spare=_SPARE, styles={2: "dim"}, **layout)


def group(name: str, arrays: Sequence[ArrayStats]) -> ArrayStats:
    """Several arrays as one line.

    Args:
        name: what the line is called.
        arrays: the arrays, or groups of them.
    """
    known = [each.values for each in arrays if each.values is not None]
    dtypes = " ".join(dict.fromkeys(each.dtype for each in arrays))
    count = sum(each.arrays for each in arrays)
    nbytes = sum(each.nbytes or 0 for each in arrays)
    values = together(known) if known else None
    return ArrayStats(name, None, dtypes, count, values, nbytes=nbytes)


def _row(each: ArrayStats) -> tuple[str, ...]:
    shape = plural(each.arrays, "array") if each.shape is None else shape_text(each.shape)
    begin = (printable(each.name), shape, printable(each.dtype))
    found = each.values
    if found is None:
        return (*begin, *[""] * 9)
    figures = (found.mean, found.std, found.min, found.max, found.norm)
    counts = (found.zeros, found.nan, found.inf)
    return (*begin, *map(_short, figures), *(f"{n:,}" if n else "" for n in counts), found.bars())


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _figures(total: Statistics) -> str:
    if total.mean is None:
        return "none of them is finite"
    found = f"mean {total.mean:.3g}, std {total.std:.3g}, from {total.min:.3g} to {total.max:.3g}"
    return f"{found}, {total.zeros:,} zeros, {total.nan:,} NaN, {total.inf:,} infinite"


@spelt_out(SourceOptions)
def stats(
    source: Any, *, progress: Progress | bool | None = None, **options: Unpack[SourceOptions]
) -> Stats:
    """Statistics of the values of one source, or of a chain: mean, spread, range, zeros, NaN.

    Arrays are read in pieces of at most 8 MB. Those of more than 64 MB are read twice, once for the
    range of their histogram.

    Args:
        source: anything that :class:`initreg.SmartInit` takes. In a chain the last array of a name
            counts.
        progress: as for :func:`initreg.diff`, with the bytes of the arrays.
        options: ``format``, ``verify``, ``mmap``, ``allow_pickle``, ``native``,
            ``max_inflation``, ``storage_options`` and the rules, as for :class:`initreg.SmartInit`.

    Returns:
        A :class:`Stats`.

    Raises:
        InitregError: what :func:`initreg.open` raises.

    >>> print(initreg.stats("model.npz", keep="encoder/*").sorted("norm"))  # doctest: +SKIP
    """
    opening, rules = split(options, "stats")
    like = Link(None, opening, (Rules.of(**rules),))
    with ExitStack() as stack:
        maps = open_chain(some_links(source, like, "stats"), stack)
        arrays = merged(maps)
        found: dict[str, ArrayStats] = {}
        names = sorted(arrays, key=lambda name: position(arrays[name]))
        with shown(progress) as report:
            done = Done(report, arrays.values())
            for name, array in zip(names, at_hand([arrays[n] for n in names]), strict=True):
                spec, why = array.spec, str(array.spec.unreadable or "")
                values = None if why or spec.opaque is not None else statistics(array)
                found[name] = ArrayStats(name, spec.shape, spec.dtype, 1, values, why, spec.nbytes)
                done.add(array)
        label = " + ".join(each.label for each in maps)
    ordered = tuple(found[name] for name in arrays)
    return Stats(label, ordered, together(a.values for a in ordered if a.values is not None))
