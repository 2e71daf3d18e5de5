"""The states that tensorpack's variables do not hold: of callbacks, and of the statistics.

The attributes are those of tensorpack 0.11 (``callbacks/param.py``, ``callbacks/monitor.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensorpack.callbacks import Callback, ObjAttrParam, StatMonitorParamSetter

from initreg.api.training_states import by_class, offers_state
from initreg.errors import InitregError

_HISTORY = 1000  # the latest values of each statistic that are saved
_STATISTICS = "statistics"  # their name among the states


def of_trainer(trainer: Any) -> dict[str, Any]:
    """The callbacks and statistics of a trainer that have a state, by name.

    Each has ``state_dict()`` and ``load_state_dict(state)``, of its own or made here.

    Raises:
        InitregError: tensorpack has another layout than version 0.11.
    """
    found: dict[str, Any] = {_STATISTICS: _Statistics(trainer.monitors)}
    callbacks = flat(callbacks_of(trainer))
    known = [each for each in callbacks if offers_state(each) or _is_known(each)]
    for name, each in by_class(known).items():
        found[name] = each if offers_state(each) else _Setter(each)
    return found


def callbacks_of(trainer: Any) -> list[Any]:
    """The trainer's own list of its callbacks, once training is set up.

    tensorpack has no public way to it. ``register_callback()`` refuses by then.

    Raises:
        InitregError: tensorpack has another layout than version 0.11.
    """
    found: list[Any] = _private(trainer, "_callbacks", "cbs")
    return found


def _private(obj: Any, *names: str) -> Any:
    """An attribute's attribute that is private to tensorpack. It is asked for when training is set
    up, so that another layout does not end a training at its first save."""
    for name in names:
        if not hasattr(obj, name):
            raise InitregError(
                f"a {obj.__class__.__name__} of this version of tensorpack has no {name!r}, which "
                "saving needs: install tensorpack 0.11"
            )
        obj = getattr(obj, name)
    return obj


def flat(callbacks: Sequence[Any]) -> list[Any]:
    """The callbacks, and those inside others such as PeriodicTrigger."""
    found = []
    for each in callbacks:
        found.append(each)
        inner = getattr(each, "cb", None)
        if isinstance(inner, Callback):
            found += flat([inner])
        found += flat(getattr(each, "cbs", ()))
    return found


def _is_known(callback: Any) -> bool:
    return isinstance(callback, StatMonitorParamSetter)


class _Setter:
    """The state of a StatMonitorParamSetter: what it has seen since it last changed its parameter,
    and the parameter, unless that is a variable."""

    def __init__(self, setter: Any) -> None:
        self._setter = setter
        self._holds = isinstance(setter.param, ObjAttrParam)

    def state_dict(self) -> dict[str, Any]:
        history = [[int(step), float(value)] for step, value in self._setter.history]
        value = float(self._setter.param.get_value()) if self._holds else None
        return {"history": history, "value": value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        history = [(int(step), float(value)) for step, value in state["history"]]
        value = None if state["value"] is None else float(state["value"])
        self._setter.history.clear()
        self._setter.history.extend(history)
        if self._holds and value is not None:
            self._setter.param.set_value(value)


class _Statistics:
    """The past values of the statistics, which MinSaver and schedules look at.

    ``get_history()`` is public, but nothing public says which statistics there are.
    """

    def __init__(self, monitors: Any) -> None:
        self._history = _private(monitors, "_scalar_history", "_dic")

    def state_dict(self) -> dict[str, Any]:
        return {
            name: [[int(step), float(value)] for step, value in values[-_HISTORY:]]
            for name, values in self._history.items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._history |= {
            str(name): [(int(step), float(value)) for step, value in values]
            for name, values in state.items()
        }
