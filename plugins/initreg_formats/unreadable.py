"""Arrays that can be listed, but not read: numpy has no dtype for their elements."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from initreg import InitregError


class OpaqueDtype(NamedTuple):
    """A dtype by name alone, which matches only itself: no variable has it, so none is written."""

    name: str
    kind: str = "V"

    def __str__(self) -> str:
        return self.name


class Unreadable:
    """Listed under ``shape`` and ``dtype``; reading it raises InitregError with ``message``."""

    __slots__ = ("aliases", "dtype", "message", "shape")

    def __init__(
        self, shape: tuple[int, ...], dtype: str, message: str, aliases: tuple[str, ...] = ()
    ) -> None:
        self.shape = shape
        self.dtype = OpaqueDtype(dtype)
        self.message = message
        self.aliases = aliases

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise InitregError(self.message)
