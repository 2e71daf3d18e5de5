"""initreg's main job on real data: one file of trained weights into three models.

``make demo`` runs this. The weights were trained by train.py, beside this file, and saved by plain
numpy; each model starts with random values of its own.
"""

from __future__ import annotations

import os
import textwrap
import time
import warnings
from typing import Any

started = time.monotonic()
print("Starting TensorFlow ...", flush=True)

import digits
import numpy as np

import initreg
from initreg import SmartInit

with digits.hush():
    import keras
    import tensorflow as tf

BASE = os.path.relpath(digits.WEIGHTS)


def title(number: int, text: str, code: str) -> None:
    print(f"\n{number}. {text}\n\n       {code}\n")


def show(text: object) -> None:
    print(textwrap.indent(str(text), "   "))


def accuracy(logits: Any, labels: np.ndarray) -> str:
    return f"{np.mean(np.argmax(logits, axis=-1) == labels):.1%}"


def in_a_session(x: np.ndarray, y: np.ndarray) -> None:
    """A TF1 graph, as code of 2016 builds it; ``global_step`` comes along."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)
        layer = images = v1.placeholder("float32", (None, 64))
        for name, inputs, outputs in (("hidden1", 64, 64), ("hidden2", 64, 32), ("head", 32, 10)):
            with v1.variable_scope(name):
                kernel = v1.get_variable("kernel", (inputs, outputs))
                bias = v1.get_variable("bias", (outputs,), initializer=v1.zeros_initializer())
            logits = layer @ kernel + bias
            layer = tf.nn.relu(logits)
        step = v1.train.get_or_create_global_step()
        session.run(v1.global_variables_initializer())

        before = accuracy(session.run(logits, {images: x}), y)
        plan = SmartInit(BASE).init(session)
        after = accuracy(session.run(logits, {images: x}), y)
        show(plan)
        show(f"accuracy on {len(y)} unseen digits: {before} before, {after} after")
        show(f"global_step: {session.run(step)}")


def keras_model(classes: int) -> keras.Model:
    inputs = keras.Input((64,))
    hidden = keras.layers.Dense(64, "relu", name="hidden1")(inputs)
    hidden = keras.layers.Dense(32, "relu", name="hidden2")(hidden)
    outputs = keras.layers.Dense(classes, name="head")(hidden)
    return keras.Model(inputs, outputs, name="digits" if classes == 10 else "parity")


def in_keras(x: np.ndarray, y: np.ndarray) -> None:
    """A Keras 3 model; it has no ``global_step``, and a warning says so."""
    model = keras_model(10)
    before = accuracy(model(x), y)
    plan = SmartInit(BASE).init(model)
    after = accuracy(model(x), y)
    show(plan)
    show(f"accuracy on {len(y)} unseen digits: {before} before, {after} after")


def parity_head(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """A head for "even or odd?" upon the trained layers, by least squares, in plain numpy."""
    base = initreg.load(BASE)
    for name in ("hidden1", "hidden2"):
        x = np.maximum(x @ base[f"{name}/kernel"] + base[f"{name}/bias"], 0)
    with_one = np.hstack([x, np.ones((len(x), 1), "float32")])
    logits = np.where(np.arange(2) == (y % 2)[:, None], 4, -4).astype("float32")
    head = np.linalg.lstsq(with_one, logits, rcond=None)[0]
    return {"head/kernel": head[:-1], "head/bias": head[-1]}


def in_a_fine_tuning_model(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray
) -> None:
    """Two classes instead of ten: the later source of the chain supplies the head."""
    model = keras_model(2)
    before = accuracy(model(x_test), y_test % 2)
    overrides = parity_head(x, y)
    with warnings.catch_warnings():  # the same warning as above
        warnings.simplefilter("ignore", initreg.UnusedWarning)
        plan = SmartInit([BASE, overrides]).init(model)
    after = accuracy(model(x_test), y_test % 2)
    show(plan)
    show(f"accuracy at telling even from odd: {before} before, {after} after")

    for start, each in (("from there", model), ("from random values", keras_model(2))):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        each.compile(keras.optimizers.Adam(1e-3), loss)
        each.fit(x, y % 2, epochs=3, verbose=0)
        show(f"three epochs of training {start}: {accuracy(each(x_test), y_test % 2)}")


def main() -> None:
    def one_line(message: Warning | str, category: type[Warning], *_: object) -> None:
        show(f"{category.__name__}: {message}\n")

    warnings.showwarning = one_line
    keras.utils.set_random_seed(1)
    x, y, x_test, y_test = digits.load()

    print(f"{BASE}: a classifier of scikit-learn's handwritten digits, trained by demo/train.py.")
    title(1, "Into a TF1 session", f'SmartInit("{BASE}").init(session)')
    in_a_session(x_test, y_test)
    title(2, "Into a Keras model", f'SmartInit("{BASE}").init(model)')
    in_keras(x_test, y_test)
    title(
        3,
        "Into a model to fine-tune, whose head has two classes instead of ten",
        f'SmartInit(["{BASE}", {{"head/kernel": k, "head/bias": b}}]).init(model)',
    )
    in_a_fine_tuning_model(x, y, x_test, y_test)
    print(f"\nDone in {time.monotonic() - started:.0f} s. What else there is: README.md")


if __name__ == "__main__":
    main()
