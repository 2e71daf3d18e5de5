"""The h5 format, against files that are damaged, or made to harm."""

from __future__ import annotations

import contextlib
import re
import resource
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import initreg
from initreg import DamagedFile, InitregError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.h5"


def deny(path, error, says):
    """Opening the file is refused, even if only a harmless array is wanted."""
    with pytest.raises(error, match=says) as caught:
        initreg.open(path)
    assert str(path) in str(caught.value)


# --- links that do not end ------------------------------------------------------------------------


def test_many_ways_to_one_place(path):
    """Groups with two links to each, 40 times over, are visited once, not 2**40 times."""
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(40):
            below = group.create_group("a")
            group["b"] = below
            group = below
        group["w"] = 1.0
    assert list(initreg.load(path)) == ["a/" * 40 + "w"]


def test_too_deep(path):
    """Groups nested without end are an error."""
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(300):
            group = group.create_group("g")
    deny(path, DamagedFile, "groups nest more than 200 levels deep")


# --- claims that a small file cannot justify ------------------------------------------------------


_STATM = Path("/proc/self/statm")


@contextlib.contextmanager
def little_memory():
    """No more than 1 GiB beyond what the process has already, where the system tells (Linux)."""
    if not _STATM.exists():
        yield
        return
    used = int(_STATM.read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (1 << 16,)}, {"chunks": (1 << 16,), "compression": "gzip"}],
    ids=["contiguous", "chunked", "packed"],
)
def test_large_and_never_written(path, options):
    """A dataset of 1 TiB in a file of 2 KiB, all of it fill value, is not allocated."""
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (1 << 37,), "f8", **options)
    with little_memory():
        deny(
            path, DamagedFile, "'a', with all before it, claims to hold 1,099,511,627,776 bytes in"
        )


def test_many_never_written(path):
    """Many datasets that are too large only together are not allocated."""
    with h5py.File(path, "w") as file:
        for i in range(20):
            file.create_dataset(f"a{i}", (1 << 20,), "f4")
    with little_memory():
        deny(path, DamagedFile, r"'a\d+', with all before it, claims to hold")


def test_a_large_chunk(path):
    """A small dataset with a chunk of 2 GiB, which HDF5 would unpack whole, is not read."""
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "a", (4,), "f4", chunks=(1 << 29,), maxshape=(None,), compression="gzip"
        )
    with little_memory():
        deny(path, DamagedFile, "claims to hold 2,147,483,648 bytes")


@pytest.mark.parametrize("shape", [(0, 1 << 62, 1 << 62), (1 << 62, 0)])
def test_impossible_shapes(path, shape):
    """An empty dataset whose other axes numpy does not take is an error."""
    with h5py.File(path, "w") as file:
        file.create_dataset("a", shape, "f4")
    deny(path, DamagedFile, "'a' has the impossible shape")


def test_a_packed_file_of_zeros(path):
    """A file that deflate shrank to a thousandth is read."""
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.zeros(1 << 22), chunks=(1 << 20,), compression="gzip")
    assert path.stat().st_size < 50_000
    assert initreg.load(path)["a"].shape == (1 << 22,)


# --- strings --------------------------------------------------------------------------------------


def strings(path):
    """A file with strings and with Keras's names, its bytes, and where its heap is."""
    with h5py.File(path, "w") as file:
        file["d/w"] = np.arange(3.0)
        file.attrs["layer_names"] = [b"d"]
        file["d"].attrs["weight_names"] = [b"w"]
        file["s"] = ["first", "second", "third"]
    raw = bytearray(path.read_bytes())
    heap = raw.find(b"GCOL")
    assert heap > 0
    assert raw.find(b"GCOL", heap + 1) < 0
    return raw, heap


def descriptor(raw, heap, text):
    """Where the descriptor of a string lies: its length, the address of the heap, its index."""
    at = heap + 16
    while raw[at + 16 : at + 16 + len(text)] != text:
        at += 16 + (int.from_bytes(raw[at + 8 : at + 16], "little") + 7) // 8 * 8
    found = raw.find(struct.pack("<IQI", len(text), heap, raw[at]))
    assert found > 0
    return found


