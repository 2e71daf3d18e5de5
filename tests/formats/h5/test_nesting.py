"""HDF5 types that are nested in each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import initreg
from initreg import DamagedFile


def nested(kind: str, levels: int) -> Any:
    """A type with so many levels around an int8."""
    found = h5py.h5t.NATIVE_INT8
    for _ in range(levels):
        if kind == "vlen":
            found = h5py.h5t.vlen_create(found)
        elif kind == "array":
            found = h5py.h5t.array_create(found, (1,))
        else:
            outer = h5py.h5t.create(h5py.h5t.COMPOUND, found.get_size())
            outer.insert(b"a", 0, found)
            found = outer
    return found


def write(path: Path, kind: Any, where: str) -> None:
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((2,))
        if where == "dataset":
            h5py.h5d.create(file.id, b"x", kind, space)
        elif where == "attribute":
            file["d/w"] = np.arange(3.0)
            h5py.h5a.create(file["d"].id, b"weight_names", kind, space)
            file.attrs["layer_names"] = [b"d"]
        else:
            kind.commit(file.id, b"x")


@pytest.mark.parametrize("where", ["dataset", "attribute", "type"])
@pytest.mark.parametrize(
    ("kind", "levels"), [("vlen", 33), ("vlen", 1000), ("array", 1000), ("compound", 800)]
)
def test_too_deep(tmp_path: Path, kind: str, levels: int, where: str) -> None:
    """Types of more than 32 levels are an error. numpy cannot nest much deeper."""
    write(tmp_path / "m.h5", nested(kind, levels), where)
    with pytest.raises(DamagedFile, match=r"m\.h5: .* has elements that nest more than 32 levels"):
        initreg.open(tmp_path / "m.h5")


def test_arrays_of_arrays(tmp_path: Path) -> None:
    """The axes of elements that are arrays are appended to those of the dataset."""
    values = np.arange(24, dtype="f4").reshape(4, 3, 2)
    kind = h5py.h5t.array_create(h5py.h5t.array_create(h5py.h5t.NATIVE_FLOAT, (2,)), (3,))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        for name, packed in ((b"plain", False), (b"packed", True)):
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            if packed:
                plist.set_chunk((2,))
                plist.set_deflate(1)
            made = h5py.h5d.create(file.id, name, kind, h5py.h5s.create_simple((4,)), plist)
            made.write(h5py.h5s.ALL, h5py.h5s.ALL, values, kind)
    found = initreg.load(tmp_path / "m.h5")
    for name in ("plain", "packed"):
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], values)
