"""initreg-torch itself, installed into a folder; and a file as torch.save writes it.

The file is made without torch, which the tests of the plugin have in an environment of their own.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

PLUGIN = Path(__file__).parents[3] / "plugins" / "initreg-torch"
# Offline, with the build backend that the test group brings.
PIP = "-m pip install --quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check"

# {"fc.weight": a float32 tensor of shape (2, 3) in storage "0"}, as torch 2 pickles it.
PICKLE = (
    b"\x80\x02}X\x09\x00\x00\x00fc.weightctorch._utils\n_rebuild_tensor_v2\n"
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"
    b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtRs."
)


def given(page):
    subprocess.run([sys.executable, *PIP.split(), "--target", "site", str(PLUGIN)], check=True)
    site = os.path.abspath("site")
    sys.path.append(site)
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), site])

    page.weights = np.arange(6, dtype="f4").reshape(2, 3)
    with zipfile.ZipFile("resnet50.pth", "w") as archive:
        archive.writestr("archive/data.pkl", PICKLE)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", page.weights.tobytes())
        archive.writestr("archive/version", "3\n")
    page.target = {"fc.weight": np.zeros((2, 3), "f4")}


def after(page):
    assert (page.target["fc.weight"] == page.weights).all()
