"""Every format of initreg from every place: the arrays are those of the local file."""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pytest
from upath import UPath

import initreg
from initreg import DamagedFile, LocalOnly
from tests.storage.web_server import WebServer, serving

rng = np.random.default_rng(0)
ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    f"block/layer_{i}/kernel": rng.normal(size=(30, 20)).astype("f4") for i in range(25)
}
ARRAYS["step"] = np.int64(7)[None]
ARRAYS["empty"] = np.zeros((0, 3), "f4")
ARRAYS["large"] = rng.normal(size=(700, 1000)).astype("f4")


def _chunked(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name, array in ARRAYS.items():
            packed = {"compression": "gzip", "shuffle": True, "chunks": True} if array.size else {}
            file.create_dataset(name, data=array, **packed)


def _latest(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        for name, array in ARRAYS.items():
            file[name] = array


def _keras_archive(path: Path) -> None:
    inner = path.with_name("inner.h5")
    with h5py.File(inner, "w") as file:
        for name, array in ARRAYS.items():
            file[name] = array
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {}}))
        archive.write(inner, "model.weights.h5")
    inner.unlink()


# By the name of the file: how it is written.
WRITERS: dict[str, Callable[[Path], object]] = {
    "m.npz": lambda path: initreg.save(path, ARRAYS),
    "packed.npz": lambda path: initreg.save(path, ARRAYS, compress=True),
    "m.safetensors": lambda path: initreg.save(path, ARRAYS),
    "m.h5": lambda path: initreg.save(path, ARRAYS),
    "chunked.h5": _chunked,
    "latest.h5": _latest,
    "m.keras": _keras_archive,
    "m.ckpt": lambda path: initreg.save(path, ARRAYS),
}
IN_ONE_FILE = [name for name in WRITERS if name != "m.ckpt"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``ARRAYS`` in every format."""
    folder = tmp_path_factory.mktemp("formats")
    for name, write in WRITERS.items():
        write(folder / name)
    return folder


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[WebServer]:
    with serving(folder) as server:
        yield server


@pytest.fixture(scope="module")
def memory(folder: Path) -> Iterator[str]:
    """The folder in fsspec's memory."""
    fs = fsspec.filesystem("memory")
    for path in folder.iterdir():
        fs.pipe(f"/models/{path.name}", path.read_bytes())
    yield "memory://models/"
    fs.rm("/models", recursive=True)


def check(found: dict[str, np.ndarray[Any, Any]]) -> None:
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array), name


@pytest.mark.parametrize("name", WRITERS)
def test_over_http(name: str, web: WebServer) -> None:
    """A URL of a web server gives the arrays of the file."""
    check(initreg.load(web.url + name))


@pytest.mark.parametrize("name", WRITERS)
def test_in_an_fsspec_store(name: str, memory: str) -> None:
    """So does a URL of any file system of fsspec."""
    check(initreg.load(memory + name))


@pytest.mark.parametrize("name", WRITERS)
def test_as_upath(name: str, memory: str, folder: Path) -> None:
    """So does a UPath, local or not."""
    check(initreg.load(UPath(memory + name)))
    check(initreg.load(UPath(folder / name)))


@pytest.mark.parametrize("name", IN_ONE_FILE)
def test_from_an_open_file(name: str, folder: Path) -> None:
    """An open file, buffered or not, is read at any position, which stays where it was."""
    for buffering in (-1, 0):
        with open(folder / name, "rb", buffering=buffering) as file:
            file.seek(5)
            check(initreg.load(file))
            assert file.tell() == 5


@pytest.mark.parametrize("name", IN_ONE_FILE)
def test_from_bytes_in_memory(name: str, folder: Path) -> None:
    """BytesIO is read as a file is."""
    check(initreg.load(io.BytesIO((folder / name).read_bytes())))


# fsspec and zipfile.Path close the archive when they are garbage.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_in_a_zip_archive(packing: int, folder: Path, tmp_path: Path) -> None:
    """A file in an archive is read through zipfile.Path and through fsspec's zip://."""
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w", packing) as archive:
        for each in folder.iterdir():
            archive.write(each, f"models/{each.name}")
    for name in WRITERS:
        if name != "m.ckpt":  # a prefix is nothing in an archive
            check(initreg.load(zipfile.Path(path, f"models/{name}")))
        check(initreg.load(f"zip://models/{name}::file://{path}"))


def test_of_a_package_in_an_archive(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """A resource of a package that is imported from a zip archive is read."""
    import importlib.resources

    path = tmp_path / "packed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights_of_a_test/__init__.py", "")
        archive.write(folder / "m.safetensors", "weights_of_a_test/m.safetensors")
    monkeypatch.syspath_prepend(str(path))
    resource = importlib.resources.files("weights_of_a_test") / "m.safetensors"
    check(initreg.load(resource))


def test_a_file_url(folder: Path) -> None:
    """file:// is the local file, for which no library is needed."""
    check(initreg.load(f"file://{folder / 'm.npz'}"))
    assert initreg.open(f"file://{folder / 'm.npz'}", mmap=True)["large"].shape == (700, 1000)


def test_a_downloading_cache(web: WebServer) -> None:
    """A chained URL of fsspec goes through its cache."""
    check(initreg.load(f"simplecache::{web.url}m.safetensors"))


