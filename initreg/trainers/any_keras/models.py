"""What saving and resuming ask of a model of any Keras."""

from __future__ import annotations

from typing import Any


def is_keras3(model: Any) -> bool:
    """Whether the model is of Keras 3, and not of ``tf_keras``."""
    return any(base.__module__.startswith("keras.") for base in type(model).__mro__)


def step_of(model: Any) -> int | None:
    """The step of the model's optimizer. None if the model has none."""
    iterations = getattr(getattr(model, "optimizer", None), "iterations", None)
    return None if iterations is None else int(iterations.numpy())


def optimizer_variables(optimizer: Any) -> list[Any]:
    """The variables of an optimizer: a property in Keras 3, a method in some of ``tf_keras``."""
    variables = getattr(optimizer, "variables", ())
    return list(variables() if callable(variables) else variables)
