"""initreg.arrays.pieces: boxes of an array, in pieces of bounded size that are verified."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import CastWarning, DamagedFile
from initreg.arrays.pieces import cut, pieces
from initreg.arrays.regions import Box, whole

A = np.random.default_rng(0).normal(size=(12, 10)).astype("f4")
ROWS = [Box((0, 0), (5, 10), ()), Box((5, 0), (12, 10), ())]
COLUMNS = [Box((0, 0), (12, 3), ()), Box((0, 3), (12, 10), ())]
GRID = [
    Box((a, b), (a + 6, b + 5), ()) for b in (5, 0) for a in (6, 0)
]  # not in the order of the file


def saved(folder: Path, ending: str) -> Path:
    path = folder / f"a.{ending}"
    if ending == "packed.npz":
        np.savez_compressed(path, a=A)
    elif ending == "fortran.npz":
        np.savez(path, a=np.asfortranarray(A))
    elif ending == "big.npz":
        np.savez(path, a=A.astype(">f4"))
    else:
        path = Path(initreg.save(path, {"a": A}))
    return path


def together(source: Any, boxes: list[Box], most: int, **rules: Any) -> tuple[Any, list[Any]]:
    """The boxes put together again, and the regions of the pieces in the order of reading."""
    with initreg.open(source, **rules) as arrays:
        array = arrays["a"]
        found = np.zeros(array.shape, "f8")
        times = np.zeros(array.shape, int)
        regions = []
        lasts = []
        for number, box, is_last, values in pieces(array, boxes, most, np.dtype("f4")):
            assert values.flags.c_contiguous
            assert not most or values.nbytes <= most or values.size == 1
            inside = boxes[number]
            assert inside.intersection(box) == Box(box.starts, box.stops, ())
            found[box.slices] = values
            values.fill(-7)  # in memory that no other piece has
            times[box.slices] += 1
            regions.append(box)
            lasts.append(is_last)
        assert (times == 1).all()
        assert lasts == [False] * (len(lasts) - 1) + [True]
    return found, regions


@pytest.mark.parametrize("most", [0, 4, 24, 100, 1 << 20])
@pytest.mark.parametrize("boxes", [ROWS, COLUMNS, GRID, [whole(A.shape)]], ids=str)
@pytest.mark.parametrize("ending", ["npz", "safetensors", "packed.npz", "fortran.npz", "big.npz"])
def test_every_element_comes_once(tmp_path: Path, ending: str, boxes: list[Box], most: int) -> None:
    """Whatever the boxes and the size of the pieces are, they are the array, and none is larger
    than it may be."""
    found, _ = together(saved(tmp_path, ending), boxes, most)
    np.testing.assert_array_equal(found, A)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"transpose": "a"}, A.T),
        ({"cast": "float16"}, A.astype("f2").astype("f4")),
        ({"slice": {"a": (0, 2, 9)}}, A[2:9]),
        ({"slice": {"a": "2:9, -6:"}, "transpose": "a"}, A.T[2:9, -6:]),
        ({"unstack": {"stacked": (0, ["a", "b"])}, "rename": {"a": "stacked"}}, A[0]),
        ({"reshape": {"a": (10, 12)}}, A.reshape(10, 12)),
        ({"scale": {"a": 2.0}}, 2 * A),
        ({"pad": {"a": (0, 14)}}, np.pad(A, ((0, 2), (0, 0)))),
    ],
    ids=lambda each: str(each)[:20] if isinstance(each, dict) else "",
)
def test_what_rules_change(tmp_path: Path, rules: dict[str, Any], expected: Any) -> None:
    """Pieces of an array that rules change are pieces of the result, whether they need all of the
    stored array or not."""
    if "unstack" in rules:
        source: Any = {"a": np.stack([A[0], A[1]])}
    else:
        source = saved(tmp_path, "npz")
    half = expected.shape[0] // 2
    first = Box((0,) * expected.ndim, (half, *expected.shape[1:]), ())
    last = Box((half, *(0,) * (expected.ndim - 1)), expected.shape, ())
    found, _ = together(source, [first, last], 48, **rules)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("boxes", [ROWS, COLUMNS], ids=["rows", "columns"])
@pytest.mark.parametrize("at", [0, 60, 119])
def test_a_damaged_array(tmp_path: Path, boxes: list[Box], at: int) -> None:
    """Wherever a byte is wrong, the last piece is not given, and with verify=False all are."""
    path = saved(tmp_path, "npz")
    content = bytearray(path.read_bytes())
    content[content.index(A.ravel()[at].tobytes())] ^= 1
    path.write_bytes(content)
    given: list[Box] = []
    with initreg.open(path) as arrays:
        found = pieces(arrays["a"], boxes, 40, np.dtype("f4"))
        with pytest.raises(DamagedFile, match="fails its crc32"):
            given.extend(box for _, box, _, _ in found)
    assert sum(np.prod(box.shape) for box in given) < A.size
    values, _ = together(path, boxes, 40, verify=False)
    assert (values != A).sum() == 1


def test_losses_are_told_once(tmp_path: Path) -> None:
    """What a cast loses is one warning for all pieces of an array, with the sum of the counts."""
    source = {"a": np.full((8, 2), 1e300)}
    with warnings.catch_warnings(record=True) as told, initreg.open(source) as arrays:
        warnings.simplefilter("always")
        boxes = [Box((0, 0), (4, 2), ()), Box((4, 0), (8, 2), ())]
        list(pieces(arrays["a"], boxes, 16, np.dtype("f4")))
    assert [str(each.message) for each in told] == [
        "a: 16 values of float64 beyond the range of float32 became infinite"
    ]
    assert told[0].category is CastWarning


def test_a_part_alone_is_not_verified(tmp_path: Path) -> None:
    """If other processes read the rest, no more is read than the part, and its checksum is that of
    all. So a byte that is wrong elsewhere is not noticed."""
    path = saved(tmp_path, "npz")
    content = bytearray(path.read_bytes())
    content[content.index(A.ravel()[119].tobytes())] ^= 1
    path.write_bytes(content)
    with initreg.open(path) as arrays:
        found = pieces(arrays["a"], ROWS[:1], 0, np.dtype("f4"), is_all=False)
        ((_, _, _, values),) = found
    np.testing.assert_array_equal(values, A[:5])


def test_a_cut_goes_on_along_the_next_axis() -> None:
    """A row that is larger than a piece is cut, too, down to single elements."""
    found = list(cut(Box((1, 0), (3, 5), ()), 4, 8))
    assert [piece.shape for piece in found] == [(1, 2), (1, 2), (1, 1)] * 2
    assert [piece.starts for piece in found[:3]] == [(1, 0), (1, 2), (1, 4)]
    assert [piece.shape for piece in cut(Box((0,), (2,), ()), 8, 1)] == [(1,), (1,)]


def test_columns_take_little_memory(tmp_path: Path) -> None:
    """A column box of a large array is read in about its own size, and not in that of the rows."""
    path = tmp_path / "a.npy"
    array = np.lib.format.open_memmap(path, "w+", "f4", (32_768, 1024))
    array[:, 600] = np.arange(32_768)
    array.flush()
    del array
    code = textwrap.dedent("""
        import resource, sys
        import numpy as np
        import initreg
        initreg.load({"a": np.ones(3)}, part=lambda name, shape: slice(0, 1))
        np.empty(1 << 20).fill(1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        (found,) = initreg.load(
            sys.argv[1], part=lambda name, shape: (slice(None), slice(512, 640))
        ).values()
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert (found[:, 88] == np.arange(32_768)).all()
        print(found.nbytes, (after - before) * 1024)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    nbytes, grown = map(int, done.stdout.split())
    assert nbytes == 16 << 20
    assert grown < nbytes + (24 << 20)  # all of the rows have 128 MB
