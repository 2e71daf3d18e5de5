"""initreg-tflite, installed into a folder, and the two models that the page of the plugin has."""

import os
import subprocess
import sys
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np

OTHER = SimpleNamespace(**run_path(str(Path(__file__).with_name("initreg-tflite.py"))))


def given(page):
    subprocess.run(
        [sys.executable, *OTHER.PIP.split(), "--target", "site", str(OTHER.PLUGIN)], check=True
    )
    site = os.path.abspath("site")
    sys.path.append(site)
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), site])
    page.weights = np.arange(6, dtype="f4").reshape(2, 3)
    OTHER.write("small.tflite", OTHER.PLAIN, page.weights)
    OTHER.write("quantised.tflite", OTHER.QUANTISED, (page.weights * 2).astype("i1"))


def it_is_restored(page, again):
    (kernel,) = page.model.get_weights()
    assert (kernel == page.weights.T).all()
    page.model.set_weights([np.zeros_like(kernel)])


AFTER = {"plan.restored[0]": it_is_restored, '"quantised.tflite"': it_is_restored}
