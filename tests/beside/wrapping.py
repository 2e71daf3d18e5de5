"""Functions that do something more after they have done what they did."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from comparing import Comparison


def after(beside: Comparison, owner: Any, name: str, check: Callable[..., None]) -> None:
    """Call ``check(result, *arguments)`` whenever ``owner.name(*arguments)`` ends.

    ``result`` is None if it ended in an exception. Nothing is checked within a check.
    """
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        result = None
        try:
            result = original(*arguments, **options)
            return result
        finally:
            with beside.alone() as alone:
                if alone:
                    check(result, *arguments, **options)

    setattr(owner, name, wrapper)


def automatic(layer: Any) -> bool:
    """Whether a layer has the name that Keras makes from its class."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return re.fullmatch(rf"{re.escape(name)}(_\d+)?", layer.name) is not None


def twin_of(library: Any, model: Any) -> Any:
    """A new model of the same layers, as if the code that built them ran again: automatic names
    count on. None if the library, ``keras`` or ``tf_keras``, cannot clone it."""
    if type(model) is not library.Sequential and type(model).__name__ != "Functional":
        return None

    def again(layer: Any) -> Any:
        config = layer.get_config()
        if automatic(layer):
            config.pop("name", None)
        return type(layer).from_config(config)

    try:
        twin = library.models.clone_model(model, clone_function=again)
        same = [v.shape for v in twin.variables] == [v.shape for v in model.variables]
        return twin if twin.built and same else None
    except Exception:
        return None


def saved(beside: Comparison, name: str, save: Callable[[], Any]) -> bool:
    """Save, or note that Keras cannot."""
    try:
        save()
    except Exception as error:
        beside.write("Keras does not save", name, f"{type(error).__name__}: {error}"[:300])
        return False
    return True
