"""initreg-onnx itself, installed into a folder; and a model of one tensor, made without onnx."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PLUGIN = Path(__file__).parents[3] / "plugins" / "initreg-onnx"
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

    # Source: onnx.proto. TensorProto: dims, data_type FLOAT, name, raw_data.
    tensor = b"\x08\x02\x08\x03\x10\x01" + field(8, b"fc.weight")
    tensor += field(9, page.weights.tobytes())
    # ModelProto: ir_version, graph with one initializer, opset_import.
    model = b"\x08\x08" + field(7, field(2, b"g") + field(5, tensor)) + field(8, b"\x10\x11")
    Path("resnet50.onnx").write_bytes(model)
    page.target = {"fc.weight": np.zeros((2, 3), "f4")}


def after(page):
    assert (page.target["fc.weight"] == page.weights).all()
