"""One task of a TF1 cluster: a parameter server, the chief or a worker.

    python tf1_cluster_run.py CLUSTER JOB TASK FOLDER STEPS [STORE]

Each prints ``FIRST value step`` when its session is there. The worker trains up to STEPS, and the
chief ends after it.
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
saver = ModelSaver(url_of(str(folder / "run"), *sys.argv[6:]), every_n_steps=2)
start = init_fn({"w": np.full((4, 3), 10, "f4")}, saver, on_missing="ignore")
began, ended = folder / f"began-{steps}", folder / f"ended-{steps}"
with v1.train.MonitoredTrainingSession(
    master=server.target,
    is_chief=job == "chief",
    scaffold=v1.train.Scaffold(init_fn=start),
    chief_only_hooks=[saver],
    save_checkpoint_steps=None,
    save_checkpoint_secs=None,
    log_step_count_steps=None,
) as session:
    values, at = session.run([whole, step])
    assert (values == values[0, 0]).all(), values
    print(f"FIRST {values[0, 0]:g} {at}", flush=True)
    if job == "chief":
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
