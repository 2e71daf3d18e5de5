"""Saves into what the user has opened: complete, or the file is as it was."""

from __future__ import annotations

import bz2
import gzip
import importlib.resources
import io
import os
import socket
import tempfile
import threading
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import initreg
from initreg import InitregError, UnknownFormat, UnwritableFile
from initreg.varmanip import save_chkpt_vars

rng = np.random.default_rng(0)
ARRAYS = {f"layer_{i}/kernel": rng.normal(size=(40, 25)).astype("f4") for i in range(10)}
LARGE = {**ARRAYS, "large": rng.normal(size=(1500, 1000)).astype("f4")}
FORMATS = ["npz", "h5", "safetensors"]
each_format = pytest.mark.parametrize("format", FORMATS)


def same(found: dict[str, Any], expected: dict[str, Any] = ARRAYS) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], array) for name, array in expected.items()
    )


def wanted(tmp_path: Path, format: str, arrays: dict[str, Any] = ARRAYS) -> bytes:
    """The bytes of a file on the disk."""
    return Path(initreg.save(tmp_path / f"wanted.{format}", arrays)).read_bytes()


class Counting(io.RawIOBase):
    """A file of somebody's own, which takes a few bytes at a time."""

    def __init__(self) -> None:
        self.got = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        few = bytes(data[:1000])
        self.got += few
        return len(few)


class Simple:
    """A file with no more than write(), which does not say how much it took."""

    def __init__(self) -> None:
        self.got = b""

    def write(self, data: bytes) -> None:
        self.got += data


class Full(io.BytesIO):
    """A file that has room for so many bytes."""

    room = 100_000

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.room:
            count = max(0, self.room - self.tell())
            super().write(data[:count])
            raise OSError(28, "No space left on device")
        return super().write(data)


# --- what it may be -----------------------------------------------------------------------------


@each_format
def test_in_memory(format: str) -> None:
    """A BytesIO gets the file, its position is the end, and it opens what was saved."""
    file = io.BytesIO()
    found: Any = initreg.save(file, ARRAYS, format=format)
    assert found is file
    assert file.tell() == len(file.getvalue())
    assert same(initreg.load(file))
    assert same(initreg.load(io.BytesIO(file.getvalue())))


@each_format
@pytest.mark.parametrize("mode", ["wb", "w+b", "xb", "ab", "r+b"])
@pytest.mark.parametrize("buffering", [-1, 0])
def test_on_the_disk(format: str, mode: str, buffering: int, tmp_path: Path) -> None:
    """A file of any mode has all bytes when save returns, also if it is not closed."""
    path = tmp_path / f"m.{format}"
    if mode == "r+b":
        path.touch()
    with open(path, mode, buffering=buffering) as file:
        initreg.save(file, LARGE)  # its name has the format
        assert path.read_bytes() == wanted(tmp_path, format, LARGE)
        assert file.tell() == path.stat().st_size
    assert same(initreg.load(path), LARGE)
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name, f"wanted.{format}"]


@each_format
def test_after_what_is_there(format: str, tmp_path: Path) -> None:
    """It is written from the position on. What was written before, and what comes after, stays."""
    data = wanted(tmp_path, format)
    path = tmp_path / "container"
    for mode in ("wb", "w+b", "ab"):
        path.unlink(missing_ok=True)
        with open(path, mode) as file:
            file.write(b"header")  # is in the buffer
            initreg.save(file, ARRAYS, format=format)
            file.write(b"footer")
        assert path.read_bytes() == b"header" + data + b"footer"
    memory = io.BytesIO(b"header")
    memory.seek(0, 2)
    initreg.save(memory, ARRAYS, format=format)
    assert memory.getvalue() == b"header" + data


def test_read_and_written(tmp_path: Path) -> None:
    """A file whose buffer has been read from is written at the position that its user knows."""
    path = tmp_path / "container"
    path.write_bytes(b"0123456789")
    with open(path, "r+b") as file:
        assert file.read(3) == b"012"
        file.truncate(3)
        initreg.save(file, ARRAYS, format="npz")
        file.write(b"!")
        file.seek(1)
        assert file.read(2) == b"12"
    assert path.read_bytes() == b"012" + wanted(tmp_path, "npz") + b"!"


def test_to_append_is_at_the_end(tmp_path: Path) -> None:
    """A file that is open for appending writes at its end, wherever its position is."""
    path = tmp_path / "container"
    path.write_bytes(b"0123456789")
    with open(path, "a+b") as file:
        file.seek(2)
        initreg.save(file, ARRAYS, format="npz")
    assert path.read_bytes() == b"0123456789" + wanted(tmp_path, "npz")


