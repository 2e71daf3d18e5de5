"""initreg-jax, installed into a folder; and a model of Flax, made without Flax."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PLUGIN = Path(__file__).parents[3] / "plugins" / "initreg-jax"
# Offline, with the build backend that the test group brings.
PIP = "-m pip install --quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check"
CODE = """import keras


def build():
    return keras.Sequential([
        keras.Input((6, 6, 3)),
        keras.layers.Conv2D(4, 3),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(4),
    ], name="small")
"""


def installed():
    subprocess.run([sys.executable, *PIP.split(), "--target", "site", str(PLUGIN)], check=True)
    site = os.path.abspath("site")
    sys.path.append(site)
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), site])
    Path("small.py").write_text(CODE)


def packed(value):
    """msgpack, as flax.serialization has it. An array is ext type 1: shape, dtype, bytes."""
    if isinstance(value, dict):
        return bytes([0x80 | len(value)]) + b"".join(
            packed(k) + packed(v) for k, v in value.items()
        )
    if isinstance(value, str):
        return bytes([0xA0 | len(value)]) + value.encode()
    raw = value.tobytes()
    array = b"\x93" + bytes([0x90 | value.ndim, *value.shape]) + packed("float32")
    array += b"\xc5" + len(raw).to_bytes(2, "big") + raw
    return b"\xc8" + len(array).to_bytes(2, "big") + b"\x01" + array


def given(page):
    installed()
    random = np.random.default_rng(0)
    shapes = {"Conv_0": (3, 3, 3, 4), "Dense_0": (4, 4)}
    page.params = {
        name: {
            key: random.normal(size=s).astype("f4")
            for key, s in (("kernel", shape), ("bias", (4,)))
        }
        for name, shape in shapes.items()
    }
    Path("flax_model.msgpack").write_bytes(packed({"params": page.params}))


def after(page):
    for layer, name in zip((page.model.layers[0], page.model.layers[2]), page.params, strict=True):
        assert (np.asarray(layer.kernel) == page.params[name]["kernel"]).all()
        assert (np.asarray(layer.bias) == page.params[name]["bias"]).all()
