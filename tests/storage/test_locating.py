"""What a user may pass as a source, and what each is."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

import initreg
from initreg import InitregError, MissingLibrary, SourceNotFound, StorePath, UnknownFormat
from initreg.storage.locating import is_url, locate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/x.npz", True),
        ("HTTPS://host/x", True),
        ("simplecache::https://host/x", True),
        ("zip://m.npz::s3://b/a.zip", True),
        ("file:///tmp/x", True),
        ("model.npz", False),
        ("/a//b", False),
        ("a::b", False),
        ("C:/x", False),
        ("./s3://x", False),
        ("", False),
    ],
)
def test_is_url(text: str, expected: bool) -> None:
    """Only what begins as a URL is one."""
    assert is_url(text) is expected


def test_local_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """str, Path, file:// and a local UPath are absolute local paths."""
    monkeypatch.chdir(tmp_path)
    expected = tmp_path / "m.npz"
    for given in ("m.npz", Path("m.npz"), f"file://{expected}", UPath("m.npz"), UPath(expected)):
        found = locate(given)
        assert found is not None
        assert found.path == expected, given
        assert isinstance(found.path, Path)


def test_other_objects_are_no_files() -> None:
    """A mapping, a number, a class or a list is not looked at as a file."""
    for given in ({"a": 1}, 5, None, [1], np.zeros(3), io.BytesIO, object()):
        assert locate(given) is None


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("s3://bucket/m.npz", "s3://bucket/m.npz"),
        ("gs://bucket/ckpt", "gs://bucket/ckpt"),
        ("https://host/m.safetensors?sig=x", "https://host/m.safetensors"),
        ("hf://org/model/m.safetensors", "hf://org/model/m.safetensors"),
    ],
)
def test_without_the_library_the_error_is_the_command(url: str, named: str) -> None:
    """Where fsspec is not installed, a URL gives the command to type, and nothing else is tried."""
    code = f"""
import sys
sys.modules["fsspec"] = None
import initreg
try:
    initreg.open({url!r})
except initreg.MissingLibrary as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert done.stdout == f"{named}: reading URLs needs fsspec: pip install 'initreg[remote]'\n"


def test_fsspec_is_imported_for_a_url_only(tmp_path: Path) -> None:
    """A local restore imports neither fsspec nor a library for the network."""
    initreg.save(tmp_path / "m.npz", {"w": np.arange(3)})
    code = f"""
