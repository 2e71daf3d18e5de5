"""One task of a TF1 cluster: a parameter server, the chief or a worker.

    python tf1_cluster_run.py CLUSTER JOB TASK FOLDER STEPS INIT [STORE]

INIT is ``nothing`` or ``all``: what the scaffold's init_op initialises. Each prints ``FIRST value
step`` when its session is there. The worker begins to look when the chief is in its init_fn, which
goes on two seconds later. The worker trains up to STEPS, and the chief ends
after it. Before that, the chief prints how many warnings it gave.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf
from shelf import url_of

from initreg import InitregWarning
from initreg.trainers.tf1 import ModelSaver, init_fn

threading.Timer(90, lambda: os._exit(9)).start()
warnings.simplefilter("ignore")
v1 = tf.compat.v1
v1.disable_eager_execution()
cluster = tf.train.ClusterSpec(json.loads(sys.argv[1]))
job, task, folder, steps = sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])
server = v1.train.Server(cluster, job_name=job, task_index=task)
if job == "ps":
    server.join()
device = v1.train.replica_device_setter(cluster=cluster, worker_device=f"/job:{job}/task:{task}")
with v1.device(device):
    step = v1.train.get_or_create_global_step()
    ones = v1.ones_initializer()
    w = v1.get_variable("w", [4, 3], initializer=ones, partitioner=v1.fixed_size_partitioner(2))
    add = [part.assign_add(tf.ones_like(part), use_locking=True) for part in w]
    train = v1.group(*add, step.assign_add(1, use_locking=True))
    whole = tf.concat(list(w), 0)
saver = ModelSaver(url_of(str(folder / "run"), *sys.argv[7:]), every_n_steps=2)
start = init_fn({"w": np.full((4, 3), 10, "f4")}, saver, on_missing="ignore")
waiting, began, ended = (folder / f"{each}-{steps}" for each in ("waiting", "began", "ended"))
given = []


def late(scaffold: v1.train.Scaffold, session: v1.Session) -> None:
    """Fill the session two seconds after the worker began to look for it."""
    waiting.write_text("")
    time.sleep(2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InitregWarning)
        start(scaffold, session)
    given.extend(caught)


scaffold = v1.train.Scaffold(init_op=tf.no_op() if sys.argv[6] == "nothing" else None, init_fn=late)
if job == "worker":
    while not waiting.exists():
        time.sleep(0.02)
    scaffold.finalize()  # MonitoredTrainingSession looks only every 30 s
    ready = v1.train.SessionManager(
        local_init_op=scaffold.local_init_op,
        ready_op=scaffold.ready_op,
        ready_for_local_init_op=scaffold.ready_for_local_init_op,
        recovery_wait_secs=0.1,
    )
    ready.wait_for_session(server.target)
with v1.train.MonitoredTrainingSession(
    master=server.target,
    is_chief=job == "chief",
    scaffold=scaffold,
    chief_only_hooks=[saver],
    save_checkpoint_steps=None,
    save_checkpoint_secs=None,
    log_step_count_steps=None,
) as session:
    values, at = session.run([whole, step])
    assert (values == values[0, 0]).all(), values
    print(f"FIRST {values[0, 0]:g} {at}", flush=True)
    if job == "chief":
        print(f"WARNED {len(given)}", flush=True)
        began.write_text("")
    while not began.exists():  # or the chief would see what the worker has trained meanwhile
        time.sleep(0.02)
    while job == "worker" and session.run(step) < steps:
        session.run(train)
    if job == "worker":
        ended.write_text("")
    while not ended.exists():
        session.run(step)  # so that the hooks see the steps of the worker
        time.sleep(0.02)
os._exit(0)
