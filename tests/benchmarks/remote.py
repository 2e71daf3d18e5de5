"""How long files of a web server take, beside ``fsspec.open`` and the library of the format."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import safetensors.numpy
from measure import Row, compare

import initreg

TITLE = "Remote files"
NOTE = """\
Files of a web server on loopback, in a process of its own, which waits 30 ms before each answer.
Ours is `initreg.load(URL)`. The peer is `fsspec.open(URL)` with the library of the format:
`np.load`, `h5py.File`, `safetensors.numpy.load`. fsspec reads blocks of 5 MB, so that it reads a
file of a few megabytes with one or two requests, and a safetensors file of any size with one. For
a checkpoint the peer copies the files with fsspec, and reads them with `tf.train.load_checkpoint`.
For one large file it is obstore, if it is installed: 16 threads ask for 4 MiB each, and it gives
bytes, not arrays. The server shares the cores with both sides. `make bench SUBJECTS=remote`
measures them alone.
"""
_LATENCY = 0.03  # seconds
_LARGE = 25  # arrays of 16 MiB
_SMALL = 4000  # arrays
_SIDES = (16, 64, 128)  # of 1, 16 and 64 KiB each
_PIECE = 4 << 20


def small(count: int, side: int) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return {f"layer_{i}/w": rng.normal(size=(side, side)).astype("f4") for i in range(count)}


def large(count: int) -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return {f"layer_{i}/w": rng.random((2048, 2048), "f4") for i in range(count)}


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The URL of a slow server of a folder."""
    command = [sys.executable, str(Path(__file__).with_name("slow_server.py"))]
    process = subprocess.Popen(
        [*command, str(folder), str(_LATENCY)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


# --- the peers ------------------------------------------------------------------------------------

Read = Callable[[Any], dict[str, Any]]


def npz(file: Any) -> dict[str, Any]:
    with np.load(file) as found:
        return dict(found)


def h5(file: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(file) as opened:

        def visit(name: str, each: Any) -> None:
            if isinstance(each, h5py.Dataset):
                found[name] = each[()]

        opened.visititems(visit)
    return found


def from_bytes(file: Any) -> dict[str, Any]:
    return dict(safetensors.numpy.load(file.read()))


def through_fsspec(url: str, read: Read) -> dict[str, Any]:
    with fsspec.open(url) as file:
        return read(file)


def checkpoint(url: str) -> dict[str, Any]:
    import tensorflow as tf

    fs, key = fsspec.core.url_to_fs(url)
    with tempfile.TemporaryDirectory() as folder:
        for ending in (".index", ".data-00000-of-00001"):
            fs.get_file(key + ending, os.path.join(folder, "m" + ending))
        reader = tf.train.load_checkpoint(os.path.join(folder, "m"))
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def by_obstore(url: str, size: int) -> Any:
    import obstore

    site, _, name = url.rpartition("/")
    store = obstore.store.HTTPStore.from_url(site, client_options={"allow_http": True})
    into = memoryview(np.empty(size, "u1"))

    def piece(start: int) -> None:
        stop = min(start + _PIECE, size)
        into[start:stop] = memoryview(obstore.get_range(store, name, start=start, end=stop))

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(piece, range(0, size, _PIECE)))
    return into


# --- the rows -------------------------------------------------------------------------------------


def rows(folder: Path, url: str, quick: bool) -> Iterator[Row]:
    times = 1 if quick else 3
    arrays = large(3 if quick else _LARGE)
    initreg.save(folder / "large.safetensors", arrays)
    size = (folder / "large.safetensors").stat().st_size
    where = f"{url}large.safetensors"
    if importlib.util.find_spec("obstore"):
        peer, theirs, goal = "obstore", lambda: by_obstore(where, size), 1 / 0.9
    else:
        peer, theirs, goal = "fsspec.open", lambda: through_fsspec(where, from_bytes), 1.0
    count = len(arrays)
    del arrays
    row = compare(
        "one large .safetensors",
        count,
        lambda: initreg.load(where),
        peer,
        theirs,
        times=times,
        goal_ratio=goal,
    )
    row.megabytes = size / 1e6
    yield row
    (folder / "large.safetensors").unlink()

    kinds: list[tuple[str, dict[str, Any], Read | None]] = [
        ("m.npz", {}, npz),
        ("packed.npz", {"compress": True}, npz),
        ("m.h5", {}, h5),
        ("m.safetensors", {}, from_bytes),
        ("m.ckpt", {}, None),
    ]
    for side in _SIDES[: 1 if quick else None]:
        arrays = small(400 if quick else _SMALL, side)
        for name, options, read in kinds:
            # h5py takes a minute for the larger ones, each time.
            turns = 1 if side > _SIDES[0] and read is h5 else times
            if side == _SIDES[-1] and read is h5:
                continue
            initreg.save(folder / name, arrays, **options)
            yield beside(url + name, folder, arrays, read, turns)
            for file in folder.iterdir():
                file.unlink()


def beside(url: str, folder: Path, arrays: dict[str, Any], read: Read | None, times: int) -> Row:
    """One format of small arrays. Both sides have to give the right values."""

    def theirs() -> dict[str, Any]:
        return checkpoint(url) if read is None else through_fsspec(url, read)

    for found in (initreg.load(url), theirs()):
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    del found
    peer = "fsspec + tf.train.load_checkpoint" if read is None else "fsspec.open + the library"
    each = next(iter(arrays.values())).nbytes >> 10
    what = f"arrays of {each} KiB, {url.rpartition('/')[2]}"
    row = compare(
        what, len(arrays), lambda: initreg.load(url), peer, theirs, times=times, goal_ratio=1 / 3
    )
    row.megabytes = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    return row


def main(quick: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as url:
        found = list(rows(Path(folder), url, quick))
    for row in found:
        row.faster = None if row.goal_ratio is None else 1 / row.goal_ratio
    print(json.dumps([row.to_dict() for row in found]))


if __name__ == "__main__":
    main("--quick" in sys.argv)
