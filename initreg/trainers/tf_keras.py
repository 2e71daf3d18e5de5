"""Keras 2, ``tf_keras``: callbacks that save, and :func:`resume`, by which ``fit`` goes on.

>>> from initreg.trainers.tf_keras import ModelSaver, resume  # doctest: +SKIP
>>> callbacks = [tf_keras.callbacks.EarlyStopping(patience=3), ModelSaver("run")]  # doctest: +SKIP
>>> start = resume(model, callbacks)  # doctest: +SKIP
>>> model.fit(  # doctest: +SKIP
...     x, y, epochs=20, callbacks=callbacks, initial_epoch=start.initial_epoch)
"""

from __future__ import annotations

import tf_keras

from initreg.trainers import keras_saving
from initreg.trainers.keras_resuming import resume
from initreg.trainers.keras_saving import Resumed
from initreg.trainers.keras_states import GeneratorStates

__all__ = ["GeneratorStates", "MaxSaver", "MinSaver", "ModelSaver", "Resumed", "resume"]


class ModelSaver(keras_saving.ModelSaver, tf_keras.callbacks.Callback):  # type: ignore[misc]
    __doc__ = keras_saving.ModelSaver.__doc__


class MinSaver(keras_saving.MinSaver, tf_keras.callbacks.Callback):  # type: ignore[misc]
    __doc__ = keras_saving.MinSaver.__doc__


class MaxSaver(keras_saving.MaxSaver, tf_keras.callbacks.Callback):  # type: ignore[misc]
    __doc__ = keras_saving.MaxSaver.__doc__
