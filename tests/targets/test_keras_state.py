"""Layers that do more than hold their weights end as Keras's own loading leaves them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import InitregWarning, MismatchError, MissingWarning, SmartInit, UnusedWarning
from initreg_targets.keras_state import special_parts

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]

DATA = np.float32([[1, 20, 300], [3, 40, 700]])
X = np.float32([[2, 30, 500]])
FILES = (".weights.h5", ".keras", ".h5", "checkpoint", "dict")


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


def saved(model: Any, suffix: str, folder: Path) -> Any:
    """The model as a source: a file of Keras, a checkpoint of TensorFlow, or a dict."""
    if suffix == "dict":
        is_keras3 = not isinstance(model, tf.Module)
        weights = [v for v in model.weights if hasattr(v, "name")]  # without a lookup's table
        return {v.path if is_keras3 else v.name: np.asarray(v) for v in weights}
    if suffix == "checkpoint":
        return tf.train.Checkpoint(model).write(str(folder / "model"))
    path = str(folder / f"model{suffix}")
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    return path


def restored(source: Any, target: Any, **options: Any) -> tuple[Any, list[str]]:
    """The plan, and the classes of the warnings."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", InitregWarning)
        plan = SmartInit(source, **options).init(target)
    kinds = [each.category for each in found]
    return plan, [kind.__name__ for kind in kinds if issubclass(kind, InitregWarning)]


def built(K: Any, make: Callable[[Any], Any], *, adapt: bool = False, **given: Any) -> Any:
    """A model of one layer, whose names are the same every time."""
    K.backend.clear_session()
    inputs = K.Input(given.pop("shape", (3,)), **given)
    layer = make(K)
    model = K.Model(inputs, layer(inputs))
    if adapt:
        layer.adapt(DATA)
    return model


# --- constants that are made from variables -------------------------------------------------------


@pytest.mark.parametrize("suffix", FILES)
def test_normalization_computes_with_what_was_restored(K: Any, suffix: str, tmp_path: Path) -> None:
    """Mean and variance are constants of the layer, which follow their variables."""

    def make(K: Any) -> Any:
        return K.layers.Normalization(name="norm")

    model, ours = built(K, make, adapt=True), built(K, make)
    assert not np.allclose(ours(X), model(X))
    source = saved(model, suffix, tmp_path)
    SmartInit(source, on_missing="error", on_unused="error").init(ours)
    np.testing.assert_allclose(ours(X), model(X), rtol=1e-6)


def test_normalization_deep_in_a_model(K: Any, tmp_path: Path) -> None:
    """A layer in a model in a model, and one in a wrapper, are found as well."""

    def build(adapt: bool) -> Any:
        K.backend.clear_session()
        inner, wrapped = K.layers.Normalization(), K.layers.Normalization()
        body = K.Sequential([K.Input((4, 3)), K.Sequential([inner])])
        inputs = K.Input((4, 3))
        model = K.Model(inputs, K.layers.TimeDistributed(wrapped)(body(inputs)))
        if adapt:
            inner.adapt(DATA[None])
            wrapped.adapt(-DATA)
        return model

    model, ours = build(True), build(False)
    model.save_weights(str(tmp_path / "m.weights.h5"))
    SmartInit(tmp_path / "m.weights.h5", on_missing="error", on_unused="error").init(ours)
    x = np.stack([DATA] * 2).reshape(1, 4, 3)
    np.testing.assert_allclose(ours(x), model(x), rtol=1e-6)


def test_functions_that_were_traced_before_are_traced_again(K: Any, tmp_path: Path) -> None:
    """``predict`` after a restore does not compute with the constants of an earlier ``predict``."""

    def make(K: Any) -> Any:
        return K.layers.Normalization(name="norm")

    model, ours = built(K, make, adapt=True), built(K, make)
    ours.predict(X, verbose=0)
    SmartInit(saved(model, ".weights.h5", tmp_path)).init(ours)
    np.testing.assert_allclose(ours.predict(X, verbose=0), model(X), rtol=1e-6)


