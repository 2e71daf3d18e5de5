"""How long it takes to convert a model and to save one, beside copying it and the libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import models
import numpy as np
import safetensors.numpy
import tensorflow as tf
from measure import Row, compare

import initreg

v1 = tf.compat.v1

TITLE = "Saving"
NOTE = """\
The model is the same. Both sides end when every byte is flushed to the disk (`fsync`), so `cp`
takes longer here than it seems to take at a terminal. `convert` reads the file, checks its
checksums, makes the new ones and writes. Peak memory is that of Python's allocations and of arrays.
The last row is a whole process that converts a large model. Its peak is what it took in addition to
the imports of initreg and numpy.
"""


def flushed(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def copied(source: Path, folder: Path) -> None:
    target = folder / "copy"
    target.unlink(missing_ok=True)
    subprocess.run(["cp", source, target], check=True)
    flushed(target)


def converted(source: Path, target: Path) -> None:
    for old in target.parent.glob(f"{target.name}*"):
        old.unlink()
    initreg.convert(source, target)


def conversions(sources: list[Path], folder: Path, times: int) -> list[Row]:
    rows = []
    for source in sources:
        for ending in (".npz", ".safetensors", ".h5", ".ckpt"):
            target = folder / f"converted{ending}"
            rows.append(
                compare(
                    f"convert, {source.suffix} to {ending}",
                    197,
                    lambda source=source, target=target: converted(source, target),
                    "cp",
                    lambda source=source: copied(source, folder),
                    times=times,
                    goal_ratio=1.5,
                )
            )
    return rows


def saves(model: models.Model, folder: Path, times: int) -> list[Row]:
    graph = tf.Graph()
    with graph.as_default():
        for name, array in model.items():
            v1.get_variable(name, array.shape, tf.float32)
        saver = v1.train.Saver()
        session = v1.Session()
        session.run(v1.global_variables_initializer())

    def savez() -> None:
        np.savez(folder / "theirs.npz", **model)
        flushed(folder / "theirs.npz")

    def save_file() -> None:
        safetensors.numpy.save_file(dict(model), folder / "theirs.safetensors")
        flushed(folder / "theirs.safetensors")

    def h5py_file() -> None:
        with h5py.File(folder / "theirs.h5", "w") as file:
            for name, array in model.items():
                file[name] = array
        flushed(folder / "theirs.h5")

    def save_checkpoint() -> None:
        with graph.as_default():
            path = saver.save(session, str(folder / "theirs"), write_meta_graph=False)
        flushed(Path(f"{path}.data-00000-of-00001"))

    def ours(ending: str, **options: Any) -> Callable[[], Any]:
        return lambda: initreg.save(folder / f"ours{ending}", model, **options)

    peers: list[tuple[str, str, Callable[[], Any]]] = [
        (".npz", "np.savez", savez),
        (".safetensors", "save_file", save_file),
        (".h5", "h5py", h5py_file),
        (".ckpt", "Saver.save", save_checkpoint),
    ]
    rows = [
        compare(f"save, {ending}", 197, ours(ending), peer, call, times=times, goal_ratio=1)
        for ending, peer, call in peers
    ]
    rows += [
        compare(
            f"save, {ending}, manifest=True",
            197,
            ours(ending, manifest=True),
            "without a manifest",
            ours(ending),
            times=times,
            goal_ratio=1.3,
        )
        for ending in (".npz", ".safetensors", ".ckpt")
    ]
    return rows


CHILD = """
import sys, time, numpy
sys.path.insert(0, {here!r})
from fresh import memory
import initreg
start = time.perf_counter()
before = memory("VmHWM")
if len(sys.argv) > 1:
    initreg.convert(sys.argv[1], sys.argv[2])
print(time.perf_counter() - start, memory("VmHWM"), before)
"""


def resident(*paths: Path) -> tuple[float, float]:
    """Seconds of a conversion in a process of its own, and its MB."""
    code = CHILD.format(here=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)], check=True, capture_output=True, text=True
    )
    seconds, peak, _ = map(float, done.stdout.split())
    return seconds, peak


def large(megabytes: float, folder: Path) -> Row:
    model = models.transformer(megabytes)
    source = models.safetensors(model, folder)
    largest = max(array.nbytes for array in model.values()) / 1e6
    del model
    idle = resident()[1]
    seconds, peak = resident(source, folder / "large.npz")
    what = f"convert, .safetensors to .npz; the largest array has {largest:.0f} MB"
    return Row(what, 197, seconds, seconds, seconds, "", seconds, peak - idle, megabytes=megabytes,
               goal_mb=256 + largest)  # fmt: skip


def main(quick: bool) -> None:
    model = models.transformer(109 if quick else 436)
    times = 3 if quick else 7
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = [models.safetensors(model, folder), models.npz(model, folder)]
        rows = conversions(sources, folder, times) + saves(model, folder, times)
    with tempfile.TemporaryDirectory() as name:
        rows.append(large(436 if quick else 10_000, Path(name)))
    json.dump([row.to_dict() for row in rows], sys.stdout)


if __name__ == "__main__":
    main("--quick" in sys.argv)
