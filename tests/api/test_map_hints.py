"""initreg.api.map_hints: a map is offered for names of PyTorch, if it helps."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import ArrayMap, Extent, NothingMatched, SmartInit
from initreg.arrays.reader import Reader
from initreg.cli import main

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]
RNG = np.random.default_rng(0)


def of_torch() -> dict[str, Any]:
    """A convolution with a square window, a norm and a dense layer, as PyTorch stores them."""
    return {
        "a.weight": RNG.normal(size=(6, 3, 2, 2)).astype("f4"),
        "a.bias": RNG.normal(size=6).astype("f4"),
        "n.weight": RNG.normal(size=6).astype("f4"),
        "n.bias": RNG.normal(size=6).astype("f4"),
        "n.running_mean": RNG.normal(size=6).astype("f4"),
        "n.running_var": RNG.uniform(1, 2, size=6).astype("f4"),
        "fc.weight": RNG.normal(size=(6, 6)).astype("f4"),
        "fc.bias": RNG.normal(size=6).astype("f4"),
    }


def model() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((5, 5, 3)),
            keras.layers.Conv2D(6, 2, name="first"),
            keras.layers.BatchNormalization(epsilon=1e-5, name="norm"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(6, name="head"),
        ]
    )


def computed(arrays: dict[str, Any], x: Any) -> Any:
    """What PyTorch computes with them, in numpy."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=(1, 2))
    y = np.einsum("bijcuv,ocuv->bijo", windows, arrays["a.weight"]) + arrays["a.bias"]
    y = (y - arrays["n.running_mean"]) / np.sqrt(arrays["n.running_var"] + 1e-5)
    y = (y * arrays["n.weight"] + arrays["n.bias"]).mean((1, 2))
    return y @ arrays["fc.weight"].T + arrays["fc.bias"]


def test_the_code_of_the_hint_restores_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the first hint, and what it says to type makes a model with the same outputs."""
    monkeypatch.chdir(tmp_path)
    arrays, target = of_torch(), model()
    source = initreg.save("net.npz", arrays)
    with pytest.raises(NothingMatched) as caught:
        SmartInit(source, on_missing="error").init(target)
    hint = str(caught.value).splitlines()[1]
    words, _, code = hint.partition("variables have their array: ")
    assert words.strip() == "the arrays have names of PyTorch. With a map of its layers, 8 of 8"
    first, second = re.fullmatch(r"(.*), and then (.*)", code).groups()  # type: ignore[union-attr]
    assert second == 'SmartInit("net.npz", rules="rules.toml", on_missing="error")'
    eval(first, {"initreg": initreg, "model": target})
    eval(second, {"SmartInit": SmartInit}).init(target)
    x = RNG.normal(size=(2, 5, 5, 3)).astype("f4")
    found = np.asarray(target(x, training=False))
    np.testing.assert_allclose(found, computed(arrays, x), rtol=1e-4, atol=1e-4)


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The hint has the verb. The source and the target are typed as before."""
    monkeypatch.chdir(tmp_path)
    initreg.save("net.npz", of_torch())
    Path("small.py").write_text(
        "import keras\n"
        "def build():\n"
        "    layers = [keras.Input((5, 5, 3)), keras.layers.Conv2D(6, 2, name='first')]\n"
        "    return keras.Sequential(layers)\n"
    )
    main(["plan", "net.npz", "--onto", "small.py:build"])
    told = capsys.readouterr().out
    assert "initreg map SOURCE --onto TARGET --output rules.toml, and then --rules" in told
    assert "initreg.map(" not in told


@pytest.mark.parametrize("why", ["a rule is given", "keras names", "another source", "matched"])
def test_it_is_not_offered_where_it_does_not_help(why: str) -> None:
    """With rules of the user's own, without names of PyTorch, in a chain, and after a match."""
    arrays, target = of_torch(), model()
    if why == "keras names":
        arrays = {name.replace("weight", "kernel"): array for name, array in arrays.items()}
    if why == "matched":
        arrays |= {weight.path: np.asarray(weight) for weight in target.weights}
    source = [arrays, {"other": np.ones(3)}] if why == "another source" else arrays
    rules = {"drop": "fc.*"} if why == "a rule is given" else {}
    hints = SmartInit(source, **rules).plan(target).hints
    assert not [hint for hint in hints if "initreg.map" in str(hint)]


def test_a_target_that_does_not_know_its_layers_has_no_such_hint() -> None:
    """A dict does not say what its arrays are."""
    target = {"x/kernel": np.zeros((2, 2, 3, 6), "f4"), "x/bias": np.zeros(6, "f4")}
    hints = SmartInit(of_torch()).plan(target).hints
    assert not [hint for hint in hints if "initreg.map" in str(hint)]


class Said(dict[str, Extent]):
    """The arrays of a format that says something of some."""

    reordered: object = None
    kernel_axes: object = None


@pytest.mark.parametrize("what", ["tied", "reordered", "kernel_axes"])
def test_it_says_what_the_map_says(what: str, tmp_path: Path) -> None:
    """Also where the verdict depends on what the file or its format knows of the arrays."""
    import keras

    layers = [keras.layers.Embedding(9, 9, name="e"), keras.layers.Dense(9, name="d")]
    target = keras.Sequential([keras.Input((3,)), *layers])
    path = tmp_path / "m.bin"
    path.write_bytes(RNG.normal(size=(4, 9, 9)).astype("f4").tobytes())
    table, kernel = (Extent(path, at, 324, (9, 9), "float32") for at in (0, 324))
    bias = Extent(path, 648, 36, (9,), "float32")
    arrays = Said({"emb.weight": table, "fc.weight": kernel, "fc.bias": bias})
    without = Said(arrays)
    if what == "tied":
        arrays["lm_head.weight"] = table
        without["lm_head.weight"] = replace(table, offset=972)
    elif what == "reordered":
        arrays.reordered = {"fc.weight": "its rows are in another order"}
    else:
        del arrays["emb.weight"], without["emb.weight"]
        arrays.kernel_axes = {"fc.weight": "in, out"}
    verdicts = []
    for extents in (arrays, without):
        with ArrayMap(extents, label="m", format="bin", reader=Reader("m")) as opened:
            mapped = initreg.map(opened, target)
            (hint,) = [h for h in SmartInit(opened).plan(target).hints if "initreg.map" in str(h)]
        assert f"a map of its layers, {mapped.verdict}: " in str(hint)
        verdicts.append((mapped.verdict, str(mapped)))
    assert verdicts[0] != verdicts[1]
