"""initreg-tfjs itself, installed into a folder; and a model of one weight."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PLUGIN = Path(__file__).parents[3] / "plugins" / "initreg-tfjs"
# Offline, with the build backend that the test group brings.
PIP = "-m pip install --quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check"


def given(page):
    subprocess.run([sys.executable, *PIP.split(), "--target", "site", str(PLUGIN)], check=True)
    site = os.path.abspath("site")
    sys.path.append(site)
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), site])

    page.weights = np.arange(6, dtype="f4").reshape(2, 3)
    weights = [{"name": "fc/kernel", "shape": [2, 3], "dtype": "float32"}]
    manifest = [{"paths": ["group1-shard1of1.bin"], "weights": weights}]
    topology = {"class_name": "Sequential", "config": {"name": "m", "layers": []}}
    Path("mobilenet").mkdir()
    Path("mobilenet/model.json").write_text(
        json.dumps(
            {
                "format": "layers-model",
                "modelTopology": {"model_config": topology},
                "weightsManifest": manifest,
            }
        )
    )
    Path("mobilenet/group1-shard1of1.bin").write_bytes(page.weights.tobytes())
    page.target = {"fc/kernel": np.zeros((2, 3), "f4")}


def after(page):
    assert (page.target["fc/kernel"] == page.weights).all()
