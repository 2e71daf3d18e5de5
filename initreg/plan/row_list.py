"""The rows of a plan, each of which is made when it is looked at.

A plan may have a million rows, and few of them are looked at one by one. Most say nothing but what
the specs of their variable and array say. So a plan keeps these, in one list for each column.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from initreg.plan.row import Kind, Row
from initreg.records import replace
from initreg.specs import ArraySpec, VariableSpec


class RowList(Sequence[Row]):
    """Rows, most of which are not kept as such.

    They are added while a plan is made. Nothing changes them from then on.

    Args:
        rows: the first rows.
    """

    __slots__ = ("_arrays", "_given", "_reasons", "_sources", "_variables", "kinds", "names")

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.kinds: list[Kind] = []  # of every row, and so on in the other lists
        self.names: list[str] = []
        self._variables: list[VariableSpec | None] = []
        self._arrays: list[ArraySpec | None] = []
        self._sources: list[int | None] = []
        # By index, for the few that have one, or that say more than their specs do.
        self._reasons: dict[int, str] = {}
        self._given: dict[int, Row] = {}
        for row in rows:
            self.add_row(row)

    def add(
        self,
        kind: Kind,
        name: str,
        variable: VariableSpec | None,
        array: ArraySpec | None,
        source: int | None,
    ) -> None:
        """Add the row of a variable, of an array, or of both. It says what they say."""
        self.kinds.append(kind)
        self.names.append(name)
        self._variables.append(variable)
        self._arrays.append(array)
        self._sources.append(source)

    def add_arrays(self, kind: Kind, arrays: Sequence[ArraySpec], source: int) -> None:
        """Add the rows of arrays without variables."""
        count = len(arrays)
        self.kinds += [kind] * count
        self.names += [array.name for array in arrays]
        self._variables += [None] * count
        self._arrays += arrays
        self._sources += [source] * count

    def add_row(self, row: Row) -> None:
        """Add a row, whatever it says."""
        self._given[len(self)] = row
        self.add(row.kind, row.name, None, None, row.source)

    def mark(self, index: int, kind: Kind, reason: str) -> None:
        """Give a row another kind, for a reason."""
        self.kinds[index] = kind
        self._reasons[index] = reason
        if index in self._given:
            self._given[index] = replace(self._given[index], kind=kind, reason=reason)

    def with_rows(self, rows: Mapping[int, Row]) -> RowList:
        """A copy in which some rows are others, by their indices."""
        new = RowList()
        for name in self.__slots__:
            setattr(new, name, getattr(self, name).copy())
        for index, row in rows.items():
            new.kinds[index], new.names[index], new._given[index] = row.kind, row.name, row
        return new

    def indices(self, kinds: Collection[Kind]) -> list[int]:
        """The indices of all rows of these kinds."""
        return [index for index, kind in enumerate(self.kinds) if kind in kinds]

    def saying_more(self, kinds: Collection[Kind]) -> list[Row]:
        """The rows of these kinds that may say more than the specs of their two sides."""
        return [row for _, row in sorted(self._given.items()) if row.kind in kinds]

    def __len__(self) -> int:
        return len(self.kinds)

    def __iter__(self) -> Iterator[Row]:
        return map(self.row_at, range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        found = range(len(self))[index]
        return self.row_at(found) if isinstance(found, int) else tuple(map(self.row_at, found))

    def __reduce__(self) -> tuple[Any, ...]:
        return RowList, (tuple(self),)

    def row_at(self, index: int) -> Row:
        """The row at an index that is not negative."""
        given = self._given.get(index)
        if given is not None:
            return given
        return row_of(
            self.kinds[index],
            self.names[index],
            self._variables[index],
            self._arrays[index],
            self._sources[index],
            self._reasons.get(index, ""),
        )


def row_of(
    kind: Kind,
    name: str,
    variable: VariableSpec | None = None,
    array: ArraySpec | None = None,
    source: int | None = None,
    reason: str = "",
    by: int | None = None,
) -> Row:
    """The row of a variable, of an array, or of both."""
    shape, dtype = None, None
    parts: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    if variable is not None:
        shape, dtype = variable.shape, variable.dtype
        if variable.parts:
            parts = tuple((part.at, part.shape) for part in variable.parts)
    if array is None:
        return Row(kind, name, shape, dtype, reason=reason, parts=parts)
    return Row(
        kind,
        name,
        shape,
        dtype,
        source,
        array.origin,
        array.shape,
        array.dtype,
        by,
        reason,
        array.changes,
        made_of=array.made_of,
        parts=parts,
    )
