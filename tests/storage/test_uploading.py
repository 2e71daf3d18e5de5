"""Saves to a URL: complete or absent, data first and the index last."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from upath import UPath

import initreg
from initreg import InitregError, UnwritableFile

ARRAYS = {f"layer_{i}/kernel": np.full((100, 50), i, "f4") for i in range(20)}


class Recording(MemoryFileSystem):  # type: ignore[misc]
    """A store that says what was done to it, and that can be broken."""

    protocol = "recording"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]
    done: list[str] = []
    broken: str | None = None
    cut: str | None = None

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("recording://").strip("/")

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        if self.broken is not None and self.broken in rpath:
            raise OSError("the disk of the store is full")
        type(self).done.append(f"put {rpath}")
        super().put_file(lpath, rpath, **options)
        if self.cut is not None and self.cut in rpath:
            self.pipe_file(rpath, self.cat_file(rpath)[:-1])

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        type(self).done.append(f"mv {path2}")
        super().mv(path1, path2, **options)

    def rm_file(self, path: str) -> None:
        type(self).done.append(f"rm {path}")
        super()._rm(path)


fsspec.register_implementation("recording", Recording, clobber=True)


@pytest.fixture
def fs() -> Iterator[Recording]:
    found = fsspec.filesystem("recording")
    Recording.store.clear()
    Recording.done.clear()
    Recording.broken = Recording.cut = None
    yield found
    Recording.store.clear()


def names(fs: Recording) -> list[str]:
    return sorted(fs.store)


@pytest.mark.parametrize("name", ["m.npz", "m.safetensors", "m.h5", "m.ckpt"])
def test_what_is_saved_opens(name: str, fs: Recording) -> None:
    """A save gives the URL that opens it, and so does the next save over it."""
    for step in range(3):
        arrays = {**ARRAYS, "step": np.int64([step])}
        url = initreg.save(f"recording://run/{name}", arrays)
        assert url == f"recording://run/{name}"
        found = initreg.load(url)
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[key], array) for key, array in arrays.items())
    assert len(names(fs)) == (2 if name == "m.ckpt" else 1)


def test_a_upath_is_a_destination(fs: Recording) -> None:
    """A UPath is saved to as its URL is."""
    path = UPath("memory://of_a_test/m.npz")
    assert initreg.save(path, ARRAYS) == "memory:///of_a_test/m.npz"
    assert initreg.load(path).keys() == ARRAYS.keys()
    path.unlink()


def test_a_store_path_is_a_source_and_a_destination(fs: Recording) -> None:
    """What ``resume`` returns for a run in a store is taken wherever a path is: by errors with
    hints, whose code names no path, by save and convert, and by SaverRestore."""
    for step in (1, 2):
        initreg.save_states(f"recording://run/m-{step}.npz", step=step)
        initreg.save(f"recording://run/m-{step}.npz", {"a/w": np.ones((2, 3)), "a/b": np.ones(2)})
    point = initreg.resume("recording://run")
    assert point is not None
    with pytest.raises(initreg.NothingMatched, match=r"SmartInit\(source, rename=\[\("):
        initreg.SmartInit(point.path).init({"x/w": np.zeros((2, 3)), "x/b": np.zeros(2)})
    with pytest.raises(initreg.MismatchError, match=r'SmartInit\(source, transpose=\["a/w"\]\)'):
        initreg.SmartInit(point.path).init({"a/w": np.zeros((3, 2)), "a/b": np.zeros(2)})
    plan = initreg.SmartInit([point.path, {"a/b": np.ones(2)}]).plan({"a/w": np.zeros((3, 2))})
    assert "SmartInit(source[0], transpose=" in str(plan)
    url = initreg.save(point.path.with_name("other.npz"), {"w": np.ones(3)})
    assert url == "recording://run/other.npz"
    url = initreg.convert(point.path, point.path.with_name("m.safetensors"))
    assert url == "recording://run/m.safetensors"
    assert initreg.SaverRestore(point.path).path == "recording://run/m-2.npz"
    model = {"a/w": np.zeros((2, 3)), "a/b": np.zeros(2)}
    initreg.SaverRestore(point.path).init(model)
    assert model["a/w"].all()


def test_a_file_url_is_local(tmp_path: Path) -> None:
    """file:// is saved to as the local path is."""
    assert initreg.save(f"file://{tmp_path}/m.npz", ARRAYS) == tmp_path / "m.npz"
    assert initreg.load(tmp_path / "m.npz").keys() == ARRAYS.keys()


