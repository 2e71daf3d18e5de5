"""What tensorpack's variables do not hold of a run: states of callbacks, and the statistics.

The attributes are those of tensorpack 0.11 (``callbacks/param.py``, ``callbacks/monitor.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensorpack.callbacks import Callback, ObjAttrParam, StatMonitorParamSetter

from initreg.api.states import by_class, offers_state

_HISTORY = 1000  # the latest values of each statistic that are saved
_STATISTICS = "statistics"  # their name among the states


def of_trainer(trainer: Any) -> dict[str, Any]:
    """By name, what has ``state_dict()`` and ``load_state_dict(state)``, or gets them here."""
    found: dict[str, Any] = {_STATISTICS: _Statistics(trainer.monitors)}
    known = [each for each in flat(trainer._callbacks.cbs) if offers_state(each) or _is_known(each)]
    for name, each in by_class(known).items():
        found[name] = each if offers_state(each) else _Setter(each)
    return found


def flat(callbacks: Sequence[Any]) -> list[Any]:
    """With what is wrapped, as by PeriodicTrigger."""
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
    """What a StatMonitorParamSetter has seen since it last changed its parameter; and the
    parameter, unless it is a variable."""

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
    """What the monitors know of the past, which MinSaver and schedules look at."""

    def __init__(self, monitors: Any) -> None:
        self._history = monitors._scalar_history._dic

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