def test_only_what_was_restored_is_finalized(K: Any) -> None:
    """A layer that gets nothing keeps its constants, whatever they are."""
    model = built(K, lambda K: K.layers.Normalization(name="norm"), adapt=True)
    (layer,) = [each for each in model.layers if each.name == "norm"]
    layer.adapt_mean.assign([7, 7, 7])  # the constant stays
    before = np.asarray(model(X))
    more = K.layers.Dense(1, name="more")
    whole = K.Model(model.inputs, more(model.outputs[0]))
    with pytest.warns(MissingWarning):
        SmartInit({"more/kernel": np.ones((3, 1), "f4")}).init(whole)
    np.testing.assert_array_equal(model(X), before)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", ".h5", "checkpoint"])
def test_discretization_of_tf_keras(suffix: str, tmp_path: Path) -> None:
    """The boundaries are made from the summary. tf_keras itself leaves them stale after HDF5."""
    K = importlib.import_module("tf_keras")

    def make(K: Any) -> Any:
        return K.layers.Discretization(num_bins=3, name="bins")

    model = built(K, make, adapt=True)
    ours = built(K, make)
    ours.layers[-1].adapt(-DATA)
    assert not np.array_equal(ours(X), model(X))
    SmartInit(saved(model, suffix, tmp_path), on_missing="error", on_unused="error").init(ours)
    np.testing.assert_array_equal(ours(X), model(X))


def test_discretization_of_tf_keras_into_keras_3(tmp_path: Path) -> None:
    """Keras 3 makes the boundaries from the summary that tf_keras saved. Its own files have none,
    and the plan says where the boundaries are."""
    keras, tf_keras = (importlib.import_module(name) for name in ("keras", "tf_keras"))

    def make(K: Any) -> Any:
        return K.Sequential([K.layers.Discretization(num_bins=3), K.layers.Dense(2, name="d")])

    def of(K: Any, data: Any) -> Any:
        K.backend.clear_session()
        model = make(K)
        model.layers[0].adapt(data)
        model(X)
        return model

    model, ours = of(tf_keras, DATA), of(keras, -DATA)
    model.save_weights(str(tmp_path / "m.weights.h5"))
    SmartInit(tmp_path / "m.weights.h5", on_missing="error", on_unused="error").init(ours)
    np.testing.assert_array_equal(ours(X), model(X))
    ours.save_weights(str(tmp_path / "new.weights.h5"))
    plan, told = restored(tmp_path / "new.weights.h5", of(keras, DATA), on_missing="error")
    assert told == ["MissingWarning"]
    assert "keeps the boundaries in the config" in plan.of("kept")[0].reason


# --- vocabularies and frequencies -----------------------------------------------------------------

# The order of the words is the same after three rows and after four, and the frequencies are not.
WORDS = np.array(["amber birch", "amber birch", "amber cedar", "amber birch"])
KINDS = ["StringLookup", "TextVectorization", "IntegerLookup"]


def looks_up(K: Any, kind: str, mode: str, rows: int) -> Any:
    """A model of a lookup, adapted to the first rows of the data, and an Embedding or Dense."""
    K.backend.clear_session()
    layer = getattr(K.layers, kind)(output_mode=mode)
    words = np.array([each.split() for each in WORDS])
    data = WORDS if kind == "TextVectorization" else words
    if kind == "IntegerLookup":
        data = np.unique(words, return_inverse=True)[1].reshape(words.shape) + 1
    layer.adapt(data[:rows])
    width = (1,) if kind == "TextVectorization" else (2,)
    dtype = "int64" if kind == "IntegerLookup" else "string"
    after = K.layers.Embedding(9, 2, name="e") if mode == "int" else K.layers.Dense(2, name="e")
    model = K.Sequential([K.Input(width, dtype=dtype), layer, after])
    return model, tf.constant(data[2:4].reshape(2, *width))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", "checkpoint"])
