"""The contract of a target: what arrays are written into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from initreg.errors import TargetError
from initreg.records import record
from initreg.specs import VariableSpec

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class Target(Protocol):
    """Something with named variables that can be written.

    A target may also have a method ``room(variable, shape, nbytes)``. It offers the memory that an
    array of this shape, with the dtype of the variable, is read into. It returns a numpy array
    whose values do not matter, or None if it has no such memory. It is called before the array is
    taken from ``arrays``, which then yields this memory, filled.

    It may have a method ``snapshot(variables)``, for ``atomic=True``. It takes the specs of
    variables and returns a function that gives them, and all that depends on them, what they have
    now, or None if it cannot. The function is called if a write fails.

    And it may have a method ``layers()``, which returns what each variable is in its layer, as far
    as it knows: an :class:`initreg.LayerSpec` by the name of the variable. :func:`initreg.map` asks
    for it, and so does a plan that doubts the order of axes. A method ``outputs(inputs, names)``
    runs it on arrays, and returns the outputs of the layers of these names as numpy arrays, and
    those of the target itself under ``""``.

    If its variables can be a source, too, it has a method ``identities()``, which returns what the
    ``LivingArray`` of each variable has as its ``identity``. All arrays are read before the first
    is written if one of them is among these, so that variables can be swapped.

    A variable whose :class:`initreg.VariableSpec` has ``parts`` or ``most_bytes`` is written in
    pieces. ``write`` then gets an :class:`initreg.PieceSpec` with each piece.

    A target with an attribute ``in_order`` that is true gets the arrays in the order of its own
    variables, and not in that of the files. It needs that if writing one makes several processes
    wait for each other.

    Attributes:
        label: what messages call it: ``"TF1 session"``, ``"Keras model 'resnet50'"``.
    """

    label: str

    def variables(self) -> Sequence[VariableSpec]:
        """All variables that a restore may write. This must not create, run or write anything."""
        ...

    def write(self, arrays: Iterable[tuple[VariableSpec, np.ndarray[Any, Any]]]) -> Iterator[str]:
        """Write each array into its variable, and yield the variable's name when that is done.

        A target that writes in batches yields after each batch. The name of a variable that is
        written in pieces is yielded after the last of them.

        Args:
            arrays: each variable with its array, which has the shape and dtype of the variable.
                The target may keep the array, because nobody else has its memory. An array that is
                not writable is a view of a mapped file, because the user passed ``mmap``. It may
                be kept, too. Taking the next pair reads it from the file, and may raise.
        """
        ...


@record()
class PieceSpec(VariableSpec):
    """A piece of the array of a variable. Its ``shape`` is that of the piece.

    The pieces of a variable come one after the other. Together they are its parts, and no piece
    belongs to two parts.

    Args:
        at: the index of its first element, on every axis of the entire array.
        of: the shape of the entire array.
        part: which of ``parts`` it belongs to.
        is_last: whether it is the last piece of the variable.

    >>> PieceSpec("w", (2, 3), "float32", at=(2, 0), of=(4, 3)).index
    (slice(2, 4, None), slice(0, 3, None))
    """

    at: tuple[int, ...] = ()
    of: tuple[int, ...] = ()
    part: int = 0
    is_last: bool = True

    @property
    def index(self) -> tuple[slice, ...]:
        """Where it is in the entire array."""
        return _slices(self.at, self.shape)

    @property
    def index_in_part(self) -> tuple[slice, ...]:
        """Where it is in its part."""
        start = self.parts[self.part].at if self.parts else (0,) * len(self.at)
        return _slices([a - b for a, b in zip(self.at, start, strict=True)], self.shape)


def _slices(at: Sequence[int], shape: Sequence[int | None] | None) -> tuple[slice, ...]:
    return tuple(slice(a, a + (n or 0)) for a, n in zip(at, shape or (), strict=True))


@record(eq=False)
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


class Blueprint:
    """A target that can be planned for, but not written: it has names, shapes and dtypes alone.

    Args:
        label: what messages call it.
        variables: its variables.
    """

    def __init__(self, label: str, variables: Sequence[VariableSpec]) -> None:
        self.label = label
        self._variables = tuple(variables)

    def variables(self) -> Sequence[VariableSpec]:
        return self._variables

    def write(self, arrays: Iterable[tuple[VariableSpec, np.ndarray[Any, Any]]]) -> Iterator[str]:
        raise TargetError(
            f"{self.label} is a source, which can be planned for, but not written. Pass init() a "
            "session, variables, a model or a dict of arrays"
        )
