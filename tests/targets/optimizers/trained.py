"""Models that were trained with each optimizer, files of them, and what restores them."""

from __future__ import annotations

import functools
import importlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from initreg import InitregWarning, Plan, SmartInit, StateWarning, UnusedWarning

Make = Callable[[], Any]
FORMATS = (".weights.h5", ".keras", ".h5", "model and optimizer", "model")
LIBRARIES = ("keras", "tf_keras", "legacy")


@functools.cache
def library(name: str) -> Any:
    return importlib.import_module("keras" if name == "keras" else "tf_keras")


def optimizers(name: str) -> dict[str, Make]:
    """One of each class, with all of its slots."""
    found = library(name).optimizers
    o = found.legacy if name == "legacy" else found
    made: dict[str, Make] = {
        "SGD": lambda: o.SGD(0.01, momentum=0.9, nesterov=True),
        "RMSprop": lambda: o.RMSprop(0.01),
        "Adam": lambda: o.Adam(0.01),
        "Adamax": lambda: o.Adamax(0.01),
        "Nadam": lambda: o.Nadam(0.01),
        "Adagrad": lambda: o.Adagrad(0.01),
        "Adadelta": lambda: o.Adadelta(0.01),
        "Ftrl": lambda: o.Ftrl(0.01),
    }
    if name != "legacy":
        made |= {
            "AdamW": lambda: o.AdamW(0.01),
            "Adafactor": lambda: o.Adafactor(0.01),
            "Lion": lambda: o.Lion(0.01),
        }
    if name == "keras":
        made |= {"Lamb": lambda: o.Lamb(0.01), "Muon": lambda: o.Muon(0.01)}
    return made


def variants(name: str) -> dict[str, Make]:
    """The same classes with options that change what the state is."""
    found = library(name).optimizers
    o = found.legacy if name == "legacy" else found
    rate = found.schedules.ExponentialDecay(0.1, 2, 0.5)
    made: dict[str, Make] = {
        "SGD without momentum": lambda: o.SGD(0.01),
        "RMSprop with all slots": lambda: o.RMSprop(0.01, momentum=0.9, centered=True),
        "Adam with amsgrad": lambda: o.Adam(0.01, amsgrad=True),
        "a schedule": lambda: o.Adam(rate),
        "clipnorm": lambda: o.SGD(0.01, momentum=0.9, clipnorm=0.1),
        "a name": lambda: o.Adam(0.01, name="of_the_generator"),
    }
    if name != "legacy":
        made["averages"] = lambda: o.Adam(0.01, use_ema=True, ema_overwrite_frequency=3)
    if name == "keras":
        made["accumulation"] = lambda: o.Adam(0.01, gradient_accumulation_steps=2)
    return made


def scaled(name: str) -> dict[str, Make]:
    """Each class in a LossScaleOptimizer."""
    keras = library(name)
    of = keras.optimizers if name == "keras" else keras.mixed_precision

    def wrapped(make: Make) -> Make:
        return lambda: of.LossScaleOptimizer(make(), initial_scale=256.0)

    return {f"scaled {key}": wrapped(make) for key, make in optimizers(name).items()}


def every(name: str) -> dict[str, Make]:
    return {**optimizers(name), **variants(name), **scaled(name)}


# --- models -------------------------------------------------------------------------------------


def data(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((8, 4)).astype("f4"), rng.standard_normal((8, 3)).astype("f4")


def model(name: str, optimizer: Any, seed: int, head: int = 3) -> Any:
    """A model of random weights, one layer of which has a name, trained for three steps."""
    keras = library(name)
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    x = inputs = keras.Input((4,))
    x = layers.Dense(4)(layers.BatchNormalization()(layers.Dense(4, name="first")(x)))
    made = keras.Model(inputs, layers.Dense(head)(x))
    made.compile(optimizer, keras.losses.MeanSquaredError(), run_eagerly=True)
    if head == 3:
        train(made, seed)
    return made


def train(made: Any, seed: int, steps: int = 3) -> list[float]:
    """The loss of each step."""
    x, y = data(seed)
    return [float(made.train_on_batch(x, y)) for _ in range(steps)]


def variables(made: Any) -> list[Any]:
    found = made.optimizer.variables
    return [*made.weights, *(found() if callable(found) else found)]


def values(made: Any) -> list[bytes]:
    return [np.asarray(each.numpy()).tobytes() for each in variables(made)]


def state(made: Any) -> list[bytes]:
    return values(made)[len(made.weights) :]


# --- files --------------------------------------------------------------------------------------


def save(made: Any, form: str, folder: Path) -> Path:
    if form == ".weights.h5":
        made.save_weights(str(folder / "m.weights.h5"))
        return folder / "m.weights.h5"
    if form in (".keras", ".h5"):
        made.save(str(folder / f"m{form}"))
        return folder / f"m{form}"
    prefix = folder / form.replace(" ", "_")
    holder(made, form).write(str(prefix))
    return prefix


def holder(made: Any, form: str) -> Any:
    if form == "model":
        return tf.train.Checkpoint(made)
    return tf.train.Checkpoint(model=made, optimizer=made.optimizer)


def loaded(path: Path, form: str, name: str, kind: str) -> Any:
    """A model that Keras or TensorFlow restored."""
    make = every(name)[kind]
    if "Nadam" in kind and name != "legacy" and form in (".keras", ".h5"):
        # The product of its momenta is in checkpoints only. A new model would begin with 1, and a
        # model that was trained keeps its own.
        made = model(name, make(), 2)
        made.load_weights(str(path.with_suffix(".keras")))
        return made
    if form == ".h5" and (name == "keras" or (name == "tf_keras" and "scaled" in kind)):
        # Both only log that the state does not fit. Keras 3.15 builds the optimizer for a
        # functional model's own variables, which are none. In tf_keras 2.21, a LossScaleOptimizer
        # does not take weights. So the other file says what is right.
        path = path.with_suffix(".keras")
    if form in (".keras", ".h5"):
        found = library(name).models.load_model(str(path))
        found.run_eagerly = True
        return found
    made = model(name, make(), 2)
    if form == ".weights.h5":
        made.load_weights(str(path))
    else:
        holder(made, form).read(str(path)).assert_consumed()
    return made


def holds_state(name: str, form: str, kind: str) -> bool:
    """Whether Keras saves the state, and loads it."""
    if name == "keras" and "Adafactor" in kind and form == ".h5":
        return False  # Keras gives two of its datasets one name, and fails to save
    is_refused = kind in ("scaled Lion", "scaled Adafactor")
    if name == "tf_keras" and is_refused and form in (".keras", ".h5"):
        return False  # load_model does not take it in a LossScaleOptimizer
    if name == "legacy":
        # Checkpoint fails for a legacy optimizer in another one.
        return form == ".h5" or (form not in (".weights.h5", ".keras") and "scaled" not in kind)
    return True


def restored(path: Path, made: Any, **options: Any) -> tuple[Plan, list[str]]:
    """The plan, and what StateWarnings say. No other warning may come."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", InitregWarning)
        plan = SmartInit(path, **options).init(made)
    told = [each for each in found if issubclass(each.category, InitregWarning)]
    kinds = {each.category for each in told if each.category is not StateWarning}
    assert kinds <= {UnusedWarning}
    unused = [row.name for row in plan.unused("warn")]
    # Adafactor of tf_keras has integers in checkpoints that stand for statistics it does not keep.
    assert [name for name in unused if not re.search(r"optimizer/_[cr]/\d+$", name)] == []
    return plan, [str(each.message) for each in told if each.category is StateWarning]
