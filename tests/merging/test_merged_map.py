"""The map of a merge: what is computed when it is read, and what is passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import SmartInit
from initreg.merging.combined import Combined, Settings
from initreg.merging.inputs import Input, Seen
from initreg.merging.merged_map import MergedMap

rng = np.random.default_rng(0)
A, B = (rng.normal(size=(4, 5)).astype("f4") for _ in range(2))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [
        initreg.save(tmp_path / f"{i}.npz", {"w": value, "kept": np.arange(i + 2)})
        for i, value in enumerate((A, B))
    ]


def merged(files: list[Path], dtype: str = "float32") -> Any:
    maps = [initreg.open(file) for file in files]
    given = tuple(Input(each["w"], each.label) for each in maps)
    settings = Settings(weights=(1.0, 1.0))
    value = Combined("w", "average", given, None, settings, (4, 5), dtype, Seen())
    arrays = {"w": value, "other": maps[1]["kept"]}
    return MergedMap(arrays, maps, "merge of two", {"license": "mit"})


def test_arrays_are_computed_when_they_are_read(files: list[Path]) -> None:
    """Names, shapes and dtypes are known before. Whole arrays and slices are the same values."""
    opened = merged(files)
    assert [(s.name, s.shape, s.dtype) for s in opened.specs()] == [
        ("w", (4, 5), "float32"),
        ("other", (3,), "int64"),
    ]
    np.testing.assert_allclose(np.asarray(opened["w"]), (A + B) / 2, atol=1e-6)
    np.testing.assert_allclose(opened["w"][1:3, 2], ((A + B) / 2)[1:3, 2], atol=1e-6)
    assert opened["other"].read().tolist() == [0, 1, 2]


def test_it_is_a_source_like_any_other(files: list[Path]) -> None:
    """It has the files and the metadata, takes rules, and is restored."""
    opened = merged(files)
    assert list(opened.files) == files
    assert opened.metadata == {"license": "mit"}
    ruled = opened.rename({"w": "x"}).drop("other").cast("float16")
    assert list(ruled) == ["x"]
    assert ruled["x"].read().dtype == np.float16
    target = {"w": np.zeros((4, 5), "f4"), "other": np.zeros(3, "i8")}
    SmartInit(opened).init(target)
    np.testing.assert_allclose(target["w"], (A + B) / 2, atol=1e-6)


def test_losses_of_the_last_cast_are_reported_once(files: list[Path]) -> None:
    """What does not fit the dtype of the result is counted for the whole array."""
    big = [
        initreg.save(file, {"w": value * np.float32(1e30), "kept": np.arange(2)})
        for file, value in zip(files, (abs(A), abs(B)), strict=True)
    ]
    with pytest.warns(initreg.CastWarning, match=r"^w: 20 values of float32 beyond the range"):
        merged(big, "float16")["w"].read()


def test_a_closed_map_is_not_read(files: list[Path]) -> None:
    """Reading an array after it was closed is an error."""
    opened = merged(files)
    opened.close()
    with pytest.raises(initreg.InitregError, match="array 'w' cannot be read, it was closed"):
        opened["w"].read()


def test_checksums_are_verified(files: list[Path]) -> None:
    """A source that is damaged is an error, and not a wrong average."""
    data = bytearray(files[0].read_bytes())
    at = data.index(A.tobytes())
    data[at + 8] ^= 255
    files[0].write_bytes(data)
    with pytest.raises(initreg.DamagedFile, match="'w'"):
        merged(files)["w"].read()
