"""A MonitoredTrainingSession, as a process: ``tf1_run.py DIR EPOCHS RESULT [STORE]``.

It saves after every third step, which counts as an epoch. What it prints, and RESULT: see
conftest.py.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json

import numpy as np
import tensorflow as tf
from shelf import url_of

from initreg import RandomStates
from initreg.trainers.tf1 import ModelSaver, init_fn

v1 = tf.compat.v1
EVERY = 3


class Counter:
    def __init__(self):
        self.log = []

    def state_dict(self):
        return {"log": self.log}

    def load_state_dict(self, state):
        self.log = list(state["log"])


def main(folder: str, epochs: str, result: str, store: str = "") -> None:
    counter, rng, values = Counter(), np.random.default_rng(5), {}
    with tf.Graph().as_default() as graph:
        step = v1.train.get_or_create_global_step()
        x = v1.placeholder(tf.float32, [8, 4], "x")
        w = v1.get_variable("fc/W", [4, 1])
        b = v1.get_variable("fc/b", [1])
        y = tf.reduce_sum(x, 1, keepdims=True)
        loss = tf.reduce_mean(tf.square(tf.matmul(x, w) + b - y))
        train = v1.train.AdamOptimizer(0.05).minimize(loss, step)
        base = {"fc/W": np.ones((4, 1), "f4"), "fc/b": np.full(1, 0.5, "f4")}
        objects = {"counter": counter, "random": RandomStates(data=rng)}
        saver = ModelSaver(
            url_of(folder, store), every_n_steps=EVERY, max_to_keep=3, objects=objects
        )
        scaffold = v1.train.Scaffold(init_fn=init_fn(base, saver, on_missing="ignore"))
        everything = {v.op.name: v for v in graph.get_collection("variables")}
        with v1.train.MonitoredTrainingSession(
            scaffold=scaffold,
            hooks=[saver],
            save_checkpoint_steps=None,
            save_checkpoint_secs=None,
            save_summaries_steps=None,
            save_summaries_secs=None,
        ) as session:
            done = session.run_step_fn(lambda step_context: step_context.session.run(step))
            print("STARTING", done // EVERY, flush=True)
            while done < int(epochs) * EVERY:
                batch = rng.random((8, 4), "f4")
                counter.log.append(int(done))
                if (done + 1) % EVERY == 0:
                    print("EPOCH", (done + 1) // EVERY, flush=True)
                session.run(train, {x: batch})
                done += 1
            values = session.run_step_fn(lambda step_context: step_context.session.run(everything))
    states = {"log": counter.log, "next": float(rng.random())}
    np.savez(result, states=json.dumps(states), **values)


if __name__ == "__main__":
    main(*sys.argv[1:])
