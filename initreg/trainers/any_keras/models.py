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


def unlisted_numbers(optimizer: Any) -> dict[str, Any]:
    """The variables without axes of an optimizer that its ``variables`` leave out, and so a file of
    weights.

    These are the running product of the Nadam of ``tf_keras``, and of the one that a
    LossScaleOptimizer of Keras 3 wraps. The rate and the step are saved in other ways.
    """
    if optimizer is None:
        return {}
    inner = unlisted_numbers(getattr(optimizer, "inner_optimizer", None))
    found = {f"inner_optimizer.{name}": each for name, each in inner.items()}
    listed = {id(each) for each in optimizer_variables(optimizer)}
    for name, each in vars(optimizer).items():
        is_variable = hasattr(each, "assign") and hasattr(each, "numpy")
        if not is_variable or id(each) in listed or name.endswith(("_rate", "iterations")):
            continue
        if tuple(each.shape) == () and "float" in str(each.dtype):
            found[name] = each
    return found
