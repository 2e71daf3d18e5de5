"""A network with PyTorch's names and axes, made without torch, and what it computes."""

from pathlib import Path

import numpy as np

RANDOM = np.random.default_rng(0)
# What is flattened has 4 channels of 4 x 4. PyTorch has the channels first.
SHAPES = {
    "features.0.weight": (4, 3, 3, 3),
    "features.0.bias": (4,),
    "features.1.weight": (4,),
    "features.1.bias": (4,),
    "features.1.running_mean": (4,),
    "features.1.running_var": (4,),
    "classifier.0.weight": (64, 64),
    "classifier.0.bias": (64,),
    "classifier.2.weight": (2, 64),
    "classifier.2.bias": (2,),
}
CODE = """import keras


def build():
    return keras.Sequential([
        keras.Input((6, 6, 3)),
        keras.layers.Conv2D(4, 3, name="stem"),
        keras.layers.BatchNormalization(epsilon=1e-5, name="stem_norm"),
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(2),
    ], name="small")
"""


def given(page):
    arrays = {name: RANDOM.normal(size=shape).astype("f4") for name, shape in SHAPES.items()}
    arrays["features.1.running_var"] = np.abs(arrays["features.1.running_var"]) + 1
    page.x = RANDOM.normal(size=(2, 6, 6, 3)).astype("f4")
    np.savez("small.npz", **arrays, **{"features.1.num_batches_tracked": np.array(9)})
    np.savez("parallel.npz", **{f"module.{name}": array for name, array in arrays.items()})
    np.savez("heads.npz", **{f"{n}.weight": np.ones((4, 3), "f4") for n in ("left", "right")})
    np.savez("x.npz", x=page.x)
    np.savez("y.npz", y=computed(arrays, page.x))
    Path("small.py").write_text(CODE)


def computed(arrays, x):
    """What the network computes, in PyTorch's way: channels first, and in numpy."""
    x = np.moveaxis(x, -1, 1)
    kernel = arrays["features.0.weight"]
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    x = np.einsum("nchwij,ocij->nohw", windows, kernel) + arrays["features.0.bias"][:, None, None]
    scale = arrays["features.1.weight"] / np.sqrt(arrays["features.1.running_var"] + 1e-5)
    shift = arrays["features.1.bias"] - arrays["features.1.running_mean"] * scale
    x = x * scale[:, None, None] + shift[:, None, None]
    x = x.reshape(len(x), -1) @ arrays["classifier.0.weight"].T + arrays["classifier.0.bias"]
    x = np.maximum(x, 0)
    return x @ arrays["classifier.2.weight"].T + arrays["classifier.2.bias"]


def after(page):
    assert page.compared.outputs[0].largest < 1e-4
