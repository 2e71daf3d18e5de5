"""A TF1 session of a server in another process gets variables of more than 2 GB.

    python large.py FOLDER MEGABYTES

Feeding so much at once ends the process. For each way in which a graph holds the variables, prints
how many megabytes this process grew by, and the seconds.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from ports import free_addresses

folder, size = Path(sys.argv[1]), int(sys.argv[2])
SERVER = """
import json, os, sys, threading
import tensorflow as tf
threading.Timer(1500, lambda: os._exit(9)).start()
tf.compat.v1.train.Server(tf.train.ClusterSpec(json.loads(sys.argv[1])), "worker", 0).join()
"""
WRITE = """
import json, struct, sys
import numpy as np
names, rows = json.loads(sys.argv[2]), int(sys.argv[3])
nbytes = rows * 4096
header = {
    name: {"dtype": "F32", "shape": [rows, 1024], "data_offsets": [n * nbytes, (n + 1) * nbytes]}
    for n, name in enumerate(names)
}
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for name in names:
        for start in range(0, rows, 10000):
            block = np.zeros((min(10000, rows - start), 1024), "f4")
            block[:, 7] = np.arange(start, start + len(block)) % 1000
            file.write(block)
"""
rows = size * 1024 // 4  # of 4 KiB
addresses = free_addresses(1)
server = subprocess.Popen(
    [sys.executable, "-c", SERVER, json.dumps({"worker": addresses})], stderr=subprocess.DEVNULL
)
count, wrong = 0, []
try:
    import tensorflow as tf

    from initreg import SmartInit

    warnings.simplefilter("ignore")
    v1 = tf.compat.v1
    target = f"grpc://{addresses[0]}"

    def variables(how: str) -> list[Any]:
        zeros = v1.zeros_initializer()
        if how == "several":
            return [
                v1.get_variable(f"{how}/{n}", [rows // 4, 1024], initializer=zeros)
                for n in range(5)
            ]
        options: dict[str, Any] = {"use_resource": how != "reference"}
        if how == "partitioned":
            options["partitioner"] = v1.fixed_size_partitioner(2)
        found = v1.get_variable(how, [rows, 1024], initializer=zeros, **options)
        return list(found) if how == "partitioned" else [found]

    def check(each: Any, start: int) -> Any:
        """Whether all of its values are right, as the server sees it."""
        shape = each.shape[0]
        expected = tf.cast(tf.math.floormod(tf.range(start, start + shape), 1000), tf.float32)
        return tf.reduce_all(tf.equal(tf.reduce_sum(tf.abs(each), 1), expected))

    for how in ("resource", "reference", "partitioned", "several"):
        path = folder / f"{how}.safetensors"
        names = [f"several/{n}" for n in range(5)] if how == "several" else [how]
        of_each = rows // 4 if how == "several" else rows
        subprocess.run(
            [sys.executable, "-c", WRITE, str(path), json.dumps(names), str(of_each)], check=True
        )
        with tf.Graph().as_default() as graph:
            made = variables(how)
            starts = [0] * len(made)
            if how == "partitioned":
                starts = [0, int(made[0].shape[0])]
            checks = [check(*each) for each in zip(made, starts, strict=True)]
            first = [each[:1] for each in made]
            init = v1.global_variables_initializer()
            graph.finalize()
            with v1.Session(target) as session:
                session.run(init)  # waits for the server, too
                session.run(first)
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                begin = time.monotonic()
                SmartInit(path, on_missing="error", on_unused="error").init(session)
                took = time.monotonic() - begin
                grew = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
                nbytes = path.stat().st_size
                print(
                    f"{how}: {nbytes / 1e6:.0f} MB, grew by {grew} MB in {took:.1f} s", flush=True
                )
                count += 1
                if not all(session.run(checks)):
                    wrong.append(f"{how}: wrong values")
        v1.Session.reset(target)
        path.unlink()
finally:
    server.kill()
    server.wait()
print(*wrong, sep="\n")
print(f"{count} cases, {len(wrong)} wrong")
