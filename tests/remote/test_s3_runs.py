"""Trainings whose folder is a bucket of S3, on a server of its own on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from tests.remote.test_s3 import fs, options, server  # noqa: F401 - fixtures

pytestmark = [pytest.mark.remote, pytest.mark.framework]

_TRAINING = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import tensorflow as tf
from initreg.trainers.tf1 import ModelSaver, init_fn
v1 = tf.compat.v1
options = {"key": "user", "secret": "VERYSECRET", "client_kwargs": {"endpoint_url": sys.argv[1]}}
with tf.Graph().as_default():
    step = v1.train.get_or_create_global_step()
    w = v1.get_variable("w", [1000], initializer=v1.zeros_initializer())
    op = tf.group(w.assign_add(tf.ones_like(w)), step.assign_add(1))
    saver = ModelSaver(
        "s3://weights/run", every_n_steps=1, max_to_keep=2, storage_options=options
    )
    with v1.train.MonitoredTrainingSession(
        scaffold=v1.train.Scaffold(init_fn=init_fn(saver=saver)),
        hooks=[saver],
        save_checkpoint_steps=None,
        save_checkpoint_secs=None,
    ) as session:
        first = session.run_step_fn(lambda step_context: step_context.session.run(step))
        print("STARTING", first, flush=True)
        for done in range(first, int(sys.argv[2])):
            print("STEP", done + 1, flush=True)  # before it is saved
            session.run(op)
"""


def start(server: str, steps: int) -> subprocess.Popen[str]:  # noqa: F811
    return subprocess.Popen(
        [sys.executable, "-c", _TRAINING, server, str(steps)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ,
    )


def test_a_session_that_is_killed(server: str, fs: Any, options: dict[str, Any]) -> None:  # noqa: F811
    """A TF1 training that saves to S3 and is killed goes on from its last complete checkpoint,
    which has the values of its step, and old checkpoints are removed."""
    reached = 0
    for pause in (0.0, 0.03, 0.06):
        with start(server, 1000) as process:
            assert process.stdout is not None
            begin = int(process.stdout.readline().split()[1])
            assert reached - 1 <= begin <= reached
            for _ in range(3):
                reached = int(process.stdout.readline().split()[1])
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
            said = process.stdout.read().split()
            reached = int(said[-1]) if said else reached
        point = initreg.resume("s3://weights/run", verify=True, storage_options=options)
        assert point is not None
        assert point.skipped == ()
        assert reached - 1 <= (point.step or 0) <= reached
        assert (initreg.load(point.path)["w"] == point.step).all()
    with start(server, reached + 2) as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.split()[-1] == str(reached + 2)
    kept = {Path(name).stem for name in fs.find("weights/run") if name.endswith(".index")}
    assert kept == {f"model-{reached + 1}", f"model-{reached + 2}"}
    assert not [name for name in fs.find("weights/run") if "/.initreg-" in name]


def test_savers_of_tensorpack(
    fs: Any,  # noqa: F811
    options: dict[str, Any],  # noqa: F811
    tmp_path: Path,
) -> None:
    """ModelSaver and MinSaver save to S3, and AutoResumeTrainConfig goes on from there."""
    code = f"""
import warnings
warnings.simplefilter("ignore")
import numpy as np
import tensorflow as tf
import tensorpack as tp
from tensorpack.dataflow import FakeData
from tensorpack.utils import logger
from initreg.trainers.tensorpack import AutoResumeTrainConfig, MinSaver, ModelSaver
v1 = tf.compat.v1
options = {options!r}
logger.set_logger_dir({str(tmp_path)!r}, action="k")
class Model(tp.ModelDesc):
    def inputs(self):
        return [tf.TensorSpec([1], tf.float32, "x")]
    def build_graph(self, x):
        w = v1.get_variable("w", initializer=np.float32(2))
        return tf.identity(w + 0 * tf.reduce_sum(x), name="cost")
    def optimizer(self):
        return v1.train.GradientDescentOptimizer(0.25)
class Score(tp.Callback):
    def _trigger(self):
        self.trainer.monitors.put_scalar("score", abs(self.epoch_num - 2))
where = dict(checkpoint_dir="s3://weights/run", storage_options=options)
for epochs in (2, 3):
    config = AutoResumeTrainConfig(
        model=Model(), data=tp.FeedInput(FakeData([[1]], size=100)),
        callbacks=[Score(), MinSaver("score", **where), ModelSaver(max_to_keep=1, **where)],
        monitors=[], extra_callbacks=[], steps_per_epoch=2, max_epoch=epochs)
    print("STARTING", config.starting_epoch)
    with tf.Graph().as_default():
        tp.launch_train_with_config(config, tp.SimpleTrainer())
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-3000:]
    starting = [line for line in found.stdout.splitlines() if line.startswith("STARTING")]
    assert starting == ["STARTING 1", "STARTING 3"]
    point = initreg.resume("s3://weights/run", verify=True, storage_options=options)
    assert point is not None
    assert (point.epoch, point.step) == (3, 6)
    assert initreg.load(point.path)["w"] == np.float32(0.5)
    assert initreg.load("s3://weights/run/min-score", storage_options=options)["w"] == 1.0
    assert len([name for name in fs.find("weights/run") if name.endswith(".index")]) == 2
