"""A file of a small model, and data to train on."""

import numpy as np

import initreg


def given(page):
    rng = np.random.default_rng(0)
    w = np.arange(24, dtype="f4").reshape(4, 6)
    initreg.save("model.safetensors", {"fc/W": w, "fc/b": w[0]})
    page.x, page.y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))


def a_second_start_goes_on(page, again):
    assert page.start.initial_epoch == 0
    again()
    assert page.start.initial_epoch == 2


AFTER = {"from initreg.trainers.tf_keras import ModelSaver": a_second_start_goes_on}


def after(page):
    w = np.arange(24, dtype="f4").reshape(4, 6)
    assert (page.halves["fc/W"] == w[:, :3]).all()
    assert (page.right == w[:, 3:]).all()
    assert (page.first == w[:2, 3:]).all()
