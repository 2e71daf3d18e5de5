"""The tensors of a model that have values, from its tables.

Source: ``Model``, ``SubGraph``, ``Tensor``, ``Buffer``, ``QuantizationParameters`` in the schema.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from initreg_tflite.flatbuffer import Fault, Flatbuffer, Table

_MOST_TENSORS = 1_000_000
_MOST_SUBGRAPHS = 10_000
_MOST_AXES = 64  # numpy's own limit
_MOST_ELEMENTS = 1 << 59
_LONGEST_NAME = 1 << 12  # bytes
_LONGEST_TEXT = 1 << 20


class Quantisation(NamedTuple):
    """How a tensor was quantised.

    Args:
        scales: one, or one for each index of an axis. Empty if they are kept in another way.
        zero_points: as many, all zeros if the file has none.
        axis: the axis that they belong to.
        kind: 0, or the number of another way: 1 is an operator's own, 2 is in blocks.
    """

    scales: np.ndarray[tuple[int], np.dtype[np.float32]]
    zero_points: np.ndarray[tuple[int], np.dtype[np.int64]]
    axis: int
    kind: int


class Tensor(NamedTuple):
    """A tensor that has values.

    Args:
        name: its name, with that of its subgraph.
        is_named: whether the file gives it that name.
        shape: its axes.
        type: the number of its dtype.
        span: where its bytes are, None if they are in another file.
        quantisation: how it was quantised, None if it was not.
        is_sparse: whether only some of its values are there.
    """

    name: str
    is_named: bool
    shape: tuple[int, ...]
    type: int
    span: tuple[int, int] | None
    quantisation: Quantisation | None
    is_sparse: bool


class Model:
    """What a file says.

    Args:
        file: the file.

    Attributes:
        tensors: the tensors that have values, in the order of the file.
        description: what the model is, in words.

    Raises:
        Fault: it is not a complete model.
    """

    def __init__(self, file: Flatbuffer) -> None:
        self._file = file
        root = file.root()
        self.description = file.text(root, 3, _LONGEST_TEXT)
        self._buffers = list(file.tables(root, 4, _MOST_TENSORS))
        self._numbers: dict[tuple[int, int], np.ndarray[tuple[int], np.dtype[np.int64]]] = {}
        self._seen: set[int] = set()
        self.tensors: list[Tensor] = []
        prefixes = {""}
        for number, subgraph in enumerate(file.tables(root, 2, _MOST_SUBGRAPHS)):
            self._once(subgraph)
            prefix = ""
            if number:
                prefix = f"{file.text(subgraph, 4, _LONGEST_NAME) or f'subgraph_{number}'}/"
                if prefix in prefixes:
                    prefix = f"subgraph_{number}/"
                prefixes.add(prefix)
            self.tensors += self._subgraph(subgraph, prefix)

    def _once(self, table: Table) -> None:
        """Raise Fault for a table that is listed a second time, which multiplies what it holds."""
        if table.at in self._seen:
            raise Fault("lists one table twice")
        self._seen.add(table.at)

    def _subgraph(self, subgraph: Table, prefix: str) -> Iterator[Tensor]:
        file = self._file
        for number, table in enumerate(file.tables(subgraph, 0, _MOST_TENSORS)):
            self._once(table)
            if len(self._seen) > _MOST_TENSORS:
                raise Fault(f"has more than {_MOST_TENSORS:,} tensors")
            is_elsewhere = file.value(table, 10, 4) != 0
            span = None if is_elsewhere else self._span(file.value(table, 2, 4))
            if span is None and not is_elsewhere:
                continue  # it is computed when the model is run
            shape = self._shape(table)
            name = file.text(table, 3, _LONGEST_NAME)
            yield Tensor(
                prefix + (name or f"tensor_{number}"),
                bool(name),
                shape,
                file.value(table, 1, 1, signed=True),
                span,
                self._quantisation(table, shape),
                bool(table.place(6)),
            )

    def _span(self, number: int) -> tuple[int, int] | None:
        """Where the bytes of a buffer are. None if it is empty."""
        if number >= len(self._buffers):
            raise Fault(f"has a tensor of buffer {number:,}, and {len(self._buffers):,} buffers")
        buffer = self._buffers[number]
        data = self._file.vector(buffer, 0, 1)
        if data is not None and data.length:
            return data.begin, data.begin + data.length
        # In a model of more than 2 GB, the bytes come after the flatbuffer. 1 is a placeholder.
        offset, size = self._file.value(buffer, 1, 8), self._file.value(buffer, 2, 8)
        if offset <= 1 or not size:
            return None
        if offset + size > self._file.size:
            raise Fault(f"has a buffer that ends at byte {offset + size:,}, beyond the file")
        return offset, offset + size

    def _shape(self, table: Table) -> tuple[int, ...]:
        vector = self._file.vector(table, 0, 4)
        if vector is None:
            return ()
        if vector.length > _MOST_AXES:
            raise Fault(f"has a tensor of more than {_MOST_AXES} axes")
        data = self._file.read(vector.begin, 4 * vector.length) if vector.length else b""
        shape = tuple(np.frombuffer(data, "<i4").tolist())
        if min(shape, default=0) < 0 or math.prod(axis for axis in shape if axis) > _MOST_ELEMENTS:
            raise Fault(f"has a tensor of the shape {shape}")
        return shape

    def _quantisation(self, tensor: Table, shape: tuple[int, ...]) -> Quantisation | None:
        table = self._file.child(tensor, 4)
        if table is None:
            return None
        kind = self._file.value(table, 4, 1)
        scales = self._vector(table, 2, "<f4").astype(np.float32)
        zero_points = self._vector(table, 3, "<i8").astype(np.int64)
        if kind:
            return Quantisation(scales[:0], zero_points[:0], 0, kind)
        if not scales.size:
            return None
        axis = self._file.value(table, 6, 4, signed=True)
        if scales.size > 1 and (not 0 <= axis < len(shape) or shape[axis] != scales.size):
            raise Fault(f"has {scales.size:,} scales for axis {axis} of a tensor of shape {shape}")
        if zero_points.size not in (0, 1, scales.size):
            raise Fault(f"has {scales.size:,} scales and {zero_points.size:,} zero points")
        if not np.isfinite(scales).all():
            raise Fault("has a scale that is not a finite number")
        if not zero_points.size:
            zero_points = np.zeros(1, np.int64)
        return Quantisation(scales, zero_points, axis, 0)

    def _vector(self, table: Table, number: int, dtype: str) -> np.ndarray[Any, Any]:
        """A vector of numbers. It is read once, because many tensors may have the same one."""
        item = np.dtype(dtype).itemsize
        vector = self._file.vector(table, number, item)
        if vector is None:
            return np.zeros(0, dtype)
        key = (vector.begin, item)
        if key not in self._numbers:
            data = self._file.read(vector.begin, item * vector.length) if vector.length else b""
            self._numbers[key] = np.frombuffer(data, dtype)
        return self._numbers[key]
