"""A web server on loopback with a small model."""

import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[3]))
import initreg
from tests.storage.web_server import serving

KERNEL, BIAS = np.arange(24, dtype="f4").reshape(8, 3), np.ones(3, "f4")


def given(page):
    initreg.save("model.safetensors", {"head/kernel": KERNEL, "head/bias": BIAS})
    page.stack, page.token = ExitStack(), "xyz"
    page.web = page.stack.enter_context(serving(Path.cwd()))
    page.URL = page.web.url.rstrip("/")


def after(page):
    page.stack.close()
    assert page.web.headers[-1]["Authorization"] == "Bearer xyz"
    assert (page.bias == BIAS).all()
    assert (page.model["head/kernel"] == KERNEL).all()
    assert page.url == "memory://run/model.safetensors"
    assert (initreg.load(page.url)["head/kernel"] == KERNEL).all()
