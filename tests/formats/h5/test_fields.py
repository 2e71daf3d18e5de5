"""Structures in HDF5 whose parts do not fit, which HDF5 and h5py would accept."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg
from initreg import InitregError

# IEEE float64 in a datatype message: bit offset 0, 64 bits, exponent of 11 bits at 52, mantissa of
# 52 bits at 0, bias 1023.
FLOAT64 = bytes((0, 0, 64, 0, 52, 11, 0, 52, 0xFF, 3, 0, 0))


@pytest.mark.parametrize("bit", range(8))
def test_a_part_that_is_an_odd_float_is_not_read(tmp_path: Path, bit: int) -> None:
    """A part with another exponent bias is a float that numpy does not have. h5py takes it for a
    long double, which overlaps the next part. Other arrays are read."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["c"] = np.ones(3, "c16")
        file["d"] = np.ones(3, "f4")
    data = bytearray((tmp_path / "m.h5").read_bytes())
    data[data.index(FLOAT64) + 8] ^= 1 << bit
    (tmp_path / "m.h5").write_bytes(data)
    with initreg.open(tmp_path / "m.h5") as arrays:
        assert arrays["d"].read().tolist() == [1, 1, 1]
        with pytest.raises(InitregError, match=r"m\.h5: dataset 'c' has structures with floats"):
            arrays["c"].read()


def test_structures_with_gaps_and_structures_inside_are_read(tmp_path: Path) -> None:
    """Parts in any order, with gaps between them and with parts of their own, are read."""
    inner = np.dtype({"names": ["y", "x"], "formats": ["f4", "i2"], "offsets": [4, 0]})
    array = np.zeros(2, {"names": ["a", "b"], "formats": ["f8", inner], "offsets": [16, 0],
                         "itemsize": 32})  # fmt: skip
    array["a"], array["b"]["y"] = [1, 2], [3, 4]
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["s"] = array
    found = initreg.load(tmp_path / "m.h5")["s"]
    assert (found["a"].tolist(), found["b"]["y"].tolist()) == ([1, 2], [3, 4])
