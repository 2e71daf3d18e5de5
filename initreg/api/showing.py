"""show: the values of arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from initreg.api.chain import Link, flatten, merged, open_chain
from initreg.api.indexed_names import IndexedName, find
from initreg.api.opening_options import SourceOptions, spelt_out, split
from initreg.arrays.excerpts import read_axes, read_corners
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.value_texts import csv_pieces, json_pieces, plain_values
from initreg.dtypes import STRING, is_number
from initreg.errors import InitregError, UnknownFormat
from initreg.option_spelling import either, option
from initreg.rules.keywords import Rules
from initreg.store_paths import FilePath
from initreg.text.wording import plural, printable, shape_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FORMATS = ("csv", "json", "npy")
_MOST_PRINTED = 10_000_000  # values in one text, which takes some hundred bytes for each


@dataclass(frozen=True, slots=True)
class ShownArray:
    """Values of one array.

    Args:
        name: the name of the array.
        index: the index that was given, with its brackets, or "".
        shape: the shape of the values.
        dtype: their dtype, a name as in :mod:`initreg.dtypes`.
        values: the values. None if they are so many that numpy prints only the first and the last
            ones along each axis, and ``all=True`` was not given. The others were not read then.
    """

    name: str
    index: str
    shape: tuple[int, ...]
    dtype: str
    values: Array | None
    _printed: Array

    @property
    def heading(self) -> str:
        """The name, the index, the shape and the dtype in a line."""
        return _heading(self.name + self.index, self.shape, self.dtype)

    def to_text(self, width: int | None = None) -> str:
        """The values, as numpy prints them.

        Args:
            width: characters in a line, by default those of ``numpy.get_printoptions()``.

        Raises:
            InitregError: they are more than ten million.
        """
        import numpy as np

        # With threshold 0 numpy leaves out the middle, of which there is a stand-in here.
        threshold = 0
        if self.values is not None:
            threshold = self.values.size
            if threshold > _MOST_PRINTED:
                raise InitregError(
                    f"{self.name!r}: {plural(threshold, 'value')} are too many for a text. Give an "
                    "index, or write them, as in " + either("pieces('csv')", "--to csv")
                )
        if not self.shape and self.dtype != STRING:
            return str(self._printed)  # "2.0", where the other would say "2."
        found: str = np.array2string(self._printed, max_line_width=width, threshold=threshold)
        return found

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and strings. ``"values"`` are nested lists, in which NaN
        and infinities are the texts ``"nan"``, ``"inf"`` and ``"-inf"``.

        Raises:
            InitregError: not all values were read, or there is no JSON for them.
        """
        return {
            "name": self.name,
            "index": self.index or None,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "values": plain_values(self._all(), self.dtype),
        }

    def pieces(self, to: str) -> Iterator[str]:
        """The values as text of a format, in pieces.

        Args:
            to: ``"csv"`` or ``"json"``.

        Raises:
            InitregError: not all values were read, or the format cannot hold them.
        """
        if to == "json":
            return json_pieces(self._all(), self.dtype)
        return csv_pieces(self._all(), self.dtype, self.name + self.index)

    def write_npy(self, file: Any) -> None:
        """Write the values as npy.

        Args:
            file: a file that is open for bytes.

        Raises:
            InitregError: not all values were read, or npy cannot hold them.
        """
        import numpy as np

        values = self._all()
        if self.dtype == STRING or not (is_number(self.dtype) or values.dtype.isbuiltin == 1):
            raise InitregError(
                f"{self.name!r} is of {self.dtype}, which npy cannot hold. Write JSON"
            )
        if values.dtype.isbuiltin != 1:  # numpy would write bytes, without saying which dtype
            raise InitregError(
                f"{self.name!r} is of {self.dtype}, for which npy has no name. Cast it, as in "
                + option("cast", "float32")
            )
        np.lib.format.write_array(file, values, allow_pickle=False)

    def _all(self) -> Array:
        if self.values is None:
            raise InitregError(
                f"{self.name!r}: only the first and the last values were read. Pass "
                + option("all", True)
            )
        return self.values


def _heading(name: str, shape: tuple[int, ...], dtype: str) -> str:
    return f"{printable(name)}  {shape_text(shape)} {printable(dtype)}"


@dataclass(frozen=True, slots=True)
class Shown:
    """The result of :func:`show`.

    Args:
        source: what messages call the source.
        arrays: the values of each array, in the order in which they were asked for.
    """

    source: str
    arrays: tuple[ShownArray, ...]

    def to_dict(self) -> dict[str, Any]:
        """The result as plain dicts, lists and strings: see :meth:`ShownArray.to_dict`."""
        return {"source": self.source, "arrays": [each.to_dict() for each in self.arrays]}

    def to_text(self, width: int | None = None) -> str:
        """A line for each array, and its values, as numpy prints them."""
        return "\n".join(f"{each.heading}\n{each.to_text(width)}" for each in self.arrays)

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        """The values as HTML, which a notebook shows."""
        from initreg.text.markup import notebook, text

        return notebook(f"<pre>{text(self.to_text())}</pre>")