def test_nobody_sees_a_part_of_a_file(fs: Recording) -> None:
    """A store that shows files while they grow gets them under a hidden name first."""
    initreg.save("recording://run/m.npz", ARRAYS)
    assert re.fullmatch(r"put /run/\.initreg-\w+-m\.npz", fs.done[0])
    assert fs.done[-1] == "mv /run/m.npz" or "mv /run/m.npz" in fs.done
    assert names(fs) == ["/run/m.npz"]


def test_the_index_comes_last_and_old_files_go_after_it(fs: Recording) -> None:
    """New data files have new names, so that the old save is complete until the index is there."""
    first = initreg.save("recording://run/m.safetensors", ARRAYS, shard_size="100KB")
    old = [name for name in names(fs) if "-of-" in name]
    fs.done.clear()
    second = initreg.save(
        "recording://run/m.safetensors",
        {name: array + 1 for name, array in ARRAYS.items()},
        shard_size="100KB",
    )
    assert first == second == "recording://run/m.safetensors.index.json"
    moved = [each.removeprefix("mv ") for each in fs.done if each.startswith("mv ")]
    assert moved[-1] == "/run/m.safetensors.index.json"
    assert not set(moved[:-1]).intersection(old)
    removed = [at for at, each in enumerate(fs.done) if each.removeprefix("rm ") in old]
    assert len(removed) == len(old)
    assert min(removed) > fs.done.index("mv /run/m.safetensors.index.json")
    assert np.array_equal(initreg.load(second)["layer_3/kernel"], ARRAYS["layer_3/kernel"] + 1)


@pytest.mark.parametrize("broken", ["-00002-of-", "index.json"])
def test_a_failed_upload_changes_nothing(broken: str, fs: Recording) -> None:
    """The previous save can be opened, and nothing of the new one is left."""
    url = initreg.save("recording://run/m.safetensors", ARRAYS, shard_size="100KB")
    before = dict(fs.store)
    Recording.broken = broken
    with pytest.raises(UnwritableFile, match=r"recording://run/m.*the disk of the store is full"):
        initreg.save(
            "recording://run/m.safetensors",
            {name: array + 1 for name, array in ARRAYS.items()},
            shard_size="100KB",
        )
    assert dict(fs.store) == before
    assert np.array_equal(initreg.load(url)["layer_3/kernel"], ARRAYS["layer_3/kernel"])


def test_an_upload_that_is_not_complete_changes_nothing(fs: Recording) -> None:
    """A store that loses a part of a data file is noticed before the index is replaced."""
    url = initreg.save("recording://run/m.safetensors", ARRAYS, shard_size="100KB")
    before = dict(fs.store)
    Recording.cut = "-00002-of-"
    with pytest.raises(UnwritableFile, match=r"00002-of-.*was uploaded, but the store has no"):
        initreg.save(
            "recording://run/m.safetensors",
            {name: array + 1 for name, array in ARRAYS.items()},
            shard_size="100KB",
        )
    assert dict(fs.store) == before
    assert np.array_equal(initreg.load(url)["layer_3/kernel"], ARRAYS["layer_3/kernel"])


def test_a_save_that_fails_uploads_nothing(fs: Recording) -> None:
    """What the format cannot store is an error that names the URL, before anything is uploaded."""
    with pytest.raises(InitregError, match=r"recording://run/m\.safetensors") as caught:
        initreg.save("recording://run/m.safetensors", {"w": np.zeros(3, "c16"), "": np.zeros(2)})
    assert "/tmp" not in str(caught.value)
    assert fs.done == []


def test_a_manifest_describes_what_is_there(fs: Recording) -> None:
    """The old manifest goes before the new data, and the new one comes after it."""
    initreg.save("recording://run/m.npz", ARRAYS, manifest=True)
    fs.done.clear()
    initreg.save("recording://run/m.npz", ARRAYS, manifest=True)
    assert fs.done[0] == "rm /run/m.npz.manifest.json"
    moved = [each for each in fs.done if each.startswith("mv ")]
    assert moved == ["mv /run/m.npz", "mv /run/m.npz.manifest.json"]


def test_convert_between_stores(fs: Recording, tmp_path: Path) -> None:
    """convert reads one URL and writes another, in another format."""
    initreg.save("recording://run/m.npz", ARRAYS)
    url = initreg.convert("recording://run/m.npz", "recording://other/m.safetensors", drop="*_1*")
    found = initreg.load(url)
    assert sorted(found) == sorted(name for name in ARRAYS if "_1" not in name)


def test_what_cannot_be_written_to(tmp_path: Path) -> None:
    """A web server, a folder and a name without an extension are refused with what to do."""
    with pytest.raises(UnwritableFile, match="such a store cannot be written to"):
        initreg.save("http://127.0.0.1:9/m.npz", ARRAYS)
    with pytest.raises(InitregError, match="no format has this file extension"):
        initreg.save("recording://run/", ARRAYS)
