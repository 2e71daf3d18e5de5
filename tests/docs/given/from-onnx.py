"""initreg-onnx, installed into a folder; and a model of two tensors, made without onnx."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PLUGIN = Path(__file__).parents[3] / "plugins" / "initreg-onnx"
# Offline, with the build backend that the test group brings.
PIP = "-m pip install --quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check"
CODE = """import keras


def build():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)], name="small")
"""


def installed():
    subprocess.run([sys.executable, *PIP.split(), "--target", "site", str(PLUGIN)], check=True)
    site = os.path.abspath("site")
    sys.path.append(site)
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), site])
    Path("small.py").write_text(CODE)


def field(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


def tensor(name, array):
    """Source: onnx.proto. TensorProto: dims, data_type FLOAT, name, raw_data."""
    dims = b"".join(b"\x08" + bytes([axis]) for axis in array.shape)
    return field(5, dims + b"\x10\x01" + field(8, name) + field(9, array.tobytes()))


def given(page):
    installed()
    page.weight, page.bias = np.arange(6, dtype="f4").reshape(3, 2), np.ones(3, "f4")
    graph = field(2, b"g") + tensor(b"fc.weight", page.weight) + tensor(b"fc.bias", page.bias)
    # ModelProto: ir_version, graph, opset_import.
    model = b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11")
    Path("small.onnx").write_bytes(model)


def after(page):
    kernel, bias = map(np.asarray, page.model.variables)
    assert (kernel == page.weight.T).all()
    assert (bias == page.bias).all()
