"""What the demo and its training script share: the data, and where the weights lie."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

WEIGHTS = Path(__file__).parent / "weights" / "digits.npz"


@contextlib.contextmanager
def hush() -> Iterator[None]:
    """Import TensorFlow in here, and its C++ side stays silent about drivers that nobody has.

    Its first lines come before its log level counts, so stderr itself is put aside; an exception
    is still raised, and printed, outside.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        import tensorflow as tf

        tf.config.list_physical_devices()  # says it once more, when it looks for devices
        tf.get_logger().setLevel("ERROR")
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's digits: images (n, 64) float32 from 0 to 1 and labels (n,) int32, two thirds
    to train on and then a third to test on."""
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        (images / 16).astype("float32"),
        labels.astype("int32"),
        test_size=1 / 3,
        random_state=0,
        stratify=labels,
    )
    return x, y, x_test, y_test
