"""A part of a model that has the name of the other side's model, in both versions of Keras."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import initreg
from initreg import AmbiguousNames, InitregWarning, SmartInit

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    # Keras, when it writes a variable.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

KERAS = [keras, tf_keras]
# What records the name of the model that it is of, and those of its parts.
NAMED = [(keras, ".weights.h5"), (keras, ".keras"), (tf_keras, ".keras")]
PROBE = np.linspace(-1.0, 2.0, 12, dtype="float32").reshape(3, 4)


def encoder(
    K: Any, name: str = "encoder", layers: tuple[str | None, ...] = ("e1", "e2"), width: int = 4
) -> Any:
    inputs = x = K.Input((4,))
    for each in layers:
        x = K.layers.Dense(width, activation="tanh", name=each)(x)
    return K.Model(inputs, x, name=name)


def whole(K: Any, *parts: Any) -> Any:
    inputs = x = K.Input((4,))
    for part in parts:
        x = part(x)
    return K.Model(inputs, x, name="whole")


def filled(model: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.uniform(0.5, 1.5, tuple(variable.shape)))
    return model


def saved(model: Any, ending: str, folder: Path) -> str:
    path = str(folder / f"{model.name}{ending}")
    (model.save_weights if ending == ".weights.h5" else model.save)(path)
    return path


def restored(source: Any, target: Any, **options: Any) -> Any:
    """The plan, without warnings of what is on one side only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InitregWarning)
        return SmartInit(source, **options).init(target)


def out(model: Any) -> np.ndarray:
    return np.array(model(tf.constant(PROBE)).numpy())


EXTRA: dict[str, Callable[[Any], list[Any]]] = {
    "nothing": lambda K: [K.layers.ReLU()],
    "a norm": lambda K: [K.layers.LayerNormalization(), K.layers.ReLU()],
    "a named norm": lambda K: [K.layers.BatchNormalization(name="bn"), K.layers.ReLU()],
    "a dense": lambda K: [K.layers.Dense(4)],
    "a named dense": lambda K: [K.layers.Dense(4, name="head")],
    "a part like it": lambda K: [encoder(K, "teacher")],
}


@pytest.mark.parametrize("extra", EXTRA)
@pytest.mark.parametrize("layers", [("e1", "e2"), ("e1", None), (None, None)])
@pytest.mark.parametrize(("K", "ending"), NAMED)
def test_the_file_of_a_part_and_the_part_of_a_file(
    K: Any, ending: str, layers: tuple[str | None, ...], extra: str, tmp_path: Path
) -> None:
    """Both compute what the saved part does, as load_weights gives it. The rest is as it was."""
    alone = filled(encoder(K, layers=layers), 1)
    path = saved(alone, ending, tmp_path)
    target = filled(whole(K, encoder(K, layers=layers), *EXTRA[extra](K)), 2)
    rest = [layer for layer in target.layers if layer.name != "encoder"]
    before = [np.array(w) for layer in rest for w in layer.get_weights()]
    restored(path, target)
    reference = encoder(K, layers=layers)
    reference.load_weights(path)
    np.testing.assert_array_equal(out(target.get_layer("encoder")), out(reference))
    after = [np.array(w) for layer in rest for w in layer.get_weights()]
    assert all(map(np.array_equal, before, after))

    source = filled(whole(K, encoder(K, layers=layers), *EXTRA[extra](K)), 3)
    part = filled(encoder(K, layers=layers), 4)
    restored(saved(source, ending, tmp_path), part)
    np.testing.assert_array_equal(out(part), out(source.get_layer("encoder")))


@pytest.mark.parametrize("name", ["h", "o", "bn"])
@pytest.mark.parametrize(("K", "ending"), NAMED)
def test_a_layer_is_restored_from_the_one_of_its_name(
    K: Any, ending: str, name: str, tmp_path: Path
) -> None:
    """There are others of its class, of its shapes, and of its places."""

    def model() -> Any:
        dense, norm = K.layers.Dense, K.layers.BatchNormalization
        return whole(K, encoder(K), dense(4, name="h"), norm(name="bn"), dense(4, name="o"))

    source, target = filled(model(), 1), filled(model(), 2).get_layer(name)
    restored(saved(source, ending, tmp_path), target)
    pairs = zip(target.get_weights(), source.get_layer(name).get_weights(), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)


@pytest.mark.parametrize(("K", "ending"), NAMED)
def test_a_layer_of_another_class_has_other_weights(K: Any, ending: str, tmp_path: Path) -> None:
    """A Conv2DTranspose is not the Conv2D of its name. The error has what restores it anyway."""

    def model(layer: Any) -> Any:
        inputs = K.Input((8, 8, 4))
        return K.Model(inputs, layer(inputs), name="net")

    source = filled(model(K.layers.Conv2D(4, 3, name="h")), 1)
    target = filled(model(K.layers.Conv2DTranspose(4, 3, name="h")), 2).get_layer("h")
    before = target.get_weights()
    with pytest.raises(AmbiguousNames, match="'conv2d' and the other of a 'conv2d_transpose'") as e:
        restored(saved(source, ending, tmp_path), target)
    assert all(map(np.array_equal, before, target.get_weights()))
    options = eval(f"dict({str(e.value).rsplit('pass ', 1)[1]})")
    restored(saved(source, ending, tmp_path), target, **options)
    assert all(map(np.array_equal, source.get_weights(), target.get_weights()))


