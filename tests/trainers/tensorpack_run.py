"""A tensorpack training, as a process: ``tensorpack_run.py DIR EPOCHS RESULT [STORE]``.

What it prints, and RESULT: see conftest.py.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from shelf import url_of
from tensorpack import (
    DataFlow,
    FeedInput,
    ModelDesc,
    SimpleTrainer,
    StatMonitorParamSetter,
    launch_train_with_config,
)
from tensorpack.callbacks import Callback
from tensorpack.utils import logger

from initreg import RandomStates
from initreg.trainers.tensorpack import (
    AutoResumeTrainConfig,
    MaxSaver,
    MinSaver,
    ModelSaver,
    SmartInit,
)

v1 = tf.compat.v1
STEPS = 3


class Batches(DataFlow):
    """Endless random batches. They are those of an uninterrupted run only if the generator was
    saved and restored."""

    def __init__(self):
        self.rng = np.random.default_rng(5)

    def __iter__(self):
        while True:
            x = self.rng.random((8, 4), "f4")
            yield [x, (x * np.arange(4, dtype="f4")).sum(1, keepdims=True)]


class Model(ModelDesc):
    def inputs(self):
        return [tf.TensorSpec([8, 4], tf.float32, "x"), tf.TensorSpec([8, 1], tf.float32, "y")]

    def build_graph(self, x, y):
        w = v1.get_variable("fc/W", [4, 1])
        b = v1.get_variable("fc/b", [1])
        return tf.reduce_mean(tf.square(tf.matmul(x, w) + b - y), name="cost")

    def optimizer(self):
        rate = v1.get_variable("learning_rate", initializer=0.1, trainable=False)
        return v1.train.AdamOptimizer(rate)


class Score(Callback):
    """A statistic that goes up and down."""

    def _trigger(self):
        bias = float(self.trainer.sess.run("fc/b/Read/ReadVariableOp:0")[0])
        self.trainer.monitors.put_scalar("score", float(np.cos(self.epoch_num * 2.0)) + bias / 100)


class Say(Callback):
    def _trigger(self):
        print("EPOCH", self.epoch_num, flush=True)


class Counter:
    """An object with a state that is neither a callback nor a variable."""

    def __init__(self):
        self.log = []

    def state_dict(self):
        return {"log": self.log}

    def load_state_dict(self, state):
        self.log = list(state["log"])


class Count(Callback):
    def __init__(self, counter):
        self.counter = counter

    def _trigger(self):
        self.counter.log.append([self.epoch_num, self.global_step])


class Finish(Callback):
    """Keeps the variables and the statistic as they are in the end."""

    def _after_train(self):
        self.scores = list(self.trainer.monitors.get_history("score"))
        self.values = self.trainer.sess.run({v.op.name: v for v in v1.global_variables()})


def main(folder: str, epochs: str, result: str, store: str = "") -> None:
    where = url_of(folder, store)
    logger.set_logger_dir(os.path.join(folder, "log"), action="k")
    data, counter, finish = Batches(), Counter(), Finish()
    best, worst = MinSaver("score", checkpoint_dir=where), MaxSaver("score", checkpoint_dir=where)
    objects = {"counter": counter, "data": RandomStates(data=data.rng)}
    config = AutoResumeTrainConfig(
        model=Model(),
        data=FeedInput(data),
        callbacks=[
            ModelSaver(checkpoint_dir=where, max_to_keep=3, objects=objects),
            Score(),
            best,
            worst,
            Count(counter),
            StatMonitorParamSetter("learning_rate", "score", lambda v: v * 0.5, 0, 2),
            Say(),
            finish,
        ],
        session_init=SmartInit(
            {"fc/b": np.full(1, 0.5, "f4"), "fc/W": np.ones((4, 1), "f4")}, on_missing="ignore"
        ),
        steps_per_epoch=STEPS,
        max_epoch=int(epochs),
    )
    print("STARTING", config.starting_epoch - 1, flush=True)
    launch_train_with_config(config, SimpleTrainer())
    rows = json.loads(Path(folder, "log", "stats.json").read_text())
    states = {
        "best": best.best,
        "worst": worst.best,
        "log": counter.log,
        "scores": finish.scores,
        "rows": [[row["epoch_num"], row["global_step"], row["score"]] for row in rows],
        "next": data.rng.random(),
    }
    np.savez(result, states=json.dumps(states), **finish.values)


if __name__ == "__main__":
    main(*sys.argv[1:])
