"""Files that change while they are read, and reads that are interrupted: the array or one error."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import initreg
from initreg import DamagedFile, InitregError, UnreadableFile

RNG = np.random.default_rng(0)
ARRAYS = {f"layer{i}": RNG.random((300, 500), "f4") for i in range(6)}


def stored(folder: Path, name: str) -> Path:
    if name == "packed.h5":
        with h5py.File(folder / name, "w") as file:
            for key, array in ARRAYS.items():
                file.create_dataset(key, data=array, compression="gzip")
        return folder / name
    options = {"compress": True} if name.startswith("packed") else {}
    return initreg.save(folder / name, ARRAYS, **options)  # type: ignore[arg-type]


FILES = ("m.npz", "packed.npz", "m.safetensors", "m.h5", "packed.h5", "m.ckpt", "m.npy")
each_file = pytest.mark.parametrize("name", FILES[:-1])


def data_file(path: Path) -> Path:
    return path if path.is_file() else path.with_name(f"{path.name}.data-00000-of-00001")


def same(found: dict[str, Any]) -> bool:
    return found.keys() == ARRAYS.keys() and all(
        np.array_equal(found[name], array) for name, array in ARRAYS.items()
    )


# --- files that change ----------------------------------------------------------------------------


@each_file
@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_that_shrinks_between_two_arrays(tmp_path: Path, name: str, mmap: bool) -> None:
    """What was read is right, what is cut off is one error, and never zeros."""
    path = stored(tmp_path, name)
    with initreg.open(path, mmap=mmap, verify=False) as opened:
        first, *rest = sorted(opened.values(), key=lambda a: getattr(a.value, "offset", 0))
        assert np.array_equal(np.array(first), ARRAYS[first.name])
        file = data_file(path)
        os.truncate(file, file.stat().st_size // 3)
        last = rest[-1]
        if mmap and name in ("m.npz", "m.safetensors", "m.h5", "m.ckpt"):
            return  # it is mapped as it was: see the next test
        with pytest.raises((DamagedFile, UnreadableFile), match=last.name):
            np.array(last)


def test_a_mapped_file_that_shrinks_ends_the_program(tmp_path: Path) -> None:
    """What mmap=True does not promise: the system ends whoever reads a page that is gone. What was
    not mapped yet is an error, and so is all of it without mmap."""
    path = initreg.save(tmp_path / "m.safetensors", ARRAYS)
    code = (
        "import os, sys, initreg, numpy as np\n"
        "with initreg.open(sys.argv[1], mmap=sys.argv[2] == 'mmap') as m:\n"
        "    last = max(m.values(), key=lambda a: a.value.offset)\n"
        "    view = last.read() if sys.argv[2] == 'mmap' else last\n"
        "    os.truncate(sys.argv[1], 4096)\n"
        "    try: print(float(np.asarray(view).sum()))\n"
        "    except initreg.InitregError as error: print(type(error).__name__)\n"
    )
    content = path.read_bytes()
    ends = {}
    for how in ("mmap", "copy"):
        path.write_bytes(content)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), how],
            capture_output=True,
            text=True,
            check=False,
        )
        ends[how] = (done.returncode, done.stdout)
    assert ends == {"mmap": (-signal.SIGBUS, ""), "copy": (0, "DamagedFile\n")}


@each_file
@pytest.mark.parametrize("mmap", [False, True])
def test_a_file_that_is_replaced_by_another(tmp_path: Path, name: str, mmap: bool) -> None:
    """By a rename, as every save here does it: all arrays are of the old file, or it is an error
    that says so; never some of one and some of the other."""
    path = stored(tmp_path, name)
    others = {key: array + 1 for key, array in ARRAYS.items()}
    (tmp_path / "new").mkdir()
    new = initreg.save(tmp_path / "new" / name, others)
    with initreg.open(path, mmap=mmap) as opened:
        first = next(iter(opened))
        found = {first: np.array(opened[first])}
        for file in new.parent.iterdir():
            os.replace(file, tmp_path / file.name)
        try:
            found |= {key: np.array(opened[key]) for key in opened}
        except DamagedFile as error:
            assert "Open it again" in str(error)  # noqa: PT017
        else:
            assert same(found)
    assert np.array_equal(found[first], ARRAYS[first])


@each_file
def test_a_file_that_is_replaced_after_it_was_listed(tmp_path: Path, name: str) -> None:
    """Before anything of it was read, and by one of the same size: it is refused, not mixed up."""
    path = stored(tmp_path, name)
    file = data_file(path)
    with initreg.open(path) as opened:
        content = file.read_bytes()
        other = tmp_path / "other"
        other.write_bytes(content)
        os.utime(other, ns=(0, file.stat().st_mtime_ns + 10**9))
        os.replace(other, file)
        try:
            found = {key: np.array(array) for key, array in opened.items()}
        except DamagedFile as error:
            assert "was replaced or written to after it was opened" in str(error)  # noqa: PT017
        else:
            assert name == "packed.h5"  # HDF5 has it open all the time
            assert same(found)


@each_file
@pytest.mark.parametrize("cut", [False, True], ids=["overwritten", "cut"])
def test_a_file_that_is_written_to_meanwhile(
    tmp_path: Path, name: str, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each of many reads in turn, somewhere in the file: with checksums the arrays are right
    or there is an error, and without them the same if the file was cut. Overwritten values that
    nothing sums are wrong; nothing worse happens."""
    path = stored(tmp_path, name)
    file = data_file(path)
    content = file.read_bytes()
    rng = np.random.default_rng(1)
    preadv = os.preadv
    reads, moment = 0, -1

    def meanwhile() -> None:
        nonlocal reads
        if reads == moment:
            at = int(rng.integers(0, len(content) - 5000))
            with open(file, "r+b") as out:
                if cut:
                    out.truncate(at)
                else:
                    out.seek(at)
                    out.write(rng.bytes(4000))
        reads += 1

    def in_pieces(descriptor: int, buffers: list[Any], offset: int) -> int:
        meanwhile()
        return preadv(descriptor, [memoryview(buffers[0])[:100_000]], offset)

    monkeypatch.setattr(os, "preadv", in_pieces)
    assert same(initreg.load(path))
    outcomes = []
    for moment in range(0, reads, max(1, reads // 60)):
        file.write_bytes(content)
        reads = 0
        try:
            outcomes.append("right" if same(initreg.load(path)) else "wrong")
        except InitregError as error:
            assert str(tmp_path) in str(error)  # noqa: PT017
            outcomes.append("refused")
        assert reads > moment
    has_sums = name in ("m.npz", "packed.npz", "m.ckpt", "packed.h5")  # deflate's, of the last
    assert ("refused" in outcomes) == (cut or has_sums)
    assert ("wrong" in outcomes) == (not cut and not has_sums)
    assert cut or "right" in outcomes  # where it was written to what had been read


# --- reads that are interrupted -------------------------------------------------------------------


@each_file
def test_signals_while_it_is_read(tmp_path: Path, name: str) -> None:
    """A timer that fires a thousand times a second interrupts reads, and changes nothing."""
    path = stored(tmp_path, name)
    fired = 0

    def count(*_: object) -> None:
        nonlocal fired
        fired += 1

    before = signal.signal(signal.SIGALRM, count)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for _ in range(1000):
            assert same(initreg.load(path))
            assert same(initreg.load(path, mmap=True))
            if fired > 50:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert fired > 50


@pytest.mark.parametrize("name", ["m.npz", "packed.npz", "m.safetensors", "m.h5", "m.ckpt"])
def test_reads_that_give_less_than_was_asked_for(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system may at any time: the rest is read by the next."""
    path = stored(tmp_path, name)
    read = os.preadv
    rng = np.random.default_rng(0)
    calls = 0

    def short(descriptor: int, buffers: list[Any], offset: int) -> int:
        nonlocal calls
        calls += 1
        first = memoryview(buffers[0])
        return read(descriptor, [first[: int(rng.integers(1, len(first) + 1))]], offset)

    monkeypatch.setattr(os, "preadv", short)
    assert same(initreg.load(path))
    assert calls > len(ARRAYS)


@pytest.mark.parametrize("name", ["m.npz", "packed.npz", "m.safetensors", "m.h5", "m.ckpt"])
@pytest.mark.parametrize("read", [lambda path: initreg.load(path), lambda path: _init(path)])
def test_a_disk_that_fails(
    tmp_path: Path, name: str, read: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An I/O error of the system is one error that names file and array."""
    path = stored(tmp_path, name)

    def fail(descriptor: int, buffers: list[Any], offset: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(InitregError, match="Input/output error") as caught:
        read(path)
    assert str(data_file(path)) in str(caught.value)
    assert "layer" in str(caught.value)


def _init(path: Path) -> None:
    initreg.SmartInit(path).init({name: np.zeros_like(array) for name, array in ARRAYS.items()})
