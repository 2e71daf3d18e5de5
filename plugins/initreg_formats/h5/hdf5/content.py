"""The bytes of an HDF5 file, within its bounds, and a count of what its structures make us read."""

from __future__ import annotations

from collections.abc import Callable

UNDEFINED = (1 << 64) - 1  # the address of what was never allocated
_PAGE = 14  # bits of an address in a page: 16 KiB
_MOST_PAGES = 1024
# All structures together may make us read so many times the file, and a bit more. No writer lets
# two structures share bytes, and each is read a few times at most.
_TIMES = 4
_SPARE = 4 << 20
# Strings may take as much, and heaps may make us read as much. A small heap may be read for several
# arrays, each of which has few strings in it. So some are kept.
_MOST_STRINGS = 64 << 20
_TIMES_HEAPS = 16
_KEPT = 4 << 20
_EACH = 64  # bytes that reading a structure costs at least, however small it is


class Bad(Exception):
    """A structure is damaged. The message completes ``"m.h5: group '/g': ..."``."""


class Unknown(Exception):
    """The specification allows it, but it is not read here. The message completes ``"'w' is in"``
    or ``"'w' has"``."""


class Content:
    """An HDF5 file, or a member of an archive that is one.

    Args:
        read: reads so many bytes from an offset of the file, as ``os.pread``.
        start: where the HDF5 file begins in it.
        length: how many bytes it has.
        base: the size of the user block, from whose end all addresses count.
        prefetch: for a file in a store: reads parts of it ahead, each an address and a length. A
            local file is read in pages instead, because a read costs as much as its bytes there.
    """

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        start: int,
        length: int,
        base: int,
        prefetch: Callable[[list[tuple[int, int]]], None] | None = None,
    ) -> None:
        self._prefetch = prefetch
        self._read = read
        self.start = start + base
        self.length = length - base
        self._left = _TIMES * length + _SPARE
        self._pages: dict[int, bytes] = {}
        self.most_strings = self._strings_left = _TIMES * length + _MOST_STRINGS
        self._heaps_left = _TIMES_HEAPS * length + _MOST_STRINGS
        self.heaps: dict[int, tuple[dict[int, bytes], int]] = {}  # some of the global heaps
        self._kept = 0  # bytes of these

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes of a structure. Raises Bad if they are not all in the file, or if the
        structures of the file lead to more bytes than it has."""
        end = address + size
        if size > 0 and end <= self.length:
            self._left -= size + _EACH
        if self._left < 0:
            raise Bad("its structures lead to the same bytes again and again")
        is_split = address >> _PAGE != (end - 1) >> _PAGE
        if is_split or size <= 0 or end > self.length or self._prefetch is not None:
            return self.data(address, size)
        page = self._pages.get(address >> _PAGE)
        if page is None:
            if len(self._pages) >= _MOST_PAGES:
                self._pages.clear()
            first = address >> _PAGE << _PAGE
            page = self.data(first, min(1 << _PAGE, self.length - first))
            self._pages[address >> _PAGE] = page
        at = address & ((1 << _PAGE) - 1)
        return page[at : at + size]

    def expect(self, addresses: list[int], size: int) -> None:
        """Say that structures of about ``size`` bytes at these addresses are read next."""
        if self._prefetch is not None and len(addresses) > 1:
            self._prefetch([(address, size) for address in addresses if address < self.length])

    def data(self, address: int, size: int) -> bytes:
        """``size`` bytes of data, which are not counted. Raises Bad if they are not in the file.

        It can be called from several threads.
        """
        if address < 0 or size < 0 or address + size > self.length:
            where = "nowhere" if address == UNDEFINED else f"at byte {address + size:,}"
            raise Bad(f"something should end {where}, but the file has {self.length:,} bytes")
        found = self._read(size, self.start + address)
        if len(found) != size:
            raise Bad("the file shrank while it was read")
        return found

    def claim_strings(self, nbytes: int) -> None:
        """Add ``nbytes`` for the strings of an array. Arrays may share them, so that a small file
        could fill the memory. Raises Bad."""
        self._strings_left -= nbytes
        if self._strings_left < 0:
            raise Bad("its strings, with those of other arrays, are more than the file has")

    def keep_heap(self, address: int, heap: dict[int, bytes], size: int, was_counted: bool) -> None:
        """Keep a global heap for a while. Raises Bad if heaps are read again and again."""
        self._heaps_left -= 0 if was_counted else size
        if self._heaps_left < 0:
            raise Bad("its strings, and those of other arrays, lie in the same heaps")
        if self._kept + size > _KEPT:
            self.heaps.clear()
            self._kept = 0
        self.heaps[address] = heap, size
        self._kept += size

    def signed(self, address: int, size: int, signature: bytes) -> bytes:
        """A structure that begins with ``signature``. Raises Bad if it does not."""
        found = self.read(address, size)
        if not found.startswith(signature):
            name = signature[:4].decode()
            raise Bad(f"there is no {name} of a known version where the file says")
        return found


def number(data: bytes, at: int, size: int) -> int:
    """An unsigned little-endian number. Raises Bad if the data ends before it."""
    if at + size > len(data):
        raise Bad("a structure ends too early")
    return int.from_bytes(data[at : at + size], "little")
