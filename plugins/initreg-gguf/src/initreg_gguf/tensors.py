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
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType
from gguf.quants import dequantize, quant_shape_to_byte_shape
from initreg import DamagedFile, Extent, InitregError, Source, part_sets

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
    """What initreg gets: names to extents or ``Quantised``. It keeps the file open.

    ``metadata`` are the key-value pairs of the file, as text.
    """

    def __init__(self, label: str, file: BinaryIO, metadata: Mapping[str, str]) -> None:
        super().__init__()
        self.label = label
        self.metadata = metadata
        self._file = file
        self._stamp = _stamp(file)

    def read(self, offset: int, length: int) -> Any:
        """``length`` bytes at ``offset``. pread, because several threads may read at once."""
        found = os.pread(self._file.fileno(), length, offset)
        if len(found) < length or _stamp(self._file) != self._stamp:
            raise DamagedFile(
                f"{self.label}: was written to after it was opened. Open it again, and download or "
                "copy it again if it is incomplete"
            )
        return np.frombuffer(found, np.uint8)

    def close(self) -> None:
        self._file.close()


def _stamp(file: BinaryIO) -> tuple[int, int]:
    """Size and time, to notice if a program writes to the open file."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


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
    check_split(source, reader)
    # The reader has mapped the file. If a mapped file shrinks, reading it ends the process. So only
    # numbers are kept from the reader, and the mapping goes away with it.
    arrays = Tensors(source.label, source.open(), _metadata(reader))
    with ExitStack() as on_error:
        on_error.callback(arrays.close)
        for tensor in reader.tensors:
            arrays[tensor.name] = _value(arrays, tensor, source.path, order)
        on_error.pop_all()
    return arrays


def _metadata(reader: Reader) -> dict[str, str]:
    """The key-value pairs as text. Lists, such as a vocabulary, are left out, and so is what
    says which part of a model this is."""
    found = {}
    for key, field in reader.fields.items():
        if key.startswith(("GGUF.", "split.")) or len(field.types) != 1:  # the header's; a list
            continue
        data = field.parts[-1]
        is_text = field.types[0] is GGUFValueType.STRING
        text = data.tobytes().decode(errors="replace") if is_text else str(data.tolist()[0])
        found[key] = text
    return found


def check_split(source: Source, reader: Reader) -> None:
    """Refuse one file of a split model, unless initreg opens all of them.

    initreg opens the set that a file is a part of by its name, ``m-00001-of-00003.gguf``. So what
    the file says must agree with its name. Source: llama.cpp's ``tools/gguf-split``, which counts
    parts from 0 in ``split.no`` and from 1 in names.

    Raises:
        DamagedFile: the file is a part, and has another name.
    """
    count, number = _number(source, reader, "split.count"), _number(source, reader, "split.no")
    if count is None or count < 2:
        return
    assert source.path is not None
    (named,) = part_sets([source.path.name]) or (None,)
    if named is not None and named.size == count and [*named.names] == [(number or 0) + 1]:
        return
    stem = source.path.stem if named is None else named.stem[:-1]
    expected = f"{stem}-{(number or 0) + 1:05d}-of-{count:05d}.gguf"
    others = [f"{stem}-{n:05d}-of-{count:05d}.gguf" for n in range(1, min(count, 9) + 1)]
    others = [name for name in others if name != expected]
    raise DamagedFile(
        f"{source.label}: is part {(number or 0) + 1} of {count:,} of a model, by its split.no and "
        f"split.count, and is not named so. Name it {expected}, with the others beside it: "
        f"{', '.join(others)}{', ...' if count > 9 else ''}"
    )


def _number(source: Source, reader: Reader, key: str) -> int | None:
    """A field that is an integer. None if the file does not have it."""
    field = reader.fields.get(key)
    if field is None:
        return None
    value = field.contents()
    if not isinstance(value, int) or not 0 <= value < 1 << 16:
        raise DamagedFile(f"{source.label}: its {key} is {value!r:.40}, not a number of a part")
    return value


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
