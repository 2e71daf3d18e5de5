"""Full disks, folders that are read-only, permissions: one error, and what stood there stands."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import UnwritableFile

ARRAYS = {f"layer{i}": np.random.default_rng(i).random(20_000, "f4") for i in range(4)}
SAVES: list[tuple[str, dict[str, Any]]] = [
    ("m.npz", {}),
    ("m.npz", {"compress": True}),
    ("m.safetensors", {}),
    ("m.safetensors", {"shard_size": 100_000}),
    ("m.h5", {}),
    ("m.h5", {"compress": True}),
    ("m.ckpt", {}),
]
each_save = pytest.mark.parametrize(("name", "options"), SAVES)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@each_save
def test_a_disk_that_is_full_after_so_many_bytes(
    tmp_path: Path,
    name: str,
    options: dict[str, Any],
    full_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Wherever in the file it happens, the old stands, whole, and nothing else is left."""
    opened_by = initreg.save(tmp_path / name, {"old": np.ones(3)}, manifest=True, **options)
    before = content(tmp_path)
    size = max(map(len, before.values()))
    for nbytes in (0, 1, 100, 5_000, 70_000):
        with (
            full_disk(nbytes),
            pytest.raises(UnwritableFile, match="Nothing was changed") as caught,
        ):
            initreg.save(tmp_path / name, ARRAYS, manifest=True, **options)
        assert str(tmp_path / name) in str(caught.value)
        assert content(tmp_path) == before
    assert initreg.verify(opened_by).ok
    with full_disk(10_000_000):
        initreg.save(tmp_path / name, ARRAYS, manifest=True, **options)
    assert size < max(map(len, content(tmp_path).values()))


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that any user may enter; pytest's own are its user's alone."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o777)
    yield made
    made.chmod(0o777)
    shutil.rmtree(made)


@pytest.fixture
def unprivileged() -> Iterator[Callable[[], None]]:
    """Go on as a user without rights, until the test ends: root writes everywhere."""
    before = os.geteuid()
    "".encode("cp437")  # names in zip archives; Python may not be able to import it then
    yield lambda: os.seteuid(65534) if before == 0 else None
    os.seteuid(before)


@each_save
def test_a_folder_that_cannot_be_written(
    folder: Path, name: str, options: dict[str, Any], unprivileged: Callable[[], None]
) -> None:
    """The error says so and names the file; what is there can still be read."""
    opened_by = initreg.save(folder / name, ARRAYS, **options)
    before = content(folder)
    folder.chmod(0o555)
    unprivileged()
    with pytest.raises(UnwritableFile, match=r"Permission denied\. Nothing was changed") as caught:
        initreg.save(folder / name, {"new": np.ones(3)}, **options)
    assert str(folder / name) in str(caught.value)
    assert content(folder) == before
    assert set(initreg.load(opened_by)) == set(ARRAYS)


def test_a_file_of_somebody_else_is_replaced_only_by_who_may(
    folder: Path, unprivileged: Callable[[], None]
) -> None:
    """In a folder with the sticky bit, as /tmp is, the rename is refused; the old stands."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of another user")
    folder.chmod(0o1777)
    path = initreg.save(folder / "m.npz", {"old": np.ones(3)})
    before = content(folder)
    unprivileged()
    with pytest.raises(UnwritableFile, match=r"not permitted\. Nothing was changed"):
        initreg.save(path, {"new": np.ones(3)})
    assert content(folder) == before


@each_save
def test_a_part_that_may_not_be_read(
    folder: Path, name: str, options: dict[str, Any], unprivileged: Callable[[], None]
) -> None:
    """Of every file of a save: one error that names what may not be read."""
    opened_by = initreg.save(folder / name, ARRAYS, **options)
    initreg.load(opened_by)  # imports what is needed
    files = sorted(folder.iterdir())
    for path in files:
        path.chmod(0)
    unprivileged()
    with pytest.raises(initreg.InitregError, match="Permission denied") as caught:
        initreg.load(opened_by)
    assert any(str(path) in str(caught.value) for path in files)


def test_a_file_system_without_room(tmp_path: Path) -> None:
    """What cannot fit is not begun: the error says how much is needed and how much is there."""

    class Huge:
        shape, dtype = (1 << 50,), np.dtype("f4")

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
            raise AssertionError("is not read")

    for name in ("m.npz", "m.safetensors", "m.h5", "m.ckpt"):
        with pytest.raises(UnwritableFile, match=r"needs 4,503,599,627,370,496 bytes, but only "):
            initreg.save(tmp_path / name, {"a": Huge()})
    assert os.listdir(tmp_path) == []
