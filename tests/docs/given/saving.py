"""The demo's weights."""

import os
from pathlib import Path

import numpy as np

import initreg


def given(page):
    os.symlink(Path(__file__).parents[3] / "demo", "demo")


def after(page):
    assert np.load("model.npz")["fc/W"].tolist() == [[1] * 4] * 3
    digits = initreg.load("demo/weights/digits.npz")
    assert digits["global_step"] > 0
    assert initreg.load("digits.safetensors")["global_step"] == 0
    half = initreg.load("half.ckpt")
    assert set(half) == set(digits) - {"global_step"}
    assert all((array == digits[name].astype("f2")).all() for name, array in half.items())
