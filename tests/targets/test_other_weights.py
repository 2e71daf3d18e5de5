"""Layers that have other weights than they had: no array becomes another weight in silence."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from initreg import AmbiguousNames, NothingMatched, SmartInit

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]
RNG = np.random.default_rng(1)
PROBE = RNG.random((3, 6)).astype("f4")


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


def filled(model: Any) -> Any:
    model.set_weights([RNG.random(w.shape) + 0.1 for w in model.get_weights()])
    return model


def saved(model: Any, suffix: str, folder: Path) -> str:
    path = str(folder / f"model{suffix}")
    if suffix == ".weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    return path


def refused(path: str, model: Any, match: str) -> None:
    before = model.get_weights()
    with pytest.raises(AmbiguousNames, match=match):
        SmartInit(path).init(model)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def normalised(K: Any, kind: str, name: str | None, **options: Any) -> Any:
    layer = getattr(K.layers, kind)(name=name, **options)
    return K.Sequential([K.Input((6,)), K.layers.Dense(6), layer])


@pytest.mark.parametrize("name", [None, "norm"])
@pytest.mark.parametrize("kind", ["BatchNormalization", "LayerNormalization"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_a_normalization_without_one_of_its_weights(
    K: Any, kind: str, suffix: str, name: str | None, tmp_path: Path
) -> None:
    """``load_weights`` raises ValueError, too. The option in the error leaves the layer alone."""
    for theirs, ours in (({}, {"center": False}), ({"scale": False}, {})):
        model = filled(normalised(K, kind, name, **theirs))
        target = filled(normalised(K, kind, name, **ours))
        path = saved(model, suffix, tmp_path)
        refused(path, target, "They are only numbered")
        group = "batch_normalization" if kind[0] == "B" else "layer_normalization"
        before = target.layers[-1].get_weights()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            SmartInit(path, drop=f"layers/{group}/vars/*").init(target)
        np.testing.assert_array_equal(target.get_weights()[0], model.get_weights()[0])
        for one, other in zip(target.layers[-1].get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["BatchNormalization", "LayerNormalization"])
def test_a_gamma_is_no_beta(K: Any, kind: str, tmp_path: Path) -> None:
    """A legacy file has the names of both, where ``load_weights`` swaps them without a word."""
    model = filled(normalised(K, kind, None, center=False))
    path = saved(model, ".h5", tmp_path)
    refused(path, normalised(K, kind, None, scale=False), "one is called 'gamma'")
    same = normalised(K, kind, None, center=False)
    SmartInit(path).init(same)
    np.testing.assert_array_equal(same(PROBE), model(PROBE))


@pytest.mark.parametrize("name", [None, "norm"])
@pytest.mark.parametrize("kind", ["BatchNormalization", "LayerNormalization", "GroupNormalization"])
def test_a_gamma_of_an_archive(K: Any, kind: str, name: str | None, tmp_path: Path) -> None:
    """The weights are numbered, and the config of the archive says what they are. ``load_weights``
    swaps them without a word."""
    groups = {"groups": 2} if kind[0] == "G" else {}
    for theirs, ours, roles in (
        ({"center": False}, {"scale": False}, ("gamma", "beta")),
        ({"scale": False}, {"center": False}, ("beta", "gamma")),
    ):
        model = filled(normalised(K, kind, name, **groups, **theirs))
        path = saved(model, ".keras", tmp_path)
        target = normalised(K, kind, name, **groups, **ours)
        refused(path, target, f"is '{roles[0]}' in its layer.* is '{roles[1]}'")
        same = normalised(K, kind, name, **groups, **theirs)
        SmartInit(path).init(same)
        np.testing.assert_array_equal(same(PROBE), model(PROBE))


def test_an_archive_of_layers_in_others(K: Any, tmp_path: Path) -> None:
    """Layers in wrappers and in models within are known by the config, too, and so are the two
    numbers of an Attention."""

    def wrapped(**options: Any) -> Any:
        layer = K.layers.TimeDistributed(K.layers.LayerNormalization(**options))
        return K.Sequential([K.Input((3, 6)), layer])

    def within(**options: Any) -> Any:
        # Both layers have the same name and path, so that places are their primary names.
        x = inputs = K.Input((6,))
        for _ in range(2):
            layer = K.layers.LayerNormalization(name="norm", **options)
            x = K.Sequential([K.Input((6,)), layer])(x)
        return K.Model(inputs, x)

    def attention(**options: Any) -> Any:
        inputs = K.Input((3, 6))
        return K.Model(inputs, K.layers.Attention(**options)([inputs, inputs]))

    probe = RNG.random((2, 3, 6)).astype("f4")
    for build, theirs, ours in (
        (wrapped, {"center": False}, {"scale": False}),
        (within, {"scale": False}, {"center": False}),
        (attention, {"use_scale": True}, {"score_mode": "concat"}),
    ):
        model = build(**theirs)
        model.set_weights([np.full(w.shape, 0.5, "f4") for w in model.get_weights()])
        path = saved(model, ".keras", tmp_path)
        refused(path, build(**ours), "in its layer, as the config in the file says")
        same = build(**theirs)
        SmartInit(path).init(same)
        inputs = probe[:, 0] if build is within else probe
        np.testing.assert_array_equal(same(inputs), model(inputs))


def test_an_archive_of_another_class_with_the_same_name(K: Any, tmp_path: Path) -> None:
    """Layers that people gave one name are compared by what their weights are."""
    table = K.Sequential([K.Input((4,), dtype="int32"), K.layers.Embedding(6, 6, name="proj")])
    dense = K.Sequential([K.Input((6,)), K.layers.Dense(6, use_bias=False, name="proj")])
    path = saved(table, ".keras", tmp_path)
    refused(path, dense, "is 'embeddings' in its layer.* is 'kernel'")


def test_a_class_of_a_user_that_is_called_like_one_of_keras(tmp_path: Path) -> None:
    """The weights of Keras's class say nothing about it."""
    import keras

    @keras.saving.register_keras_serializable("mine")
    class LayerNormalization(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.beta = self.add_weight(name="beta", shape=(shape[-1],))
            self.gamma = self.add_weight(name="gamma", shape=(shape[-1],))

        def call(self, x: Any) -> Any:
            return x * self.gamma + self.beta

    def build() -> Any:
        return keras.Sequential([keras.Input((6,)), LayerNormalization()])

    model, target = filled(build()), build()
    SmartInit(saved(model, ".keras", tmp_path)).init(target)
    np.testing.assert_array_equal(target(PROBE), model(PROBE))


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5", ".keras"])
def test_a_layer_of_another_class_with_the_same_shapes(K: Any, suffix: str, tmp_path: Path) -> None:
    """Neither an embedding nor a convolution becomes a kernel of another sort, and no hint says
    so."""
    table = K.Sequential([K.Input((4,), dtype="int32"), K.layers.Embedding(6, 6)])
    dense = K.Sequential([K.Input((6,)), K.layers.Dense(6, use_bias=False)])
    conv = K.Sequential([K.Input((5, 5, 3)), K.layers.Conv2D(3, 3)])
    other = K.Sequential([K.Input((5, 5, 3)), K.layers.Conv2DTranspose(3, 3)])
    for model, target in ((table, dense), (conv, other)):
        path = saved(model, suffix, tmp_path)
        before = target.get_weights()
        with pytest.raises((AmbiguousNames, NothingMatched)) as error:
            SmartInit(path).init(target)
        np.testing.assert_array_equal(target.get_weights()[0], before[0])
        if suffix != ".h5":
            assert "is of another class of layers than" in str(error.value)
            assert "by=" not in str(error.value)


@pytest.mark.parametrize("was_frozen", [False, True])
def test_a_model_within_that_was_frozen(K: Any, was_frozen: bool, tmp_path: Path) -> None:
    """In a legacy file its weights come last then, and ``load_weights`` swaps the layers."""

    def built(is_frozen: bool) -> Any:
        layers = [K.layers.Dense(6, "tanh"), K.layers.Dense(6)]
        body = K.Sequential([K.Input((6,)), *layers])
        layers[0].trainable = not is_frozen
        x = K.Input((6,))
        return K.Model(x, K.layers.Dense(2)(body(x)))

    model = built(was_frozen)
    path = saved(model, ".h5", tmp_path)
    refused(path, built(not was_frozen), "frozen on one side alone")
    same = built(was_frozen)
    SmartInit(path).init(same)
    np.testing.assert_allclose(same(PROBE), model(PROBE), rtol=1e-5, atol=1e-6)


CONVOLUTION = ((6, 6, 3), "Conv2D", "Conv2DTranspose", (3, 3))
NORMALIZATION = ((6,), "LayerNormalization", "GroupNormalization", ())


@pytest.mark.parametrize("kinds", [CONVOLUTION, NORMALIZATION])
@pytest.mark.parametrize("form", ["checkpoint", "model="])
def test_a_layer_of_another_class_with_like_weights(
    K: Any, form: str, kinds: Any, tmp_path: Path
) -> None:
    """Weights of a class are not those of another one that calls them the same, where automatic
    names tell the classes apart. The reference loader does not look. ``by=`` takes them anyway."""
    import tensorflow as tf

    shape, one, other, arguments = kinds

    def model(kind: str) -> Any:
        options = {"groups": 2} if kind == "GroupNormalization" else {}
        layer = getattr(K.layers, kind)(*arguments, **options)
        return K.Sequential([K.Input(shape), K.layers.Dense(3 if arguments else 6), layer])

    written, x = filled(model(one)), RNG.random((2, *shape)).astype("f4")
    tracked = tf.train.Checkpoint(written) if form == "checkpoint" else None
    tracked = tracked or tf.train.Checkpoint(model=written)
    path = tracked.write(str(tmp_path / "m"))
    refused(path, model(other), r"are at the same place, .* are those of other classes.*by='place'")
    again, taken = model(one), model(other)
    SmartInit(path).init(again)
    np.testing.assert_array_equal(again(x), written(x))
    SmartInit(path, by="place").init(taken)
    for mine, theirs in zip(taken.get_weights(), written.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_an_export_of_another_class_with_like_weights(tmp_path: Path) -> None:
    """The same in what ``export()`` writes, which goes by order."""
    import keras

    written = filled(normalised(keras, "LayerNormalization", None))
    written.export(tmp_path / "m", verbose=False)
    ours = normalised(keras, "GroupNormalization", None, groups=2)
    refused(str(tmp_path / "m"), ours, r"are at the same position, .*by='order'")
    again = normalised(keras, "LayerNormalization", None)
    SmartInit(tmp_path / "m").init(again)
    np.testing.assert_array_equal(again(PROBE), written(PROBE))
