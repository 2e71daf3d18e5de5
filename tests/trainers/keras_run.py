"""A fit, as a process: ``keras_run.py DIR EPOCHS RESULT keras|tf_keras [STORE]``.

What it prints, and RESULT: see conftest.py.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import importlib
import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from shelf import url_of

from initreg import RandomStates


def main(folder: str, epochs: str, result: str, library: str, store: str = "") -> None:
    where = url_of(folder, store)
    keras = importlib.import_module(library)
    trainers = importlib.import_module(f"initreg.trainers.{library}")
    keras.utils.set_random_seed(3)
    tf.config.experimental.enable_op_determinism()
    if library == "tf_keras":
        keras.backend.experimental.enable_tf_random_generator()
    model = keras.Sequential(
        [
            keras.layers.Input((6,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=11),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "mse")
    x = np.random.default_rng(5).random((24, 6)).astype("f4")
    y = x.sum(1, keepdims=True)
    rng = np.random.default_rng(6)

    class Wave(keras.callbacks.Callback):
        """A quantity that goes up and down, and by chance."""

        def on_epoch_end(self, epoch, logs=None):
            bias = float(model.layers[-1].bias[0])
            logs["wave"] = float(np.cos(epoch * 2.0)) + bias / 100 + rng.random() / 10

    class Say(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            print("EPOCH", epoch + 1, flush=True)
            self.weights = self.model.get_weights()  # in the end EarlyStopping restores the best

    early = keras.callbacks.EarlyStopping(
        "wave", mode="min", patience=10**6, restore_best_weights=True
    )
    plateau = keras.callbacks.ReduceLROnPlateau(
        "wave", mode="min", factor=0.9, patience=2, min_lr=1e-3
    )
    check = keras.callbacks.ModelCheckpoint(
        os.path.join(folder, "check.weights.h5"),
        "wave",
        mode="min",
        save_best_only=True,
        save_weights_only=True,
    )
    log = keras.callbacks.CSVLogger(os.path.join(folder, "log.csv"))
    best = trainers.MinSaver(where, "wave")
    saver = trainers.ModelSaver(where, max_to_keep=3, objects={"random": RandomStates(noise=rng)})
    os.makedirs(folder, exist_ok=True)
    history, say = keras.callbacks.History(), Say()
    callbacks = [Wave(), early, plateau, check, log, best, history, say, saver]
    start = trainers.resume(model, callbacks)
    print("STARTING", start.epoch, flush=True)
    model.fit(
        x,
        y,
        batch_size=8,
        shuffle=False,
        epochs=int(epochs),
        callbacks=callbacks,
        initial_epoch=start.initial_epoch,
        verbose=0,
    )
    states = {
        "early": [early.best, early.wait, early.best_epoch],
        "plateau": [plateau.best, plateau.wait, plateau.cooldown_counter],
        "check": float(check.best),
        "best": [best.best, best.best_epoch],
        "epochs": history.epoch,
        "history": history.history,
        "log": Path(log.filename).read_text(),
        "next": [rng.random(), float(np.random.random())],
    }
    values = {f"{i}": v.numpy() for i, v in enumerate([*model.variables, *_slots(model)])}
    values |= {f"last/{i}": array for i, array in enumerate(say.weights)}
    np.savez(result, states=json.dumps(states, default=float), **values)


def _slots(model):
    variables = model.optimizer.variables
    return list(variables() if callable(variables) else variables)


if __name__ == "__main__":
    main(*sys.argv[1:])
