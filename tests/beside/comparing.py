"""Keras loads weights into a model, initreg loads the same file, and the models are compared."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from state import State, differences

from initreg import InitregError, InitregWarning, SmartInit


class Comparison:
    """Compares the loads of a run, and writes what it finds to a file, one JSON object a line.

    Args:
        output: the file.
    """

    def __init__(self, output: Path) -> None:
        self._output = output.open("a")
        self.test = ""
        self._busy = False
        self._seen: set[Any] = set()  # the models that were saved in every format

    def begin(self, test: str) -> None:
        """Say which test runs from now on."""
        self.test = test

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """False inside of itself, so that no load is compared within a comparison. The random
        generators of Python and numpy are afterwards as before."""
        if self._busy:
            yield False
            return
        states = random.getstate(), np.random.get_state()
        self._busy = True
        try:
            yield True
        except Exception:
            self.write("harness", "", traceback.format_exc()[-1500:])
        finally:
            self._busy = False
            random.setstate(states[0])
            np.random.set_state(states[1])

    def write(self, outcome: str, loader: str, detail: str = "", **more: Any) -> None:
        """Write what was found."""
        found = {"test": self.test, "outcome": outcome, "loader": loader, "detail": detail}
        self._output.write(json.dumps(found | more) + "\n")
        self._output.flush()

    def load(
        self,
        loader: str,
        model: Any,
        keras_loads: Callable[[], Any],
        path: Any,
        **options: Any,
    ) -> None:
        """Let Keras load a file into ``model``, and initreg load it into a model in the same state.

        Afterwards the model is as it was.

        Args:
            loader: what loads, in words.
            model: a model or a layer that is built.
            keras_loads: calls Keras.
            path: the file.
            options: options of ``SmartInit``.
        """
        if not tf.executing_eagerly() or tf.distribute.has_strategy():
            self.write("not compared", loader, "in a graph, or distributed")
            return
        state = State(model)
        before = state.snapshot()
        try:
            state.scramble()
            other = state.snapshot()
            keras_error = _error_of(keras_loads)
            expected = state.read()
            state.put(other)
            scrambled = state.read()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", InitregWarning)
                plan: list[Any] = []
                error = _error_of(lambda: plan.append(SmartInit(path, **options).init(model)))
            got = state.read()
        finally:
            state.put(before)
        self._judge(
            loader,
            type(model).__name__,
            keras_error,
            error,
            plan,
            [
                f"{each.category.__name__}: {each.message}"
                for each in caught
                if issubclass(each.category, InitregWarning)
            ],
            differences(expected, got),
            differences(expected, scrambled),
            path,
        )

    def _judge(
        self,
        loader: str,
        kind: str,
        keras_error: Any,
        error: Any,
        plan: list[Any],
        said: list[str],
        wrong: list[str],
        loaded: list[str],
        path: Any,
    ) -> None:
        more: dict[str, Any] = {"model": kind, "path": str(path), "warnings": said}
        if plan:
            more["ways"] = [str(way) for way in plan[0].ways]
            more["counts"] = {k.value: n for k, n in plan[0].counts.items()}
        if error is not None and not isinstance(error, InitregError):
            outcome, detail = "fault", "".join(traceback.format_exception(error))[-1500:]
        elif error is not None and keras_error is not None:
            outcome, detail = "both refuse", f"{_say(keras_error)} | {_say(error)}"
        elif error is not None:
            outcome, detail = "only initreg refuses", _say(error)
        elif keras_error is not None:
            outcome, detail = "only Keras refuses", _say(keras_error)
        elif wrong:
            outcome = "differs, warned" if said else "differs"
            missed = [name for name in wrong if name in loaded]
            detail = f"not as Keras: {missed}; written or lost: {sorted(set(wrong) - set(missed))}"
        else:
            outcome, detail = ("equal, warned" if said else "equal"), ""
        self.write(outcome, loader, detail, **more, loaded=len(loaded))

    def wanted(self, *key: Any) -> bool:
        """Whether this key is new."""
        is_new = key not in self._seen
        self._seen.add(key)
        return is_new


def _error_of(call: Callable[[], Any]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


def _say(error: Exception) -> str:
    text = re.sub(r"\s+", " ", str(error))
    return f"{type(error).__name__}: {text[:1200]}"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder."""
    with tempfile.TemporaryDirectory(prefix="beside-") as path:
        yield Path(os.path.realpath(path))
