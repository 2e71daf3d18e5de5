"""Savers of the best model: which value is better, and what the file is called."""

from __future__ import annotations


def is_better(value: float, best: float | None, *, largest: bool) -> bool:
    """Whether a value is better than the best so far. NaN never is.

    Args:
        value: of the quantity that is watched.
        best: the best value so far, None if there is none.
        largest: whether the largest value is the best, and not the smallest.

    >>> is_better(1.0, None, largest=False), is_better(1.0, 2.0, largest=True)
    (True, False)
    """
    if value != value:
        return False
    if best is None:
        return True
    return value > best if largest else value < best


def default_name(monitor: str, *, largest: bool) -> str:
    """How the best model is called unless the user says otherwise.

    >>> default_name("val/loss", largest=False)
    'min-val-loss'
    """
    return f"{'max' if largest else 'min'}-{monitor}".replace("/", "-")
