"""Start from weights: ``SessionInit``s for ``session_init=``, by the names of tensorpack.

Source: tensorpack 0.11, ``tfutils/sessinit.py``. Trainers call ``_setup_graph`` and ``_run_init``
of a ``SessionInit``, which is how tensorpack wants it extended. :mod:`initreg.api.sessinit` does
the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tensorpack.tfutils import sessinit as tensorpack
from tensorpack.tfutils.sessinit import JustCurrentSession, SessionInit

from initreg.api import sessinit, smart_init
from initreg.rules.keywords import Globs


class _Init(SessionInit):  # type: ignore[misc]
    """An :class:`initreg.SmartInit` as a ``SessionInit`` of tensorpack.

    Attributes:
        source: the initialiser of initreg.
    """

    def __init__(self, source: smart_init.SmartInit) -> None:
        self.source = source

    def __repr__(self) -> str:
        return repr(self.source)

    def _run_init(self, sess: Any) -> None:
        self.source.init(sess)


def SmartInit(obj: Any, *, ignore_mismatch: bool = False, **options: Any) -> Any:
    """Make a ``SessionInit`` of whatever :class:`initreg.SmartInit` takes.

    Args:
        obj: a path, a dict, or a list of these. A file must exist by now. None, "" and an empty
            list or dict initialise nothing.
        ignore_mismatch: whether to skip arrays that do not fit.
        options: all others of :class:`initreg.SmartInit`. A pickled ``.npy`` needs
            ``allow_pickle=True``, which tensorpack took for granted.

    Returns:
        A ``SessionInit``. It raises InitregError as :meth:`initreg.SmartInit.init` does.

    Raises:
        InitregError: a source does not exist, no format claims it, or a rule matches nothing.

    >>> TrainConfig(session_init=SmartInit("base.npz"))  # doctest: +SKIP
    """
    is_empty = obj is None or (isinstance(obj, (str, dict, list, tuple)) and not obj)
    if is_empty and not options:
        return JustCurrentSession()
    if _holds_session_init(obj):
        parts = obj if isinstance(obj, (list, tuple)) else [obj]
        return ChainInit(parts, ignore_mismatch=ignore_mismatch, **options)
    return _Init(sessinit.get_model_loader(obj, ignore_mismatch=ignore_mismatch, **options))


def _holds_session_init(obj: Any) -> bool:
    if isinstance(obj, (list, tuple)):
        return any(map(_holds_session_init, obj))
    return isinstance(obj, SessionInit)


get_model_loader = SmartInit


class SaverRestore(_Init):
    """Restore a checkpoint, or any other file.

    Args:
        model_path: of a format of initreg. It must exist by now. It may be an
            initialiser of this module, as the hints of errors put it.
        prefix: the scope of the variables, as in tensorpack: ``prefix/`` is put before each name
            in the file, but a variable outside of the scope is restored from the array of its own
            name.
        ignore: names in the file, without the prefix, that are not restored.
        options: those of :class:`initreg.SmartInit`.

    Raises:
        InitregError: the file does not exist, no format claims it, or a rule matches nothing.

    >>> TrainConfig(session_init=SaverRestore("model-100", ignore=["fc/W"]))  # doctest: +SKIP
    """

    def __init__(
        self, model_path: Any, prefix: str | None = None, ignore: Globs = (), **options: Any
    ) -> None:
        if isinstance(model_path, _Init) and _is_plain(model_path):
            model_path = model_path.source
        restore = self._kind(model_path, prefix, ignore, **options)
        self.path = restore.path  # tensorpack's AutoResumeTrainConfig reads it
        self.prefix = prefix
        super().__init__(restore)

    _kind: type[sessinit.SaverRestore] = sessinit.SaverRestore


class SaverRestoreRelaxed(SaverRestore):
    """As :class:`SaverRestore`, but arrays that do not fit are skipped.

    >>> TrainConfig(session_init=SaverRestoreRelaxed("model-100"))  # doctest: +SKIP
    """

    _kind = sessinit.SaverRestoreRelaxed


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
        super().__init__(sessinit.DictRestore(variable_dict, ignore_mismatch, **options))


class ChainInit(_Init):
    """Several ``SessionInit``s, in order, planned as one chain: see :class:`initreg.ChainInit`.

    The last part that has a name supplies the variable, and nothing is written if one of them does
    not fit. Parts may be chains. A ``SessionInit`` of tensorpack's own, or of yours, is run in its
    place, once the plan for all other parts has no error.

    Args:
        sess_inits: those of this module, those of tensorpack, and whatever ``SmartInit`` takes.
        options: ``on_missing``, ``expect_missing``, ``atomic``, which by default are those of the
            parts, and all others of :class:`initreg.SmartInit`, which apply to all parts.

    Raises:
        InitregError: a source does not exist, no format claims it, or a rule matches nothing.

    >>> ChainInit([SaverRestore("model-100"), DictRestore({"fc/W": w})])  # doctest: +SKIP
    """

    def __init__(self, sess_inits: Iterable[Any], **options: Any) -> None:
        self.inits = list(sess_inits)
        self._foreign: list[_Foreign] = []
        super().__init__(sessinit.ChainInit(list(self._parts(self.inits)), **options))

    def _setup_graph(self) -> None:
        for part in self._foreign:
            part.setup()

    def _parts(self, given: Iterable[Any]) -> Iterator[Any]:
        """The parts as :class:`initreg.ChainInit` takes them. Notes the foreign ones."""
        for part in given:
            if isinstance(part, _Init) and _is_plain(part):
                self._foreign += getattr(part, "_foreign", ())
                yield part.source
            elif isinstance(part, (list, tuple)) or type(part) is tensorpack.ChainInit:
                yield from self._parts(getattr(part, "inits", part))
            elif not isinstance(part, SessionInit):
                yield part
            elif type(part) is not JustCurrentSession:
                self._foreign.append(_Foreign(part))
                yield self._foreign[-1]


def _is_plain(part: _Init) -> bool:
    """Whether its source is all that it does: it is not of a class that overrides more."""
    kind = type(part)
    setups = (SessionInit._setup_graph, ChainInit._setup_graph)
    return kind._run_init is _Init._run_init and kind._setup_graph in setups


class _Foreign:
    """A ``SessionInit`` that is not of initreg, as a part of an :class:`initreg.ChainInit`."""

    def __init__(self, init: Any) -> None:
        self._init = init
        kind = type(init)
        theirs = kind.__module__.partition(".")[0] == "tensorpack"
        self.label = f"{kind.__name__} of tensorpack" if theirs else kind.__name__

    def setup(self) -> None:
        self._init._setup_graph()

    def init(self, session: Any) -> None:
        self._init._run_init(session)
