"""Metrics that are attributes of a model of ``tf_keras``, which counts them among its weights: no
file has to have them, and their positions count where it writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

import initreg
from initreg import MissingWarning, SmartInit
from initreg_targets.keras_model import initreg_target

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]
X = np.arange(8, dtype="float32").reshape(2, 4)


class Net(tf_keras.Model):  # type: ignore[misc]
    """The pattern of the VAE of keras.io."""

    def __init__(self, names: tuple[str | None, str | None], tracker: str, **options: Any) -> None:
        super().__init__(**options)
        self.first = layers.Dense(4, name=names[0])
        self.second = layers.Dense(4, name=names[1])
        metric = tf_keras.metrics.Mean(name="loss")
        setattr(self, tracker, [metric] if tracker == "listed" else metric)

    def call(self, x: Any) -> Any:
        return self.second(self.first(x))


def subclassed(names: tuple[str | None, str | None], tracker: str) -> Any:
    model = Net(names, tracker)
    model(X)
    return model


def functional(names: tuple[str | None, str | None], tracker: str) -> Any:
    """It has one layer, with as many weights as the metric has."""
    inputs = tf_keras.Input((4,))
    model = tf_keras.Model(inputs, layers.Dense(4, name=names[0])(inputs))
    setattr(model, tracker, tf_keras.metrics.Mean(name="loss"))
    return model


def around(names: tuple[str | None, str | None], tracker: str) -> Any:
    """A functional model with a model in it that has a metric, after which there are weights."""
    inputs = tf_keras.Input((4,))
    inner = Net(names, tracker, name=names[0] and "inner")
    return tf_keras.Model(inputs, layers.Dense(2, name=names[1] and "out")(inner(inputs)))


def filled(model: Any) -> Any:
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    return model


def saved(model: Any, kind: str, tmp_path: Path) -> tuple[Any, Callable[[Any], None]]:
    """A file of the model, and what restores it without initreg."""
    path = str(tmp_path / f"m{kind}")
    if kind == ".ckpt":
        prefix = tf.train.Checkpoint(model).write(path)
        return prefix, lambda other: tf.train.Checkpoint(other).read(prefix).expect_partial()
    if kind == ".npz":
        np.savez(path, *model.get_weights())
        return path, lambda other: other.set_weights(model.get_weights())
    (model.save if kind == ".keras" else model.save_weights)(path)
    return path, lambda other: other.load_weights(path)


CASES = [
    *((build, k) for build in (subclassed, functional, around) for k in (".weights.h5", ".h5")),
    *((build, k) for build in (subclassed, functional, around) for k in (".ckpt", ".npz")),
    (functional, ".keras"),
]


@pytest.mark.parametrize("names", [(None, None), ("enc", None), ("enc", "dec")])
@pytest.mark.parametrize("tracker", ["loss_tracker", "tracker", "listed"])
@pytest.mark.parametrize(("build", "kind"), CASES)
def test_a_file_of_the_same_model(
    build: Callable[..., Any],
    kind: str,
    names: tuple[str | None, str | None],
    tracker: str,
    tmp_path: Path,
) -> None:
    """Its own files restore it as Keras does, strictly, and nothing warns."""
    model = filled(build(names, tracker))
    path, load = saved(model, kind, tmp_path)
    ours, theirs = build(names, tracker), build(names, tracker)
    if kind != ".keras":
        load(theirs)
        assert np.array_equal(theirs(X), model(X))
    by = "order" if kind == ".npz" else None
    SmartInit(path, on_missing="error", on_unused="error", by=by).init(ours)
    assert np.array_equal(ours(X), model(X))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", [".weights.h5", ".keras"])
def test_beside_the_metrics_of_compile(kind: str, compiled: bool, tmp_path: Path) -> None:
    """The metrics of compile() change the numbers of a model's own ones in its file, so they are
    not restored from a list of them all, and nothing is missing."""
    model, other = (functional((None, None), "loss_tracker") for _ in range(2))
    for each in [model, *([other] if compiled else [])]:
        metrics = ["mae", tf_keras.metrics.BinaryIoU()]
        each.compile(tf_keras.optimizers.SGD(name="SGD"), "mse", metrics=metrics)
        each.fit(X, np.zeros((2, 4)), verbose=0)
    path, _ = saved(filled(model), kind, tmp_path)
    plan = SmartInit(path, on_missing="error", on_unused="error").plan(other)
    assert {row.array for row in plan.restored if row.array} >= {
        "layers/dense/vars/0",
        "layers/dense/vars/1",
    }
    assert not [row for row in plan.restored if (row.array or "").startswith("metrics/")]


def test_a_layer_in_a_metric(tmp_path: Path) -> None:
    """What a metric shares with the model is missed, and what it has alone is not."""

    class Distance(tf_keras.metrics.Metric):  # type: ignore[misc]
        def __init__(self, layer: Any) -> None:
            super().__init__(name="distance")
            self.layer = layer
            self.total = self.add_weight(name="total", shape=(), initializer="zeros")

        def update_state(self, *args: Any) -> None:
            pass

        def result(self) -> Any:
            return self.total

    def build() -> Any:
        inputs = tf_keras.Input((4,))
        shared = layers.Dense(4, name="fc")
        model = tf_keras.Model(inputs, layers.Dense(2, name="out")(shared(inputs)))
        model.a_metric = Distance(shared)
        return model

    target = initreg_target(build())
    assert target is not None
    specs = {spec.name: spec for spec in target.variables()}
    assert [name for name, spec in specs.items() if spec.not_needed] == ["total"]
    arrays = {"out/kernel": np.ones((4, 2)), "out/bias": np.ones(2)}
    with pytest.warns(initreg.InitregWarning) as caught:
        SmartInit(arrays).init(build())
    (missing,) = [str(w.message) for w in caught if w.category is MissingWarning]
    assert "fc/kernel" in missing
    assert "total" not in missing


@pytest.mark.parametrize("names", [(None, None), ("a", "b")])
def test_a_module_is_in_no_legacy_file(
    names: tuple[str | None, str | None], tmp_path: Path
) -> None:
    """A legacy file lacks the variable of a tf.Module, whose position it does not have either: the
    layers are restored as Keras does, and a warning names the variable."""

    class Scale(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.by = tf.Variable(tf.ones(4), name="by")

    class Scaled(tf_keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = layers.Dense(4, name=names[0])
            self.scale = Scale()
            self.second = layers.Dense(4, name=names[1])

        def call(self, x: Any) -> Any:
            return self.second(self.first(x) * self.scale.by)

    model, ours, theirs = Scaled(), Scaled(), Scaled()
    for each in (model, ours, theirs):
        each(X)
    for layer in (model.first, model.second):
        filled(layer)
    model.save_weights(tmp_path / "m.h5")
    theirs.load_weights(tmp_path / "m.h5")
    with pytest.warns(MissingWarning, match="1 only in the target, not restored:\n  by "):
        SmartInit(tmp_path / "m.h5").init(ours)
    assert np.array_equal(ours(X), theirs(X))
    assert np.array_equal(ours(X), model(X))
