"""B-trees: version 1 of groups, and version 2.

Source: HDF5 File Format Specification 3.0, "Disk Format: Level 1A1 - Version 1 B-trees" and
"Disk Format: Level 1A2 - Version 2 B-trees".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import ge

from initreg_formats.h5.hdf5.content import UNDEFINED, Bad, Content, number
from initreg_formats.h5.hdf5.lookup3 import check

AGAIN = "its B-tree leads to one node twice"
_MOST_LEVELS = 32  # each level is at least twice as wide as the one above
_CHILD = 600  # bytes that a node of version 1, or a symbol table node, usually has at most
_FRAME = 10  # bytes of a node of version 2 besides its records


def old_nodes(
    content: Content,
    root: int,
    kind: int,
    key_size: int,
    key: Callable[[bytes], tuple[int, ...]] | None = None,
) -> Iterator[tuple[bytes, int]]:
    """The entries of the leaves of a tree of version 1: a key, and an address.

    Args:
        content: the file.
        root: the address of the tree.
        kind: 0 for groups, 1 for chunks.
        key_size: the bytes of a key.
        key: what the keys are compared by. They must be in order then, because HDF5 finds an entry
            by its key.
    """
    seen = {root}
    level = -1  # of the root, which says it itself
    nodes: list[tuple[int, list[tuple[int, ...]]]] = [(root, [])]
    while nodes:  # level by level, so that a store is asked for all nodes of a level at once
        below: list[tuple[int, list[tuple[int, ...]]]] = []
        found: list[tuple[bytes, int]] = []
        for address, bounds in nodes:
            head = content.signed(address, 24, b"TREE")
            used, step = number(head, 6, 2), key_size + 8
            if head[4] != kind or level not in (-1, head[5]):
                raise Bad("a node of its B-tree has another type or level than it should")
            data = content.read(address + 24, used * step + key_size)
            keys = (
                [key(data[at : at + key_size]) for at in range(0, len(data), step)] if key else []
            )
            if any(map(ge, keys, keys[1:])) or (
                bounds and (keys[0], bounds[1]) < (bounds[0], keys[-1])
            ):
                raise Bad("the keys of its B-tree are not in order")
            for index, at in enumerate(range(0, used * step, step)):
                child = int.from_bytes(data[at + key_size : at + step], "little")
                if child in seen:
                    raise Bad(AGAIN)
                seen.add(child)
                if head[5]:
                    below.append((child, keys[index : index + 2]))
                elif kind:  # a chunk, which is no structure
                    yield data[at : at + key_size], child
                else:
                    found.append((data[at : at + key_size], child))
        content.expect([child for child, _ in below] + [child for _, child in found], _CHILD)
        yield from found
        level, nodes = head[5] - 1, below


def records(content: Content, address: int, kinds: tuple[int, ...]) -> Iterator[bytes]:
    """The records of a tree of version 2, whose header is at ``address``, in order.

    ``kinds`` are the types that it may have.
    """
    head = check(content.signed(address, 38, b"BTHD\0"))
    kind, size, record, depth = head[5], number(head, 6, 4), number(head, 10, 2), head[12]
    if kind not in kinds:
        raise Bad(f"its B-tree has type {kind}")
    if head[13] or depth > _MOST_LEVELS:
        raise Bad(f"its B-tree has {number(head, 12, 2):,} levels")
    root = (number(head, 16, 8), number(head, 24, 2))
    if root[0] == UNDEFINED:  # no node, which could be larger than such a file
        return
    if not 0 < record <= size - _FRAME or size > content.length:
        raise Bad(f"its B-tree has records of {record:,} bytes in nodes of {size:,}")
    most, widths = _limits(size, record, depth)
    width = _bytes_of(most[0])
    seen: set[int] = set()

    def read(place: int, used: int, level: int) -> bytes:
        if place in seen:
            raise Bad(AGAIN)
        seen.add(place)
        if used > most[level]:
            raise Bad(f"a node of its B-tree has {used:,} records, where {most[level]} fit")
        end = 6 + used * record + ((used + 1) * widths[level] if level else 0)
        data = check(content.signed(place, end + 4, b"BTIN\0" if level else b"BTLF\0"))
        if data[5] != kind:
            raise Bad("a node of its B-tree has another type than it should")
        return data

    def below(data: bytes, used: int, level: int) -> list[tuple[int, int]]:
        """The address of each child of a node, and how many records it has."""
        first = 6 + used * record
        places = range(first, first + (used + 1) * widths[level], widths[level])
        return [(number(data, at, 8), number(data, at + 8, width)) for at in places]

    def node(place: int, used: int, level: int) -> Iterator[bytes]:
        data = inner.pop(place) if level else read(place, used, 0)
        children = below(data, used, level) if level else []
        for index in range(used + 1):
            if level:
                yield from node(*children[index], level - 1)
            if index < used:
                yield data[6 + index * record : 6 + (index + 1) * record]

    inner: dict[int, bytes] = {}
    row = [root]
    for level in range(depth, 0, -1):  # so that a store is asked for all nodes of a level at once
        nodes = [(read(place, used, level), used) for place, used in row]
        inner.update(zip((place for place, _ in row), (data for data, _ in nodes), strict=True))
        row = [each for data, used in nodes for each in below(data, used, level)]
        content.expect([place for place, _ in row], size)
    yield from node(*root, depth)


def _limits(size: int, record: int, depth: int) -> tuple[list[int], list[int]]:
    """The largest number of records of a node, and the bytes of its pointer to a child: the
    address, the records of the child, and the records of all nodes below it.

    Both are lists by the level of the node; leaves have level 0.
    """
    most, widths = [(size - _FRAME) // record], [0]
    total = most[0]
    for level in range(1, depth + 1):
        widths.append(8 + _bytes_of(most[0]) + (_bytes_of(total) if level > 1 else 0))
        most.append((size - _FRAME - widths[level]) // (record + widths[level]))
        if most[level] < 1:
            raise Bad(f"its B-tree has nodes of {size:,} bytes, which are too small")
        total = (most[level] + 1) * total + most[level]
    return most, widths


def _bytes_of(limit: int) -> int:
    return (limit.bit_length() + 7) // 8
