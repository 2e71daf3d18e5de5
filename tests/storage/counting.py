"""How many requests, rounds and bytes each format costs over HTTP: the table of the page.

    python tests/storage/counting.py

prints the table of ``docs/remote-files.md``. A round is the requests that go out at once: what
waits for an answer before it goes out is in the next one.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import initreg
from tests.storage.web_server import serving


def model() -> dict[str, np.ndarray[Any, Any]]:
    """204 arrays of 30 MB, as large and as small as those of an image classifier."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for block in range(34):
        width = 32 << min(block // 9, 3)
        shapes = {"kernel": (3, 3, width, width), "bias": (width,), "gamma": (width,)}
        shapes |= {"beta": (width,), "mean": (width,), "variance": (width,)}
        for name, shape in shapes.items():
            arrays[f"block{block}/{name}"] = rng.normal(size=shape).astype("f4")
    return arrays


def _chunked(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name, array in model().items():
            file.create_dataset(name, data=array, chunks=True, compression="gzip", shuffle=True)


def _layers(path: Path) -> None:
    """The way of Keras 3: each layer is a group with a group of its variables."""
    with h5py.File(path, "w") as file:
        for name, array in model().items():
            layer, _, weight = name.partition("/")
            place = f"layers/{layer}/vars/{list(model_names()).index(weight)}"
            file.create_dataset(place, data=array)


def model_names() -> Iterator[str]:
    yield from ("kernel", "bias", "gamma", "beta", "mean", "variance")


def _keras(path: Path) -> None:
    inner = path.with_name("model.weights.h5")
    _layers(inner)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {}}))
        archive.write(inner, inner.name)
    inner.unlink()


# What the table calls it, the name of the source, and how it is written.
KINDS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "safetensors": ("m.safetensors", lambda path: initreg.save(path, model())),
    "safetensors in 4 parts": (
        "parts.safetensors.index.json",
        lambda path: initreg.save(path.with_name("parts.safetensors"), model(), shard_size="8MB"),
    ),
    "npz": ("m.npz", lambda path: initreg.save(path, model())),
    "npz, compressed": ("packed.npz", lambda path: initreg.save(path, model(), compress=True)),
    "TensorFlow checkpoint": ("m.ckpt", lambda path: initreg.save(path, model())),
    "HDF5": ("m.h5", lambda path: initreg.save(path, model())),
    "HDF5, chunked and compressed": ("chunked.h5", _chunked),
    "Keras 3, `.weights.h5`": ("m.weights.h5", _layers),
    "Keras 3, `.keras`": ("m.keras", _keras),
}


@dataclass(frozen=True)
class Cost:
    """What was asked of the server."""

    requests: int
    rounds: int
    sent: int  # bytes


@dataclass(frozen=True)
class Row:
    """The cost to open a source, and to read all of its arrays after that."""

    kind: str
    size: int  # bytes of all its files
    opening: Cost
    reading: Cost


def measured(folder: Path, kind: str) -> Row:
    """What a format costs. Raises if an array is wrong."""
    name, write = KINDS[kind]
    write(folder / name)
    with serving(folder) as web:
        web.gathers = True

        def cost() -> Cost:
            found = Cost(len(web.requests), web.rounds, web.sent)
            web.clear()
            return found

        with initreg.open(web.url + name) as arrays:
            opening = cost()
            found = initreg.load(arrays)
            reading = cost()
    expected = {array.tobytes() for array in model().values()}
    assert len(found) == len(expected)
    assert {array.tobytes() for array in found.values()} == expected
    size = sum(path.stat().st_size for path in folder.iterdir())
    return Row(kind, size, opening, reading)


def table() -> Iterator[str]:
    """The lines of the table."""
    yield "| format | size | to open it | to read all arrays |"
    yield "| --- | --- | --- | --- |"
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            row = measured(Path(folder), kind)
        cells = [kind, f"{row.size / 1e6:.1f} MB"]
        cells += [
            f"{cost.requests} request{'s' * (cost.requests != 1)} in "
            f"{cost.rounds} round{'s' * (cost.rounds != 1)}, {cost.sent / scale:.{digits}f} {unit}"
            for cost, scale, digits, unit in (
                (row.opening, 1e3, 0, "kB"),
                (row.reading, 1e6, 1, "MB"),
            )
        ]
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    for line in table():
        print(line, flush=True)