def test_a_folder_in_a_store(folder: Path) -> None:
    """A folder, a pattern, a state file and a SavedModel's variables are found in a store."""
    fs = fsspec.filesystem("memory")
    for name in ("m.ckpt.index", "m.ckpt.data-00000-of-00001"):
        fs.pipe(f"/run/{name}", (folder / name).read_bytes())
        fs.pipe(
            f"/saved/variables/{name.replace('m.ckpt', 'variables')}", (folder / name).read_bytes()
        )
    fs.pipe("/saved/saved_model.pb", b"\x08\x01")
    fs.pipe("/run/checkpoint", b'model_checkpoint_path: "/home/somebody/run/m.ckpt"\n')
    try:
        check(initreg.load("memory://run"))
        check(initreg.load("memory://run/checkpoint"))
        check(initreg.load("memory://saved"))
        assert str(initreg.open("memory://run").path) == "memory://run/m.ckpt"
    finally:
        fs.rm("/run", recursive=True)
        fs.rm("/saved", recursive=True)


def test_a_state_file_never_leads_out_of_a_store(folder: Path) -> None:
    """The state file of a stranger's bucket does not open a checkpoint of this disk."""
    fs = fsspec.filesystem("memory")
    state = f'model_checkpoint_path: "{folder / "m.ckpt"}"\n'
    fs.pipe("/alone/checkpoint", state.encode())
    try:
        with pytest.raises(initreg.InitregError, match="does not exist"):
            initreg.open("memory://alone")
    finally:
        fs.rm("/alone", recursive=True)


def test_a_set_of_parts_in_a_store(tmp_path: Path) -> None:
    """Index, one part, pattern and folder open the whole set, and a missing part is an error."""
    initreg.save(tmp_path / "w.safetensors", ARRAYS, shard_size="1MB")
    fs = fsspec.filesystem("memory")
    for path in tmp_path.iterdir():
        fs.pipe(f"/parts/{path.name}", path.read_bytes())
    parts = sorted(path.name for path in tmp_path.glob("*-of-*"))
    try:
        for name in ("", "w.safetensors.index.json", parts[0], "w-*-of-*.safetensors"):
            check(initreg.load(f"memory://parts/{name}"))
        check(initreg.load([f"memory://parts/{name}" for name in parts]))
        fs.rm(f"/parts/{parts[1]}")
        for name in ("", "w.safetensors.index.json", parts[0]):
            with pytest.raises(DamagedFile, match=f"missing.*{parts[1]}|{parts[1]}.*missing"):
                initreg.open(f"memory://parts/{name}")
    finally:
        fs.rm("/parts", recursive=True)


@pytest.mark.parametrize("name", WRITERS)
def test_planning_reads_only_headers(name: str, web: WebServer) -> None:
    """Opening takes at most 1 MB, or for a .keras file its checksum, and no byte twice."""
    web.clear()
    with initreg.open(web.url + name) as arrays:
        assert len(arrays) == len(ARRAYS)
        if name != "m.keras":
            assert web.sent < 400_000
        web.clear()
        check({name: np.asarray(array) for name, array in arrays.items()})


@pytest.mark.parametrize("name", ["m.npz", "packed.npz", "m.safetensors", "m.ckpt"])
def test_few_requests(name: str, web: WebServer) -> None:
    """Small arrays that lie side by side take one request together."""
    web.clear()
    check(initreg.load(web.url + name))
    assert len(web.requests) < 20


def test_damage_is_found_in_a_store(folder: Path) -> None:
    """A checksum that does not match is the same error as for a local file."""
    data = bytearray((folder / "m.npz").read_bytes())
    data[len(data) // 2] ^= 1
    with pytest.raises(DamagedFile, match="fails its crc32"):
        initreg.load(io.BytesIO(data))


@pytest.mark.parametrize("name", IN_ONE_FILE)
def test_a_truncated_file_in_memory(name: str, folder: Path) -> None:
    """A file that ends too early never becomes a model."""
    data = (folder / name).read_bytes()
    for size in (0, 1, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(initreg.InitregError):
            initreg.load(io.BytesIO(data[:size]), format=initreg.probe(folder / name).winner)


def test_what_needs_a_local_file_says_so(folder: Path) -> None:
    """A plugin that opens the path itself gets an error with the remedy, and no other file."""
    source = initreg.Source(io.BytesIO((folder / "m.npz").read_bytes()))
    assert not source.is_local
    with pytest.raises(LocalOnly, match="only a local file can be read so"):
        open(source.path)  # type: ignore[arg-type]  # noqa: SIM115
    with pytest.raises(LocalOnly):
        os.stat(source.path)  # type: ignore[arg-type]
    with pytest.raises(LocalOnly):
        shutil.copy(source.path, folder / "copy")  # type: ignore[arg-type]


def test_a_restore_from_a_url(web: WebServer) -> None:
    """SmartInit fills a target from a URL, in a chain with other sources."""
    target = {name: np.zeros_like(array) for name, array in ARRAYS.items()}
    step = np.int64([9])
    initreg.SmartInit([f"{web.url}m.npz", {"step": step}]).init(target)
    check({**target, "step": ARRAYS["step"]})
    assert target["step"] == 9
