"""Whatever is handed in, one clear InitregError comes out and nothing is written."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg import InitregError, SmartInit

SUFFIXES = [".npz", ".npy", ".h5", ".weights.h5", ".keras", ".safetensors", ".index"]
SUFFIXES += [".safetensors.index.json", ".data-00000-of-00001", ".bin", ""]
suffixes = pytest.mark.parametrize("suffix", SUFFIXES, ids=[s or "none" for s in SUFFIXES])

CONTENTS = {
    "empty": b"",
    "one byte": b"\0",
    "text": b"these are not weights\n" * 50,
    "zeros": b"\0" * 5000,
    "ones": b"\xff" * 5000,
    "noise": np.random.default_rng(0).bytes(5000),
    "zip head": b"PK\x03\x04" + b"\0" * 100,
    "npy head": b"\x93NUMPY\x01\x00",
    "hdf5 head": b"\x89HDF\r\n\x1a\n" + b"\0" * 100,
    "json": b"{}",
    "header length": (1 << 62).to_bytes(8, "little") + b"{",
    "leveldb foot": b"\0" * 40 + 0xDB4775248B80FB57.to_bytes(8, "little"),
}


def refuse(source):
    """The one error that opening, planning and restoring raise; nothing is written."""
    target = {"a": np.full(3, 5.0)}
    for act in (initreg.open, SmartInit(source).plan, SmartInit(source).init):
        with pytest.raises(InitregError) as caught:
            act(target if act is not initreg.open else source)
        # A data file's own index may be what is wrong, and is named before it.
        assert str(source.parent) in str(caught.value)
        assert source.name in str(caught.value)
        assert "\n  File" not in str(caught.value)
    assert target["a"].tolist() == [5, 5, 5]
    return caught.value


@suffixes
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_files_that_are_no_weights(tmp_path, suffix, content):
    """Empty, truncated and foreign files of every suffix are refused, naming the file."""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    refuse(path)


@suffixes
def test_missing_files(tmp_path, suffix):
    """A path that does not exist is a FileNotFoundError."""
    assert isinstance(refuse(tmp_path / f"model{suffix}"), FileNotFoundError)


@suffixes
def test_folders(tmp_path, suffix):
    """An empty folder, whatever its name, and one with a stray file are refused."""
    path = tmp_path / f"model{suffix}"
    path.mkdir()
    refuse(path)
    (path / "readme.txt").write_text("hello")
    refuse(path)


@suffixes
def test_the_content_decides_and_not_the_suffix(tmp_path, suffix):
    """An npz is opened as an npz, whatever its name."""
    np.savez(tmp_path / "m.npz", a=np.ones(3))
    path = (tmp_path / "m.npz").rename(tmp_path / f"other{suffix}")
    with initreg.open(path) as arrays:
        assert arrays.format == "npz"
        assert arrays["a"].read().tolist() == [1, 1, 1]


@pytest.fixture
def public_folder():
    """A folder that any user may enter; pytest's own are its user's alone."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def unprivileged():
    """As a user without rights: root reads everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


@suffixes
def test_unreadable_files(public_folder, suffix, request):
    """A file without read permission is an OSError that says so."""
    path = public_folder / f"model{suffix}"
    np.savez(public_folder / "m.npz", a=np.ones(3))
    (public_folder / "m.npz").rename(path)
    initreg.load(path)  # imports all that is needed while it can be read
    path.chmod(0)
    request.getfixturevalue("unprivileged")
    error = refuse(path)
    assert isinstance(error, OSError)
    assert "Permission denied" in str(error)


def test_unreadable_folders(public_folder, request):
    """A folder that cannot be listed is an error of the same class."""
    folder = public_folder / "model"
    folder.mkdir(mode=0)
    initreg.load({"a": 1})
    request.getfixturevalue("unprivileged")
    assert "Permission denied" in str(refuse(folder))


@pytest.mark.parametrize("source", [3, 2.5, object(), {1, 2}, np.zeros(3), b"bytes"])
def test_objects_that_are_no_source(source):
    """Numbers, sets and bare arrays are refused, with the name of their type."""
    name = type(source).__name__
    with pytest.raises(InitregError, match=rf"^{name}\b.*\. This is of type {name}\."):
        SmartInit(source).init({"a": np.zeros(3)})


@suffixes
@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\n<!doctype html><title>Not found</title>", "a web page, not the file"),
    ],
    ids=["git-lfs", "html"],
)
def test_what_came_instead_of_the_file(tmp_path, suffix, content, remedy):
    """A Git LFS pointer or a web page in place of a model is recognised, and the error says so."""
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    assert remedy in str(refuse(path))
