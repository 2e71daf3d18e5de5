"""How much memory the coordinator needs to restore a large variable of parameter servers.

    python memory.py FOLDER MEGABYTES

The servers are processes of their own. Prints how many megabytes the coordinator grew by.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

from ports import free_addresses

folder, size = Path(sys.argv[1]), int(sys.argv[2])
SERVER = """
import json, os, sys, threading
import tensorflow as tf
threading.Timer(240, lambda: os._exit(9)).start()
spec, job, task = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
tf.distribute.Server(tf.train.ClusterSpec(spec), job_name=job, task_index=task).join()
"""
WRITE = """
import sys
import numpy as np
array = np.lib.format.open_memmap(sys.argv[1], "w+", "f4", (int(sys.argv[2]), 1024))
array[:, 7] = np.arange(len(array)) % 1000
"""
addresses = free_addresses(4)
spec = {"ps": addresses[:2], "worker": addresses[2:3], "chief": addresses[3:]}
servers = [
    subprocess.Popen(
        [sys.executable, "-c", SERVER, json.dumps(spec), job, str(task)], stderr=subprocess.DEVNULL
    )
    for job, task in (("ps", 0), ("ps", 1), ("worker", 0))
]
try:
    import numpy as np
    import tensorflow as tf

    import initreg

    warnings.simplefilter("ignore")
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(spec), rpc_layer="grpc", task_type="chief", task_id=0
    )
    two = tf.distribute.experimental.partitioners.FixedShardsPartitioner(2)
    rows = size * 1024 // 4  # of 4 KiB
    for label, partitioner in (("sharded", two), ("single", None)):
        strategy = tf.distribute.ParameterServerStrategy(resolver, variable_partitioner=partitioner)
        with strategy.scope():
            variable = tf.Variable(
                lambda: tf.zeros([rows, 1024]), shape=[rows, 1024], dtype=tf.float32, name=label
            )
        path = folder / f"{label}.npy"
        # In another process, because what is mapped counts as memory.
        subprocess.run([sys.executable, "-c", WRITE, str(path), str(rows)], check=True)
        small = folder / "small.npz"
        np.savez(small, small=np.ones(3, "f4"))
        initreg.SmartInit(small).init([tf.Variable(np.zeros(3, "f4"), name="small")])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        initreg.SmartInit(path).init([variable])  # it is called after its file
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        parts = getattr(variable, "variables", [variable])
        found = np.concatenate([part.sparse_read(np.arange(5))[:, 7].numpy() for part in parts])
        starts = np.cumsum([0, *(int(part.shape[0]) for part in parts)])[:-1]
        expected = np.concatenate([(start + np.arange(5)) % 1000 for start in starts])
        assert np.array_equal(found, expected), (found, expected)
        print(label, grown, flush=True)
finally:
    for each in servers:
        each.kill()
os._exit(0)