import sys, initreg
initreg.load({str(tmp_path / "m.npz")!r})
print([name for name in ("fsspec", "aiohttp", "urllib.request", "asyncio") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert done.stdout == "[]\n", done.stderr


def test_a_file_system_whose_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec knows many stores, and what to install for each."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingLibrary, match=r"s3://bucket/m.npz: .*pip install s3fs"):
        initreg.open("s3://bucket/m.npz")


def test_an_unknown_scheme() -> None:
    """A scheme that fsspec does not know is named."""
    with pytest.raises(SourceNotFound, match="nosuch"):
        initreg.open("nosuch://bucket/m.npz")


def test_a_url_that_became_a_path() -> None:
    """pathlib removes a slash of a URL, which is told rather than searched on the disk."""
    with pytest.raises(SourceNotFound, match=r"looks like a URL that has become a pathlib\.Path"):
        initreg.open(Path("s3://bucket/m.npz"))


def test_storage_options_are_for_urls(tmp_path: Path) -> None:
    """Options that would have no effect are an error, and so are those that are no dict."""
    initreg.save(tmp_path / "m.npz", {"w": np.arange(3)})
    for given in (tmp_path / "m.npz", str(tmp_path / "m.npz"), {"w": np.arange(3)}):
        with pytest.raises(InitregError, match=r"storage_options.*these are for URLs"):
            initreg.open(given, storage_options={"anon": True})
    with pytest.raises(InitregError, match=r"storage_options.*no source is one"):
        initreg.load([tmp_path / "m.npz", tmp_path / "m.npz"], storage_options={"anon": True})
    with pytest.raises(InitregError, match=r"give a dict\. This is of type str"):
        initreg.open("memory://x", storage_options="anon")  # type: ignore[arg-type]


def test_storage_options_reach_the_file_system() -> None:
    """They are what fsspec makes its file system with, and no message shows them."""
    seen = {}

    class Special(MemoryFileSystem):  # type: ignore[misc]
        protocol = "special"

        def __init__(self, *args: Any, **options: Any) -> None:
            seen.update(options)
            super().__init__(*args, **options)

    fsspec.register_implementation("special", Special, clobber=True)
    with pytest.raises(SourceNotFound) as caught:
        initreg.open("special://a/m.npz", storage_options={"token": "very-secret"})
    assert seen["token"] == "very-secret"
    assert "very-secret" not in str(caught.value)


def test_files_that_cannot_be_read_in_parts(tmp_path: Path) -> None:
    """Text files, closed files and pipes are refused with what to do."""
    path = tmp_path / "m.npz"
    initreg.save(path, {"w": np.arange(3)})
    with open(path, encoding="latin-1") as text, pytest.raises(InitregError, match="mode 'rb'"):
        initreg.open(text)
    with open(path, "rb") as closed:
        pass
    with pytest.raises(InitregError, match="the file is closed"):
        initreg.open(closed)
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe, pytest.raises(InitregError, match="cannot seek"):
        initreg.open(pipe)
    with pytest.raises(InitregError, match="Unpack it first"):
        initreg.open(fsspec.open(str(path), compression="gzip"))


def test_a_gzip_file_is_read_unpacked(tmp_path: Path) -> None:
    """An open GzipFile gives the bytes that it unpacks, not those of its descriptor."""
    initreg.save(tmp_path / "m.npz", {"w": np.arange(3)})
    with gzip.open(tmp_path / "m.npz.gz", "wb") as packed:
        packed.write((tmp_path / "m.npz").read_bytes())
    with gzip.open(tmp_path / "m.npz.gz") as file:
        assert np.array_equal(initreg.load(file)["w"], np.arange(3))


def test_a_file_that_changes_while_it_is_open(tmp_path: Path) -> None:
    """A file that a program writes to after the first look is noticed."""
    path = tmp_path / "m.npz"
    initreg.save(path, {"w": np.arange(300_000)})
    with open(path, "rb") as file, initreg.open(file) as arrays:
        with open(path, "r+b") as other:
            other.seek(1_200_000)
            other.write(b"\0\1\2\3")
        os.utime(path, ns=(1, 1))
        with pytest.raises(InitregError, match="was replaced or written to"):
            np.asarray(arrays["w"])


def test_a_file_that_was_closed(tmp_path: Path) -> None:
    """Arrays of a file that its owner has closed cannot be read, and that is what is said."""
    path = tmp_path / "m.npz"
    initreg.save(path, {"w": np.arange(30_000)})
    with open(path, "rb") as file:
        arrays = initreg.open(file)
    with pytest.raises(InitregError, match="the file was closed"):
        np.asarray(arrays["w"])


def test_an_object_that_is_no_source() -> None:
    """What can be a source is said to whoever passes something else."""
    with pytest.raises(UnknownFormat, match="opens paths, URLs, open binary files, mappings"):
        initreg.open(5)


def test_paths_in_a_store() -> None:
    """A StorePath has the names, parents and endings that a pathlib.Path has."""
    found = locate("memory://a/b/m.tar.npz")
    assert found is not None
    path = found.path
    assert isinstance(path, StorePath)
    assert (path.name, path.stem, path.suffix) == ("m.tar.npz", "m.tar", ".npz")
    assert str(path) == "memory://a/b/m.tar.npz"
    assert str(path.parent) == "memory://a/b"
    assert path.with_name("n") == path.parent / "n" != path
    assert len({path, path.parent / "m.tar.npz"}) == 1
    assert (path.exists(), path.is_file(), path.is_dir()) == (False, False, False)
    assert re.fullmatch(r"StorePath\('memory://a/b/m\.tar\.npz'\)", repr(path))


def test_what_was_not_flushed_is_read(tmp_path: Path) -> None:
    """An open file that was written to is read with what its buffer holds."""
    initreg.save(tmp_path / "m.npz", {"w": np.arange(3)})
    with open(tmp_path / "new", "w+b") as file:
        file.write((tmp_path / "m.npz").read_bytes())
        assert np.array_equal(initreg.load(file)["w"], np.arange(3))
