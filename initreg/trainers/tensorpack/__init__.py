"""tensorpack: import from here what you import from tensorpack, by the same names.

``SmartInit``, ``SaverRestore``, ... are for ``session_init=`` of ``TrainConfig`` and
``PredictConfig``. The savers are callbacks of tensorpack.

>>> from initreg.trainers.tensorpack import ModelSaver, SmartInit  # doctest: +SKIP
>>> TrainConfig(session_init=SmartInit("base.npz"), callbacks=[ModelSaver()])  # doctest: +SKIP
"""

from __future__ import annotations

from tensorpack.tfutils.sessinit import JustCurrentSession

from initreg.trainers.tensorpack.savers import MaxSaver, MinSaver, ModelSaver
from initreg.trainers.tensorpack.session_init import (
    ChainInit,
    DictRestore,
    SaverRestore,
    SaverRestoreRelaxed,
    SmartInit,
    get_model_loader,
)
from initreg.trainers.tensorpack.train_config import AutoResumeTrainConfig

__all__ = [
    "AutoResumeTrainConfig",
    "ChainInit",
    "DictRestore",
    "JustCurrentSession",
    "MaxSaver",
    "MinSaver",
    "ModelSaver",
    "SaverRestore",
    "SaverRestoreRelaxed",
    "SmartInit",
    "get_model_loader",
]