@spelt_out(SourceOptions)
def show(source: Any, *names: str, all: bool = False, **options: Unpack[SourceOptions]) -> Shown:
    """Values of arrays, as numpy prints them.

    Only the bytes are read that it takes: for ``"w[2:4]"`` two rows, and for a large array the
    first and the last values along each axis, which are all that numpy prints. An array that is
    packed as a whole is read as a whole.

    Args:
        source: anything that :class:`initreg.SmartInit` takes. In a chain the last array of a name
            counts.
        names: names of arrays, or globs, which may end in an index of integers, slices and one
            ``...``: ``"encoder/kernel[2:4, ..., ::-1]"``.
        all: whether all values are read and printed.
        options: ``format``, ``verify``, ``mmap``, ``allow_pickle``, ``native``,
            ``max_inflation``, ``storage_options`` and the rules, as for :class:`initreg.SmartInit`.

    Returns:
        A :class:`Shown`.

    Raises:
        InitregError: there is no such array, the index is wrong, or what :func:`initreg.open`
            raises.

    >>> print(initreg.show("model.npz", "head/kernel[:2, -1]"))  # doctest: +SKIP
    head/kernel[:2, -1]  (2,) float32
    [0.25 0.5 ]
    """
    with showing(source, names, all, **options) as found:
        return Shown(found.label, tuple(found))


class Showing:
    """What :func:`show` reads, one array after the other, so that one is in memory at a time.

    Args:
        label: what messages call the source.
        files: the files that it is in.
        arrays: its arrays.
        meant: those that are shown.
        all: whether all values are read.
    """

    def __init__(
        self,
        label: str,
        files: Sequence[FilePath],
        arrays: Mapping[str, LazyArray],
        meant: Sequence[IndexedName],
        all: bool,
    ) -> None:
        self.label = label
        self.files = files
        self._arrays = arrays
        self._meant = meant
        self._all = all

    def __len__(self) -> int:
        return len(self._meant)

    def headings(self) -> list[str]:
        """The name, the shape and the dtype of each array."""
        return [
            _heading(each.name + each.index, each.shape, self._arrays[each.name].spec.dtype)
            for each in self._meant
        ]

    def __iter__(self) -> Iterator[ShownArray]:
        return (_shown(self._arrays[each.name], each, self._all) for each in self._meant)


@contextmanager
def showing(source: Any, names: tuple[str, ...], all: bool, **options: Any) -> Iterator[Showing]:
    """What is to be shown, in an open source. It does what :func:`show` says."""
    if not names or not set(map(type, names)) <= {str}:
        raise InitregError("show: give the names of arrays as text. `initreg ls` lists them")
    opening, rules = split(options, "show")
    like = Link(None, opening, (Rules.of(**rules),))
    with ExitStack() as stack:
        maps = open_chain(flatten(source, like), stack)
        label, arrays = " + ".join(each.label for each in maps), merged(maps)
        meant = [each for name in names for each in find(name, arrays, label)]
        for each in meant:
            _check(arrays[each.name], label)
        yield Showing(label, [file for each in maps for file in each.files], arrays, meant, all)


def _check(array: LazyArray, label: str) -> None:
    """Raise InitregError if the values of an array cannot be read."""
    spec = array.spec
    if spec.unreadable:
        raise InitregError(f"{label}: array {spec.name!r}: " + spec.unreadable)
    if spec.opaque is not None:
        raise InitregError(
            f"{label}: array {spec.name!r} is of {spec.dtype}, which numpy does not have, so that "
            "its values cannot be shown"
        )


def _shown(array: LazyArray, meant: IndexedName, all: bool) -> ShownArray:
    import math

    import numpy as np

    count = math.prod(meant.shape)
    settings = np.get_printoptions()
    is_short = not all and count > settings["threshold"]
    if is_short:
        printed = read_corners(array, meant.axes, settings["edgeitems"])
    else:
        printed = read_axes(array, meant.axes)
    return ShownArray(
        meant.name,
        meant.index,
        meant.shape,
        array.spec.dtype,
        None if is_short else printed,
        printed,
    )


def format_for(to: str | None, path: str | os.PathLike[str] | None) -> str | None:
    """The format to write: the one that is named, or that the ending of the path says.

    Returns:
        One of :data:`FORMATS`, or None if values are to be printed.

    Raises:
        UnknownFormat: the ending says none.
    """
    if to is not None or path is None:
        return to
    ending = os.path.splitext(os.fspath(path))[1][1:].lower()
    if ending not in FORMATS:
        raise UnknownFormat(
            f"{os.fspath(path)}: values are written as .csv, .json or .npy. End the name in one of "
            "these, or pass " + option("to", "csv")
        )
    return ending
