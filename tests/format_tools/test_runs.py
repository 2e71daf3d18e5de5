"""Arrays whose bytes are in several runs."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from initreg.format_tools.runs import Run, boxes, extent_of
from initreg.specs import Extent, SlicedExtent


def test_boxes_cover_every_run_of_an_array() -> None:
    """The boxes of a run of elements hold these elements, in order and once."""
    for shape in ((), (7,), (2, 3), (3, 1, 4), (2, 2, 2, 2)):
        whole = np.arange(math.prod(shape)).reshape(shape)
        for begin in range(whole.size + 1):
            for end in range(begin, whole.size + 1):
                found: list[int] = []
                for start, box, first in boxes(shape, begin, end):
                    part = whole[tuple(slice(a, a + n) for a, n in zip(start, box, strict=True))]
                    assert part.shape == box
                    assert part.reshape(-1)[0] == first
                    found += part.reshape(-1).tolist()
                assert found == list(range(begin, end))


@pytest.mark.parametrize("cuts", [(), (4,), (12, 20), (8, 8), (0, 24)])
def test_runs_are_the_slices_of_an_array(cuts: tuple[int, ...]) -> None:
    """Runs that are cut between elements give slices with the bytes of each, also empty runs."""
    data = np.arange(6, dtype="<f4").tobytes()
    ends = (0, *cuts, len(data))
    sizes = [b - a for a, b in itertools.pairwise(ends)]
    runs = [Run(Path(str(n)), 100 * n, size) for n, size in enumerate(sizes)]
    found = extent_of(runs, (2, 3), "float32", ("w",))
    assert found is not None
    assert found.aliases == ("w",)
    slices = [((0, 0), found)] if isinstance(found, Extent) else found.slices
    array = np.full((2, 3), -1, "f4")
    for start, part in slices:
        n = int(str(part.file))
        at = ends[n] + part.offset - 100 * n
        values = np.frombuffer(data[at : at + part.length], "<f4").reshape(part.shape)
        array[tuple(slice(a, a + m) for a, m in zip(start, part.shape, strict=True))] = values
    assert array.tobytes() == data


def test_an_element_in_two_runs_is_no_extent() -> None:
    """Extents hold whole elements, so that the caller has to read such an array itself."""
    runs = [Run(Path("a"), 0, 6), Run(Path("b"), 0, 2)]
    assert extent_of(runs, (2,), "float32") is None
    assert isinstance(extent_of(runs, (4,), "float16"), SlicedExtent)
