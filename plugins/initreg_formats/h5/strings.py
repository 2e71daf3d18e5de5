"""Arrays of strings of any length, which HDF5 keeps in heaps.

They are read here, because HDF5's own code trusts a length of up to 4 GiB before it looks for the
string, and never ends if the objects of a heap are damaged (both seen in 1.14.6).

Source of the layout: HDF5 File Format Specification 3.0, "Disk Format: Level 1E - Global Heap", and
"Variable-length Data Encoding Format".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from initreg import DamagedFile
from initreg_formats.h5.structures import GLOBAL, heap_objects

if TYPE_CHECKING:
    import numpy as np

    from initreg_formats.h5.container import Container

DESCRIPTOR = 16  # bytes: length, address of the heap, index in it
_AGAIN = "Download or copy the file again"
_HEADER = 16  # bytes, at the start of a heap


class Strings:
    """An array of strings that lie in heaps. Its values are an object array of bytes, as in h5py.

    ``offset`` is where the descriptors of its elements lie in the HDF5 file.
    """

    dtype = "string"

    def __init__(
        self,
        container: Container,
        offset: int,
        shape: tuple[int, ...],
        aliases: tuple[str, ...],
        what: str,
    ) -> None:
        self.shape = shape
        self.aliases = aliases
        self._container = container
        self._offset = offset
        self._what = what

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        import numpy as np

        count = math.prod(self.shape)
        data = self._container.read(self._offset, count * DESCRIPTOR, self._what)
        array = np.empty(count, object)
        array[:] = read_strings(self._container, memoryview(data), self._what)
        return array.reshape(self.shape)


def read_strings(container: Container, descriptors: memoryview, what: str) -> list[bytes]:
    """The strings that descriptors point to. Raises DamagedFile.

    No writer lets two descriptors point to the same string. So a file is damaged if all strings
    together are longer than the file.
    """
    heaps: dict[int, dict[int, bytes]] = {}
    found: list[bytes] = []
    total = heap_bytes = 0
    for at in range(0, len(descriptors), DESCRIPTOR):
        length = int.from_bytes(descriptors[at : at + 4], "little")
        address = int.from_bytes(descriptors[at + 4 : at + 12], "little")
        index = int.from_bytes(descriptors[at + 12 : at + 16], "little")
        if length == 0:
            found.append(b"")
            continue
        if address not in heaps:
            heaps[address] = heap = _heap(container, address + container.user_block, what)
            heap_bytes += sum(map(len, heap.values()))
            if heap_bytes > container.length:
                raise DamagedFile(f"{what}: its strings lie in heaps that overlap. {_AGAIN}")
        stored = heaps[address].get(index)
        if stored is None or len(stored) < length:
            raise DamagedFile(f"{what}: string {len(found)} is not where the file says. {_AGAIN}")
        total += length
        if total > container.length:
            raise DamagedFile(f"{what}: its strings are longer than the file. {_AGAIN}")
        found.append(stored[:length].partition(b"\0")[0])
    return found


def _heap(container: Container, start: int, what: str) -> dict[int, bytes]:
    """The objects of a heap, by their indices."""
    head = container.read(start, _HEADER, what)
    if not head.startswith(GLOBAL):
        raise DamagedFile(f"{what}: a string is not where the file says. {_AGAIN}")
    size = int.from_bytes(head[8:16], "little")
    data = container.read(start, size, what)
    try:
        objects = list(heap_objects(size, memoryview(data)))
    except ValueError as error:
        raise DamagedFile(f"{what}: its strings lie in {error}. {_AGAIN}") from error
    return {index: data[at : at + length] for index, at, length in objects}
