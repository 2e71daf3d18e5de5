"""A part of an array that is larger, for models that are divided among processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """An array in a dict target that takes only a box of the array of a source.

    The plan compares the shape of the entire array. Only the box is read.

    Args:
        array: the array of numpy that is filled in place.
        of: the shape of the entire array.
        at: the index of the first element of the box, on every axis of the entire array.

    >>> half = np.empty((4096, 2048), "f4")  # doctest: +SKIP
    >>> part = initreg.Part(half, of=(4096, 4096), at=(0, 2048))  # doctest: +SKIP
    >>> SmartInit("model.safetensors").init({"w": part})  # doctest: +SKIP
    """

    array: np.ndarray[Any, Any]
    of: tuple[int, ...]
    at: tuple[int, ...]
