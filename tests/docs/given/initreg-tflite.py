"""initreg-tflite itself, installed into a folder; and models of one tensor, plain and quantised.

The models are what comes before and after the bytes of the tensor, as the library of flatbuffers
wrote them: not every environment of the tests has it.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

PLUGIN = Path(__file__).parents[3] / "plugins" / "initreg-tflite"
# Offline, with the build backend that the test group brings.
PIP = "-m pip install --quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check"

# A tensor "fc/kernel" of the shape (2, 3): of float32, and of int8 with the scale 0.5.
PLAIN = (
    "1800000054464c3300000e000c00000000000800000004000e000000080000002000000002000000140000000400"
    "0000e6ffffff540000000400040004000000010000000c0000000000060008000400060000000400000001000000"
    "100000000c0010000c000000080004000c0000003400000001000000040000000200000002000000030000001800"
    "0000",
    "0900000066632f6b65726e656c000000",
)
QUANTISED = (
    "1800000054464c3300000e000c00000000000800000004000e000000080000002000000002000000140000000400"
    "0000e6ffffff7c0000000400040004000000010000000c0000000000060008000400060000000400000001000000"
    "1400000000000e001a00140013000c00080004000e00000020000000440000000100000000000009200000000000"
    "0a0008000000000004000a00000004000000010000000000003f02000000020000000300000006000000",
    "00000900000066632f6b65726e656c000000",
)


def write(path, model, array):
    before, after = map(bytes.fromhex, model)
    Path(path).write_bytes(before + array.tobytes() + after)


def given(page):
    subprocess.run([sys.executable, *PIP.split(), "--target", "site", str(PLUGIN)], check=True)
    site = os.path.abspath("site")
    sys.path.append(site)
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), site])

    page.weights = np.arange(6, dtype="f4").reshape(2, 3)
    write("mobilenet.tflite", PLAIN, page.weights)
    write("quantised.tflite", QUANTISED, (page.weights * 2).astype("i1"))
    page.target = {"fc/kernel": np.zeros((2, 3), "f4")}


def it_is_restored(page, again):
    assert (page.target["fc/kernel"] == page.weights).all()
    page.target["fc/kernel"][:] = 0


AFTER = {'"mobilenet.tflite"': it_is_restored, '"quantised.tflite"': it_is_restored}