@pytest.mark.parametrize(("K", "ending"), NAMED)
def test_the_name_of_a_part_does_not_prove_that_its_layers_are_the_same(
    K: Any, ending: str, tmp_path: Path
) -> None:
    """Layers of other names, or one more of them, are not guessed, and nothing is written."""
    path = saved(filled(encoder(K), 1), ending, tmp_path)
    for layers in (("e2", "e1"), ("e1", "x2"), ("e1", "e2", "e3")):
        target = filled(whole(K, encoder(K, layers=layers), K.layers.Dense(3)), 2)
        before = out(target)
        with pytest.raises(AmbiguousNames):
            restored(path, target)
        np.testing.assert_array_equal(out(target), before)


@pytest.mark.parametrize(("K", "ending"), NAMED)
def test_two_parts_of_one_name(K: Any, ending: str, tmp_path: Path) -> None:
    """Nothing says which one is meant, and nothing is written."""

    def side(name: str) -> Any:
        inputs = K.Input((4,))
        return K.Model(inputs, encoder(K)(inputs), name=name)

    target = filled(whole(K, side("left"), side("right")), 2)
    before = out(target)
    with pytest.raises(initreg.InitregError):
        restored(saved(filled(encoder(K), 1), ending, tmp_path), target)
    np.testing.assert_array_equal(out(target), before)


@pytest.mark.parametrize("K", KERAS)
def test_a_model_is_a_source_for_the_part_of_its_name(K: Any) -> None:
    """Without a file in between."""
    source, target = filled(encoder(K), 1), filled(whole(K, encoder(K), K.layers.Dense(4)), 2)
    restored(source, target)
    np.testing.assert_array_equal(out(target.get_layer("encoder")), out(source))


def test_a_file_without_names_says_what_fits(tmp_path: Path) -> None:
    """A ``.weights.h5`` file of tf_keras records none. Only what fits is offered, and it works."""
    K = tf_keras
    source = filled(whole(K, encoder(K), K.layers.BatchNormalization(), K.layers.Dense(3)), 1)
    path = saved(source, ".weights.h5", tmp_path)
    target = encoder(K)
    with pytest.raises(AmbiguousNames) as error:
        restored(path, target)
    offered = re.findall(r"keep=[^\n]*", str(error.value))
    assert len(offered) == 1
    restored(path, target, **eval(f"dict({offered[0]})"))
    np.testing.assert_array_equal(out(target), out(source.get_layer("encoder")))
    path = saved(encoder(K), ".weights.h5", tmp_path)
    target = whole(K, encoder(K, width=5), K.layers.Dense(3))
    with pytest.raises(AmbiguousNames) as error:  # of another width: there is nothing to type
        restored(path, target)
    assert "not all of their shapes fit" in str(error.value)
    assert "=" not in str(error.value).split("is meant:")[1]


@pytest.mark.parametrize(("K", "ending"), NAMED)
def test_what_rules_renamed_is_not_the_model_of_its_name(
    K: Any, ending: str, tmp_path: Path
) -> None:
    """prefix= says where all of it belongs, which is another part than that of its name."""
    source = filled(encoder(K), 1)
    target = filled(whole(K, encoder(K), encoder(K, "teacher")), 2)
    before = out(target.get_layer("encoder"))
    path = saved(source, ending, tmp_path)
    restored(path, target, prefix="layers/functional_1/", by="place")
    np.testing.assert_array_equal(out(target.get_layer("teacher")), out(source))
    np.testing.assert_array_equal(out(target.get_layer("encoder")), before)


@pytest.mark.parametrize("K", KERAS)
def test_a_legacy_file_goes_by_the_names_of_layers(K: Any, tmp_path: Path) -> None:
    """It records them beside no places, so that they decide where each is on both sides once."""
    alone = filled(encoder(K), 1)
    target = filled(whole(K, encoder(K), K.layers.LayerNormalization(), K.layers.Dense(3)), 2)
    restored(saved(alone, ".h5", tmp_path), target)
    np.testing.assert_array_equal(out(target.get_layer("encoder")), out(alone))
    source, part = filled(whole(K, encoder(K), K.layers.LayerNormalization()), 3), encoder(K)
    restored(saved(source, ".h5", tmp_path), part)
    np.testing.assert_array_equal(out(part), out(source.get_layer("encoder")))
    twice = filled(whole(K, encoder(K), encoder(K, "teacher")), 4)
    before = out(twice)
    with pytest.raises(initreg.NothingMatched):
        restored(saved(alone, ".h5", tmp_path), twice)
    np.testing.assert_array_equal(out(twice), before)
