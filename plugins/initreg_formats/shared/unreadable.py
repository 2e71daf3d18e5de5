"""Arrays that are listed, but that cannot be read.

An array whose bytes can still be verified and copied is an ``initreg.OpaqueExtent`` instead.
"""

from __future__ import annotations

from typing import Any, NoReturn

from initreg import InitregError
from initreg.dtypes import OpaqueDtype as OpaqueDtype

UNKNOWN = OpaqueDtype("unknown")


class Unreadable:
    """An array with a shape and a dtype. Reading it raises an InitregError with ``message``.

    Args:
        shape: its shape, ``()`` if that is not known.
        dtype: its dtype, ``UNKNOWN`` if that is not known.
        message: why it cannot be read, and what to do. It names the file.
        aliases: its other names.
        kind: the class of the error.
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
