"""A clone, as far as it is needed; and what the models came to."""

import os
from pathlib import Path

import numpy as np

import initreg

ROOT = Path(__file__).parents[3]


def given(page):
    os.symlink(ROOT / "demo", "demo")


def digits():
    return initreg.load("demo/weights/digits.npz", drop="global_step")


def the_model_classifies(page, again):
    for variable in page.model.weights:
        assert (np.asarray(variable) == digits()[variable.path]).all()
    x = np.random.default_rng(0).random((5, 64), "f4")
    hidden = x
    for layer in ("hidden1", "hidden2"):
        hidden = np.maximum(hidden @ digits()[f"{layer}/kernel"] + digits()[f"{layer}/bias"], 0)
    logits = hidden @ digits()["head/kernel"] + digits()["head/bias"]
    assert np.allclose(page.model(x), logits, rtol=1e-4, atol=1e-5)


def it_began_with_the_layers(page, again):
    found = [np.asarray(variable) for variable in page.tuned.weights]
    assert found[-2].shape == (32, 3)
    for variable in page.tuned.weights[:4]:
        change = np.abs(np.asarray(variable) - digits()[variable.path]).max()
        assert 0 < change < 0.01  # two steps of Adam with its rate of 0.001
        assert (np.asarray(variable) == initreg.load("tuned.safetensors")[variable.path]).all()


def a_quarter_of_the_way(page, again):
    tuned = initreg.load("tuned.safetensors")
    for name, array in initreg.load("soup.safetensors").items():
        expected = 0.75 * digits()[name] + 0.25 * tuned[name]
        assert np.allclose(array, expected, rtol=1e-5, atol=1e-7)
    assert (initreg.load("soup.safetensors")["hidden1/kernel"] != digits()["hidden1/kernel"]).any()


def it_is_half_as_large(page, again):
    with initreg.open("digits.safetensors") as arrays:
        assert dict(arrays.metadata) == {"license": "mit"}
        assert {spec.dtype for spec in arrays.specs()} == {"float16"}
        assert list(arrays) == list(digits())


def it_goes_on(page, again):
    assert page.start.initial_epoch == 0
    weights = page.tuned.get_weights()
    page.tuned.set_weights([np.zeros_like(each) for each in weights])
    again()
    assert page.start.initial_epoch == 2
    for found, expected in zip(page.tuned.get_weights(), weights, strict=True):
        assert (found == expected).all()


AFTER = {
    'drop="global_step", on_missing="error"': the_model_classifies,
    'initreg.save("tuned.safetensors"': it_began_with_the_layers,
    "initreg merge": a_quarter_of_the_way,
    "initreg verify digits.safetensors": it_is_half_as_large,
    "trainers.keras import": it_goes_on,
}
