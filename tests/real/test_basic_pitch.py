"""The SavedModel that the PyPI package basic-pitch ships: object-based, written by Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

import initreg

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


@pytest.fixture(scope="session")
def folder(wheel: Callable[[str], Path]) -> Path:
    return wheel("basic-pitch==0.4.0") / "basic_pitch" / "saved_models" / "icassp_2022" / "nmp"


@pytest.mark.parametrize("given", ["", "variables", "variables/variables", "saved_model.pb"])
def test_every_array_is_what_tensorflow_reads(folder: Path, given: str) -> None:
    """The keys of TensorFlow's reader without their suffix, and its values; no bookkeeping."""
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    keys = sorted(set(reader.get_variable_to_shape_map()) - {GRAPH})
    with initreg.open(folder / given) as arrays:
        assert arrays.format == "tf_checkpoint"
        assert list(arrays) == [key.removesuffix(SUFFIX) for key in keys]
        assert len(arrays) == 73
        for key in keys:
            wanted = np.asarray(reader.get_tensor(key))
            got = np.asarray(arrays[key])
            assert arrays[key].dtype == got.dtype == wanted.dtype
            assert got.shape == wanted.shape
            assert got.tobytes() == wanted.tobytes(), key


def test_aliases_are_the_full_names(folder: Path) -> None:
    """Each variable answers to what the program that saved it called it."""
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(GRAPH))
    wanted: dict[str, set[str]] = {}
    for node in graph.nodes:
        for attribute in node.attributes:
            key = attribute.checkpoint_key.removesuffix(SUFFIX)
            wanted.setdefault(key, set()).add(attribute.full_name)
    with initreg.open(folder) as arrays:
        named = {n: set(a.aliases) - set(a.spec.places) for n, a in arrays.items()}
        assert named == wanted
        assert arrays["layer_with_weights-1/kernel"].aliases == (
            "layer-7/kernel",
            "conv2d_1/kernel",
        )
