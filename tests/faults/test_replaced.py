"""A file that is replaced or written to while it is listed, or before it is read, with its size and
time kept: the arrays of the old file or one error, and never those of the new one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import initreg
from initreg import DamagedFile, InitregError, Source, hookimpl
from initreg.plugin.installed import default_registry

NAMES = ("a", "b", "c")
OLD = {name: np.full(64, n, "f4") for n, name in enumerate(NAMES)}
NEW = {name: np.full(64, n, "f4") for n, name in enumerate(reversed(NAMES))}
RECORD = np.dtype([("x", "f4"), ("y", "i4")])


def h5(path: Path, arrays: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def strings(path: Path, arrays: dict[str, Any]) -> None:
    initreg.save(path, {name: array.astype("S4") for name, array in arrays.items()})


def structured(path: Path, arrays: dict[str, Any]) -> None:
    np.save(path, arrays["a"].astype(RECORD))


def structured_npz(path: Path, arrays: dict[str, Any]) -> None:
    np.savez(path, **{name: array.astype(RECORD) for name, array in arrays.items()})


def plain_npy(path: Path, arrays: dict[str, Any]) -> None:
    np.save(path, arrays["a"])


def v1(path: Path, arrays: dict[str, Any]) -> None:
    """A checkpoint of version 1, by TensorFlow itself."""
    tf = pytest.importorskip("tensorflow")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        saved = tf.raw_ops.Save(
            filename=str(path), tensor_names=list(arrays), data=list(arrays.values())
        )
        session.run(saved)


KINDS: dict[str, Callable[[Path, dict[str, Any]], object]] = {
    "m.npz": initreg.save,
    "m.safetensors": initreg.save,
    "m.h5": h5,
    "m.ckpt": initreg.save,
    "strings.ckpt": strings,
    "m.npy": plain_npy,
    "structured.npy": structured,
    "structured.npz": structured_npz,
    "v1.ckpt": v1,
}
each_kind = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.framework if n == "v1.ckpt" else ()) for n in KINDS]
)


def make(folder: Path, name: str, arrays: dict[str, Any]) -> Path:
    folder.mkdir()
    KINDS[name](folder / name, arrays)
    for file in folder.iterdir():
        os.utime(file, (1, 1))
    return folder / name


def replace(old: Path, new: Path) -> None:
    for file in new.iterdir():
        os.replace(file, old / file.name)


def overwrite(old: Path, new: Path) -> None:
    for file in new.iterdir():
        (old / file.name).write_bytes(file.read_bytes())
        os.utime(old / file.name, (1, 1))


def wrong(old: dict[str, Any], arrays: initreg.ArrayMap) -> list[str]:
    found = []
    for name, array in arrays.items():
        try:
            if np.asarray(array).tolist() != old[name].tolist():
                found.append(name)
        except InitregError:
            continue
    return found


@each_kind
@pytest.mark.parametrize("change", [replace, overwrite])
@pytest.mark.parametrize("mmap", [False, True])
def test_between_opening_and_reading(
    tmp_path: Path, name: str, change: Callable[[Path, Path], None], mmap: bool
) -> None:
    """Same size and time do not make it the same file."""
    path = make(tmp_path / "old", name, OLD)
    expected = initreg.load(path)
    make(tmp_path / "new", name, NEW)
    with initreg.open(path, mmap=mmap, verify=False) as arrays:
        change(tmp_path / "old", tmp_path / "new")
        assert wrong(expected, arrays) == []


@pytest.fixture
def while_listed() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Calls a function when a format has listed a source, before initreg goes on."""
    manager, plugins = default_registry().manager, []

    def add(function: Callable[[], None]) -> None:
        class Wrapper:
            @hookimpl(wrapper=True)
            def initreg_open(self, source: Source, options: Any) -> Any:
                opened = yield
                function()
                return opened

        plugins.append(Wrapper())
        manager.register(plugins[-1])

    yield add
    for plugin in plugins:
        manager.unregister(plugin)


@each_kind
@pytest.mark.parametrize("change", [replace, overwrite])
def test_while_it_is_listed(
    tmp_path: Path, name: str, change: Callable[[Path, Path], None], while_listed: Any
) -> None:
    """The file that counts is the one that was looked at, and not what the path is afterwards."""
    path = make(tmp_path / "old", name, OLD)
    expected = initreg.load(path)
    make(tmp_path / "new", name, NEW)
    calls: list[int] = []

    def once() -> None:
        calls.append(1)
        if len(calls) == 1:
            change(tmp_path / "old", tmp_path / "new")

    while_listed(once)
    with contextlib.suppress(DamagedFile), initreg.open(path, verify=False) as arrays:
        assert wrong(expected, arrays) == []
    assert calls


def test_a_source_is_one_file(tmp_path: Path) -> None:
    """A format that looks twice never sees two files, also in a further file of the source."""
    for name in ("main", "part"):
        (tmp_path / name).write_bytes(b"A" * 10)
    main = Source(tmp_path / "main")
    part = main.part("part")
    assert (main.head, part.read(0, 3)) == (b"A" * 10, b"AAA")
    for source in (main, part, Source(tmp_path / "part", of=main)):
        assert source.path is not None
        source.path.with_name("new").write_bytes(b"B" * 10)
        shutil.copystat(source.path, source.path.with_name("new"))
        os.replace(source.path.with_name("new"), source.path)
        with pytest.raises(InitregError, match="was replaced or written to"):
            source.read(0, 3)
    assert Source(tmp_path / "part").read(0, 3) == b"BBB"  # another look
