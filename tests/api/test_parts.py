"""Targets whose variables have parts, and parts of arrays that are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import (
    CastWarning,
    DamagedFile,
    Part,
    PartialRestoreError,
    PartSpec,
    PieceSpec,
    ReshapeWarning,
    SmartInit,
    TargetError,
    VariableSpec,
    hookimpl,
)

A = np.arange(60, dtype="f4").reshape(6, 10)
HALVES = (PartSpec((0, 0), (6, 4), "left"), PartSpec((0, 4), (6, 6), "right"))


class Spread:
    """A target whose variable ``w`` is in parts, each an array of its own."""

    label = "spread"

    def __init__(self, *parts: PartSpec, shape: Any = (6, 10), **more: Any) -> None:
        self.spec = VariableSpec("w", shape, "float32", parts=parts, **more)
        self.arrays = [np.full(part.shape, -1, "f4") for part in parts]
        self.b = np.zeros(3, "f4")
        self.pieces: list[PieceSpec] = []
        self.names: list[str] = []

    def variables(self) -> list[VariableSpec]:
        return [VariableSpec("b", (3,), "float32"), self.spec]

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        for spec, array in arrays:
            self.names.append(spec.name)
            if not isinstance(spec, PieceSpec):
                self.b[...] = array
                yield spec.name
                continue
            self.pieces.append(spec)
            assert array.shape == spec.shape
            self.arrays[spec.part][spec.index_in_part] = array
            if spec.is_last:
                yield spec.name


@pytest.fixture(autouse=True)
def plugin() -> Iterator[None]:
    class Plugin:
        @hookimpl
        def initreg_target(self, obj: object) -> Any:
            return obj if isinstance(obj, Spread) else None

    manager = initreg.plugin_manager()
    added = Plugin()
    manager.register(added, "spread")
    yield
    manager.unregister(added)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return Path(initreg.save(tmp_path / "w.npz", {"w": A, "b": np.ones(3, "f4")}))


@pytest.mark.parametrize("most_bytes", [0, 4, 60, 1 << 20])
@pytest.mark.parametrize("atomic", [False, True])
def test_each_part_gets_its_box(source: Path, most_bytes: int, atomic: bool) -> None:
    """A variable in parts is matched by the shape of the entire array, and each part gets its own
    box of it, in pieces that are no larger than the target says."""
    target = Spread(*HALVES, most_bytes=most_bytes)
    plan = SmartInit(source, on_missing="error", atomic=atomic).init(target)
    np.testing.assert_array_equal(np.concatenate(target.arrays, axis=1), A)
    np.testing.assert_array_equal(target.b, np.ones(3))
    row = next(row for row in plan if row.name == "w")
    assert row.parts == (((0, 0), (6, 4)), ((0, 4), (6, 6)))
    assert row.to_dict()["parts"] == [[[0, 0], [6, 4]], [[0, 4], [6, 6]]]
    assert "w  (6, 10) float32, in 2 parts: [0:6, 0:4] [0:6, 4:10]" in str(plan)
    for piece in target.pieces:
        assert piece.of == (6, 10)
        assert piece.parts[piece.part] == HALVES[piece.part]
        assert not most_bytes or np.prod(piece.shape) * 4 <= most_bytes
    assert [piece.is_last for piece in target.pieces].count(True) == 1


def test_axes_of_length_one_and_casts(tmp_path: Path) -> None:
    """An array that differs by axes of length 1 and by its dtype goes into the parts as well."""
    target = Spread(*HALVES, most_bytes=16)
    with pytest.warns(ReshapeWarning), pytest.warns(CastWarning):
        SmartInit({"w": A.astype("f8")[:, None], "b": np.ones((1, 3))}).init(target)
    np.testing.assert_array_equal(np.concatenate(target.arrays, axis=1), A)


@pytest.mark.parametrize(
    ("parts", "more", "message"),
    [
        (HALVES[:1], {}, r"do not cover the array of shape \(6, 10\) exactly once: they have 24"),
        ((*HALVES, HALVES[0]), {}, "do not cover"),
        ((PartSpec((0, 0), (6, 5)), PartSpec((0, 4), (6, 5))), {}, "do not cover"),
        (
            (PartSpec((0, 8), (6, 4)),),
            {},
            r"part of shape \(6, 4\) at \(0, 8\) is not in the array",
        ),
        ((PartSpec((0,), (6,)),), {}, "is not in the array"),
        (HALVES, {"shape": (None, 10)}, "its shape is not known"),
        (HALVES * 2, {"elsewhere": True}, "two of its parts overlap"),
    ],
)
def test_parts_that_cannot_be(
    source: Path, parts: tuple[PartSpec, ...], more: dict[str, Any], message: str
) -> None:
    """Parts have to cover the array exactly once, or nothing is planned. The error names the
    variable."""
    target = Spread(*parts, **more)
    with pytest.raises(TargetError, match=f"spread: variable 'w': .*{message}"):
        SmartInit(source).init(target)
    assert target.names == []


def test_the_rest_is_elsewhere(source: Path) -> None:
    """If other processes hold the rest of an array, only the part is read."""
    target = Spread(HALVES[1], elsewhere=True)
    plan = SmartInit(source, on_missing="error").init(target)
    np.testing.assert_array_equal(target.arrays[0], A[:, 4:])
    assert "only the part [0:6, 4:10]" in str(plan)


def test_a_failure_between_two_pieces(source: Path) -> None:
    """The error says that the variable was written in part, and that it is not complete."""
    content = bytearray(source.read_bytes())
    content[content.index(A[5, 9].tobytes())] ^= 1
    source.write_bytes(content)
    rows = (PartSpec((0, 0), (3, 10)), PartSpec((3, 0), (3, 10)))
    target = Spread(*rows)
    with pytest.raises(PartialRestoreError, match=r"a part of w, then: .*fails its") as raised:
        SmartInit(source).init(target)
    assert "w" in raised.value.not_written
    target = Spread(*rows)
    with pytest.raises(DamagedFile):
        SmartInit(source, atomic=True).init(target)
    assert target.names == []


# --- parts that are asked for -------------------------------------------------------------------


def test_load_a_part(source: Path) -> None:
    """The function is given names and shapes after rules, and None asks for all of an array."""
    asked = []

    def part(name: str, shape: tuple[int, ...]) -> Any:
        asked.append((name, shape))
        return (slice(None), slice(2, 4)) if name == "net/w" else None

    found = initreg.load(source, part=part, prefix="net/", transpose="net/w")
    assert sorted(asked) == [("net/b", (3,)), ("net/w", (10, 6))]
    np.testing.assert_array_equal(found["net/w"], A.T[:, 2:4])
    np.testing.assert_array_equal(found["net/b"], np.ones(3))
    found["net/w"][...] = 0  # it is the caller's own


@pytest.mark.parametrize("index", [3, (slice(1, 5, 2), -1), ..., (..., 2), [0, 2], slice(0, 0)])
def test_load_any_index(source: Path, index: Any) -> None:
    """The index is one of numpy."""
    found = initreg.load(source, part=lambda name, shape: index if name == "w" else None)
    np.testing.assert_array_equal(found["w"], A[index])


def test_a_dict_of_parts(source: Path) -> None:
    """A Part takes its box of the array, cast to its own dtype, beside arrays that are whole."""
    part = Part(np.zeros((6, 4), "f8"), of=(6, 10), at=(0, 6))
    whole = Part(np.zeros((3,), "f4"), of=(3,), at=(0,))
    with pytest.warns(CastWarning):
        plan = SmartInit(source).init({"w": part, "b": whole})
    np.testing.assert_array_equal(part.array, A[:, 6:])
    np.testing.assert_array_equal(whole.array, np.ones(3))
    assert "only the part [0:6, 6:10]" in str(plan)


@pytest.mark.parametrize(
    ("part", "error"),
    [
        (Part(np.zeros((6, 4)), (6, 10), (0, 7)), TargetError),
        (Part(np.zeros((6, 4)), (6, 12), (0, 6)), initreg.MismatchError),
        (Part([1.0], (6, 10), (0, 6)), TargetError),  # type: ignore[arg-type]
    ],
)
def test_parts_that_do_not_fit(source: Path, part: Part, error: type[Exception]) -> None:
    """A part that is not in its array, and an array of another shape, are errors."""
    with pytest.raises(error, match="w"):
        SmartInit(source, ignore="b").init({"w": part})


def test_parts_that_share_memory(source: Path) -> None:
    """Parts in one array are filled, unless they overlap."""
    full = np.zeros((6, 10), "f4")
    parts = {
        "w": Part(full[:, :4], of=(6, 10), at=(0, 0)),
        "again": Part(full[:, 4:], of=(6, 10), at=(0, 4)),
    }
    SmartInit({"w": A, "again": A}).init(parts)
    np.testing.assert_array_equal(full, A)
    parts["again"] = Part(full[:, 3:], of=(6, 10), at=(0, 3))
    with pytest.raises(TargetError, match="share memory"):
        SmartInit({"w": A, "again": A}).init(parts)