@pytest.mark.parametrize("text", [b"second", b"d", b"w"])
def test_a_string_that_claims_4_gib(path, text):
    """A string's length is not trusted. HDF5 itself would fill 4 GiB of memory with zeros."""
    raw, heap = strings(path)
    at = descriptor(raw, heap, text)
    raw[at : at + 4] = b"\xf0\xff\xff\xff"
    path.write_bytes(raw)
    with little_memory(), pytest.raises(DamagedFile, match=r"string \d is not where the file says"):
        initreg.load(path)


@pytest.mark.parametrize("size", [0xFFFF_FFFF_FFFF_FFF0, 1 << 40, 5000])
def test_a_heap_that_does_not_end(path, size):
    """A string that is larger than its heap is an error. HDF5 itself would hang."""
    raw, heap = strings(path)
    raw[heap + 24 : heap + 32] = size.to_bytes(8, "little")
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"m\.h5"):
        initreg.load(path)


@pytest.mark.parametrize("address", [0, 8, 1 << 40, 0xFFFF_FFFF_FFFF_FFFF])
def test_a_heap_that_is_elsewhere(path, address):
    """A heap that is not where a string says is an error."""
    raw, heap = strings(path)
    at = descriptor(raw, heap, b"second")
    raw[at + 4 : at + 12] = address.to_bytes(8, "little")
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"m\.h5: dataset 's'"):
        initreg.load(path)


def test_one_string_many_times(path):
    """Strings that all point to one place may not be much longer together than the file."""
    with h5py.File(path, "w") as file:
        file["s"] = ["x" * 100_000] + ["y"] * 1000
    raw = bytearray(path.read_bytes())
    heaps = [i for i in range(len(raw)) if raw.startswith(b"GCOL", i)]
    large = next(heap for heap in heaps if raw[heap + 32 : heap + 34] == b"xx")
    first = raw.find(struct.pack("<IQ", 100_000, large))
    assert first > 0
    for i in range(1001):
        raw[first + 16 * i : first + 16 * (i + 1)] = raw[first : first + 16]
    path.write_bytes(raw)
    with pytest.raises(
        DamagedFile, match=r"its strings are more than 67,[\d,]* bytes in such a file"
    ):
        initreg.load(path)


def test_one_string_for_many_arrays(path):
    """Arrays of strings that all point to one place may not be much longer than the file."""
    with h5py.File(path, "w") as file:
        file["large"] = "x" * 1_000_000
        for number in range(300):
            file[f"s{number}"] = "y"
    raw = bytearray(path.read_bytes())
    heap = next(
        at for at in range(len(raw))
        if raw.startswith(b"GCOL", at) and raw[at + 32 : at + 34] == b"xx"
    )  # fmt: skip
    large = struct.pack("<IQI", 1_000_000, heap, 1)
    assert raw.count(large) == 1
    heaps = [at for at in range(len(raw)) if raw.startswith(b"GCOL", at) and at != heap]
    for other in heaps:
        for found in re.finditer(re.escape(struct.pack("<IQ", 1, other)), bytes(raw)):
            raw[found.start() : found.start() + 16] = large
    assert raw.count(large) == 301
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match="with those of other arrays, are more than the file"):
        initreg.load(path)
    with initreg.open(path) as arrays:  # and one of them may be read for as long as anybody likes
        for _ in range(300):
            assert len(arrays["large"].read().item()) == 1_000_000