@each_format
def test_a_pipe(format: str, tmp_path: Path) -> None:
    """A pipe, which cannot seek and is smaller than the file, gets all bytes."""
    read, write = os.pipe()
    found: list[bytes] = []
    with open(read, "rb") as reader, open(write, "wb") as writer:
        thread = threading.Thread(target=lambda: found.append(reader.read()), daemon=True)
        thread.start()
        initreg.save(writer, LARGE, format=format)
        writer.close()
        thread.join()
    assert found == [wanted(tmp_path, format, LARGE)]


def test_a_socket(tmp_path: Path) -> None:
    """So does a socket. The socket itself is not a file, and the error says what is."""
    one, other = socket.socketpair()
    found: list[bytes] = []
    with one, other, other.makefile("rb") as reader:
        thread = threading.Thread(target=lambda: found.append(reader.read()), daemon=True)
        thread.start()
        with pytest.raises(InitregError, match=r"is of type socket.*makefile\('wb'\)"):
            initreg.save(one, ARRAYS, format="npz")  # type: ignore[arg-type]
        with one.makefile("wb") as writer:
            initreg.save(writer, LARGE, format="npz")
        one.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert found == [wanted(tmp_path, "npz", LARGE)]


def test_files_of_other_kinds(tmp_path: Path) -> None:
    """Temporary files, packed ones, and whatever has write()."""
    data = wanted(tmp_path, "npz")
    with tempfile.TemporaryFile() as file:
        initreg.save(file, ARRAYS, format="npz")
        assert same(initreg.load(file))
    with tempfile.NamedTemporaryFile(suffix=".npz") as named:
        initreg.save(named, ARRAYS)  # type: ignore[arg-type]
        assert Path(named.name).read_bytes() == data
    with tempfile.SpooledTemporaryFile(max_size=100) as spooled:
        initreg.save(spooled, ARRAYS, format="npz")  # type: ignore[arg-type]
        spooled.seek(0)
        assert spooled.read() == data
    for opener in (gzip.open, bz2.open):
        with opener(tmp_path / "packed", "wb") as packed:
            initreg.save(packed, ARRAYS, format="npz")  # type: ignore[arg-type]
        with opener(tmp_path / "packed", "rb") as packed:
            assert packed.read() == data
    with fsspec.open("memory://of_destinations/m.npz", "wb") as remote:
        initreg.save(remote, ARRAYS, format="npz")
    assert same(initreg.load("memory://of_destinations/m.npz"))
    counting, simple = Counting(), Simple()
    initreg.save(counting, ARRAYS, format="npz")  # type: ignore[arg-type]
    initreg.save(simple, ARRAYS, format="npz")  # type: ignore[arg-type]
    assert counting.got == simple.got == data


@each_format
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_of_an_archive(format: str, compression: int, tmp_path: Path) -> None:
    """A zipfile.Path of an archive that is open for writing, and of one that is added to."""
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("readme.txt", "text")
        found = initreg.save(zipfile.Path(archive, f"models/m.{format}"), ARRAYS)
        assert isinstance(found, zipfile.Path)
    with zipfile.ZipFile(path, "a", compression) as archive:
        initreg.save(zipfile.Path(archive, "models/other"), {"w": np.ones(3)}, format=format)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("readme.txt") == b"text"
        assert archive.read(f"models/m.{format}") == wanted(tmp_path, format)
    assert same(initreg.load(zipfile.Path(path, f"models/m.{format}")))


def test_convert(tmp_path: Path) -> None:
    """convert and dump write into open files, too, with rules, metadata and a report."""
    source = initreg.save(tmp_path / "m.npz", ARRAYS)
    file = io.BytesIO()
    initreg.convert(source, file, to="safetensors", drop="*_1/*", metadata={"license": "mit"})
    with initreg.open(file) as arrays:
        assert sorted(arrays) == sorted(set(ARRAYS) - {"layer_1/kernel"})
        assert arrays.metadata == {"license": "mit"}
    again = io.BytesIO()
    with pytest.warns(initreg.MetadataWarning, match="<BytesIO 'file'>: the metadata of"):
        initreg.convert(file, again, to="h5")
    assert initreg.load(again).keys() == initreg.load(file).keys()
    slots = {f"{name}/Momentum": array for name, array in ARRAYS.items()}
    checkpoint = initreg.save(tmp_path / "m.ckpt", {**ARRAYS, **slots})
    dumped = io.BytesIO()
    done: Any = initreg.dump(checkpoint, dumped, inference=True, to="npz")
    assert done.path is dumped
    assert same(initreg.load(dumped))


