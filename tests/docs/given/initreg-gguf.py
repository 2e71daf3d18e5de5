"""initreg-gguf itself, installed into a folder; and a GGUF file with a quantised tensor."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PLUGIN = Path(__file__).parents[3] / "plugins" / "initreg-gguf"
# Offline, with the build backend that the test group brings.
PIP = "-m pip install --quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check"


def given(page):
    subprocess.run([sys.executable, *PIP.split(), "--target", "site", str(PLUGIN)], check=True)
    site = os.path.abspath("site")
    sys.path.append(site)
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), site])

    import gguf

    writer = gguf.GGUFWriter("model-Q8_0.gguf", "llama")
    page.weights = np.tile(np.arange(-1, 1, 1 / 16, dtype="f4"), (2, 1))
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("blk.0.weight", gguf.quants.quantize(page.weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    page.target = {"blk.0.weight": np.zeros((2, 32), "f4")}


def after(page):
    assert np.abs(page.target["blk.0.weight"] - page.weights).max() < 1 / 127
