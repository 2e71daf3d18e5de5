"""Files of one model into another one: what the code of a hint, or an option of an error, leads to.

A hint is run as it is printed, and the model that it leads to is compared by its output.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from initreg import AmbiguousNames, Hint, NothingMatched, SmartInit, UnusedWarning
from initreg import open as open_source

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]
PROBE = np.linspace(-1.0, 2.0, 12, dtype="float32").reshape(3, 4)
FILES = [".weights.h5", ".keras", ".h5", "checkpoint", "model="]


@pytest.fixture(params=["keras", "tf_keras"])
def K(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


def mlp(name: str | None = None, layers: int = 2, K: Any = keras) -> Any:
    return K.Sequential([K.Input((4,)), *(K.layers.Dense(4) for _ in range(layers))], name=name)


def autoencoder(K: Any = keras) -> Any:
    inputs = K.Input((4,))
    return K.Model(inputs, mlp("decoder", K=K)(mlp("encoder", K=K)(inputs)))


def filled(model: Any, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        variable.assign(rng.standard_normal(tuple(variable.shape)).astype("float32"))
    return model


def saved(model: Any, kind: str, folder: Path) -> str:
    """Save a model, or its weights."""
    path = str(folder / f"m{kind}") if kind.startswith(".") else str(folder / "m")
    if kind == "checkpoint":
        tf.train.Checkpoint(model).write(path)
    elif kind == "model=":
        tf.train.Checkpoint(model=model).write(path)
    elif kind == "export":
        model.export(path)
    elif kind == ".weights.h5":
        model.save_weights(path)
    else:
        model.save(path)
    return path


def out(model: Any) -> np.ndarray:
    return np.asarray(model(PROBE))


def same(one: Any, other: Any) -> None:
    np.testing.assert_allclose(out(one), out(other), rtol=1e-5, atol=1e-5)


def run(hint: Hint, target: Any) -> Any:
    """Run the code of a hint as it is printed. No warning may come of it."""
    assert hint.code, hint
    assert str(hint).endswith(hint.code)
    return eval(hint.code, {"SmartInit": SmartInit}).init(target)


def options_of(error: Exception) -> list[dict[str, Any]]:
    """The options that an error offers, each to be typed as it is."""
    text = str(error)
    found = re.findall(r"(?:(?:keep|strip_prefix|prefix)=[^\n]*?)?by='(?:place|order)'", text)
    return [eval(f"dict({text})") for text in found]


# --- a part of a larger model ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", FILES)
def test_a_model_goes_into_the_part_of_its_name(kind: str, tmp_path: Path) -> None:
    """The other part keeps its values, and computes as before."""
    for name in ("encoder", "decoder"):
        model, target = filled(mlp(name), 1), filled(autoencoder(), 2)
        path = saved(model, kind, tmp_path)
        other = "decoder" if name == "encoder" else "encoder"
        before = out(target.get_layer(other))
        with pytest.warns(UserWarning, match="4 only in the target"):
            plan = SmartInit(path).init(target)
        assert len(plan.restored) == 4
        assert f"call this part {name!r}" in str(plan.ways[0])
        same(target.get_layer(name), model)
        np.testing.assert_array_equal(out(target.get_layer(other)), before)


@pytest.mark.parametrize("kind", FILES)
def test_a_model_is_restored_from_the_part_of_its_name(kind: str, tmp_path: Path) -> None:
    """If nothing says which part it is, the error has options, and each restores that part."""
    model = filled(autoencoder(), 1)
    path = saved(model, kind, tmp_path)
    for name in ("encoder", "decoder"):
        target = filled(mlp(name), 2)
        if kind in ("checkpoint", "model="):  # which record no name that only people give
            parts = []
            with pytest.raises(AmbiguousNames, match="no name says which one") as error:
                SmartInit(path).init(target)
            for options in options_of(error.value):
                target = filled(mlp(name), 2)
                SmartInit(path, **options).init(target)
                parts.append(out(target))
            for part, layer in zip(parts, ("encoder", "decoder"), strict=True):
                np.testing.assert_allclose(part, out(model.get_layer(layer)), rtol=1e-5, atol=1e-5)
            continue
        with pytest.warns(UnusedWarning, match="4 only in the source"):
            plan = SmartInit(path).init(target)
        assert f"call this part {name!r}" in str(plan.ways[0])
        same(target, model.get_layer(name))


@pytest.mark.parametrize("kind", [".weights.h5", ".keras"])
def test_parts_are_called_by_their_recorded_names(kind: str, tmp_path: Path) -> None:
    """A model of another name may be any part, and the error says what each part is called."""
    model, target = filled(autoencoder(), 1), filled(mlp("other"), 2)
    with pytest.raises(AmbiguousNames) as error:
        SmartInit(saved(model, kind, tmp_path)).init(target)
    assert "'layers/sequential/' of the source, which is called 'encoder', 4" in str(error.value)
    assert "'layers/sequential_1/' of the source, which is called 'decoder', 4" in str(error.value)
    for options, layer in zip(options_of(error.value), ("encoder", "decoder"), strict=True):
        target = filled(mlp("other"), 2)
        SmartInit(saved(model, kind, tmp_path), **options).init(target)
        same(target, model.get_layer(layer))


@pytest.mark.parametrize("kind", [".weights.h5", ".keras"])
def test_the_part_of_the_name_is_not_the_one_that_fits_best(kind: str, tmp_path: Path) -> None:
    """The encoder has one layer more now. That does not make the decoder an encoder."""
    inputs = keras.Input((4,))
    model = filled(keras.Model(inputs, mlp("decoder", 3)(mlp("encoder", 2)(inputs))))
    target = filled(mlp("encoder", 3), 2)
    before = out(target)
    path = saved(model, kind, tmp_path)
    with pytest.raises(AmbiguousNames, match="the source has 2 and the target 3 of") as error:
        SmartInit(path).init(target)
    np.testing.assert_array_equal(out(target), before)
    (options,) = options_of(error.value)
    with pytest.warns(UserWarning, match="2 only in the target"):
        SmartInit(path, **options).init(target)
    theirs = model.get_layer("encoder").get_weights()
    for mine, wanted in zip(target.get_weights(), theirs, strict=False):
        np.testing.assert_array_equal(mine, wanted)


@pytest.mark.parametrize("kind", FILES)
def test_a_model_of_another_name_is_not_put_into_any_part(kind: str, tmp_path: Path) -> None:
    """Both parts fit, and neither is called like the model."""
    model, target = filled(mlp("backbone"), 1), filled(autoencoder(), 2)
    path = saved(model, kind, tmp_path)
    before = out(target)
    with pytest.raises(NothingMatched) as error:
        SmartInit(path).init(target)
    np.testing.assert_array_equal(out(target), before)
    for hint in error.value.plan.hints:
        assert not hint.code
    if kind in (".weights.h5", ".keras"):
        (hint,) = error.value.plan.hints
        assert "several readings fit as well, and nothing says which one is meant: " in hint.words
        assert "match after adding 'encoder/' (prefix='encoder/'); or " in hint.words


def test_names_of_models_that_keras_made_say_nothing(tmp_path: Path) -> None:
    """A model that Keras called ``sequential_1`` is not the part of that automatic name."""
    keras.backend.clear_session(free_memory=False)
    inputs = keras.Input((4,))
    model = filled(keras.Model(inputs, mlp()(mlp()(inputs))))
    names = [layer.name for layer in model.layers[1:]]
    for kind in FILES:
        path = saved(model, kind, tmp_path)
        keras.backend.clear_session(free_memory=False)
        mlp()
        target = filled(mlp(), 2)
        assert target.name in names
        before = out(target)
        with pytest.raises((AmbiguousNames, NothingMatched)):
            SmartInit(path).init(target)
        np.testing.assert_array_equal(out(target), before)


def test_automatic_names_that_look_alike_are_no_hint(tmp_path: Path) -> None:
    """``dense_12`` and ``dense_16`` are alike, and are different layers."""
    for kind in (".h5", "checkpoint"):
        path = saved(filled(autoencoder()), kind, tmp_path)
        with pytest.raises((AmbiguousNames, NothingMatched)) as error:
            SmartInit(path).init(filled(mlp("other"), 2))
        assert "looks like" not in str(error.value)


# --- layers of another class ----------------------------------------------------------------------


class MyBlock(keras.layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.d = keras.layers.Dense(4)
        self.n = keras.layers.LayerNormalization()

    def call(self, x: Any) -> Any:
        return self.n(self.d(x)) + x


class Res(MyBlock):
    pass


class Also(MyBlock):
    pass


class MyEnd(keras.layers.Dense):
    pass


class Out(keras.layers.Dense):
    pass


def blocks(*layers: Callable[[], Any]) -> Any:
    return keras.Sequential([keras.Input((4,)), *(layer() for layer in layers)])


@pytest.mark.parametrize("kind", [".weights.h5", ".keras"])
def test_a_class_that_was_renamed(kind: str, tmp_path: Path) -> None:
    """One renaming is for all blocks, with their numbers, and puts each where it was."""
    model = filled(blocks(MyBlock, MyBlock, MyBlock))
    path = saved(model, kind, tmp_path)
    with pytest.raises(NothingMatched) as error:
        SmartInit(path).init(blocks(Res, Res, Res))
    (hint,) = error.value.plan.hints
    assert (
        hint.words == "12 of 12 names match after replacing 'my_block' by 'res', also with numbers"
    )
    target = blocks(Res, Res, Res)
    run(hint, target)
    same(target, model)


@pytest.mark.parametrize("kind", [".weights.h5", ".keras"])
def test_two_classes_that_were_renamed(kind: str, tmp_path: Path) -> None:
    """Parts of one hint have no hints of their own."""

    def model(block: Any, end: Any) -> Any:
        return blocks(block, block, lambda: end(4), lambda: end(4))

    known, target = filled(model(MyBlock, MyEnd)), model(Res, Out)
    path = saved(known, kind, tmp_path)
    with pytest.raises(NothingMatched) as error:
        SmartInit(path).init(target)
    (hint,) = error.value.plan.hints
    assert hint.words.startswith("12 of 12 names match after replacing ")
    run(hint, target)
    same(target, known)


@pytest.mark.parametrize("kind", [".weights.h5", ".keras"])
def test_a_class_that_may_have_been_renamed_to_two_others(kind: str, tmp_path: Path) -> None:
    """Both readings are shown, without code."""
    model = filled(blocks(MyBlock, MyBlock))
    target = blocks(Res, Res, Also, Also)
    path = saved(model, kind, tmp_path)
    with pytest.raises(NothingMatched) as error:
        SmartInit(path).init(target)
    (hint,) = error.value.plan.hints
    assert not hint.code
    assert "'my_block' by 'res'" in hint.words
    assert "'my_block' by 'also'" in hint.words


# --- other orders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [".h5", "export"])
@pytest.mark.parametrize(("theirs", "ours"), [(3, 2), (2, 3)])
def test_another_number_of_layers_without_names(
    K: Any, kind: str, theirs: int, ours: int, tmp_path: Path
) -> None:
    """The error says so, as for ``.keras``. Its option gives each layer what that position had."""
    model, target = filled(mlp(None, theirs, K)), filled(mlp(None, ours, K), 2)
    before = out(target)
    path = saved(model, kind, tmp_path)
    with pytest.raises(AmbiguousNames, match="Their order does not say which of them") as error:
        SmartInit(path).init(target)
    np.testing.assert_array_equal(out(target), before)
    assert options_of(error.value) == [{"by": "order"}]
    with pytest.warns(UserWarning, match="only in the (source|target)"):
        plan = SmartInit(path, by="order").init(target)
    assert len(plan.restored) == 4
    for one, other in zip(model.layers[:2], target.layers[:2], strict=True):
        for mine, wanted in zip(other.get_weights(), one.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, wanted)


def with_lora(model: Any) -> Any:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            with_lora(layer)
        elif hasattr(layer, "enable_lora"):
            layer.enable_lora(2)
    return model


@pytest.mark.parametrize("model", [mlp, autoencoder])
def test_lora_in_a_legacy_file(model: Callable[[], Any], tmp_path: Path) -> None:
    """Into a model without it, the factors are not used, which a warning says. The file of a model
    without it restores into one with it, which computes the same then."""
    tuned, plain = filled(with_lora(model())), model()
    path = saved(tuned, ".h5", tmp_path)
    with pytest.warns(UnusedWarning, match="lora_kernel_a"):
        SmartInit(path).init(plain)
    for variable in tuned.weights:
        if "lora" in variable.path:
            variable.assign(np.zeros(variable.shape))
    same(plain, tuned)

    plain, tuned = filled(model(), 3), filled(with_lora(model()), 4)
    path = saved(plain, ".h5", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SmartInit(path).init(tuned)
    same(tuned, plain)


def test_lora_in_one_of_two_layers_of_a_part(tmp_path: Path) -> None:
    """Keras lists the kernel with LoRA last. So the order within the part says something else than
    the numbers do, and nothing goes into the other layer."""
    inputs = keras.Input((4,))
    tuned = keras.Model(inputs, mlp()(inputs))
    tuned.layers[1].layers[0].enable_lora(2)
    path = saved(filled(tuned), ".h5", tmp_path)
    plain = filled(keras.Model(inputs, mlp()(inputs)), 2)
    before = out(plain)
    with pytest.raises(NothingMatched):
        SmartInit(path).init(plain)
    np.testing.assert_array_equal(out(plain), before)


def test_the_file_records_the_name_of_its_model(tmp_path: Path) -> None:
    """It is in front of the automatic names, and rules match on it."""
    path = saved(filled(mlp("encoder")), ".weights.h5", tmp_path)
    with open_source(path) as arrays:
        names = [each for spec in arrays.specs() for each in spec.automatic]
    assert sum(name.startswith("encoder/dense") for name in names) == 4


def test_another_way_is_no_hint_if_more_does_not_fit(tmp_path: Path) -> None:
    """By place, the head of another size would be matched, and an error."""

    def built(units: int, name: str) -> Any:
        x = keras.Input((6,))
        y = keras.layers.Dense(6, "tanh")(keras.layers.Dense(6, "tanh")(x))
        return keras.Model(x, keras.layers.Dense(units, name=name)(y))

    path = saved(built(3, "head"), "model=", tmp_path)
    plan = SmartInit(path).plan(built(5, "new_head"))
    assert (len(plan.restored), plan.hints) == (4, ())
    (hint,) = SmartInit(path).plan(built(3, "new_head")).hints
    assert hint.options == {"by": "place"}