def test_many_arrays_over_the_same_strings(path):
    """Arrays of strings of fixed length may not lie in one place."""
    kind = h5py.h5t.C_S1.copy()
    with h5py.File(path, "w") as file:
        for number in range(100):
            space = h5py.h5s.create_simple((1 << 20,))
            made = h5py.h5d.create(file.id, b"s%d" % number, kind, space)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.full(1 << 20, b"x"))
        offset = made.get_offset()
    raw = path.read_bytes()
    unwritten = b"\x03\x01" + b"\xff" * 8 + struct.pack("<Q", 1 << 20)
    assert raw.count(unwritten) == 99
    path.write_bytes(raw.replace(unwritten[:10], b"\x03\x01" + struct.pack("<Q", offset)))
    deny(path, DamagedFile, "with those of other arrays, are more than the file has")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_many_arrays_over_the_same_chunks_of_strings(path, packed):
    """Arrays of strings in chunks may not lie in one place either."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(2)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1 << 19,))
    if packed:
        plist.set_deflate(1)
    with h5py.File(path, "w") as file:
        for number in range(150):
            space = h5py.h5s.create_simple((1 << 19,))
            made = h5py.h5d.create(file.id, b"s%d" % number, kind, space, plist)
        rng = np.random.default_rng(0)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, rng.integers(1, 255, 1 << 20, np.uint8).view("S2"))
    raw = path.read_bytes()
    unwritten = b"\x03\x02\x02" + b"\xff" * 8 + struct.pack("<I", 1 << 19)
    assert raw.count(unwritten) == 149
    trees = set(re.findall(rb"\x03\x02\x02(.{8})\x00\x00\x08\x00", raw, re.DOTALL))
    (tree,) = trees - {b"\xff" * 8}
    path.write_bytes(raw.replace(unwritten[:11], b"\x03\x02\x02" + tree))
    deny(path, DamagedFile, "with those of other arrays, are more than the file has")


def test_heaps_that_are_read_again_and_again(path):
    """Strings of many arrays in few large heaps do not make initreg read these without end."""
    with h5py.File(path, "w") as file:
        for number in range(4000):
            file[f"s{number}"] = "y"
        for number in range(6):
            file[f"large{number}"] = "x" * 900_000
    raw = bytearray(path.read_bytes())
    heaps = [at for at in range(len(raw)) if raw.startswith(b"GCOL", at)]
    large = [at for at in heaps if raw[at + 32 : at + 34] == b"xx"]
    assert len(large) == 6
    count = 0
    for other in set(heaps) - set(large):
        for found in re.finditer(re.escape(struct.pack("<IQ", 1, other)), bytes(raw)):
            raw[found.start() : found.start() + 16] = struct.pack("<IQI", 1, large[count % 6], 1)
            count += 1
    assert count > 3000
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match="and those of other arrays, lie in the same heaps"):
        initreg.load(path)


# --- archives -------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path):
    """``archive(method)``: a .keras of one array, stored or packed, and its bytes."""

    def make(method=zipfile.ZIP_STORED, members=("config.json", "model.weights.h5")):
        with h5py.File(tmp_path / "w.h5", "w") as file:
            file["layers/d/vars/0"] = np.arange(1000.0)
        with zipfile.ZipFile(tmp_path / "m.keras", "w", method) as target:
            for name in members:
                data = (tmp_path / "w.h5").read_bytes() if name.endswith("h5") else b"{}"
                target.writestr(name, data)
        return tmp_path / "m.keras", bytearray((tmp_path / "m.keras").read_bytes())

    return make


METHODS = pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"]
)


@METHODS
def test_a_changed_byte_in_an_archive(archive, method):
    """The archive's checksum is verified, and not with verify=False if that is possible."""
    path, raw = archive(method)
    at = raw.find(np.arange(500.0, 510.0).tobytes()) if method == zipfile.ZIP_STORED else 1000
    raw[at] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"m\.keras: its model\.weights\.h5"):
        initreg.open(path)
    if method == zipfile.ZIP_STORED:
        assert initreg.load(path, verify=False)["layers/d/vars/0"][400] == 400


@METHODS
def test_every_truncation_of_an_archive(archive, method):
    """An archive that is cut anywhere is an InitregError."""
    path, raw = archive(method)
    for length in range(0, len(raw), 97):
        path.write_bytes(raw[:length])
        with pytest.raises(InitregError, match=r"m\.keras"):
            initreg.load(path)


def test_an_archive_that_claims_too_much(archive):
    """A member that claims more bytes than deflate can pack is not unpacked."""
    path, raw = archive(zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path) as file:
        size = file.getinfo("model.weights.h5").file_size
    at = raw.rfind(size.to_bytes(4, "little"))
    raw[at : at + 4] = b"\xff\xff\xff\x7f"
    path.write_bytes(raw)
    with little_memory(), pytest.raises(DamagedFile, match="claims to hold"):
        initreg.open(path)


def test_a_member_that_lies_elsewhere(archive):
    """A member that is not where the archive's directory says is an error."""
    path, raw = archive()
    entry = raw.rfind(b"PK\x01\x02")
    raw[entry + 42 : entry + 46] = (7).to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match="has no local header where the archive's directory says"):
        initreg.open(path)


def test_an_encrypted_member(archive):
    """A member that is encrypted says so."""
    path, raw = archive()
    raw[raw.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"model\.weights\.h5 is encrypted"):
        initreg.open(path)


