"""An array in chunks of which a format makes something else, such as strings of descriptors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from initreg.arrays import chunked, extent_checks, memory
from initreg.arrays.inflating import BadStream
from initreg.arrays.regions import whole
from initreg.dtypes import to_numpy
from initreg.errors import DamagedFile
from initreg.specs import ChunkedExtent

if TYPE_CHECKING:
    import numpy as np


def check(extent: ChunkedExtent, name: str, label: str, max_inflation: float) -> None:
    """Check an extent against the size of its file, as is done for all that a format returns.

    Args:
        extent: what is stored.
        name: the name of the array.
        label: what messages call the file.
        max_inflation: ``options.max_inflation``.

    Raises:
        DamagedFile: it is not within its file, or contradicts itself.
        RefusedFile: it would unpack to more than is allowed.
    """
    extent_checks.check([(name, extent)], label, max_inflation)


def read(
    extent: ChunkedExtent,
    what: str,
    fetch: Callable[[int, memoryview], None],
    verify: bool = True,
) -> np.ndarray[Any, Any]:
    """All elements, unpacked, as they are stored.

    Args:
        extent: what is stored. It must have been checked by :func:`check`.
        what: what messages call the array, with its file.
        fetch: ``fetch(offset, into)`` fills memory with bytes of the file. It raises an
            InitregError if it cannot.
        verify: whether to compare checksums.

    Raises:
        DamagedFile: a chunk does not unpack, or fails its checksum.

    >>> from pathlib import Path
    >>> from initreg import Chunk
    >>> stored = ChunkedExtent(Path("x"), (3,), "uint8", (2,), (Chunk((0,), 4, 2),), b"\\x07")
    >>> def fetch(offset, into):
    ...     into[:] = b"....ab"[offset : offset + len(into)]
    >>> read(stored, "x", fetch).tolist()
    [97, 98, 7]
    """
    found: np.ndarray[Any, Any] = memory.empty(extent.shape, to_numpy(extent.dtype))
    chunked.fill(extent, found)
    box = whole(extent.shape)
    try:
        for together in chunked.batches(extent, box):
            chunked.read_chunks(extent, together, found, box, fetch, verify)
    except BadStream as error:
        raise DamagedFile(f"{what} {error}. Download or copy the file again") from error
    return found
