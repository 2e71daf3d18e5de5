"""A file with a kernel in it."""

import initreg


def given(page):
    initreg.save("model.safetensors", {"fc/kernel": [[1.0, 2.0]], "fc/bias": [3.0]})


def after(page):
    assert page.kernel.tolist() == [[1, 2]]
