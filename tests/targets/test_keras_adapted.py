"""Layers with LoRA, and quantized ones, end as Keras's own loading leaves them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layer_models import FILES, built, saved

from initreg import MismatchError, MissingWarning, SmartInit, UnusedWarning

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]


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
@pytest.mark.parametrize("suffix", [".weights.h5", pytest.param(".keras", marks=pytest.mark.slow)])
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
