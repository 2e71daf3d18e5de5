"""Restore a set of shards into TF2 variables, in a process of its own, and print its memory.

    python sharded_restore.py SOURCE SHARDS ARRAYS

Each shard has so many arrays of 64 MiB, which :func:`array` makes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 4096
NBYTES = 4 * SIDE * SIDE


def name_of(shard: int, index: int) -> str:
    return f"shard_{shard}/w_{index}"


def array(shard: int, index: int) -> np.ndarray[Any, Any]:
    """Random values, so that no page is like another."""
    return np.random.default_rng([shard, index]).random((SIDE, SIDE), "f4")


def _memory(which: str) -> int:
    """Bytes of this process."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(which))
    return int(line.split()[1]) * 1024


def _count_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def main(source: str, shards: int, each: int) -> None:
    import tensorflow as tf

    import initreg

    with tempfile.TemporaryDirectory() as folder:  # what libraries take once is not of the restore
        small = Path(folder) / "small.safetensors"
        initreg.save(small, {"w": np.ones((SIDE // 4, SIDE), "f4")})
        initreg.SmartInit(small).init([tf.Variable(tf.zeros((SIDE // 4, SIDE)), name="w")])
    before = _memory("VmRSS")
    places = [(shard, index) for shard in range(shards) for index in range(each)]
    variables = [tf.Variable(tf.zeros((SIDE, SIDE)), name=name_of(*place)) for place in places]
    _count_peak()
    begin = time.perf_counter()
    initreg.SmartInit(source).init(variables)
    seconds = time.perf_counter() - begin
    peak, after = _memory("VmHWM") - before, _memory("VmRSS") - before
    right = sum(
        np.array_equal(variable.numpy(), array(*place))
        for place, variable in zip(places, variables, strict=True)
    )
    print(json.dumps({"seconds": seconds, "peak": peak, "after": after, "right": right}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
