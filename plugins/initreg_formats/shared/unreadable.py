"""Arrays that are listed, but that cannot be read."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from initreg import InitregError


class OpaqueDtype(NamedTuple):
    """A dtype that numpy does not have, by its name. It equals only itself, so it fits no
    variable."""

    name: str
    kind: str = "V"

    def __str__(self) -> str:
        return self.name


class Unreadable:
    """An array with a shape and a dtype. Reading it raises InitregError with ``message``."""

    __slots__ = ("aliases", "dtype", "message", "shape")

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str | OpaqueDtype,
        message: str,
        aliases: tuple[str, ...] = (),
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.message = message
        self.aliases = aliases

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise InitregError(self.message)
