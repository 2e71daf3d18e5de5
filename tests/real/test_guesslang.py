"""The TF1 checkpoint that the PyPI package guesslang ships: names, and RMSProp's slots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import SmartInit

PREFIX = "model.ckpt-40198"


@pytest.fixture(scope="session")
def folder(wheel: Callable[[str], Path]) -> Path:
    return wheel("guesslang==0.9.3") / "guesslang" / "data" / "model"


@pytest.mark.parametrize(
    "given", ["", "checkpoint", PREFIX, f"{PREFIX}.index", f"{PREFIX}.data-00000-of-00001"]
)
def test_every_array_is_what_tensorflow_reads(folder: Path, given: str) -> None:
    """However the checkpoint is given: the names of TensorFlow's reader, and its values."""
    reader = tf.train.load_checkpoint(str(folder / PREFIX))
    shapes = reader.get_variable_to_shape_map()
    with initreg.open(folder / given) as arrays:
        assert arrays.format == "tf_checkpoint"
        assert list(arrays) == sorted(shapes)
        assert len(arrays) == 33
        for name, shape in shapes.items():
            wanted = np.asarray(reader.get_tensor(name))
            got = np.asarray(arrays[name])
            assert arrays[name].shape == got.shape == tuple(shape)
            assert arrays[name].dtype == got.dtype == wanted.dtype
            assert got.tobytes() == wanted.tobytes(), name


def test_it_is_restored_as_saver_restores_it(folder: Path) -> None:
    """Into a session, by the names that Saver restores it by; its slots are counted as such."""
    v1 = tf.compat.v1
    with initreg.open(folder) as arrays:
        specs = [spec for spec in arrays.specs() if "RMSProp" not in spec.name]
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        variables = [
            v1.get_variable(spec.name, spec.shape, tf.as_dtype(spec.dtype)) for spec in specs
        ]
        v1.train.Saver(variables).restore(session, str(folder / PREFIX))
        wanted = session.run(variables)
        session.run(v1.global_variables_initializer())
        plan = SmartInit(folder).init(session)
        got = session.run(variables)
    assert plan.counts == {"matched": 13, "optimiser slot": 20}
    for spec, one, other in zip(specs, got, wanted, strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes(), spec.name
