"""The restores that are measured: ours, and those of the peers.

Each function takes the path of a file, and returns how it is restored into a new target.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import models
import numpy as np
import tensorflow as tf
from fresh import Run

from initreg import SmartInit

v1 = tf.compat.v1

MODEL: models.Model = {}  # what is restored, in the process that restores it


# --- what is restored into ------------------------------------------------------------------------


def variables_of(model: models.Model) -> dict[str, tf.Variable]:
    return {name: tf.Variable(np.zeros(a.shape, a.dtype), name=name) for name, a in model.items()}


def use_variables(variables: dict[str, tf.Variable]) -> None:
    for variable in variables.values():
        assert np.isfinite(tf.reduce_sum(variable).numpy())


def train(variables: dict[str, tf.Variable]) -> None:
    for variable in variables.values():
        tf.raw_ops.ResourceApplyGradientDescent(
            var=variable.handle, alpha=0.1, delta=tf.ones(variable.shape)
        )


def into_variables(restore: Callable[[dict[str, tf.Variable]], Any]) -> Run:
    return Run(lambda: variables_of(MODEL), restore, use_variables, train)


def session_of(model: models.Model) -> tuple[Any, Any]:
    """A session that has run its initialisers' graph once, and a Saver that was built before."""
    with tf.Graph().as_default():
        for name, array in model.items():
            v1.get_variable(name, array.shape, tf.float32)
        saver = v1.train.Saver()
        session = v1.Session()
        session.run(v1.global_variables()[0].initializer)
    return session, saver


def use_session(target: tuple[Any, Any]) -> None:
    session, _ = target
    with session.graph.as_default():
        variables = v1.global_variables()
    for array in session.run(variables[:: max(1, len(MODEL) // 200)]):
        assert np.isfinite(array).all()


def into_session(restore: Callable[[tuple[Any, Any]], Any]) -> Run:
    return Run(lambda: session_of(MODEL), restore, use_session)


# --- ours -----------------------------------------------------------------------------------------


def ours(path: Path) -> Run:
    return into_variables(lambda variables: SmartInit(path).init(variables.values()) and None)


def ours_mapped(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        SmartInit(path, mmap=True).init(variables.values())
        use_variables(variables)

    return into_variables(restore)


def ours_keras(path: Path) -> Run:
    return Run(models.keras_model, lambda model: SmartInit(path).init(model) and None, use_keras)


def ours_session(path: Path) -> Run:
    return into_session(lambda target: SmartInit(path).init(target[0]) and None)


# --- the peers ------------------------------------------------------------------------------------


def np_load(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        with np.load(path) as file:
            for name in file.files:
                variables[name].assign(file[name])

    return into_variables(restore)


def safetensors_load(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        from safetensors.tensorflow import load_file

        for name, tensor in load_file(path).items():
            variables[name].assign(tensor)

    return into_variables(restore)


def h5py_read(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        with h5py.File(path) as file:
            for name, variable in variables.items():
                variable.assign(file[name][...])

    return into_variables(restore)


def restore_v2(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        names = list(variables)
        found = tf.raw_ops.RestoreV2(
            prefix=str(path),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            dtypes=[tf.float32] * len(names),
        )
        for name, tensor in zip(names, found, strict=True):
            variables[name].assign(tensor)

    return into_variables(restore)


def checkpoint_read(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        tf.train.Checkpoint(model=variables).read(str(path)).assert_consumed()

    return into_variables(restore)


def use_keras(model: Any) -> None:
    for variable in model.weights:
        assert np.isfinite(tf.reduce_sum(variable.value).numpy())


def load_weights(path: Path) -> Run:
    return Run(models.keras_model, lambda model: model.load_weights(path), use_keras)


def tensorpack(path: Path) -> Run:
    def restore(target: tuple[Any, Any]) -> None:
        logging.disable(logging.CRITICAL)  # it logs every name
        session, _ = target
        with session.graph.as_default():
            init = tensorpack_init(str(path))
            init._setup_graph()
            init._run_init(session)

    from tensorpack.tfutils.sessinit import SmartInit as tensorpack_init

    return into_session(restore)


def saver(path: Path) -> Run:
    def restore(target: tuple[Any, Any]) -> None:
        with target[0].graph.as_default():
            target[1].restore(target[0], str(path))

    return into_session(restore)


def at_best(read: Callable[[Path], Any]) -> Callable[[Path], Run]:
    """What :mod:`limits` can do with the file. As ours, it lets go of what was there before."""
    return lambda path: Run(
        lambda: variables_of(MODEL), lambda _: read(path), lambda found: found.max()
    )
