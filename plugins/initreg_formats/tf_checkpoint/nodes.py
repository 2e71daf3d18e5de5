"""The nodes of an object graph, as TensorFlow serialises them, and the paths to them.

A graph may have a node for every two of its bytes. So nodes, children and paths are numbers in
arrays, and a name is its place in the graph until somebody asks for it.

Source: TensorFlow's core/protobuf/trackable_object_graph.proto.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator

from initreg_formats.shared.protobuf import BYTES, VARINT, Malformed, spans, varint

_VARIABLE = b"VARIABLE_VALUE"
# The usual node and the usual child of one, with names of less than 128 bytes, as TensorFlow writes
# them. They are looked for first, which saves a sixth of the steps of opening a large checkpoint.
_LEAF = re.compile(rb"\x12[\x00-\x7f]\n\x0eVARIABLE_VALUE\x12[\x00-\x7f]")
_REST = (b"", b"*\x02\x08\x01")  # of the usual node: that its values are in the checkpoint
_CHILD = re.compile(rb"\x08[\x80-\xff]{0,3}[\x00-\x7f]\x12[\x00-\x7f]")
_NONE = 0xFFFF_FFFF
_MOST_BYTES = 1 << 31  # a protocol buffer has less: protobuf.dev/programming-guides/proto-limits


def _numbers() -> array[int]:
    return array("I")


class Nodes:
    """The nodes of a serialised ``TrackableObjectGraph``.

    Raises:
        Malformed: the graph is damaged.
    """

    def __init__(self, graph: bytes) -> None:
        if len(graph) >= _MOST_BYTES:
            raise Malformed(f"{len(graph):,} bytes, where a protocol buffer has less than 2 GiB")
        self._graph = graph
        # By node: its first child, its first slot, and its variable. Those of the next node end it.
        self._children_from, self._slots_from, self._variable_of = (_numbers() for _ in range(3))
        self._children, self._child_names = _numbers(), _numbers()
        self._slots, self._slot_names = _numbers(), _numbers()
        self._variables = _numbers()
        for number, wire, _, begin, stop in spans(graph, 0, len(graph)):
            if number == 1 and wire == BYTES:
                self._add(begin, stop)
        self._children_from.append(len(self._children))
        self._slots_from.append(len(self._slot_names) // 2)

    def __len__(self) -> int:
        return len(self._variable_of)

    def children(self, number: int) -> Iterator[tuple[bytes, int]]:
        """Names and numbers of other nodes. A number may be that of no node."""
        graph, names, children = self._graph, self._child_names, self._children
        for at in range(self._children_from[number], self._children_from[number + 1]):
            yield graph[names[2 * at] : names[2 * at + 1]], children[at]

    def count_children(self, number: int) -> int:
        """How many children a node has."""
        return self._children_from[number + 1] - self._children_from[number]

    def child_name(self, at: int) -> bytes:
        """The name of a child, by its position among those of all nodes."""
        return self._graph[self._child_names[2 * at] : self._child_names[2 * at + 1]]

    def children_at(self, number: int) -> range:
        """The positions of the children of a node, among those of all nodes."""
        return range(self._children_from[number], self._children_from[number + 1])

    def child(self, at: int) -> int:
        """The number of the child at a position."""
        return self._children[at]

    def is_variable(self, number: int) -> bool:
        """Whether there is a node of this number, and whether it is a variable."""
        return 0 <= number < len(self) and self._variable_of[number] != _NONE

    def key_size(self, number: int) -> int:
        """How many bytes the key of a variable has."""
        at = 4 * self._variable_of[number]
        return self._variables[at + 3] - self._variables[at + 2]

    def variable(self, number: int) -> tuple[bytes, bytes]:
        """The full name and the key of a variable."""
        at = 4 * self._variable_of[number]
        name, name_end, key, key_end = self._variables[at : at + 4]
        return self._graph[name:name_end], self._graph[key:key_end]

    def variables(self) -> Iterator[tuple[int, bytes, bytes]]:
        """The number, the full name and the key of each node that is a variable."""
        for number, at in enumerate(self._variable_of):
            if at != _NONE:
                yield number, *self.variable(number)

    def slots(self, number: int) -> Iterator[tuple[int, bytes, int]]:
        """The number of a variable, the name of its slot, and the number of that."""
        names, slots = self._slot_names, self._slots
        for at in range(self._slots_from[number], self._slots_from[number + 1]):
            name = self._graph[names[2 * at] : names[2 * at + 1]]
            yield slots[2 * at], name, slots[2 * at + 1]

    def has_slots(self, number: int) -> bool:
        """Whether a node has slots."""
        return self._slots_from[number] < self._slots_from[number + 1]

    def _add(self, begin: int, stop: int) -> None:
        graph = self._graph
        self._children_from.append(len(self._children))
        self._slots_from.append(len(self._slot_names) // 2)
        self._variable_of.append(_NONE)
        if begin == stop:
            return
        if (leaf := _leaf(graph, begin, stop)) is not None:
            self._variable_of[-1] = len(self._variables) // 4
            self._variables.extend(leaf)
            return
        for number, wire, _, start, end in spans(graph, begin, stop):
            if wire != BYTES or number not in (1, 2, 3):
                continue
            match = _CHILD.match(graph, start, end) if number == 1 else None
            if match is not None and match.end() + graph[match.end() - 1] == end:
                self._child_names.extend((match.end(), end))
                self._children.append(varint(graph, start + 1, end)[0])
                continue
            child = slot = 0
            first = second = third = (0, 0)
            for n, kind, value, text, text_end in spans(graph, start, end):
                if kind == BYTES:
                    if n == 2:
                        second = (text, text_end)
                    elif n == 1:
                        first = (text, text_end)
                    elif n == 3:
                        third = (text, text_end)
                elif kind == VARINT:
                    if n == 1:
                        child = min(value, _NONE)
                    elif n == 3:
                        slot = min(value, _NONE)
            if number == 1:
                self._child_names.extend(second)
                self._children.append(child)
            elif number == 3:
                self._slot_names.extend(second)
                self._slots.extend((child, slot))
            elif graph[slice(*first)] == _VARIABLE:
                if self._variable_of[-1] != _NONE:
                    raise Malformed("an object with two values")
                self._variable_of[-1] = len(self._variables) // 4
                self._variables.extend((*second, *third))


def _leaf(graph: bytes, begin: int, stop: int) -> tuple[int, int, int, int] | None:
    """Where the full name and the key of a node lie that is a variable and nothing else.

    Nearly all nodes are. None if it is something else, or is not written as TensorFlow does it.
    """
    match = _LEAF.match(graph, begin, stop)
    if match is None:
        return None
    name = match.end()
    name_end = name + graph[name - 1]
    if not graph.startswith(b"\x1a", name_end):
        return None
    key = name_end + 2
    key_end = begin + 2 + graph[begin + 1]  # that of the attribute
    if key > key_end or key_end > stop or graph[key - 1] > 0x7F or key + graph[key - 1] != key_end:
        return None
    return (name, name_end, key, key_end) if graph[key_end:stop] in _REST else None


class Budget:
    """So many bytes of text may be made."""

    def __init__(self, nbytes: int) -> None:
        self._left = nbytes

    def takes(self, nbytes: int) -> bool:
        """Whether there is room for so many bytes more. If so, they are taken."""
        if nbytes > self._left:
            return False
        self._left -= nbytes
        return True


class Paths:
    """The paths to each node, the shortest first.

    A path is the number of the path that it continues, and the position of its last step among the
    children of all nodes. The text of one is made when it is asked for: the texts of one long chain
    would take the square of its length.

    Args:
        nodes: the nodes.
        is_passed: whether no path leads to a child of this name.
        longest: bytes of the longest path that is followed.
        most: how many paths to one node are followed.
        further: how many paths are followed together, beyond the first one of each node.
    """

    def __init__(
        self,
        nodes: Nodes,
        is_passed: Callable[[bytes], object],
        longest: int,
        most: int,
        further: int,
    ) -> None:
        self._nodes = nodes
        self._above, self._steps, self._sizes, self._before = (_numbers() for _ in range(4))
        self._last = array("I", [_NONE]) * len(nodes)
        counts = bytearray(len(nodes))
        ends = _numbers()  # the node that each path leads to
        if len(nodes):
            self._follow(0, _NONE, _NONE, 0, ends)
            self._last[0] = _NONE  # the root has no path
        count = len(nodes)
        path = 0
        while path < len(ends):
            size = self._sizes[path]
            for at in nodes.children_at(ends[path]):
                child = nodes.child(at)
                if not 0 < child < count or counts[child] >= most:
                    continue
                name = nodes.child_name(at)
                if is_passed(name):
                    continue
                below = size + (path > 0) + len(name) + name.count(b".") + name.count(b"/")
                if below > longest:
                    continue
                if counts[child]:
                    if not further or self._is_known(child, path, name):
                        continue
                    further -= 1
                counts[child] += 1
                self._follow(child, path, at, below, ends)
            path += 1

    def of(self, number: int) -> list[int]:
        """The numbers of the paths to a node."""
        found = []
        path = self._last[number]
        while path != _NONE:
            found.append(path)
            path = self._before[path]
        return found[::-1]

    def size(self, path: int) -> int:
        """How many bytes the text of a path has."""
        return self._sizes[path]

    def text(self, path: int) -> bytes:
        """A path, with its names escaped as TensorFlow does it and joined with ``/``."""
        names = []
        while self._steps[path] != _NONE:
            name = self._nodes.child_name(self._steps[path])
            names.append(name.replace(b".", b"..").replace(b"/", b".S"))
            path = self._above[path]
        return b"/".join(names[::-1])

    def _follow(self, node: int, above: int, step: int, size: int, ends: array[int]) -> None:
        self._above.append(above)
        self._steps.append(step)
        self._sizes.append(size)
        self._before.append(self._last[node])
        self._last[node] = len(ends)
        ends.append(node)

    def _is_known(self, node: int, above: int, name: bytes) -> bool:
        return any(
            self._above[path] == above and self._nodes.child_name(self._steps[path]) == name
            for path in self.of(node)
        )
