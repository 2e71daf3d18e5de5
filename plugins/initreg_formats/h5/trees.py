"""A check of a group's B-tree, before HDF5 follows it.

HDF5 1.14.6 visits a node as often as other nodes point to it. A tree of 3 kB, in which all 32
branches of each node lead to the same node, keeps it busy for years (seen with five levels).

Source of the layout: HDF5 File Format Specification 3.0, "Disk Format: Level 1A1 - Version 1
B-trees" and "Symbol Table Message". In trees of version 2 every node with branches also holds a
link, so that it is enough to count the links.
"""

from __future__ import annotations

from initreg import DamagedFile
from initreg_formats.h5.container import Container
from initreg_formats.h5.headers import messages

_SYMBOL_TABLE = 0x11
_HEADER = 24  # bytes of a node


def refuse_repeats(container: Container, address: int, what: str) -> None:
    """Raise DamagedFile if a group's tree leads to a node twice.

    The header of the group is at ``address``. A group of a later version has no such tree.
    """
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
            raise DamagedFile(
                f"{what}: its B-tree is not where the file says. Download or copy the file again"
            )
        if level == 0:
            continue
        entries = container.read(at + _HEADER, 16 * used, what)
        for start in range(8, len(entries), 16):
            child = int.from_bytes(entries[start : start + 8], "little")
            if child in seen:
                raise DamagedFile(
                    f"{what}: its B-tree leads to one node twice. Download or copy the file again"
                )
            seen.add(child)
            todo.append(child)