def test_an_unusual_packing(archive):
    """A member that is packed by another method than Keras's is an error with the method."""
    path, _ = archive(zipfile.ZIP_BZIP2)
    with pytest.raises(DamagedFile, match="packed by method 12"):
        initreg.open(path)


def test_an_archive_without_weights(archive):
    """A .keras without weights is an error that lists its members."""
    path, _ = archive(members=("config.json", "model.weights.npz"))
    with pytest.raises(
        DamagedFile, match=r"the archive has no model\.weights\.h5\. It has config\.json, "
    ):
        initreg.open(path)


@METHODS
def test_a_member_that_is_no_hdf5(tmp_path, method):
    """A member that is not HDF5 is an error with the archive's name."""
    with zipfile.ZipFile(tmp_path / "m.keras", "w", method) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"no HDF5" * 1000)
    with pytest.raises(DamagedFile, match=r"m\.keras: what should be HDF5 has no HDF5 signature"):
        initreg.open(tmp_path / "m.keras")


# --- damage ---------------------------------------------------------------------------------------


def sample(path, libver):
    """A file with a bit of everything, and what is in it."""
    with h5py.File(path, "w", libver=libver) as file:
        file["d/w"] = np.arange(40, dtype="f4")
        file["d/b"] = np.arange(5)
        file.create_dataset("z", data=np.arange(1000.0), chunks=(100,), compression="gzip")
        file["s"] = ["x", "yy", "zzz"]
        file["l"], file["h"] = h5py.SoftLink("/d/w"), file["d/b"]
        file.attrs["layer_names"] = [b"d"]
        file["d"].attrs["weight_names"] = [b"w", b"b"]
        file["struct"] = np.zeros(3, [("x", "f4"), ("y", "i2")])
        for i in range(12):
            file[f"many/{i}"] = i


LIBVERS = pytest.mark.parametrize("libver", ["earliest", "latest"])


@LIBVERS
def test_every_truncation(path, libver):
    """A file that is cut anywhere is an InitregError. HDF5 stores its length at the start."""
    sample(path, libver)
    whole = path.read_bytes()
    for length in range(0, len(whole), 61):
        path.write_bytes(whole[:length])
        with pytest.raises(InitregError, match=r"m\.h5"):
            initreg.load(path)


@pytest.mark.parametrize("signature", [b"FRHP", b"FHDB", b"BTHD", b"BTLF"])
def test_a_damaged_group(path, signature):
    """A group of many links, damaged anywhere, is an InitregError. HDF5's own sorting of its links
    would end the process."""
    with h5py.File(path, "w", libver="latest") as file:
        for i in range(12):
            file[f"many/{i}"] = i
    whole = path.read_bytes()
    start = whole.find(signature)
    assert start > 0
    for at in range(start, start + 30, 3):
        raw = bytearray(whole)
        raw[at] ^= 0xFF
        path.write_bytes(raw)
        deny(path, DamagedFile, r"m\.h5")


@LIBVERS
@given(data=st.data())
@settings(max_examples=150)
def test_flipped_bytes(tmp_path_factory, libver, data):
    """Whatever bytes change, each array is read, or an InitregError says why not."""
    path = tmp_path_factory.mktemp("flip") / "m.h5"
    sample(path, libver)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        new = data.draw(st.sampled_from([b"\xff" * 8, bytes(8), b"\x01", b"\x80", b"\xff"]))
        raw[at : at + len(new)] = new
    path.write_bytes(raw)
    with contextlib.suppress(InitregError), initreg.open(path, format="h5") as arrays:
        for array in arrays.values():
            with contextlib.suppress(InitregError):
                assert array.read().shape == array.shape


def test_a_member_of_a_keras_archive_has_one_name(tmp_path):
    """The archive's directory and the member's own header must agree, as for an npz."""
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["a"] = np.ones(3)
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(tmp_path / "w.h5", "model.weights.h5")
    data = (tmp_path / "m.keras").read_bytes()
    at = data.index(b"model.weights.h5")
    (tmp_path / "m.keras").write_bytes(data[:at] + b"n" + data[at + 1 :])
    with pytest.raises(DamagedFile, match=r"is called 'nodel\.weights\.h5' where its bytes are"):
        initreg.open(tmp_path / "m.keras")
