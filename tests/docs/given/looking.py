"""A clone, as far as it is needed: the demo's weights, and others to compare them with."""

import os
from pathlib import Path

import numpy as np

import initreg

ROOT = Path(__file__).parents[3]


def given(page):
    os.symlink(ROOT / "demo", "demo")
    tuned = initreg.load("demo/weights/digits.npz")
    tuned["head/kernel"] = tuned["head/kernel"] * np.float32(1.25)
    tuned["head/bias"] = tuned["head/bias"] + np.float32(0.5)
    initreg.save("tuned.safetensors", tuned)


def the_page_is_there(page, again):
    html = Path("report.html").read_text("utf-8")
    assert html == initreg.report("demo/weights/digits.npz", "tuned.safetensors").to_html()


def the_table_is_there(page, again):
    kernel = initreg.load("demo/weights/digits.npz")["hidden1/kernel"]
    found = np.loadtxt("kernel.csv", delimiter=",", dtype="float32")
    assert (found == kernel[:8]).all()


AFTER = {
    "$ initreg report demo/weights/digits.npz tuned.safetensors": the_page_is_there,
    "$ initreg show demo/weights/digits.npz 'hidden1/kernel[:8]'": the_table_is_there,
}