def test_into_its_own_source() -> None:
    """A file may be its own source: it is read completely before it is written to."""
    file = io.BytesIO()
    initreg.save(file, ARRAYS, format="npz")
    size = file.tell()
    before = file.getvalue()
    initreg.convert(file, file, to="safetensors")
    assert file.getvalue()[:size] == before
    assert same(initreg.load(io.BytesIO(file.getvalue()[size:])))


def test_the_same_bytes_as_on_the_disk(tmp_path: Path) -> None:
    """compress and rules do the same as for a path."""
    path = initreg.save(tmp_path / "m.npz", ARRAYS, compress=True, cast="float16")
    file = io.BytesIO()
    initreg.save(file, ARRAYS, format="npz", compress=True, cast="float16")
    assert file.getvalue() == Path(path).read_bytes()


# --- what it may not be -------------------------------------------------------------------------


def refused(file: Any, match: str, kind: type[Exception] = InitregError, **options: Any) -> None:
    with pytest.raises(kind, match=match) as caught:
        initreg.save(file, ARRAYS, **{"format": "npz", **options})
    assert isinstance(caught.value, InitregError)
    assert "/initreg-" not in str(caught.value)  # the temporary folder


def test_files_that_take_nothing(tmp_path: Path) -> None:
    """Text, files that are closed or open for reading: one error that says how to open it."""
    path = tmp_path / "m.npz"
    path.write_bytes(b"0123")
    with open(path, "a") as text:
        refused(
            text, r"<TextIOWrapper 'm\.npz'>: it takes text\. Open it with mode 'wb', or .*buff"
        )
    refused(io.StringIO(), r"<StringIO 'file'>: it takes text\. .* or give a BytesIO")
    for buffering in (-1, 0):
        with open(path, "rb", buffering=buffering) as file:
            refused(file, r"'m\.npz'>: the file was opened for reading\. Open it with mode 'wb'")
        refused(file, r"'m\.npz'>: the file is closed")
    memory = io.BytesIO()
    memory.close()
    refused(memory, "<BytesIO 'file'>: the file is closed")
    assert path.read_bytes() == b"0123"


def test_bytes_that_would_be_left_behind(tmp_path: Path) -> None:
    """They could be the rest of an older model, or something that is needed, so both are shown."""
    memory = io.BytesIO(b"0123456789")
    memory.seek(4)
    says = (
        r"6 bytes come after its position, 4.*call file\.truncate\(\)\. .*call file\.seek\(0, 2\)"
    )
    refused(memory, says)
    assert memory.getvalue() == b"0123456789"
    assert memory.tell() == 4
    memory.truncate()
    initreg.save(memory, ARRAYS, format="npz")
    assert memory.getvalue() == b"0123" + wanted(tmp_path, "npz")
    path = tmp_path / "m.npz"
    path.write_bytes(b"0123456789")
    with open(path, "r+b") as file:
        file.seek(4)
        refused(file, says)
        assert file.tell() == 4
    assert path.read_bytes() == b"0123456789"


def test_formats_of_several_files() -> None:
    """A checkpoint, shards and a manifest are several files, of which an open file takes one."""
    for options, match in (
        ({"format": "tf_checkpoint"}, r"several files, such as 'file\.data-.*takes one"),
        ({"format": "safetensors", "shard_size": "1KB"}, "Leave out shard_size, or save to a path"),
        ({"format": "npz", "manifest": True}, "Leave out manifest, or save to a path"),
    ):
        file = io.BytesIO(b"before")
        file.seek(0, 2)
        refused(file, match, **options)
        assert file.getvalue() == b"before"


def test_a_dry_run() -> None:
    """It says what the save would say, and writes nothing."""
    file: Any = io.BytesIO(b"before")
    file.seek(0, 2)
    assert initreg.convert(ARRAYS, file, to="npz", dry_run=True) is file
    assert (file.getvalue(), file.tell()) == (b"before", 6)
    with pytest.raises(InitregError, match="<BytesIO 'file'>: this format has several files"):
        initreg.convert(ARRAYS, file, to="tf_checkpoint", dry_run=True)
    file.seek(0)
    with pytest.raises(InitregError, match="6 bytes come after its position"):
        initreg.convert(ARRAYS, file, to="npz", dry_run=True)
    text: Any = io.StringIO()
    with pytest.raises(InitregError, match="it takes text"):
        initreg.convert(ARRAYS, text, to="npz", dry_run=True)


