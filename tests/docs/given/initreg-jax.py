"""initreg-jax itself, installed into a folder; and a model of one array, made without Flax."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PLUGIN = Path(__file__).parents[3] / "plugins" / "initreg-jax"
# Offline, with the build backend that the test group brings.
PIP = "-m pip install --quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check"


def given(page):
    subprocess.run([sys.executable, *PIP.split(), "--target", "site", str(PLUGIN)], check=True)
    site = os.path.abspath("site")
    sys.path.append(site)
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), site])

    page.weights = np.arange(6, dtype="f4").reshape(2, 3)
    # {"fc": {"kernel": w}}. An array is ext type 1: shape, dtype, bytes (flax/serialization.py).
    array = b"\x93\x92\x02\x03\xa7float32\xc4" + bytes([24]) + page.weights.tobytes()
    kernel = b"\x81\xa6kernel\xc7" + bytes([len(array), 1]) + array
    Path("flax_model.msgpack").write_bytes(b"\x81\xa2fc" + kernel)
    page.target = {"fc/kernel": np.zeros((2, 3), "f4")}


def after(page):
    assert (page.target["fc/kernel"] == page.weights).all()
