"""initreg-frozen-graph itself, installed into a folder; and a graph of one constant."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PLUGIN = Path(__file__).parents[3] / "plugins" / "initreg-frozen-graph"
# Offline, with the build backend that the test group brings.
PIP = "-m pip install --quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check"


def given(page):
    subprocess.run([sys.executable, *PIP.split(), "--target", "site", str(PLUGIN)], check=True)
    site = os.path.abspath("site")
    sys.path.append(site)
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), site])

    page.weights = np.arange(6, dtype="f4").reshape(2, 3)

    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    # Source: tensor.proto, attr_value.proto and node_def.proto of TensorFlow.
    shape = field(2, b"\x08\x02") + field(2, b"\x08\x03")
    tensor = b"\x08\x01" + field(2, shape) + field(4, page.weights.tobytes())
    value = field(5, field(1, b"value") + field(2, field(8, tensor)))
    node = field(1, b"fc/weights") + field(2, b"Const") + value
    Path("frozen_inference_graph.pb").write_bytes(field(1, node))
    page.target = {"fc/weights": np.zeros((2, 3), "f4")}


def after(page):
    assert (page.target["fc/weights"] == page.weights).all()
