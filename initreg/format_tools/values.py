"""Arrays that are not extents: computed when they are asked for, or listed and never read.

An array whose bytes can still be verified and copied is an ``initreg.OpaqueExtent`` instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from initreg.dtypes import OpaqueDtype as OpaqueDtype
from initreg.errors import InitregError

if TYPE_CHECKING:
    import numpy as np

UNKNOWN = OpaqueDtype("unknown")


class Computed:
    """An array that is made each time that it is asked for.

    Args:
        shape: its shape.
        dtype: its dtype, a name as in :mod:`initreg.dtypes`.
        read: makes the array. It raises an InitregError that names the file if it cannot.
        aliases: its other names.

    >>> Computed((2,), "float32", lambda: np.ones(2, np.float32))  # doctest: +SKIP
    """

    __slots__ = ("_read", "aliases", "dtype", "shape")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str,
        read: Callable[[], np.ndarray[Any, Any]],
        aliases: tuple[str, ...] = (),
    ) -> None:
        self.shape, self.dtype, self.aliases, self._read = shape, dtype, aliases, read

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return self._read()


class Unreadable:
    """An array with a shape and a dtype. Reading it raises an InitregError with ``message``.

    Args:
        shape: its shape, ``()`` if that is not known.
        dtype: its dtype, ``UNKNOWN`` if that is not known, and an ``OpaqueDtype`` if numpy does not
            have it.
        message: why it cannot be read, and what to do. It names the file.
        aliases: its other names.
        kind: the class of the error.

    >>> Unreadable((2, 3), OpaqueDtype("q4"), "m.bin: array 'w' cannot be read: ...").unreadable
    "m.bin: array 'w' cannot be read: ..."
    """

    __slots__ = ("aliases", "dtype", "kind", "message", "shape")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str | OpaqueDtype,
        message: str,
        aliases: tuple[str, ...] = (),
        kind: type[InitregError] = InitregError,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.message = message
        self.aliases = aliases
        self.kind = kind

    @property
    def unreadable(self) -> str:
        """What the kernel asks: why the array cannot be read."""
        return self.message

    def error(self) -> InitregError:
        """The error that reading it raises."""
        return self.kind(self.message)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise self.error()


class WithoutValue(Unreadable):
    """An array of a file that holds no values at all, such as a metagraph. It can be compared."""

    unreadable = ""


# A shape, an axis, the paddings of a few axes, a text: in as many elements at most.
_MOST_OF_A_GRAPH = 64
_OF_A_GRAPH = ("int32", "int64", "string", "bool")


def is_of_a_graph(dtype: str, shape: Sequence[int]) -> bool:
    """Whether a constant of a graph looks like a number of the graph itself and not like a weight.

    Formats of graphs put such constants into ``.not_needed``.

    Args:
        dtype: its dtype.
        shape: its shape.

    >>> is_of_a_graph("int32", (4,)), is_of_a_graph("float32", (4,)), is_of_a_graph("int32", (999,))
    (True, False, False)
    """
    return dtype in _OF_A_GRAPH and math.prod(shape) <= _MOST_OF_A_GRAPH
