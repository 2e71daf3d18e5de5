"""Layers with saving and loading of their own are asked to load, whatever the source is."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from initreg import (
    InitregWarning,
    MismatchError,
    MissingWarning,
    PartialRestoreError,
    SmartInit,
    TargetError,
    UnusedWarning,
)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


def value(v: Any) -> Any:
    """As tf_keras and some layers of Keras 3 save a variable: a copy of its value."""
    return np.asarray(v)


def model_of(K: Any, make: Any, seed: int) -> Any:
    """A model of a Dense layer and of a layer of one's own, with values of the seed."""
    K.backend.clear_session()
    own = make(K)
    inputs = K.Input((3,))
    model = K.Model(inputs, own(K.layers.Dense(3, name="first")(inputs)))
    rng = np.random.default_rng(seed)
    for v in model.weights:
        v.assign(rng.random(tuple(v.shape)))
    own.after_fill(rng)
    return model, own


def transposed(K: Any, units: int = 2) -> Any:
    """A layer that saves its kernel transposed, under a key of its own, beside things that are no
    variables, and that computes with a constant made when it loads."""

    class Transposed(K.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(3, units), name="kernel")
            self.table = np.zeros(4)
            self.count = 0

        def after_fill(self, rng: Any) -> None:
            self.table, self.count = rng.random(4), int(rng.integers(9))
            self.doubled = 2 * value(self.kernel)

        def call(self, x: Any) -> Any:
            if not hasattr(self, "doubled"):
                return x @ tf.convert_to_tensor(self.kernel)
            return x @ self.doubled + self.count + self.table.sum()

        def save_own_variables(self, store: Any) -> None:
            store["kernel of mine"] = value(self.kernel).T
            store["table"] = self.table
            store["count"] = self.count

        def load_own_variables(self, store: Any) -> None:
            self.kernel.assign(store["kernel of mine"].T)
            self.table, self.count = np.array(store["table"]), int(store["count"])
            self.doubled = 2 * value(self.kernel)

    return Transposed(name="own")


X = np.float32([[1, 2, 3]])


@pytest.mark.parametrize("suffix", [".weights.h5", "dict"])
def test_entries_that_are_not_variables(K: Any, suffix: str, tmp_path: Path) -> None:
    """All that the layer saved is in the plan under its name in the file, and the layer loads it.
    Its kernel is not missing."""
    (model, _), (ours, _) = model_of(K, transposed, 0), model_of(K, transposed, 1)
    path = tmp_path / "m.weights.h5"
    model.save_weights(str(path))
    source: Any = path
    if suffix == "dict":
        import initreg

        source = initreg.load(path)
    plan = SmartInit(source, on_missing="error", on_unused="error").init(ours)
    np.testing.assert_allclose(ours(X), model(X), rtol=1e-6)
    names = {row.name: row for row in plan.restored}
    own_names = {name for name in names if name.startswith("layers/transposed/vars/")}
    assert {name.rsplit("/", 1)[1] for name in own_names} == {"kernel of mine", "table", "count"}
    assert names["layers/transposed/vars/kernel of mine"].shape == (2, 3)
    assert [row.name for row in plan.of("not needed")] == ["own/kernel"]


@pytest.mark.parametrize("table", [False, True])
def test_entries_of_one_value(K: Any, table: bool, tmp_path: Path) -> None:
    """Zeros may be those of a new bias or of a table. They are the bias only if the layer saves
    nothing but its variables, and then there is no warning."""

    class Plain(K.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(3, 2), name="kernel")
            self.bias = self.add_weight(shape=(2,), name="bias", initializer="zeros")
            self.table = np.zeros(2, "f4")

        def call(self, x: Any) -> Any:
            return x @ tf.convert_to_tensor(self.kernel) + self.bias + self.table

        def save_own_variables(self, store: Any) -> None:
            store["kernel"], store["bias"] = value(self.kernel), value(self.bias)
            if table:
                store["table"] = self.table

        def load_own_variables(self, store: Any) -> None:
            self.kernel.assign(store["kernel"])
            self.bias.assign(store["bias"])
            if table:
                self.table = np.array(store["table"])

    def model() -> Any:
        inputs = K.Input((3,))
        return K.Model(inputs, Plain(name="own")(inputs))

    saved, ours = model(), model()
    saved.get_layer("own").bias.assign([1, 2])
    prefix = tf.train.Checkpoint(saved).write(str(tmp_path / "m"))
    if table:
        with pytest.warns(MissingWarning, match="vars/table"):
            SmartInit(prefix).init(ours)
    else:
        SmartInit(prefix, on_missing="error").init(ours)
    np.testing.assert_allclose(ours(X), saved(X), rtol=1e-6)


