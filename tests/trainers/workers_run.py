"""One worker of a training that several processes do together.

    python workers_run.py KERAS FOLDER EPOCHS RESULT TASK ADDRESS...

Prints ``STARTING n`` and ``EPOCH n``. Writes the weights and the state of the optimizer to RESULT.
With ``TASK:FOLDER`` instead of FOLDER, each worker has a folder of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import warnings

keras_name, folder, epochs, result, task, *addresses = sys.argv[1:]
os.environ["TF_CONFIG"] = json.dumps(
    {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": int(task)}}
)
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

threading.Timer(180, lambda: os._exit(9)).start()  # a worker that waits for the others for good
warnings.simplefilter("ignore")
tf.get_logger().setLevel("ERROR")
strategy = tf.distribute.MultiWorkerMirroredStrategy()
keras = importlib.import_module(keras_name)
trainer = importlib.import_module(f"initreg.trainers.{keras_name}")
keras.utils.set_random_seed(1)
with strategy.scope():
    model = keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
rng = np.random.default_rng(0)
x, y = rng.normal(size=(32, 4)).astype("f4"), rng.normal(size=(32, 1)).astype("f4")
data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
options = tf.data.Options()
options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
data = data.with_options(options)


class Tell(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        print(f"EPOCH {epoch + 1}", flush=True)


callbacks = [
    Tell(),
    trainer.MinSaver(folder.replace("TASK", task), "loss"),
    trainer.ModelSaver(folder.replace("TASK", task), max_to_keep=2),
]
try:
    start = trainer.resume(model, callbacks)
except Exception as error:
    print(f"REFUSED {type(error).__name__}: {error}", flush=True)
    os._exit(3)
print(f"STARTING {start.initial_epoch}", flush=True)
model.fit(
    data,
    epochs=int(epochs),
    initial_epoch=start.initial_epoch,
    verbose=0,
    shuffle=False,
    callbacks=callbacks,
)
variables = model.optimizer.variables
variables = variables() if callable(variables) else variables
arrays = [*model.get_weights(), *(np.asarray(each.numpy()) for each in variables)]
np.savez(f"{result}-{task}.npz", *arrays)
print("DONE", flush=True)
os._exit(0)
