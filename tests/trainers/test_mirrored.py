"""Trainings of models that were made under a MirroredStrategy go on as if never interrupted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.framework, pytest.mark.slow]

CODE = """
import importlib, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
import tensorflow as tf
name, folder, epochs, where, result = sys.argv[1:]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
keras = importlib.import_module(name)
trainer = importlib.import_module(f"initreg.trainers.{name}")
keras.utils.set_random_seed(1)
with strategy.scope():
    model = keras.Sequential([
        keras.layers.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(2)
    ])
    model.compile(keras.optimizers.Adam(0.01), "mse")
rng = np.random.default_rng(0)
x, y = rng.normal(size=(64, 8)).astype("f4"), rng.normal(size=(64, 2)).astype("f4")
callbacks = [keras.callbacks.EarlyStopping("loss", patience=9), trainer.ModelSaver(folder)]
if where == "inside":
    with strategy.scope():
        start = trainer.resume(model, callbacks)
else:
    start = trainer.resume(model, callbacks)
model.fit(x, y, batch_size=16, shuffle=False, epochs=int(epochs), verbose=0,
          initial_epoch=start.initial_epoch, callbacks=callbacks)
variables = model.optimizer.variables
variables = variables() if callable(variables) else variables
kinds = {type(getattr(v, "value", v)).__name__ for v in variables if len(v.shape) == 2}
if name == "tf_keras":
    kinds = {type(v).__name__ for v in variables if len(v.shape) == 2}
assert kinds == {"MirroredVariable"}, kinds
np.savez(result, *model.get_weights(), *(np.asarray(v.numpy()) for v in variables))
print(start.initial_epoch)
"""


def run(name: str, folder: Path, epochs: int, where: str) -> tuple[int, list[Any]]:
    result = folder.with_suffix(".npz")
    done = subprocess.run(
        [sys.executable, "-c", CODE, name, str(folder), str(epochs), where, str(result)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(result) as found:
        return int(done.stdout.split()[-1]), [found[each] for each in found.files]


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_a_resumed_training(tmp_path: Path, name: str, where: str) -> None:
    """The optimizer is built under the strategy of its model, wherever resume() is called, and the
    weights and slots at the end are those of a training that was never interrupted."""
    _, expected = run(name, tmp_path / "never", 4, where)
    run(name, tmp_path / "run", 2, where)
    start, found = run(name, tmp_path / "run", 4, where)
    assert start == 2
    assert len(found) == len(expected) > 8
    assert all(map(np.array_equal, found, expected))
