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
from initreg_formats.h5.hdf5.strings import ENDS, SPACES, strings

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
            if self._kind.kind == STRING:
                return _fixed(data, self._kind).reshape(self.shape)
            found = strings(self._container.content, self._kind, data, count, self._was_read)
        self._was_read = True
        array = np.empty(count, object)
        array[:] = found
        return array.reshape(self.shape)


def _fixed(data: bytes, kind: Type) -> np.ndarray[Any, Any]:
    """Strings of fixed length, as numpy has them: filled with NUL."""
    import numpy as np

    letters = np.frombuffer(data, np.uint8).reshape(-1, kind.size).copy()
    if kind.padding == SPACES:
        ends = np.logical_and.accumulate(letters[:, ::-1] == ord(" "), axis=1)[:, ::-1]
    elif kind.padding == ENDS:
        ends = np.logical_or.accumulate(letters == 0, axis=1)
    else:
        return letters.view(f"S{kind.size}")
    letters[ends] = 0
    return letters.view(f"S{kind.size}")


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
    container.content.claim_strings(sum(chunk.length for chunk in extent.chunks))

    def fetch(offset: int, into: memoryview) -> None:
        found = read_at(container.window[0], len(into), offset)
        if len(found) != len(into):
            raise Bad("the file shrank while it was read")
        into[:] = found

    return lambda: chunks.read(extent, what, fetch, container.verify).tobytes()
