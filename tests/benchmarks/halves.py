"""Two processes read half of each array: ours beside Orbax, in bytes and in time.

    .venv-formats/bin/python tests/benchmarks/halves.py

needs JAX and Orbax. 24 float32 arrays of 2,048 x 2,048, 403 MB. Ours is
``initreg.load(part=)``. Orbax restores into arrays that are sharded over two processes, from a
checkpoint that these processes saved and from one that one process saved. Bytes are those of the
calls that read (``rchar`` of ``/proc/self/io``). The time is that of the slower process, from a
barrier on, with the files in the page cache; the median of five turns, each in another order. Ours
gives arrays of numpy and Orbax those of JAX.
"""

from __future__ import annotations

import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_COUNT, _SIDE, _TIMES = 24, 2048, 5
_WAYS = (
    "ours, safetensors",
    "ours, npz",
    "ours, TensorFlow checkpoint",
    "Orbax, saved by two processes",
    "Orbax, saved by one process",
)
_ENDINGS = {"safetensors": "m.safetensors", "npz": "m.npz", "TensorFlow checkpoint": "m.ckpt"}


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    return {f"w_{i}": rng.random((_SIDE, _SIDE), "f4") for i in range(_COUNT)}


def read_so_far() -> int:
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])


def worker(rank: int, folder: Path, address: str) -> None:
    """One of the two processes."""
    import jax
    import orbax.checkpoint as ocp
    from jax.experimental import multihost_utils
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    import initreg

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, 2, rank)
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("x",)), PartitionSpec("x"))
    half = slice(rank * _SIDE // 2, (rank + 1) * _SIDE // 2)
    expected = arrays()

    def sharded(array: Any) -> Any:
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "two", {name: sharded(a) for name, a in expected.items()})
        checkpointer.wait_until_finished()
        target = {
            name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)
            for name, array in expected.items()
        }

        def ours(name: str) -> Callable[[], dict[str, Any]]:
            return lambda: initreg.load(folder / name, part=lambda *_: (half,))

        def theirs(name: str) -> Callable[[], dict[str, Any]]:
            def restore() -> dict[str, Any]:
                found = jax.block_until_ready(checkpointer.restore(folder / name, target))
                return {k: a.addressable_shards[0].data for k, a in found.items()}

            return restore

        ways = [ours(name) for name in _ENDINGS.values()] + [theirs("two"), theirs("one")]
        pairs = [*zip(_WAYS, ways, strict=True)]
        for turn in range(_TIMES + 1):
            random.Random(turn).shuffle(pairs)  # what comes after Orbax waits for its threads
            for way, call in pairs:
                multihost_utils.sync_global_devices(way)
                nbytes, begin = read_so_far(), time.perf_counter()
                found = call()
                seconds = time.perf_counter() - begin
                nbytes = read_so_far() - nbytes
                if turn == 0:
                    assert found.keys() == expected.keys()
                    for name, array in expected.items():
                        assert np.array_equal(found[name], array[half]), (way, name)
                else:
                    print(f"{way}|{seconds}|{nbytes}", flush=True)
                del found
    jax.distributed.shutdown()


def save_by_one(folder: Path) -> None:
    import jax
    import orbax.checkpoint as ocp

    import initreg

    found = arrays()
    for ending in _ENDINGS.values():
        initreg.save(folder / ending, found)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "one", {name: jax.numpy.asarray(a) for name, a in found.items()})


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        command = [sys.executable, __file__]
        subprocess.run([*command, "one", name], check=True)
        running = [
            subprocess.Popen([*command, rank, name, address], stdout=subprocess.PIPE, text=True)
            for rank in "01"
        ]
        lines = [process.communicate()[0].splitlines() for process in running]
        if any(process.returncode for process in running):
            raise SystemExit("a process failed")
    print("| what | seconds | MB that each process read | of its half |")
    print("| --- | --: | --: | --: |")
    half = _COUNT * _SIDE * _SIDE * 4 / 2
    for way in _WAYS:
        found = [[each.split("|")[1:] for each in part if each.startswith(way)] for part in lines]
        slower = [max(float(a[0]), float(b[0])) for a, b in zip(*found, strict=True)]
        nbytes = statistics.median(int(each[1]) for part in found for each in part)
        seconds = statistics.median(slower)
        print(f"| {way} | {seconds:.3f} | {nbytes / 1e6:.0f} | {nbytes / half:.2f} |")


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "one":
        save_by_one(Path(sys.argv[2]))
    else:
        worker(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
