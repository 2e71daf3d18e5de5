"""Trainings in separate processes that are killed and started again, and each Keras."""

from __future__ import annotations

import importlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from initreg.api import resuming

HERE = Path(__file__).parent
STEPS = 3  # of an epoch, in all scripts


class Training:
    """A script that is called with a folder, a number of epochs, a result file, and ``args``.

    It prints ``STARTING n`` once, where n is the number of epochs that are done. It prints
    ``EPOCH n`` when the nth epoch is done and about to be saved. At the end it writes an npz of all
    variables, and of ``states`` as JSON.
    """

    def __init__(self, script: str, folder: Path, epochs: int, *args: str) -> None:
        self.folder = folder
        self._result = folder.with_name(f"{folder.name}.result.npz")
        self._log = folder.with_name(f"{folder.name}.log")
        self._command = [sys.executable, str(HERE / script), str(folder), str(epochs)]
        self._command += [str(self._result), *args]

    def _start(self) -> subprocess.Popen[str]:
        environment = os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
        with open(self._log, "a") as log:
            return subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )

    def finish(self) -> tuple[int, dict[str, np.ndarray[Any, Any]], Any]:
        """Run to the end. Returns the epoch it started from, the variables and the states."""
        with self._start() as process:
            output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, self._log.read_text()[-4000:]
        start = re.search(r"STARTING (\d+)", output)
        assert start is not None
        with np.load(self._result) as found:
            values = dict(found)
        states = json.loads(str(values.pop("states")))
        return int(start[1]), values, states

    def kill(self, after: int, seconds: float) -> tuple[int, int]:
        """Start it, and kill it ``seconds`` after it has printed ``after`` epochs. Returns the
        epoch it started from, and the last one that it printed."""
        with self._start() as process:
            assert process.stdout is not None
            start = last = None
            seen = 0
            for line in process.stdout:
                word, _, number = line.partition(" ")
                if word == "STARTING":
                    start = last = int(number)
                elif word == "EPOCH":
                    last, seen = int(number), seen + 1
                    if seen == after:
                        time.sleep(seconds)
                        break
            process.send_signal(signal.SIGKILL)
            said = re.findall(r"EPOCH (\d+)", process.stdout.read())
        assert process.returncode == -signal.SIGKILL, self._log.read_text()[-4000:]
        assert start is not None
        assert last is not None
        return start, int(said[-1]) if said else last


@pytest.fixture
def killed_as_uninterrupted(tmp_path: Path) -> Callable[..., None]:
    """Checks a training that is killed ``kills`` times, at random moments within ``within`` seconds
    after it began to save. Each time it continues from the last epoch that it saved, never from an
    incomplete checkpoint. It ends with the same bits and states as one that was never killed."""

    def check(script: str, *args: str, epochs: int, kills: int, within: float, seed: int) -> None:
        chance = random.Random(seed)
        one = Training(script, tmp_path / "one", epochs, *args)
        started, wanted, wanted_states = one.finish()
        assert started == 0
        killed = Training(script, tmp_path / "killed", epochs, *args)
        reached = 0
        for _ in range(kills):
            started, last = killed.kill(chance.randint(1, 3), chance.uniform(0, within))
            # The epoch that it printed last may be saved or not. Those before are saved.
            assert reached - 1 <= started <= reached
            reached = last
            assert last < epochs, "it was done before it was killed: give it more epochs"
            found, skipped = resuming.find(killed.folder, verify=True)
            assert skipped == ()
            saved = 0 if found is None else (found.step or 0) // STEPS
            assert last - 1 <= saved <= last
        started, values, states = killed.finish()
        assert reached - 1 <= started <= reached
        assert states == wanted_states
        assert values.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_array_equal(values[name], value, err_msg=name, strict=True)
        leftover = {path.name for path in killed.folder.iterdir() if path.name.startswith(".")}
        assert all(name.startswith(".initreg-") for name in leftover)

    return check


class Library:
    """A Keras, what initreg has for it, and data to fit."""

    x = np.random.default_rng(0).random((8, 3)).astype("f4")
    y = x.sum(1, keepdims=True)

    def __init__(self, name: str) -> None:
        self.keras = importlib.import_module(name)
        self.trainers = importlib.import_module(f"initreg.trainers.{name}")

    def model(self, units: int = 2, dropout: bool = False, optimizer: Any = None) -> Any:
        """A compiled model, with the same weights each time."""
        layers = self.keras.layers
        model = self.keras.Sequential(
            [
                layers.Input((3,)),
                layers.Dense(units, kernel_initializer="ones"),
                *([layers.Dropout(0.5, seed=1)] if dropout else []),
                layers.Dense(1, kernel_initializer="ones"),
            ]
        )
        model.compile(optimizer or self.keras.optimizers.Adam(0.01), "mse")
        return model

    def fit(self, model: Any, callbacks: list[Any], epochs: int, **options: Any) -> Any:
        """Fit as a user of initreg does. Returns where it started, and the History."""
        start = self.trainers.resume(model, callbacks)
        options = {"initial_epoch": start.initial_epoch, "verbose": 0, "shuffle": False, **options}
        return start, model.fit(self.x, self.y, 4, epochs, callbacks=callbacks, **options)

    def given(self, **logs: list[float]) -> Any:
        """A callback that logs given values."""

        class Given(self.keras.callbacks.Callback):  # type: ignore[misc, name-defined]
            def on_epoch_end(self, epoch: int, found: Any = None) -> None:
                found.update({name: values[epoch] for name, values in logs.items()})

        return Given()

    def load(self, path: Path) -> Any:
        """A model with the weights and the optimizer that Keras reads from a file."""
        model = self.model()
        model.optimizer.build(model.trainable_variables)
        model.load_weights(str(path))
        return model

    def weights(self, model: Any) -> list[Any]:
        return [each.tolist() for each in model.get_weights()]

    def slots(self, model: Any) -> list[Any]:
        """The variables of the model's optimizer: its step, its rate, its slots."""
        found = model.optimizer.variables
        return [each.numpy().tolist() for each in (found() if callable(found) else found)]

    def state(self, model: Any) -> tuple[list[Any], list[Any]]:
        """The weights and the optimizer's variables."""
        return self.weights(model), self.slots(model)

    def files(self, folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=["keras", "tf_keras"])
def library(request: pytest.FixtureRequest) -> Library:
    """Keras 3, then tf_keras. ``parametrize("library", ["keras"], indirect=True)`` takes one."""
    return Library(request.param)
