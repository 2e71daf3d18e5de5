"""What a report says of each source and of each array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from initreg.api.layer_diffs import ArrayDiff
from initreg.arrays.heat_maps import HeatMap
from initreg.arrays.statistics import Statistics


@dataclass(frozen=True, slots=True)
class ReportedSource:
    """One source of a report.

    Args:
        label: what messages call it.
        format: the format, or those of a chain.
        arrays: how many arrays it has.
        numbers: how many values they have.
        nbytes: their size in memory.
        metadata: what the source says beside its arrays.
    """

    label: str
    format: str
    arrays: int
    numbers: int
    nbytes: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ReportedArray:
    """One array of a report. Of two sources it is that of B, or that of A if only A has it.

    Args:
        name: the name.
        shape: the shape.
        dtype: the dtype, a name as in :mod:`initreg.dtypes`.
        nbytes: the size in memory, or None if it is not known.
        values: what its values are like. None if they were not read, or are not numbers.
        heat_map: its values on a grid, if it has two axes.
        why: why its values cannot be read, or "".
        difference: how it differs from the array of A.
        difference_map: B minus A on a grid, if it has two axes and they differ.
        before: what the values of A are like, if they differ.
        plan: what the plan does with it: the kind of its :class:`Row`, or "".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int | None
    values: Statistics | None = None
    heat_map: HeatMap | None = None
    why: str = ""
    difference: ArrayDiff | None = None
    difference_map: HeatMap | None = None
    before: Statistics | None = None
    plan: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and strings."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "nbytes": self.nbytes,
            "values": self.values and self.values.to_dict(),
            "heat_map": self.heat_map and self.heat_map.to_dict(),
            "why": self.why or None,
            "difference": self.difference and self.difference.to_dict(),
            "difference_map": self.difference_map and self.difference_map.to_dict(),
            "before": self.before and self.before.to_dict(),
            "plan": self.plan or None,
        }