def test_the_format(tmp_path: Path) -> None:
    """It is that of the name, or has to be given."""
    refused(
        io.BytesIO(),
        r"its name does not say in which format to save\. Name the format: .*npz",
        UnknownFormat,
        format=None,
    )
    with open(tmp_path / "m.bin", "wb") as file:
        refused(file, r"'m\.bin'>: its name does not say", UnknownFormat, format=None)
        refused(file, "format 'nope' is not saved", UnknownFormat, format="nope")


def test_what_is_not_a_file(tmp_path: Path) -> None:
    """Other objects are named, with what a destination may be."""
    for given, what in (
        (None, "of type NoneType"),
        (3, "of type int"),
        (b"m.npz", "of type bytes"),
        (io.BytesIO, "the class BytesIO"),
        ({"a": 1}, "of type dict"),
    ):
        refused(given, f"the destination is {what}: give a path, a URL, an open binary file")
    refused(io.BytesIO(), "is not a URL, and has no storage options", storage_options={"key": "k"})
    refused(tmp_path / "m.npz", r"m\.npz: is not a URL, and has no", storage_options={"key": "k"})


def test_archives_that_take_nothing(tmp_path: Path) -> None:
    """An archive that is open for reading, a name that it has, a folder, the archive itself."""
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m.npz", b"old")
        refused(archive, r"all\.zip: an archive takes several files\. .*zipfile\.Path\(archive")
        refused(zipfile.Path(archive, "m.npz"), r"all\.zip/m\.npz: the archive has such a member")
        refused(zipfile.Path(archive), "is a folder")
        with archive.open("other", "w") as other:
            other.write(b"some")
            refused(
                zipfile.Path(archive, "n.npz"), r"another member .* is being written\. Close that"
            )
            other.write(b" text")
        assert archive.namelist() == ["m.npz", "other"]
    with zipfile.ZipFile(path) as read:
        assert read.read("other") == b"some text"
    refused(zipfile.Path(archive, "n.npz"), "the archive is closed")
    before = path.read_bytes()
    refused(
        zipfile.Path(path, "n.npz"), r"open for reading\. .*ZipFile\(archive, 'a'\), 'n\.npz'\)"
    )
    assert path.read_bytes() == before


def test_a_resource_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package in a zip archive can be read from, and not be saved to."""
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        archive.writestr("packed_of_destinations/__init__.py", "")
    monkeypatch.syspath_prepend(str(tmp_path / "package.zip"))
    resource = importlib.resources.files("packed_of_destinations") / "m.npz"
    refused(resource, "can only be read|open for reading")


# --- what fails ---------------------------------------------------------------------------------


@each_format
def test_a_save_that_fails_does_not_touch_the_file(format: str, tmp_path: Path) -> None:
    """An array that cannot be read or stored is noticed before the first byte is written."""

    class Broken:
        shape, dtype = (3,), np.dtype("f4")

        def __array__(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("it is gone")

    file = io.BytesIO(b"before")
    file.seek(0, 2)
    with pytest.raises((InitregError, RuntimeError), match="it is gone") as caught:
        initreg.save(file, {**ARRAYS, "x": Broken()}, format=format)
    assert (file.getvalue(), file.tell()) == (b"before", 6)
    assert "/initreg-" not in str(caught.value)


def test_a_copy_that_fails_in_memory() -> None:
    """What was written of the file is cut off, and the error says so."""
    file = Full(b"before")
    file.seek(0, 2)
    refused_arrays = r"<Full 'file'>: writing failed after [\d,]+ of [\d,]+ bytes: .*No space left"
    with pytest.raises(UnwritableFile, match=refused_arrays + r".*\. The file is as it was"):
        initreg.save(file, LARGE, format="npz")
    assert (file.getvalue(), file.tell()) == (b"before", 6)
    file.room = 10**8
    initreg.save(file, LARGE, format="npz")
    assert same(initreg.load(io.BytesIO(file.getvalue()[6:])), LARGE)


@pytest.mark.parametrize("mode", ["wb", "w+b", "ab"])
@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_copy_that_fails_on_the_disk(
    mode: str,
    buffering: int,
    tmp_path: Path,
    full_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    """So it is on a full disk, and the file can be closed afterwards without another error."""
    path = tmp_path / "container"
    data = wanted(tmp_path, "npz")
    begin = bytes(100_000)
    with open(path, mode, buffering=buffering) as file:
        file.write(begin)
        with full_disk(100_000 + len(data) // 2):
            with pytest.raises(UnwritableFile, match=r"container'>: .*\. The file is as it was"):
                initreg.save(file, ARRAYS, format="npz")
            assert path.read_bytes() == begin
            assert file.tell() == len(begin)
        initreg.save(file, ARRAYS, format="npz")
    assert path.read_bytes() == begin + data


def test_a_pipe_that_nobody_reads() -> None:
    """What was sent cannot be taken back, and the error says how much it was."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb", buffering=0) as writer:
        refused(writer, r"writing failed after 0 of [\d,]+ bytes: BrokenPipeError", UnwritableFile)
    read, write = os.pipe()
    os.set_blocking(write, False)
    with open(read, "rb"), open(write, "wb", buffering=0) as writer:
        with pytest.raises(
            UnwritableFile, match=r"after 65,536 of .*blocking.*cannot be taken back"
        ):
            initreg.save(writer, LARGE, format="npz")


