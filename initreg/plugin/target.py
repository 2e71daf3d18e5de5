"""What the arrays go into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from initreg.errors import TargetError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class VariableSpec:
    """One variable of a target, without its value.

    ``name`` is unique in its target. ``shape`` is None if the variable takes any shape, and an
    axis of it is None if that axis takes any length. ``dtype`` is a name as in
    :mod:`initreg.dtypes`. ``aliases`` are other names that an array may come under.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    aliases: tuple[str, ...] = ()


@runtime_checkable
class Target(Protocol):
    """Something with named variables that can be written.

    ``label`` says what it is, for people: ``"TF1 session"``, ``"Keras model 'resnet50'"``.
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


class HasRoom(Target, Protocol):
    """A target that says where an array had best be read."""

    def room(
        self, variable: VariableSpec, shape: tuple[int, ...], nbytes: int
    ) -> np.ndarray[Any, Any] | None:
        """Uninitialised memory of that shape and of the variable's dtype; None if there is none.

        Called before the array is drawn from ``arrays``, which is then this one, filled.
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
