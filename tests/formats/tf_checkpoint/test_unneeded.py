"""What an object graph says of the arrays that may stay unused, and of second copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import initreg
from initreg import SmartInit
from initreg_formats.tf_checkpoint.graph import is_unordered, not_needed


def test_which_names_may_stay_unused() -> None:
    """The metrics of a SavedModel of tf_keras, and the counts that adapt() makes."""
    names = [
        "keras_api/metrics/0/count",
        "a/keras_api/metrics/12/total",
        "words/token_counts/.ATTRIBUTES/table-keys",
        "_lookup_layer/token_document_counts/.ATTRIBUTES/table-values",
    ]
    others = ["metrics/0/count", "token_counts", "lookup_table/.ATTRIBUTES/table-keys"]
    arrays = dict.fromkeys([*names, *others], np.float32(0))
    assert set(not_needed(arrays)) == set(names)
    assert is_unordered(b"_all_variables/3/.ATTRIBUTES/VARIABLE_VALUE")
    assert not is_unordered(b"variables/3/.ATTRIBUTES/VARIABLE_VALUE")


def test_copies_in_an_export(tmp_path: Path) -> None:
    """Each is a copy of an array of the same name, with the same values."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), keras.layers.Dense(3)])
    for number, weight in enumerate(model.weights):
        weight.assign(np.full(weight.shape, number))
    model.export(tmp_path / "m", verbose=False)
    with initreg.open(tmp_path / "m") as arrays:
        assert set(arrays.copies) == {f"_all_variables/{n}" for n in range(4)}
        assert set(arrays.copies.values()) == {f"variables/{n}" for n in range(4)}
        for name, other in arrays.copies.items():
            np.testing.assert_array_equal(arrays[name], arrays[other])


def test_metrics_in_a_saved_model(tmp_path: Path) -> None:
    """They are listed, and not reported as unused."""

    def trained() -> Any:
        model = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=True)
        model.train_on_batch(np.ones((4, 3), "f4"), np.ones((4, 1), "f4"))
        return model

    saved, ours = trained(), trained()
    tf.saved_model.save(saved, str(tmp_path / "m"))
    plan = SmartInit(tmp_path / "m", on_unused="ignore").init(ours)
    np.testing.assert_array_equal(ours(np.ones((1, 3), "f4")), saved(np.ones((1, 3), "f4")))
    unused = {row.name for row in plan.of("only in source")}
    assert not any("metrics" in name for name in unused)
    assert {row.name for row in plan.of("not needed")} >= {"keras_api/metrics/0/count"}


@pytest.mark.parametrize("of", ["model", "optimizer"])
def test_placeholders_of_adafactor(of: str, tmp_path: Path) -> None:
    """Adafactor of tf_keras tracks an integer where a weight has no factors. Its checkpoint is
    restored strictly into the model, and the state is that of the optimizer that was saved."""

    def trained(value: float) -> Any:
        dense = [tf_keras.layers.Dense(3, name="a"), tf_keras.layers.Dense(2, name="b")]
        model = tf_keras.Sequential([tf_keras.layers.InputLayer((4,)), *dense])
        model.compile(tf_keras.optimizers.Adafactor(0.01), "mse")
        model.fit(np.full((8, 4), value), np.ones((8, 2)), verbose=0)
        return model

    saved, other = trained(1), trained(2)
    if of == "model":
        prefix = tf.train.Checkpoint(model=saved).write(str(tmp_path / "ck"))
        target: Any = other
    else:
        prefix = tf.train.Checkpoint(saved.optimizer).write(str(tmp_path / "ck"))
        target = other.optimizer
    SmartInit(prefix, on_missing="error", on_unused="error").init(target)
    for one, two in zip(other.optimizer.variables, saved.optimizer.variables, strict=True):
        assert np.array_equal(one.numpy(), two.numpy())


def test_what_is_no_placeholder() -> None:
    """Numbers of a user under such names are reported: without an optimizer around them, in one of
    the lists alone, or with a value for each channel."""
    one, many = np.int32(0), np.zeros(2, np.int32)
    assert not_needed({"m/_r/1": one, "m/_c/1": one}) == {}
    assert not_needed({"m/_r/1": one, "m/_iterations": one}) == {}
    assert not_needed({"m/_r/1": many, "m/_c/1": many, "m/_iterations": one}) == {}
    assert set(not_needed({"m/_r/1": one, "m/_c/1": one, "m/_iterations": one})) == {
        "m/_r/1",
        "m/_c/1",
    }
