"""Vocabularies and document frequencies end as Keras's own loading leaves them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from layer_models import restored, saved

import initreg
from initreg import MismatchError, MissingWarning, SmartInit

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


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
