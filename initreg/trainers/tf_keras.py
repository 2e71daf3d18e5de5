"""Keras 2 (``tf_keras``): callbacks that save, and :func:`resume`, after which ``fit`` goes on.

>>> from initreg.trainers.tf_keras import ModelSaver, resume  # doctest: +SKIP
>>> callbacks = [tf_keras.callbacks.EarlyStopping(patience=3), ModelSaver("run")]  # doctest: +SKIP
>>> start = resume(model, callbacks)  # doctest: +SKIP
>>> model.fit(  # doctest: +SKIP
...     x, y, epochs=20, callbacks=callbacks, initial_epoch=start.initial_epoch)
"""

from __future__ import annotations

import tf_keras

from initreg.trainers.any_keras import savers
from initreg.trainers.any_keras.model_state import GeneratorStates
from initreg.trainers.any_keras.resumed import Resumed
from initreg.trainers.any_keras.resuming import resume

__all__ = ["GeneratorStates", "MaxSaver", "MinSaver", "ModelSaver", "Resumed", "resume"]


class ModelSaver(savers.ModelSaver, tf_keras.callbacks.Callback):  # type: ignore[misc]
    __doc__ = savers.ModelSaver.__doc__


class MinSaver(savers.MinSaver, tf_keras.callbacks.Callback):  # type: ignore[misc]
    __doc__ = savers.MinSaver.__doc__


class MaxSaver(savers.MaxSaver, tf_keras.callbacks.Callback):  # type: ignore[misc]
    __doc__ = savers.MaxSaver.__doc__