def test_a_model_with_an_adapted_lookup(K: Any, kind: str, suffix: str, tmp_path: Path) -> None:
    """The table of a lookup is no variable, and no obstacle to restoring the others."""
    (model, x), (ours, _) = looks_up(K, kind, "int", 4), looks_up(K, kind, "int", 4)
    source = saved(model, suffix, tmp_path)
    _, told = restored(source, ours, on_missing="error", on_unused="error")
    assert told == ([] if suffix == ".keras" else ["MissingWarning"])
    np.testing.assert_array_equal(ours(x), model(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras", "checkpoint"])
def test_document_frequencies(K: Any, kind: str, suffix: str, tmp_path: Path) -> None:
    """The layer computes with the frequencies that were saved, under whichever name."""
    (model, x), (ours, _) = looks_up(K, kind, "tf_idf", 4), looks_up(K, kind, "tf_idf", 3)
    assert not np.array_equal(ours(x), model(x))
    source = saved(model, suffix, tmp_path)
    restored(source, ours, on_missing="error", on_unused="error")
    np.testing.assert_array_equal(ours(x), model(x))


@pytest.mark.parametrize("kind", KINDS)
def test_frequencies_behind_those_of_the_words(K: Any, kind: str, tmp_path: Path) -> None:
    """With ``pad_to_max_tokens``, there are more of them than words."""

    def built(rows: int) -> Any:
        layer = getattr(K.layers, kind)(9, output_mode="tf_idf", pad_to_max_tokens=True)
        layer.adapt(data[:rows])
        return K.Sequential([K.Input((1,), dtype=data.dtype.name), layer, K.layers.Dense(2)])

    words = [1, 2, 3, 2] if kind == "IntegerLookup" else list("abcb")
    data = tf.constant(words, "int64" if kind == "IntegerLookup" else None)[:, None]
    model, ours = built(4), built(2)
    SmartInit(saved(model, ".keras", tmp_path), on_missing="error").init(ours)
    np.testing.assert_allclose(ours(data), model(data), rtol=1e-6)


def test_frequencies_of_another_vocabulary_do_not_fit(tmp_path: Path) -> None:
    """Another number of words is a mismatch in the plan, and nothing is written."""
    K = importlib.import_module("keras")
    (model, x), (ours, _) = (looks_up(K, "StringLookup", "tf_idf", rows) for rows in (4, 1))
    before = np.asarray(ours.layers[-1].bias), np.asarray(ours(x))
    with pytest.raises(MismatchError, match=r"idf_weights|Variable"):
        SmartInit(saved(model, ".weights.h5", tmp_path)).init(ours)
    np.testing.assert_array_equal(ours.layers[-1].bias, before[0])
    np.testing.assert_array_equal(ours(x), before[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["int", "multi_hot", "tf_idf"])
def test_the_vocabulary_in_an_archive(K: Any, kind: str, mode: str, tmp_path: Path) -> None:
    """A ``.keras`` archive has the vocabulary that a layer has learnt. It is restored as
    ``load_model`` restores it, and read as an array of strings."""
    (model, x), (ours, _) = looks_up(K, kind, mode, 4), looks_up(K, kind, mode, 4)
    layer = getattr(ours.layers[0], "_lookup_layer", ours.layers[0])
    other = ["elm", "fir", "gum"] if kind != "IntegerLookup" else [7, 8, 9]
    frequencies = () if mode != "tf_idf" else ([0.25, 0.5, 0.75],)
    layer.set_vocabulary(np.array(other), *map(np.array, frequencies))
    ours.predict(x, verbose=0)
    archive = saved(model, ".keras", tmp_path)
    plan = SmartInit(archive, on_missing="error", on_unused="error").init(ours)
    np.testing.assert_array_equal(ours(x), model(x))
    np.testing.assert_array_equal(ours.predict(x, verbose=0), model.predict(x, verbose=0))
    (name, *more) = [row.name for row in plan.restored if row.name.endswith("/vocabulary")]
    assert len(more) == (kind == "TextVectorization")
    words = initreg.load(archive)[name].tolist()
    assert words == [str(word).encode() for word in layer.get_vocabulary()]


def test_a_vocabulary_of_another_size(tmp_path: Path) -> None:
    """What follows the layer has a fixed size, so that another vocabulary is a mismatch."""
    K = importlib.import_module("keras")
    (model, _), (ours, _) = (looks_up(K, "StringLookup", "multi_hot", n) for n in (4, 1))
    with pytest.raises(MismatchError, match=r"vocabulary: shape \(4,\) does not fit \(3,\)"):
        SmartInit(saved(model, ".keras", tmp_path)).init(ours)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".weights.h5", "checkpoint", "dict"])
def test_the_vocabulary_of_another_text(K: Any, kind: str, suffix: str, tmp_path: Path) -> None:
    """Only an archive has a vocabulary. Where another source leaves the one of another text, one
    warning names the layer, and says what to do. Then the outputs are right."""
    (model, x), (ours, _) = (looks_up(K, kind, "int", rows) for rows in (4, 1))
    source = saved(model, suffix, tmp_path)
    with pytest.warns(MissingWarning) as found:
        plan = SmartInit(source, on_missing="error", on_unused="error").init(ours)
    assert not np.array_equal(ours(x), model(x))
    (row,) = plan.of("kept")
    (text,) = [str(each.message) for each in found]
    layer = ours.layers[0]
    assert row.name == f"layers/{layer.name}/vocabulary"
    assert f"layer {layer.name!r} keeps its own vocabulary, because the source has none" in text
    assert f"pass expect_missing={row.name!r}" in text
    layer.set_vocabulary(model.layers[0].get_vocabulary(include_special_tokens=False))
    _, told = restored(source, ours, expect_missing=row.name, on_missing="error")
    assert told == []
    np.testing.assert_array_equal(ours(x), model(x))
    assert restored(source, ours, on_missing="ignore")[1] == []


def test_a_layer_that_has_no_vocabulary_yet(K: Any, tmp_path: Path) -> None:
    """The warning says so, and the archive gives it one."""
    (model, x), _ = looks_up(K, "StringLookup", "int", 4), K.backend.clear_session()
    bare = K.layers.StringLookup(name="words")
    ours = K.Sequential([K.Input((2,), dtype="string"), bare, K.layers.Embedding(9, 2, name="e")])
    with pytest.warns(MissingWarning, match="layer 'words' has no vocabulary yet") as found:
        SmartInit(saved(model, ".weights.h5", tmp_path), by="place").init(ours)
    assert len([each for each in found if each.category is MissingWarning]) == 1
    assert (
        MissingWarning.__name__
        not in restored(saved(model, ".keras", tmp_path), ours, by="place")[1]
    )
    np.testing.assert_array_equal(ours(x), model(x))


def test_a_vocabulary_that_is_given(K: Any, tmp_path: Path) -> None:
    """It is a part of the model, as the number of its units is, and there is nothing to say."""

    def build() -> Any:
        K.backend.clear_session()
        lookup = K.layers.StringLookup(vocabulary=["elm", "fir"])
        return K.Sequential([K.Input((2,), dtype="string"), lookup, K.layers.Embedding(4, 2)])

    model, ours = build(), build()
    x = tf.constant([["fir", "elm"], ["oak", "fir"]])
    for suffix in (".weights.h5", "checkpoint"):
        ours.layers[-1].embeddings.assign(np.zeros((4, 2)))
        source = saved(model, suffix, tmp_path)
        assert restored(source, ours, on_missing="error", on_unused="error")[1] == []
        np.testing.assert_array_equal(ours(x), model(x))


def test_a_vocabulary_of_a_part_that_is_not_restored(K: Any, tmp_path: Path) -> None:
    """A lookup is warned of if weights of the model that it is in are restored."""
    K.backend.clear_session()
    lookup = K.layers.StringLookup()
    lookup.adapt(np.array([["elm"], ["fir"]]))
    words = K.Sequential([K.Input((1,), dtype="string"), lookup, K.layers.Embedding(4, 2)])
    numbers = K.Sequential([K.Input((3,)), K.layers.Dense(2, name="d")])
    inputs = [K.Input((1,), dtype="string"), K.Input((3,))]
    ours = K.Model(inputs, [words(inputs[0]), numbers(inputs[1])])

    def name(model: Any) -> Any:
        weight = model.layers[-1].weights[0]
        return weight.path if K.__name__ == "keras" else weight.name

    kernel = {name(numbers): np.ones((3, 2), "f4")}
    plan, told = restored(kernel, ours, on_missing="ignore")
    assert (len(plan.restored), plan.of("kept"), told) == (1, (), [])
    embeddings = {name(words): np.ones((4, 2), "f4")}
    assert len(restored(embeddings, ours)[0].of("kept")) == 1


# --- state that Keras does not save ---------------------------------------------------------------


def test_states_of_rnns(K: Any, tmp_path: Path) -> None:
    """A checkpoint of Keras 3 holds the states of a stateful RNN, and its next output is that of
    the saved one. Nobody is told that other files lack them."""

    def build() -> Any:
        K.backend.clear_session()
        inputs = K.Input(batch_shape=(1, 2, 3))
        return K.Model(inputs, K.layers.LSTM(2, stateful=True, name="rnn")(inputs))

    x = np.ones((1, 2, 3), "f4")
    model, ours = build(), build()
    model(x)
    checkpoint, file = saved(model, "checkpoint", tmp_path), saved(model, ".weights.h5", tmp_path)
    expected = np.asarray(model(x))
    plan = SmartInit(file, on_missing="error", on_unused="error").init(ours)
    assert len(plan.of("not needed")) == (2 if K.__name__ == "keras" else 0)
    assert not np.allclose(ours(x), expected)
    ours = build()
    SmartInit(checkpoint, on_missing="error", on_unused="error").init(ours)
    assert np.allclose(ours(x), expected) == (K.__name__ == "keras")


def test_an_ordinary_model_has_no_special_layers(K: Any) -> None:
    """For most models nothing of this is looked at twice."""
    model = K.Sequential(
        [
            *(K.Input((3, 3)), K.layers.Dense(4), K.layers.BatchNormalization(), K.layers.LSTM(2)),
            *(K.layers.Dropout(0.5), K.layers.Dense(3, name="d")),
        ]
    )
    assert special_parts(model) == []


# --- LoRA and quantization ------------------------------------------------------------------------


def adapted(kind: str, lora: bool, seed: int) -> tuple[Any, Any]:
    """A Keras 3 model of one layer, with LoRA's factors in use, and an input."""
    K = importlib.import_module("keras")
    make = {
        "Dense": lambda: K.layers.Dense(4, name="a"),
        "EinsumDense": lambda: K.layers.EinsumDense("ab,bc->ac", 4, bias_axes="c", name="a"),
        "Embedding": lambda: K.layers.Embedding(5, 4, name="a"),
        "Conv1D": lambda: K.layers.Conv1D(4, 2, name="a"),
    }[kind]
    shape = {"Embedding": (2,), "Conv1D": (5, 3)}.get(kind, (3,))
    model = built(K, lambda K: make(), shape=shape)
    if lora:
        model.get_layer("a").enable_lora(2)
    rng = np.random.default_rng(seed)
    for v in model.weights:
        v.assign(rng.random(tuple(v.shape)))
    return model, np.ones((1, *shape), "i4" if kind == "Embedding" else "f4")


LORA = ["Dense", "EinsumDense", "Embedding", "Conv1D"]


@pytest.mark.parametrize("kind", LORA)
@pytest.mark.parametrize("suffix", FILES)
def test_base_weights_into_a_model_with_lora(kind: str, suffix: str, tmp_path: Path) -> None:
    """LoRA's factors become zero, whatever the source is, and the plan says so."""
    (model, x), (ours, _) = adapted(kind, False, 0), adapted(kind, True, 1)
    source = saved(model, suffix, tmp_path)
    plan = SmartInit(source, on_missing="error", on_unused="error").init(ours)
    np.testing.assert_allclose(ours(x), model(x), rtol=1e-5)
    layer = ours.get_layer("a")
    factors = [v for v in layer.weights if "lora" in v.name]
    assert len(factors) == 2
    assert not any(np.asarray(v).any() for v in factors)
    assert [row.name for row in plan.of("not needed")] == [v.path for v in factors]
    assert "set to zero by its layer" in str(plan)


@pytest.mark.parametrize("kind", LORA)
@pytest.mark.parametrize("into_lora", [False, True])
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_what_keras_saved_of_a_model_with_lora(
    kind: str, into_lora: bool, suffix: str, tmp_path: Path
) -> None:
    """Keras merges the factors when it saves. The merged weights restore as Keras restores them."""
    model, x = adapted(kind, True, 0)
    (ours, _), (theirs, _) = adapted(kind, into_lora, 1), adapted(kind, into_lora, 1)
    path = saved(model, suffix, tmp_path)
    theirs.load_weights(path)
    SmartInit(path, on_missing="error", on_unused="error").init(ours)
    np.testing.assert_allclose(ours(x), model(x), rtol=1e-5)
    for mine, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".h5", "checkpoint", "dict"])