def test_another_shape_is_a_mismatch_in_the_plan(K: Any, tmp_path: Path) -> None:
    """Shapes are known before anything is written, and a plan that fails has written nothing."""
    model, _ = model_of(K, transposed, 0)
    ours, own = model_of(K, lambda K: transposed(K, 5), 1)
    model.save_weights(str(tmp_path / "m.weights.h5"))
    before = [value(v) for v in ours.weights], own.count
    with pytest.raises(
        MismatchError, match=r"kernel of mine: shape \(2, 3\) does not fit \(5, 3\)"
    ):
        SmartInit(tmp_path / "m.weights.h5").init(ours)
    after = [value(v) for v in ours.weights], own.count
    assert before[1] == after[1]
    assert all(np.array_equal(a, b) for a, b in zip(before[0], after[0], strict=True))


def test_a_part_of_what_it_saves(K: Any) -> None:
    """What no source supplies stays as the layer would save it now."""
    ours, own = model_of(K, transposed, 1)
    kernel, table = value(own.kernel), own.table.copy()
    with pytest.warns(MissingWarning, match="kernel of mine"):
        SmartInit({"layers/transposed/vars/count": np.int64(77)}).init(ours)
    assert own.count == 77
    np.testing.assert_array_equal(own.table, table)
    np.testing.assert_array_equal(own.kernel, kernel)


def test_a_source_of_variables(K: Any, tmp_path: Path) -> None:
    """A checkpoint of TensorFlow has the variables and not the entries, of which it restores what
    it can. A warning names what is not in variables, and the model computes something else."""
    (model, own), (ours, mine) = model_of(K, transposed, 0), model_of(K, transposed, 1)
    prefix = tf.train.Checkpoint(model).write(str(tmp_path / "m"))
    count = mine.count
    with pytest.warns(MissingWarning, match="layer 'own' keeps its own") as told:
        plan = SmartInit(prefix, on_missing="error", on_unused="error").init(ours)
    assert [w.category for w in told if issubclass(w.category, InitregWarning)] == [MissingWarning]
    np.testing.assert_array_equal(mine.kernel, own.kernel)
    assert mine.count == count
    assert not np.allclose(ours(X), model(X))
    place = "layers/transposed/vars"
    assert [row.name for row in plan.of("kept")] == [f"{place}/table", f"{place}/count"]
    assert [row.name for row in plan.of("not needed")] == [f"{place}/kernel of mine"]
    given = {"own/kernel": np.ones((3, 2), "f4")}
    with (
        pytest.warns(MissingWarning, match="first/kernel"),
        pytest.warns(MissingWarning, match="keeps its own"),
    ):
        SmartInit(given).init(ours)
    assert value(mine.kernel).min() == 1


def cached(K: Any) -> Any:
    """A layer that saves as usual, and makes a constant when it loads."""

    class Cached(K.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(3, 2), name="kernel")
            self.bias = self.add_weight(shape=(2,), name="bias")

        def after_fill(self, rng: Any) -> None:
            self.constant = value(self.kernel)

        def call(self, x: Any) -> Any:
            kernel = getattr(self, "constant", None)
            kernel = tf.convert_to_tensor(self.kernel) if kernel is None else kernel
            return x @ kernel + self.bias

        def load_own_variables(self, store: Any) -> None:
            super().load_own_variables(store)
            self.constant = value(self.kernel)

    return Cached(name="own")


@pytest.mark.parametrize("suffix", [".weights.h5", "checkpoint", "dict"])
def test_a_layer_that_saves_as_usual_and_loads_in_its_own_way(
    K: Any, suffix: str, tmp_path: Path
) -> None:
    """It is asked whatever the source is, and its constant is right."""
    (model, _), (ours, _) = model_of(K, cached, 0), model_of(K, cached, 1)
    source: Any = tmp_path / "m.weights.h5"
    model.save_weights(str(source))
    if suffix == "checkpoint":
        source = tf.train.Checkpoint(model).write(str(tmp_path / "m"))
    elif suffix == "dict":
        source = {getattr(v, "path", v.name): value(v) for v in model.weights}
    ours.predict(X, verbose=0)
    SmartInit(source, on_missing="error", on_unused="error").init(ours)
    np.testing.assert_allclose(ours(X), model(X), rtol=1e-6)
    np.testing.assert_allclose(ours.predict(X, verbose=0), model(X), rtol=1e-6)


