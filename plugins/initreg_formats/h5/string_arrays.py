"""Arrays of strings, which are made when they are asked for."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from initreg import ChunkedExtent
from initreg.format_tools.files import read_at
from initreg_formats.h5.container import Container, structures
from initreg_formats.h5.hdf5.content import Bad
from initreg_formats.h5.hdf5.datatypes import STRING, Type
from initreg_formats.h5.hdf5.strings import strings

if TYPE_CHECKING:
    import numpy as np


class Strings:
    """An array of strings. Its values are an object array of bytes, as in h5py, or an array of
    fixed length if they are stored so.

    Args:
        container: the open file.
        kind: the type of its elements.
        shape: its shape.
        aliases: its other names.
        what: what messages call it.
        stored: reads its elements as they are stored, one after the other: see :func:`in_a_row` and
            :func:`in_chunks`.
    """

    dtype = "string"

    def __init__(
        self,
        container: Container,
        kind: Type,
        shape: tuple[int, ...],
        aliases: tuple[str, ...],
        what: str,
        stored: Callable[[], bytes],
    ) -> None:
        self.shape = shape
        self.aliases = aliases
        self._container = container
        self._kind = kind
        self._what = what
        self._stored = stored
        self._was_read = False

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        import numpy as np

        count = math.prod(self.shape)
        with structures(self._what):
            data = self._stored() if count else b""
            found = strings(self._container.content, self._kind, data, count, self._was_read)
        self._was_read = True
        is_fixed = self._kind.kind == STRING
        array = np.empty(count, f"S{self._kind.size}" if is_fixed else object)
        array[:] = found
        return array.reshape(self.shape)


def in_a_row(container: Container, address: int, size: int) -> Callable[[], bytes]:
    """What reads elements that lie one after the other, ``size`` bytes together."""
    container.content.claim_strings(size)
    return functools.partial(container.content.data, address, size)


def in_chunks(
    container: Container, extent: ChunkedExtent, path: str, what: str
) -> Callable[[], bytes]:
    """What reads elements that are stored in chunks. Raises DamagedFile, RefusedFile."""
    from initreg.format_tools import chunks

    chunks.check(extent, path, container.label, container.max_inflation)

    def fetch(offset: int, into: memoryview) -> None:
        found = read_at(container.window[0], len(into), offset)
        if len(found) != len(into):
            raise Bad("the file shrank while it was read")
        into[:] = found

    return lambda: chunks.read(extent, what, fetch, container.verify).tobytes()