def test_factors_that_the_source_has_are_restored(suffix: str, tmp_path: Path) -> None:
    """Other formats hold the factors themselves. A model without LoRA takes none, which is told."""
    (model, x), (ours, _) = adapted("Dense", True, 0), adapted("Dense", True, 1)
    source = saved(model, suffix, tmp_path)
    SmartInit(source, on_missing="error", on_unused="error").init(ours)
    np.testing.assert_array_equal(ours(x), model(x))
    with pytest.warns(UnusedWarning, match="lora_kernel_a"):
        SmartInit(source).init(adapted("Dense", False, 1)[0])


def test_factors_stay_if_their_base_is_not_restored() -> None:
    """A bias alone says nothing of LoRA."""
    ours, _ = adapted("Dense", True, 1)
    before = [np.asarray(v) for v in ours.weights if "lora" in v.name]
    with pytest.warns(MissingWarning, match="lora_kernel"):
        SmartInit({"a/bias": np.ones(4, "f4")}).init(ours)
    after = [np.asarray(v) for v in ours.weights if "lora" in v.name]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantized_layers(mode: str, tmp_path: Path) -> None:
    """A file of a quantized model restores into one, and not into one that is not quantized, in
    either direction."""
    (model, x), (ours, _), (plain, _) = (adapted("Dense", False, seed) for seed in range(3))
    floats = saved(plain, ".weights.h5", tmp_path)
    for each in (model, ours):
        each.get_layer("a").quantize(mode)
    path = str(tmp_path / "quantized.weights.h5")
    model.save_weights(path)
    before = [np.asarray(v) for v in (*ours.weights, *plain.weights)]
    with pytest.raises(MismatchError, match=r"a/kernel: .*float32 is not cast to int8"):
        SmartInit(floats).init(ours)
    with pytest.raises(MismatchError, match=r"a/kernel: .*int8 is not cast to float32"):
        SmartInit(path).init(plain)
    after = [np.asarray(v) for v in (*ours.weights, *plain.weights)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    SmartInit(path, on_missing="error", on_unused="error").init(ours)
    np.testing.assert_array_equal(ours(x), model(x))
