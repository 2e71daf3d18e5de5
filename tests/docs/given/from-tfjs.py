"""initreg-tfjs, installed into a folder; and a model of two weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PLUGIN = Path(__file__).parents[3] / "plugins" / "initreg-tfjs"
# Offline, with the build backend that the test group brings.
PIP = "-m pip install --quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check"
CODE = """import keras


def build():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="head")], name="small")
"""


def installed():
    subprocess.run([sys.executable, *PIP.split(), "--target", "site", str(PLUGIN)], check=True)
    site = os.path.abspath("site")
    sys.path.append(site)
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), site])
    Path("small.py").write_text(CODE)


def given(page):
    installed()
    page.kernel, page.bias = np.arange(6, dtype="f4").reshape(2, 3), np.ones(3, "f4")
    arrays = {"fc/kernel": page.kernel, "fc/bias": page.bias}
    weights = [
        {"name": name, "shape": list(array.shape), "dtype": "float32"}
        for name, array in arrays.items()
    ]
    topology = {"class_name": "Sequential", "config": {"name": "m", "layers": []}}
    model = {
        "format": "layers-model",
        "modelTopology": {"model_config": topology},
        "weightsManifest": [{"paths": ["group1-shard1of1.bin"], "weights": weights}],
    }
    Path("mobilenet").mkdir()
    Path("mobilenet/model.json").write_text(json.dumps(model))
    shard = b"".join(array.tobytes() for array in arrays.values())
    Path("mobilenet/group1-shard1of1.bin").write_bytes(shard)


def after(page):
    kernel, bias = map(np.asarray, page.model.variables)
    assert (kernel == page.kernel).all()
    assert (bias == page.bias).all()
