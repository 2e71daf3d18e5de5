"""The B-tree of a group, before HDF5 follows it.

HDF5 1.14.6 visits a node as often as others point to it, so that a tree of 3 kB, in which all 32
branches of each node lead to one, keeps it busy for years (seen with five levels).

Source of the layout: HDF5 File Format Specification 3.0, "Disk Format: Level 1A1 - Version 1
B-trees" and "Symbol Table Message". The trees of version 2 hold a link in every node that has
branches, so that it is enough to count those.
"""

from __future__ import annotations

from initreg import DamagedFile
from initreg_formats.h5.container import Container
from initreg_formats.h5.headers import messages

_SYMBOL_TABLE = 0x11
_HEADER = 24  # bytes of a node


def refuse_repeats(container: Container, address: int, what: str) -> None:
    """Raise DamagedFile if the tree of the group whose header is at ``address`` leads to a node
    twice. A group of a later version has none."""
    for kind, _, body in messages(container, address, what):
        if kind == _SYMBOL_TABLE and len(body) >= 8:
            _check(container, int.from_bytes(body[:8], "little"), what)


def _check(container: Container, root: int, what: str) -> None:
    todo, seen = [root], {root}
    while todo:
        at = todo.pop() + container.user_block
        head = container.read(at, _HEADER, what)
        level, used = head[5], int.from_bytes(head[6:8], "little")
        if not head.startswith(b"TREE"):
            raise DamagedFile(f"{what}: its B-tree is not where the file says")
        if level == 0:
            continue
        entries = container.read(at + _HEADER, 16 * used, what)
        for start in range(8, len(entries), 16):
            child = int.from_bytes(entries[start : start + 8], "little")
            if child in seen:
                raise DamagedFile(f"{what}: its B-tree leads to one node twice")
            seen.add(child)
            todo.append(child)
