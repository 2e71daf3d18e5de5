"""initreg.show: the values of arrays."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import initreg


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    big = np.random.default_rng(0).normal(size=(60, 50)).astype("f4")
    np.savez(tmp_path / "m.npz", w=np.arange(12.0).reshape(3, 4), big=big, s=np.array("text"))
    return tmp_path / "m.npz"


def test_values_are_those_of_numpy(npz: Path) -> None:
    """A line with the name, the shape and the dtype, and the values as numpy prints them."""
    shown = initreg.show(npz, "w[:2, ::-2]", "s")
    assert str(shown) == "w[:2, ::-2]  (2, 2) float64\n[[3. 1.]\n [7. 5.]]\ns  () string\n'text'"
    assert shown.source == str(npz)
    assert [each.shape for each in shown.arrays] == [(2, 2), ()]
    np.testing.assert_array_equal(shown.arrays[0].values, [[3, 1], [7, 5]])


def test_large_arrays_are_summarised(npz: Path) -> None:
    """As numpy does it, with its own settings. All values are there if they are asked for."""
    big = initreg.load(npz)["big"]
    [short] = initreg.show(npz, "big").arrays
    assert short.to_text() == np.array2string(big)
    assert "..." in short.to_text()
    assert short.values is None
    with pytest.raises(initreg.InitregError, match="Pass all=True"):
        short.to_dict()
    [long] = initreg.show(npz, "big", all=True).arrays
    np.testing.assert_array_equal(long.values, big)
    assert "..." not in long.to_text()
    with np.printoptions(precision=2, edgeitems=1):
        assert initreg.show(npz, "big").arrays[0].to_text() == np.array2string(big)


def test_a_summary_takes_little_memory(tmp_path: Path) -> None:
    """Of an array of 64 MB, less than one MB is read."""
    path = initreg.save(tmp_path / "m.safetensors", {"w": np.zeros((4000, 4000), "f4")})
    tracemalloc.start()
    try:
        assert str(initreg.show(path, "w")).startswith("w  (4000, 4000) float32\n[[0. 0. 0. ...")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_too_many_values_for_a_text(tmp_path: Path) -> None:
    """It says what to do instead of using up the memory."""
    path = initreg.save(tmp_path / "m.safetensors", {"w": np.zeros((4000, 4000), "i1")})
    shown = initreg.show(path, "w", all=True)
    with pytest.raises(initreg.InitregError, match="16,000,000 values are too many for a text"):
        shown.to_text()


def test_it_can_be_json(npz: Path) -> None:
    """Names, shapes, dtypes and values."""
    found = json.loads(json.dumps(initreg.show(npz, "w[0]", "s").to_dict(), allow_nan=False))
    assert found == {
        "source": str(npz),
        "arrays": [
            {
                "name": "w",
                "index": "[0]",
                "shape": [4],
                "dtype": "float64",
                "values": [0.0, 1.0, 2.0, 3.0],
            },
            {"name": "s", "index": None, "shape": [], "dtype": "string", "values": "text"},
        ],
    }


def test_rules_apply(npz: Path) -> None:
    """Names and values are those after the rules."""
    shown = initreg.show(npz, "net/w[0]", prefix="net/", transpose="net/w", cast="bfloat16")
    assert shown.arrays[0].dtype == "bfloat16"
    np.testing.assert_array_equal(shown.arrays[0].values, np.array([0, 4, 8], ml_dtypes.bfloat16))


@pytest.mark.parametrize("names", [(), (3,), ("w", None)])
def test_names_are_texts(npz: Path, names: tuple[object, ...]) -> None:
    """Anything else is one clear error."""
    with pytest.raises(initreg.InitregError, match="give the names of arrays"):
        initreg.show(npz, *names)  # type: ignore[arg-type]


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    """An array whose dtype numpy does not have is named, with its dtype."""
    header = b'{"w":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}'
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x12\x34")
    with pytest.raises(initreg.InitregError, match=r"m\.safetensors: array 'w' is of F4"):
        initreg.show(path, "w")


def test_a_chain_and_its_rules(npz: Path) -> None:
    """In a chain the last array of a name counts. A source may have rules of its own."""
    chain = [npz, initreg.SmartInit({"net/w": np.ones(2)}, strip_prefix="net/")]
    shown = initreg.show(chain, "w", "s")
    assert shown.source == f"{npz} + dict of 1"
    assert str(shown) == "w  (2,) float64\n[1. 1.]\ns  () string\n'text'"
