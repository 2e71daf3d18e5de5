"""The architectures of ``keras.applications``, written by one version of Keras and restored into
both: the models compute the same."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

from initreg import InitregWarning, NamingWarning, SmartInit

KERAS = {"keras": keras, "tf_keras": tf_keras}

# What makes each small: its arguments, and the smallest picture that it takes.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "ConvNeXtTiny": {},
    "DenseNet121": {},
    "EfficientNetB0": {},
    "EfficientNetV2B0": {},
    "InceptionResNetV2": {"input_shape": (75, 75, 3)},
    "InceptionV3": {"input_shape": (75, 75, 3)},
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Large": {"alpha": 0.75, "minimalistic": True},
    "MobileNetV3Small": {"alpha": 0.75},
    "NASNetMobile": {},
    "RegNetX002": {},
    "RegNetY002": {},
    "ResNet50": {},
    "ResNet50V2": {},
    "ResNetRS50": {},
    "VGG16": {"include_top": False, "pooling": "max"},
    "Xception": {"input_shape": (71, 71, 3)},
}
FAST = ("MobileNet",)
FORMATS = (".weights.h5", ".keras", ".h5")

# Keras 3 reads no .keras file of tf_keras (its config is another one), but the weights in it.
CASES = [
    pytest.param(name, writer, marks=() if name in FAST else pytest.mark.heavy)
    for name in ARCHITECTURES
    for writer in KERAS
    if hasattr(KERAS[writer].applications, name)
]


def build(version: str, name: str, seed: int) -> Any:
    """An architecture with weights of its own for each seed."""
    library = KERAS[version]
    library.backend.clear_session()
    options = {"classes": 10, "classifier_activation": None, "input_shape": (32, 32, 3)}
    options |= ARCHITECTURES[name]
    if not options.get("include_top", True):
        del options["classes"], options["classifier_activation"]
    library.utils.set_random_seed(seed)
    model = getattr(library.applications, name)(weights=None, **options)
    rng = np.random.default_rng(seed)
    for layer in model.layers:  # moving statistics and biases begin as zeros and ones
        layer.set_weights(
            [w + rng.uniform(0, 0.02, w.shape).astype(w.dtype) for w in layer.get_weights()]
        )
    return model


def computed(model: Any) -> np.ndarray:
    """What a model computes of one picture."""
    shape = (2, *model.inputs[0].shape[1:])
    picture = np.random.default_rng(0).uniform(0, 255, shape).astype("f4")
    return np.asarray(model(picture, training=False))


def save(model: Any, path: Path) -> Path:
    """Save as the ending says. In a legacy .h5 that is the weights alone for tf_keras."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.name.endswith(".keras") or (path.name == "m.h5" and not is_old(model)):
            model.save(path)
        else:
            model.save_weights(path)
    return path


def is_old(model: Any) -> bool:
    return isinstance(model, tf_keras.Model)


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    """The models of a test are freed after it."""
    yield
    for library in KERAS.values():
        library.backend.clear_session()
    gc.collect()


@pytest.mark.parametrize(("name", "writer"), CASES)
def test_an_architecture(tmp_path: Path, name: str, writer: str) -> None:
    """Every format of either version of Keras restores into both. In the same version the model
    computes the same bits, and Keras's own loader gives the same weights. A NamingWarning says
    where the other version has other names."""
    written = build(writer, name, seed=1)
    paths = [save(written, tmp_path / f"m{ending}") for ending in FORMATS]
    expected = computed(written)
    arrays = [layer.get_weights() for layer in written.layers]
    for version, library in KERAS.items():
        if not hasattr(library.applications, name):
            continue
        for path in paths:
            model = build(version, name, seed=2)
            assert not np.allclose(computed(model), expected, rtol=1e-2)
            with warnings.catch_warnings():
                warnings.simplefilter("error", InitregWarning)
                if version != writer:  # Keras 3 has new names for the layers of some of them
                    warnings.simplefilter("ignore", NamingWarning)
                SmartInit(path).init(model)
            if version == writer:
                for layer, values in zip(model.layers, arrays, strict=True):
                    for ours, theirs in zip(layer.get_weights(), values, strict=True):
                        np.testing.assert_array_equal(ours, theirs)
                np.testing.assert_array_equal(computed(model), expected)
                other = build(version, name, seed=3)
                other.load_weights(path)
                np.testing.assert_array_equal(computed(other), expected)
            else:
                np.testing.assert_allclose(computed(model), expected, rtol=1e-3, atol=1e-4)
