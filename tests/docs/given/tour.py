"""A clone, as far as it is needed: the demo's weights."""

import os
from pathlib import Path

import initreg

ROOT = Path(__file__).parents[3]


def given(page):
    os.symlink(ROOT / "demo", "demo")


def the_model_has_both(page, again):
    digits = initreg.load("demo/weights/digits.npz")
    assert (page.model["hidden1/kernel"] == digits["hidden1/kernel"]).all()
    assert (page.model["head/kernel"] == 1).all()
    assert page.model["scale"] == 1


def what_is_converted_is_dumped(page, again):
    digits = initreg.load("demo/weights/digits.npz")
    dumped = initreg.load("weights.npz")
    assert list(dumped) == ["hidden1/kernel", "hidden1/bias", "hidden2/kernel", "hidden2/bias"]
    for name, array in dumped.items():
        assert (array == digits[name].astype("float16")).all()


AFTER = {
    '>>> plan = SmartInit(["demo/weights/digits.npz", head]).init(model)': the_model_has_both,
    "$ initreg dump model.safetensors weights.npz": what_is_converted_is_dumped,
}
