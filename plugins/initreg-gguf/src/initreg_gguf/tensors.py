"""The tensors of one GGUF file, as extents or as arrays that are unpacked when they are read."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quant_shape_to_byte_shape
from initreg import DamagedFile, Extent, InitregError, Source

# Types whose bytes are a plain array, with numpy's type string without the byte order.
PLAIN = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
}


class Reader(gguf.GGUFReader):  # type: ignore[misc]  # gguf is not read for types
    """gguf's reader, with a check that nothing is read past the end of the file.

    GGUFReader trusts every count. Past the end it gets arrays that are too short, goes on, and
    would loop 2**64 times if the file says so. All its reads go through ``_get``.
    """

    def _get(self, offset: Any, dtype: Any, count: Any = 1, override_order: Any = None) -> Any:
        end = int(offset) + int(count) * np.dtype(dtype).itemsize
        if end > len(self.data):
            raise ValueError(f"it says that something ends at byte {end:,}")
        return super()._get(int(offset), dtype, int(count), override_order)


class Quantised:
    """A tensor of a block type. When it is asked for, it is read and unpacked to float32.

    ``shape`` is that of the unpacked array. The bytes in the file are fewer.
    """

    dtype = "float32"

    def __init__(self, file: Tensors, kind: Any, shape: tuple[int, ...], at: int, size: int):
        self.shape = shape
        self._file = file
        self._kind = kind
        self._at = at
        self._size = size

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        packed = self._file.read(self._at, self._size)
        rows = packed.reshape(quant_shape_to_byte_shape(self.shape, self._kind))
        if not rows.size:
            return np.zeros(self.shape, np.float32)
        try:
            with np.errstate(all="ignore"):  # a block's scale may be infinite, as any float may
                return dequantize(rows, self._kind).astype(np.float32, copy=False)
        except NotImplementedError as error:
            raise InitregError(
                f"{self._file.label}: this version of gguf cannot unpack {self._kind.name}. "
                "pip install --upgrade gguf"
            ) from error


class Tensors(dict[str, Any]):
    """What initreg gets: names to extents or ``Quantised``. It keeps the file open."""

    def __init__(self, label: str, file: BinaryIO) -> None:
        super().__init__()
        self.label = label
        self._file = file

    def read(self, offset: int, length: int) -> Any:
        """``length`` bytes at ``offset``. pread, because several threads may read at once."""
        found = os.pread(self._file.fileno(), length, offset)
        if len(found) < length:
            raise DamagedFile(
                f"{self.label}: ends before byte {offset + length:,}. Did another program write to "
                "it? Download or copy it again"
            )
        return np.frombuffer(found, np.uint8)

    def close(self) -> None:
        self._file.close()


def arrays_of(source: Source, order: str) -> Mapping[str, Any]:
    """Every tensor by its name. Raises DamagedFile."""
    assert source.path is not None
    try:
        # Otherwise sums of 64-bit offsets would wrap around with only a warning.
        with np.errstate(over="raise"):
            reader = Reader(source.path)
    except (ValueError, KeyError, IndexError, TypeError, ArithmeticError, RecursionError) as error:
        raise DamagedFile(
            f"{source.label}: not a complete GGUF file of {source.size:,} bytes: {error}. Download "
            "or copy it again"
        ) from error
    # The reader has mapped the file. If a mapped file shrinks, reading it ends the process. So only
    # numbers are kept from the reader, and the mapping goes away with it.
    arrays = Tensors(source.label, source.open())
    with ExitStack() as on_error:
        on_error.callback(arrays.close)
        for tensor in reader.tensors:
            arrays[tensor.name] = _value(arrays, tensor, source.path, order)
        on_error.pop_all()
    return arrays


def _value(arrays: Tensors, tensor: Any, path: Path, order: str) -> Extent | Quantised:
    kind = tensor.tensor_type
    shape = tuple(reversed(tensor.shape.tolist()))  # the file begins with the innermost axis
    block, size = GGML_QUANT_SIZES[kind]
    at, length = int(tensor.data_offset), math.prod(shape) * size // block
    if kind.name in PLAIN:
        return Extent(path, at, length, shape, order + PLAIN[kind.name])
    if order == ">":
        raise DamagedFile(
            f"{arrays.label}: tensor {tensor.name!r} is {kind.name} in a big-endian file, which "
            "initreg cannot read. Convert the file first: gguf-convert-endian FILE little"
        )
    if kind is GGMLQuantizationType.BF16:
        return Extent(path, at, length, shape, "bfloat16")  # numpy has no type string for it
    return Quantised(arrays, kind, shape, at, length)
