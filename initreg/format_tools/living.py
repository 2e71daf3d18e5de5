"""Variables that live in a program, as the arrays of a source: a model, a session, a pytree.

A plugin of a target lists what :func:`initreg.open` reads of its object with these. The names are
those of the target, so that what is saved is restored into the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from initreg.errors import UnusedWarning, warn
from initreg.specs import Automatic, Place, VariableSpec
from initreg.text.wording import names_text, plural

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class Together(Protocol):
    """What reads several values in one go, where each go has a cost: the run of a session."""

    def read(self, values: Sequence[Any]) -> Sequence[Array]:
        """The arrays of these values, in their order."""
        ...


class LivingArray:
    """The values of one variable, read when they are asked for.

    Args:
        spec: what the target says of the variable: its dtype, and its other names.
        shape: the shape that its value has now.
        read: returns the values in memory that nobody else holds, or a box of them if it is given
            a tuple of slices. Later changes of the variable must not change what it returned.
        identity: what no other variable has. If a target has the same among its ``identities``,
            all arrays are read before the first is written.
        together: what reads several of them in one go, or None.
        of: anything that the plugin itself needs, for that or for saving.

    >>> LivingArray(spec, (2, 3), lambda box: tensor[box].numpy().copy())  # doctest: +SKIP
    """

    __slots__ = ("_read", "aliases", "dtype", "identity", "of", "shape", "state", "together")

    def __init__(
        self,
        spec: VariableSpec,
        shape: tuple[int, ...],
        read: Callable[[tuple[slice, ...] | None], Array],
        identity: Hashable = None,
        together: Together | None = None,
        of: Any = None,
    ) -> None:
        self.shape, self.dtype, self.state = shape, spec.dtype, spec.state
        self.aliases = (*map(Place, spec.places), *map(Automatic, spec.automatic), *spec.aliases)
        self._read, self.identity, self.together, self.of = read, identity, together, of

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self._read(None)

    def __getitem__(self, box: tuple[slice, ...]) -> Array:
        return self._read(box)


class LivingArrays(dict[str, LivingArray]):
    """The variables of one object by name, as ``initreg_open`` returns them.

    Args:
        label: what messages call the object: ``"Keras model 'resnet50'"``.
        arrays: the names of the variables with their values.
        training: the names of those that belong to the training, and not to the model. None if that
            is not known.
        model_name: the name that somebody gave to the object, "" if nobody did.
    """

    def __init__(
        self,
        label: str,
        arrays: Iterable[tuple[str, LivingArray]],
        training: Iterable[str] | None = (),
        model_name: str = "",
    ) -> None:
        super().__init__(arrays)
        self.label = label
        self.model_name = model_name
        self.parameters: tuple[str, ...] | None = None
        if training is not None:
            left_out = set(training)
            self.parameters = tuple(name for name in self if name not in left_out)


def warn_left_out(label: str, names: Iterable[str], reason: str) -> None:
    """Give an UnusedWarning if an object cannot write all of its variables to its own kind of file.

    Args:
        label: what messages call the file.
        names: the names of the variables that are not in it.
        reason: why, and what to do instead.

    >>> warn_left_out("net.keras", ["scale"], "Keras saves weights only")  # doctest: +SKIP
    """
    found = list(names)
    if found:
        lines = "".join(f"\n  {line}" for line in names_text((name, "") for name in found))
        are = "is" if len(found) == 1 else "are"
        text = f"{label}: {plural(len(found), 'variable')} {are} not saved, because {reason}:"
        warn(text + lines, UnusedWarning)
