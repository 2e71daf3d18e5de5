"""A fit with another Keras, as a process: ``other_keras_run.py DIR EPOCHS keras|tf_keras [NAME]``.

NAME is a private function of the Keras that is installed. Before Keras is imported, the function
gets another name throughout its module, as in a version of Keras that renamed it. The last line
that is printed is JSON: where the run started, and the values that it ended with.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import importlib
import json
import logging

import numpy as np
from renaming import Renaming


def main(folder: str, epochs: str, library: str, name: str = "") -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")  # to stderr
    if name:
        Renaming.install(f"{library}.src.saving.saving_lib", name)
    keras = importlib.import_module(library)
    trainers = importlib.import_module(f"initreg.trainers.{library}")
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((3,)),
            layers.Dense(2, kernel_initializer="ones"),
            layers.BatchNormalization(),
            layers.Dense(1, kernel_initializer="ones"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    early = keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
    best = trainers.MinSaver(folder, "loss")
    history = keras.callbacks.History()
    callbacks = [early, best, history, trainers.ModelSaver(folder, max_to_keep=2)]
    x = np.random.default_rng(0).random((8, 3)).astype("f4")
    start = trainers.resume(model, callbacks)
    model.fit(
        x,
        x.sum(1, keepdims=True),
        4,
        int(epochs),
        callbacks=callbacks,
        initial_epoch=start.initial_epoch,
        shuffle=False,
        verbose=0,
    )
    variables = model.optimizer.variables
    slots = list(variables() if callable(variables) else variables)
    found = {
        "started": start.epoch,
        "epochs": history.epoch,
        "loss": history.history["loss"],
        "early": [float(early.best), early.wait, early.best_epoch],
        "best weights": [each.tolist() for each in early.best_weights],
        "best": [best.best, best.best_epoch],
        "weights": [each.tolist() for each in model.get_weights()],
        "optimizer": [each.numpy().tolist() for each in slots],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