def test_a_member_that_fails(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    """The archive does not list a member that is not complete, and takes others afterwards."""
    path = tmp_path / "all.zip"
    for mode in ("w", "a"):
        size = len(wanted(tmp_path, "npz"))
        with zipfile.ZipFile(path, mode) as archive:  # type: ignore[arg-type]
            archive.writestr(f"{mode}/first", bytes(100_000))
            with full_disk(archive.start_dir + size // 2):
                member = zipfile.Path(archive, f"{mode}/m.npz")
                with pytest.raises(UnwritableFile, match=r"m\.npz: writing failed.*does not list"):
                    initreg.save(member, ARRAYS)
            initreg.save(zipfile.Path(archive, f"{mode}/n.npz"), ARRAYS)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            names = [
                f"{each}/{name}"
                for each in "wa"[: "wa".index(mode) + 1]
                for name in ("first", "n.npz")
            ]
            assert archive.namelist() == names
        assert same(initreg.load(zipfile.Path(path, f"{mode}/n.npz")))


def test_interrupted(tmp_path: Path) -> None:
    """After Ctrl-C the file is as it was, too."""

    class Interrupted(io.BytesIO):
        def write(self, data: Any) -> int:
            super().write(data[:10])
            raise KeyboardInterrupt

    file = Interrupted(b"before")
    file.seek(0, 2)
    with pytest.raises(KeyboardInterrupt):
        initreg.save(file, ARRAYS, format="npz")
    assert (file.getvalue(), file.tell()) == (b"before", 6)


def test_a_file_that_cannot_be_cut_off() -> None:
    """Then the error says where to cut it."""

    class Full_(Full):
        def truncate(self, size: int | None = None) -> int:
            raise OSError("not here")

    with pytest.raises(UnwritableFile, match=r"cannot be cut off: .*not here\. Call truncate\(0\)"):
        initreg.save(Full_(), LARGE, format="npz")


def test_a_buffer_that_is_in_use() -> None:
    """A BytesIO whose memory somebody holds refuses the first byte, and is as it was."""
    file = io.BytesIO(b"before")
    file.seek(0, 2)
    with file.getbuffer(), pytest.raises(UnwritableFile, match=r"BufferError.*is as it was"):
        initreg.save(file, ARRAYS, format="npz")
    assert (file.getvalue(), file.tell()) == (b"before", 6)


@pytest.mark.framework
def test_a_file_of_tensorflow(tmp_path: Path) -> None:
    """A GFile, whose errors are TensorFlow's own, takes what is saved."""
    import tensorflow as tf

    with tf.io.gfile.GFile(str(tmp_path / "m.npz"), "wb") as file:
        initreg.save(file, ARRAYS, format="npz")
    assert (tmp_path / "m.npz").read_bytes() == wanted(tmp_path, "npz")


def test_by_the_name_of_tensorpack(tmp_path: Path) -> None:
    """save_chkpt_vars takes an open file whose name says the format."""
    with open(tmp_path / "m.npz", "wb") as file:
        save_chkpt_vars({f"{name}:0": array for name, array in ARRAYS.items()}, file)  # type: ignore[arg-type]
    assert same(initreg.load(tmp_path / "m.npz"))
    with pytest.raises(UnknownFormat, match="its name does not say in which format"):
        save_chkpt_vars(ARRAYS, io.BytesIO())  # type: ignore[arg-type]


def test_nothing_is_left_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary file goes, whether the save succeeds or fails."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    initreg.save(io.BytesIO(), ARRAYS, format="npz")
    with pytest.raises(UnwritableFile):
        initreg.save(Full(), LARGE, format="h5")
    assert list(tmp_path.iterdir()) == []
