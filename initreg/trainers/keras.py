"""Keras 3: callbacks that save, and :func:`resume`, by which ``fit`` goes on after a kill.

>>> from initreg.trainers.keras import ModelSaver, resume  # doctest: +SKIP
>>> callbacks = [keras.callbacks.EarlyStopping(patience=3), ModelSaver("run")]  # doctest: +SKIP
>>> start = resume(model, callbacks)  # doctest: +SKIP
>>> model.fit(  # doctest: +SKIP
...     x, y, epochs=20, callbacks=callbacks, initial_epoch=start.initial_epoch)
"""

from __future__ import annotations

import keras

from initreg.trainers import keras_saving
from initreg.trainers.keras_resuming import resume
from initreg.trainers.keras_saving import Resumed
from initreg.trainers.keras_states import GeneratorStates

__all__ = ["GeneratorStates", "MaxSaver", "MinSaver", "ModelSaver", "Resumed", "resume"]


class ModelSaver(keras_saving.ModelSaver, keras.callbacks.Callback):  # type: ignore[misc]
    __doc__ = keras_saving.ModelSaver.__doc__


class MinSaver(keras_saving.MinSaver, keras.callbacks.Callback):  # type: ignore[misc]
    __doc__ = keras_saving.MinSaver.__doc__


class MaxSaver(keras_saving.MaxSaver, keras.callbacks.Callback):  # type: ignore[misc]
    __doc__ = keras_saving.MaxSaver.__doc__
