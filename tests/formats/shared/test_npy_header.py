"""Headers of .npy arrays: those that initreg writes are numpy's, and odd ones are errors."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import initreg
from initreg import DamagedFile
from initreg_formats.shared.npy_header import make_header, parse_header

DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]


@given(st.sampled_from([*DTYPES, "U3", "S5"]), st.lists(st.integers(0, 2**63 - 1), max_size=64))
def test_headers_are_numpys(kind: str, axes: list[int]) -> None:
    """numpy and initreg read shape and dtype from it, and an array after it is aligned."""
    dtype, shape = np.dtype(kind), tuple(axes)
    head = make_header(dtype.str, shape)
    assert len(head) % 64 == 0
    if len(head) <= 10_000:  # numpy does not read more characters
        file = io.BytesIO(head)
        assert np.lib.format.read_magic(file) == (1, 0)
        assert np.lib.format.read_array_header_1_0(file) == (shape, False, dtype)
        assert file.tell() == len(head)
    assert parse_header(head, "x") == (len(head), shape, dtype.str, False)


def made(fields: str) -> bytes:
    """A header with these fields, as version 1."""
    text = fields.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("descr", "says"),
    [
        ("(2,)<f4", "a dtype with a shape"),
        ("(1000000000,)<f8", "a dtype with a shape"),
        ("<f4,<f4", "not a dtype that numpy writes"),
        ("a5", "not a dtype that numpy writes"),  # numpy warns of it
        ("<q9", "not a dtype that numpy writes"),
        ("Bytes0", "not a dtype that numpy writes"),
        ("|S0", "elements without bytes"),
        ("<U0", "elements without bytes"),
        ("|V000", "elements without bytes"),
    ],
)
def test_dtypes_that_numpy_does_not_write(descr: str, says: str, tmp_path: Path) -> None:
    """Dtypes with a shape, lists in a text and elements without bytes are one error each, which
    numpy is not asked about: it would warn, or fill the memory."""
    shape = (1 << 40,)
    header = made(f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}")
    with pytest.raises(DamagedFile, match=says):
        parse_header(header, "x")
    (tmp_path / "m.npy").write_bytes(header + bytes(64))
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("m.npy", header + bytes(64))
    tracemalloc.start()
    try:
        for name in ("m.npy", "m.npz"):
            with pytest.raises(DamagedFile, match=name):
                initreg.load(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "fields",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1if 1else 2,), }",
        "{'descr': '<f4\\d', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': [('a\\d', '<f4')], 'fortran_order': False, 'shape': (2,), }",
        "{'descr': [('a', 'a4')], 'fortran_order': False, 'shape': (2,), }",
        "{'descr': [('a', '<f4', (0,))], 'fortran_order': False, 'shape': (1099511627776,), }",
        "{'descr': [], 'fortran_order': False, 'shape': (1099511627776,), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
    ],
)
def test_odd_headers_print_no_warnings(fields: str, tmp_path: Path) -> None:
    """Python's parser and numpy would warn of these. Each is one error and no warning, which the
    suite makes an error."""
    (tmp_path / "m.npy").write_bytes(made(fields) + bytes(8))
    with pytest.raises(DamagedFile, match=r"m\.npy"):
        initreg.load(tmp_path / "m.npy")


@pytest.mark.parametrize("descr", ["'<f4'", "[('a', '<i4'), ('b', '<f8', (2L,))]"])
def test_python_2_wrote_such_headers(descr: str, tmp_path: Path) -> None:
    """Long integers, in structured dtypes too: read as numpy does, without its warning."""
    fields = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (3L,), }}"
    data = np.arange(60, dtype="u1").tobytes()
    size = 12 if "f4'" in descr else 60
    (tmp_path / "m.npy").write_bytes(made(fields) + data[:size])
    found = initreg.load(tmp_path / "m.npy")["m"]
    with pytest.warns(UserWarning, match="Python 2"):
        expected = np.load(tmp_path / "m.npy")
    assert (found.dtype, found.tobytes()) == (expected.dtype, expected.tobytes())


@pytest.mark.parametrize(
    "dtype",
    [
        [("a", "<i4"), ("b", ">f8", (2, 3))],
        [("a", [("x", "u1"), ("y", "<f2")], (2,)), ("é 'x'", "S3")],
        np.dtype([("a", "u1"), ("b", "<f8")], align=True),
        np.dtype({"names": ["a"], "formats": ["<f4"], "titles": ["title"]}),
    ],
    ids=["subarrays", "nested", "padding", "titles"],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_structured_dtypes(dtype: Any, order: Any, tmp_path: Path) -> None:
    """Fields with shapes, fields in fields, padding and titles are as numpy reads them."""
    raw = np.random.default_rng(0).bytes(6 * np.dtype(dtype).itemsize)
    array = np.frombuffer(raw, dtype).reshape(2, 3, order=order)
    np.save(tmp_path / "m.npy", array)
    np.savez(tmp_path / "m.npz", m=array)
    for name in ("m.npy", "m.npz"):
        found = initreg.load(tmp_path / name)["m"]
        assert found.shape == (2, 3)
        for field in array.dtype.names:
            expected = np.load(tmp_path / "m.npy")[field]
            assert found[field].dtype == expected.dtype.newbyteorder("=")
            assert found[field].astype(expected.dtype).tobytes() == expected.tobytes()
