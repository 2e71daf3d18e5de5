"""Reading the structures of a file in a store ahead, many at once.

The structures of HDF5 lie all over the file, and each says where the next one is. One after the
other they would take a request each. So the objects of one level are looked at by several threads.
The store keeps what was read. What is wrong with the file is said later, by the walk that finds all
of it there.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

from initreg import InitregError
from initreg_formats.h5.hdf5 import chunks, groups, headers, messages
from initreg_formats.h5.hdf5.attributes import attributes
from initreg_formats.h5.hdf5.content import Bad, Content, Unknown
from initreg_formats.h5.hdf5.groups import HARD
from initreg_formats.h5.hdf5.strings import strings

_AT_ONCE = 48
_DEEPEST = 200
# Bytes that are read of each object at first. With 1,024 instead of 512, counting.py counts fewer
# requests, because what a group leads to often lies behind its header, and hardly more bytes.
_HEADER = 1024
_MOST = 1 << 20  # objects


def scout(content: Content, root: int) -> None:
    """Look at all objects of a file.

    Args:
        content: the bytes of the file. It bounds what all objects together may make us read.
        root: the address of the root group.
    """
    seen, level = {root}, [root]
    with ThreadPoolExecutor(_AT_ONCE, "initreg-scout") as pool:
        for _ in range(_DEEPEST):
            if not level or len(seen) > _MOST:
                return
            found = pool.map(lambda address: _children(content, address), level)
            level = [*dict.fromkeys(a for each in found for a in each if a not in seen)]
            seen.update(level)
            try:
                content.expect(level, _HEADER)
            except InitregError:
                return


def _children(content: Content, address: int) -> list[int]:
    """The addresses of the objects in a group. What belongs to the object itself is read, too."""
    try:
        header = headers.Header(content, address)
        for each in attributes(content, header).values():
            kind = each.type()
            if kind.is_text:
                strings(content, kind, each.data, max(1, math.prod(each.space().shape)))
        if groups.is_group(header):
            links = groups.links(content, header)
            return [link.address for link in links if link.kind == HARD]
        if header.has(headers.LAYOUT) and header.has(headers.SPACE):
            layout = messages.layout(header)
            if layout.kind == messages.CHUNKED:
                packed = bool(messages.filters(header))
                for _ in chunks.chunks(
                    content, layout, messages.space(header.body(headers.SPACE)), packed
                ):
                    pass
    except (Bad, Unknown, InitregError, ValueError, IndexError, OverflowError):
        pass
    return []
