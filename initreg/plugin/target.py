"""What the arrays go into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from initreg.errors import TargetError
from initreg.specs import VariableSpec

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class Target(Protocol):
    """Something with named variables that can be written.

    ``label`` says what it is, for people: ``"TF1 session"``, ``"Keras model 'resnet50'"``.

    A target may also have ``room(variable, shape, nbytes)``, which is asked where an array of that
    shape and of the variable's dtype is best read to. It returns uninitialised memory, a numpy
    array, or None if it has none. It is called before the array is drawn from ``arrays``, which
    then gives this memory, filled.
    """

    label: str

    def variables(self) -> Sequence[VariableSpec]:
        """Every variable that a restore may write. Nothing is created, run or written."""
        ...

    def write(self, arrays: Iterable[tuple[VariableSpec, np.ndarray[Any, Any]]]) -> Iterator[str]:
        """Write each array into its variable; yield the variable's name once that has happened.

        Every array has the shape and dtype of its variable, and nobody else holds its memory: the
        target may keep it. One that is not writable is a view of a file that the user asked to have
        mapped, which may be kept as well. ``arrays`` is lazy: drawing the next pair reads it from
        the file, and may raise. A target that writes in batches yields after each batch.
        """
        ...


class Blueprint:
    """Names, shapes and dtypes alone: a target to plan for, that cannot be written."""

    def __init__(self, label: str, variables: Sequence[VariableSpec]) -> None:
        self.label = label
        self._variables = tuple(variables)

    def variables(self) -> Sequence[VariableSpec]:
        return self._variables

    def write(self, arrays: Iterable[tuple[VariableSpec, np.ndarray[Any, Any]]]) -> Iterator[str]:
        raise TargetError(
            f"{self.label} is a source, which can be planned for and not written: give init() a "
            "session, variables, a model or a dict of arrays"
        )
