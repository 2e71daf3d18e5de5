"""The header of an object: its messages.

Source: HDF5 File Format Specification 3.0, "Disk Format: Level 2A - Data Object Headers", "Object
Header Continuation Message" and "Shared Message".
"""

from __future__ import annotations

from typing import NamedTuple

from initreg_formats.h5.hdf5.content import Bad, Content, Unknown, number
from initreg_formats.h5.hdf5.lookup3 import check

SPACE, LINK_INFO, TYPE, OLD_FILL, FILL, LINK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
EXTERNAL, LAYOUT, FILTERS, ATTRIBUTE = 0x07, 0x08, 0x0B, 0x0C
SYMBOL_TABLE, ATTRIBUTE_INFO = 0x11, 0x15
_NIL, _CONTINUATION = 0x00, 0x10
SHARED = 0x02  # the flag of a message whose body says where the message really is


class Message(NamedTuple):
    """A message: its kind, its flags, its body, and the address of the body."""

    kind: int
    flags: int
    body: bytes
    address: int


class Header:
    """The header of an object at an address. Raises Bad if it is damaged."""

    __slots__ = ("address", "content", "messages")

    def __init__(self, content: Content, address: int) -> None:
        self.content = content
        self.address = address
        self.messages: list[Message] = []
        head = content.read(address, 16)
        if head.startswith(b"OHDR"):
            self._new(head)
        elif head[0] == 1:
            self._old(head)
        else:
            raise Bad("there is no object's header where the file says")

    def all(self, kind: int) -> list[Message]:
        """The messages of a kind."""
        return [each for each in self.messages if each.kind == kind]

    def has(self, kind: int) -> bool:
        """Whether there is a message of a kind."""
        return any(each.kind == kind for each in self.messages)

    def body(self, kind: int) -> bytes:
        """The body of the first message of a kind. Raises Bad if there is none."""
        for each in self.messages:
            if each.kind == kind:
                return resolved(self.content, each) if each.flags & SHARED else each.body
        raise Bad(f"its header has no message of type {kind}")

    def _old(self, head: bytes) -> None:
        blocks = [(self.address + 16, number(head, 8, 4))]
        for start, size in blocks:  # the loop appends to it
            block, at = self.content.read(start, size), 0
            while at + 8 <= size:
                kind, length = number(block, at, 2), number(block, at + 2, 2)
                self._add(kind, block[at + 4], block, at + 8, length, start, blocks)
                at += 8 + length

    def _new(self, head: bytes) -> None:
        if head[4] != 2:
            raise Unknown(f"an object's header of version {head[4]}")
        order = 2 if head[5] & 0x04 else 0
        first = 6 + (16 if head[5] & 0x20 else 0) + (4 if head[5] & 0x10 else 0)
        width = 1 << (head[5] & 0x03)
        size = number(self.content.read(self.address + first, width), 0, width)
        first += width
        blocks = [(self.address, first + size + 4)]
        for start, length in blocks:  # the loop appends to it
            block, at = check(self.content.read(start, max(8, length))), first
            if start != self.address:
                at = 4
                if not block.startswith(b"OCHK"):
                    raise Bad("there is no OCHK where the file says")
            while at + 4 + order <= len(block):
                size, begin = number(block, at + 1, 2), at + 4 + order
                self._add(block[at], block[at + 3], block, begin, size, start, blocks)
                at = begin + size

    def _add(
        self,
        kind: int,
        flags: int,
        block: bytes,
        at: int,
        size: int,
        start: int,
        blocks: list[tuple[int, int]],
    ) -> None:
        """Add the message whose body is at ``at`` in a block that is at ``start``."""
        if at + size > len(block):
            raise Bad("a message of its header ends outside of the header")
        if kind == _CONTINUATION:
            blocks.append((number(block, at, 8), number(block, at + 8, 8)))
        elif kind != _NIL:
            self.messages.append(Message(kind, flags, block[at : at + size], start + at))


def resolved(content: Content, message: Message) -> bytes:
    """The body of a shared message, which is a message of another object: a committed type."""
    version, kind = number(message.body, 0, 1), number(message.body, 1, 1)
    if version not in (1, 2, 3):
        raise Bad(f"a shared message has version {version}")
    if version == 3 and kind != 2:
        raise Unknown("a message that several objects share in a heap")
    other = Header(content, number(message.body, 8 if version == 1 else 2, 8))
    for each in other.messages:
        if each.kind == message.kind and not each.flags & SHARED:
            return each.body
    raise Bad("a shared message is not where the file says")
