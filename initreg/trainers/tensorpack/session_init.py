"""Start from weights: ``SessionInit``s for ``session_init=``, by the names of tensorpack.

Source: tensorpack 0.11, ``tfutils/sessinit.py``. Trainers call ``_setup_graph`` and ``_run_init``
of a ``SessionInit``, which is how tensorpack wants it extended.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tensorpack.tfutils.sessinit import JustCurrentSession, SessionInit

from initreg.api import smart_init


class _Init(SessionInit):  # type: ignore[misc]
    """An :class:`initreg.SmartInit` as a ``SessionInit`` of tensorpack."""

    _defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, source: Any, **options: Any) -> None:
        self.source = smart_init.SmartInit(source, **{**self._defaults, **options})

    def _run_init(self, sess: Any) -> None:
        self.source.init(sess)


def SmartInit(obj: Any, *, ignore_mismatch: bool = False, **options: Any) -> Any:
    """Make a ``SessionInit`` of whatever :class:`initreg.SmartInit` takes.

    Args:
        obj: a path, a dict, or a list of these. None, "" and an empty list or dict initialise
            nothing.
        ignore_mismatch: whether to skip arrays that do not fit.
        options: all others of :class:`initreg.SmartInit`. A pickled ``.npy`` needs
            ``allow_pickle=True``, which tensorpack took for granted.

    Returns:
        A ``SessionInit``. It raises InitregError as :meth:`initreg.SmartInit.init` does.

    >>> TrainConfig(session_init=SmartInit("base.npz"))  # doctest: +SKIP
    """
    if obj is None or (isinstance(obj, (str, dict, list, tuple)) and not obj):
        return JustCurrentSession()
    return _Init(obj, ignore_mismatch=ignore_mismatch, **options)


get_model_loader = SmartInit


class SaverRestore(_Init):
    """Restore a checkpoint, or any other file.

    Args:
        model_path: of a format of initreg.
        prefix: ``prefix/`` is put before each name in the file.
        ignore: names in the file, without the prefix, that are not restored.
        options: those of :class:`initreg.SmartInit`.

    >>> TrainConfig(session_init=SaverRestore("model-100", ignore=["fc/W"]))  # doctest: +SKIP
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        prefix: str | None = None,
        ignore: Sequence[str] = (),
        **options: Any,
    ) -> None:
        self.path = os.fspath(model_path)
        ignored = [each.removesuffix(":0") for each in ignore]
        if prefix is not None:
            options["prefix"] = f"{prefix}/"
            ignored = [f"{prefix}/{each}" for each in ignored]
        super().__init__(self.path, ignore=ignored, **options)


class SaverRestoreRelaxed(SaverRestore):
    """As :class:`SaverRestore`, but arrays that do not fit are skipped.

    >>> TrainConfig(session_init=SaverRestoreRelaxed("model-100"))  # doctest: +SKIP
    """

    _defaults: ClassVar[Mapping[str, Any]] = {"ignore_mismatch": True}


class DictRestore(_Init):
    """Restore a dict of arrays.

    Args:
        variable_dict: arrays by name, with or without ``:0``.
        ignore_mismatch: whether to skip arrays that do not fit.
        options: those of :class:`initreg.SmartInit`.

    >>> TrainConfig(session_init=DictRestore({"fc/W": w}))  # doctest: +SKIP
    """

    def __init__(
        self, variable_dict: Mapping[str, Any], ignore_mismatch: bool = False, **options: Any
    ) -> None:
        super().__init__(variable_dict, ignore_mismatch=ignore_mismatch, **options)


class ChainInit(SessionInit):  # type: ignore[misc]
    """Several ``SessionInit``s, in order.

    If all of them are of initreg, they are planned as one chain: the last that has a name supplies
    the variable, and nothing is written if one of them does not fit. Otherwise they run one by one.

    Args:
        sess_inits: those of this module and of tensorpack.

    >>> ChainInit([SaverRestore("model-100"), DictRestore({"fc/W": w})])  # doctest: +SKIP
    """

    def __init__(self, sess_inits: Sequence[Any]) -> None:
        self.inits = list(sess_inits)
        self._chain: Any = None
        if all(isinstance(each, (_Init, JustCurrentSession)) for each in self.inits):
            self._chain = SmartInit([e.source for e in self.inits if isinstance(e, _Init)])

    def _setup_graph(self) -> None:
        for each in [self._chain] if self._chain else self.inits:
            each._setup_graph()

    def _run_init(self, sess: Any) -> None:
        for each in [self._chain] if self._chain else self.inits:
            each._run_init(sess)