def failing(K: Any) -> Any:
    class Failing(K.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(3, 2), name="kernel")

        def after_fill(self, rng: Any) -> None:
            pass

        def call(self, x: Any) -> Any:
            return x @ tf.convert_to_tensor(self.kernel)

        def load_own_variables(self, store: Any) -> None:
            raise ValueError("not today")

    return Failing(name="own")


def test_a_layer_that_fails_to_load_is_named(K: Any) -> None:
    """Its error becomes one of initreg, which says what has been written."""
    ours, _ = model_of(K, failing, 1)
    kernel = {"own/kernel": np.ones((3, 2), "f4")}
    message = r"layer 'own' \(Failing\) .*load_own_variables\(\) raised ValueError: not today"
    with pytest.raises(TargetError, match=message), pytest.warns(MissingWarning):
        SmartInit(kernel).init(ours)
    first = {"first/kernel": np.ones((3, 3), "f4"), "first/bias": np.ones(3, "f4")}
    with pytest.raises(PartialRestoreError, match=message) as caught:
        SmartInit({**first, **kernel}).init(ours)
    assert set(caught.value.not_written) == {"own/kernel"}
    assert "With atomic=True, all is read" in str(caught.value)


def test_a_layer_that_cannot_say_what_it_saves(K: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Its variables are written like any others, and the log says so."""

    def make(K: Any) -> Any:
        layer = failing(K)
        type(layer).load_own_variables = K.layers.Layer.load_own_variables
        type(layer).save_own_variables = lambda self, store: 1 / 0
        return layer

    ours, own = model_of(K, make, 1)
    given = {getattr(v, "path", v.name): np.ones(tuple(v.shape), "f4") for v in ours.weights}
    with caplog.at_level(logging.WARNING, "initreg"):
        SmartInit(given, on_missing="error").init(ours)
    assert "cannot find out how Keras loads 'own'" in caplog.text
    assert value(own.kernel).min() == 1


def growing(K: Any) -> Any:
    """A layer whose state has no fixed size."""

    class Growing(K.layers.Layer):  # type: ignore[misc]
        words = np.zeros(0)

        def after_fill(self, rng: Any) -> None:
            pass

        def call(self, x: Any) -> Any:
            return x + self.words.sum()

        def save_own_variables(self, store: Any) -> None:
            store["words"] = self.words

        def load_own_variables(self, store: Any) -> None:
            self.words = np.array(store["words"])

    return Growing(name="own")


def test_what_is_empty_takes_any_size(K: Any, tmp_path: Path) -> None:
    """A layer that has nothing yet takes what another one has collected."""
    (model, own), (ours, mine) = model_of(K, growing, 0), model_of(K, growing, 1)
    own.words = np.arange(5.0)
    model.save_weights(str(tmp_path / "m.weights.h5"))
    SmartInit(tmp_path / "m.weights.h5", on_missing="error", on_unused="error").init(ours)
    np.testing.assert_array_equal(mine.words, own.words)
    np.testing.assert_allclose(ours(X), model(X), rtol=1e-6)


def test_entries_that_the_layer_does_not_know_are_told(K: Any) -> None:
    """A key that it would not save now is not used."""
    ours, _ = model_of(K, growing, 0)
    given = {getattr(v, "path", v.name): value(v) for v in ours.weights}
    names = {"layers/growing/vars/words": np.ones(2), "layers/growing/vars/more": np.ones(2)}
    with pytest.warns(UnusedWarning, match="vars/more"):
        SmartInit({**given, **names}).init(ours)


def test_a_model_with_loading_of_its_own(K: Any, tmp_path: Path) -> None:
    """A model is a layer, and its own entries are at the root of the file."""

    def build(seed: int) -> Any:
        class Scaled(K.Model):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.dense = K.layers.Dense(2, name="d")
                self.scale = float(seed)

            def call(self, x: Any) -> Any:
                return self.dense(x) * self.scale

            def save_own_variables(self, store: Any) -> None:
                store["scale"] = np.float64(self.scale)

            def load_own_variables(self, store: Any) -> None:
                self.scale = float(store["scale"])

        K.backend.clear_session()
        model = Scaled()
        model(X)
        return model

    model, ours = build(3), build(5)
    model.save_weights(str(tmp_path / "m.weights.h5"))
    plan = SmartInit(tmp_path / "m.weights.h5", on_missing="error", on_unused="error").init(ours)
    assert "vars/scale" in {row.name for row in plan.restored}
    np.testing.assert_allclose(ours(X), model(X), rtol=1e-6)
