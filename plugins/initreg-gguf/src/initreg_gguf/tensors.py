"""The tensors of one GGUF file, as extents or as arrays that are unpacked when they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, BinaryIO, NoReturn

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quant_shape_to_byte_shape
from initreg import (
    DamagedFile,
    DuplicateName,
    Extent,
    InitregError,
    OpenOptions,
    RefusedFile,
    Source,
    part_sets,
)
from initreg.dtypes import OpaqueDtype
from initreg.format_tools.files import read_at, stamp_of

from initreg_gguf.header import Fault, Header, Short, Tensor
from initreg_gguf.rows import reordered

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


_SHARED = 4  # how many times its size a file is read, as initreg has it for extents
_JUSTIFIED = 64 << 20  # bytes that may be read in any case


class Unreadable:
    """A tensor that is listed, and that cannot be read: ``unreadable`` says why."""

    def __init__(self, message: str, shape: tuple[int, ...], kind: int) -> None:
        self.unreadable, self.shape, self.dtype = message, shape, OpaqueDtype(f"type {kind}")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise InitregError(self.unreadable)


class Quantised:
    """A tensor of a block type. When it is asked for, it is read and unpacked to float32.

    ``shape`` is that of the unpacked array. The bytes in the file, ``nbytes``, are fewer.
    """

    dtype = "float32"

    def __init__(self, file: Tensors, kind: Any, shape: tuple[int, ...], at: int, size: int):
        self.shape = shape
        self._file = file
        self._kind = kind
        self._at = at
        self.nbytes = size

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        packed = self._file.read(self._at, self.nbytes)
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

    ``metadata`` are the key-value pairs of the file, as text. ``reordered`` says of which tensors
    llama.cpp has put the rows in another order.
    """

    def __init__(self, label: str, file: BinaryIO, metadata: Mapping[str, str]) -> None:
        super().__init__()
        self.label = label
        self.metadata = metadata
        self.reordered: Mapping[str, str] = {}
        self._file = file
        self._stamp = stamp_of(file)

    def read(self, offset: int, length: int) -> Any:
        """``length`` bytes at ``offset``. pread, because several threads may read at once."""
        found = read_at(self._file, length, offset)
        if len(found) < length or stamp_of(self._file) != self._stamp:
            raise DamagedFile(
                f"{self.label}: was written to after it was opened. Open it again, and download or "
                "copy it again if it is incomplete"
            )
        return np.frombuffer(found, np.uint8)

    def close(self) -> None:
        self._file.close()


def arrays_of(source: Source, order: str, options: OpenOptions) -> Mapping[str, Any]:
    """Every tensor by its name.

    Raises:
        DamagedFile: the file is not complete, or contradicts itself.
        DuplicateName: two tensors have one name.
    """
    assert source.path is not None
    with ExitStack() as on_error:
        file = source.open()
        on_error.callback(file.close)
        try:
            header = Header(lambda at, n: read_at(file, n, at), source.size, order)
        except Short as error:
            raise DamagedFile(_incomplete(source, f"it {error}")) from error
        except Fault as error:
            raise DamagedFile(
                f"{source.label}: as a GGUF file, it {error}. The file is damaged, or an unusual "
                "program wrote it. Download or copy it again"
            ) from error
        check_split(source, header.values)
        arrays = Tensors(source.label, file, _metadata(header.values))
        packed = unpacked = 0
        for tensor in header.tensors:
            if tensor.name in arrays:
                raise DuplicateName(f"{source.label}: two tensors are called {tensor.name!r}")
            found = arrays[tensor.name] = _value(arrays, tensor, source, order)
            if isinstance(found, Quantised):
                packed += found.nbytes
                unpacked += math.prod(found.shape) * 4
        arrays.reordered = reordered(header.values)
        _check_sharing(source, packed, unpacked, options)
        on_error.pop_all()
    return arrays


def _incomplete(source: Source, what: str) -> str:
    return (
        f"{source.label}: not a complete GGUF file of {source.size:,} bytes: {what}. Download or "
        "copy it again"
    )


def _check_sharing(source: Source, packed: int, unpacked: int, options: OpenOptions) -> None:
    """Refuse quantised tensors that share their bytes, so that a small file could fill the memory.
    initreg does that for extents."""
    if packed > _SHARED * source.size + _JUSTIFIED:
        raise DamagedFile(
            f"{source.label}: its quantised tensors take {packed:,} bytes of the file, which has "
            f"only {source.size:,}. They overlap, so that a small file could fill the memory. The "
            "file was made to do this, or its header is wrong"
        )
    what = f"{source.label}: all of its quantised tensors together"
    RefusedFile.check_inflation(what, source.size, unpacked, options.max_inflation)


def _metadata(values: Mapping[str, Any]) -> dict[str, str]:
    """The key-value pairs as text. What says which part of a model this is is left out."""
    return {key: str(value) for key, value in values.items() if not key.startswith("split.")}


def check_split(source: Source, values: Mapping[str, Any]) -> None:
    """Refuse one file of a split model, unless initreg opens all of them.

    initreg opens the set that a file is a part of by its name, ``m-00001-of-00003.gguf``. So what
    the file says must agree with its name. Source: llama.cpp's ``tools/gguf-split``, which counts
    parts from 0 in ``split.no`` and from 1 in names.

    Raises:
        DamagedFile: the file is a part, and has another name.
    """
    count, number = _number(source, values, "split.count"), _number(source, values, "split.no")
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


def _number(source: Source, values: Mapping[str, Any], key: str) -> int | None:
    """A value that is an integer. None if the file does not have it."""
    value = values.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or not 0 <= value < 1 << 16:
        raise DamagedFile(f"{source.label}: its {key} is {value!r:.40}, not a number of a part")
    return value


def _value(
    arrays: Tensors, tensor: Tensor, source: Source, order: str
) -> Extent | Quantised | Unreadable:
    assert source.path is not None
    what = f"{source.label}: tensor {tensor.name!r}"
    shape = tuple(reversed(tensor.shape))  # the file begins with the innermost axis
    if math.prod(axis or 1 for axis in shape) >= 1 << 60:
        raise DamagedFile(f"{what} has the impossible shape {shape}. Download or copy it again")
    try:
        kind = GGMLQuantizationType(tensor.kind)
        block, size = GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError):
        message = (
            f"{what} cannot be read: it has the type {tensor.kind}, which this version of gguf "
            "does not know. pip install --upgrade gguf"
        )
        return Unreadable(message, shape, tensor.kind)
    if (shape[-1] if shape else 1) % block:
        raise DamagedFile(
            f"{what} of shape {shape} is {kind.name}, whose rows are multiples of {block}. "
            "Download or copy it again"
        )
    length = math.prod(shape) * size // block
    if tensor.at + length > source.size:
        end = f"tensor {tensor.name!r} ends at byte {tensor.at + length:,}"
        raise DamagedFile(_incomplete(source, end))
    if kind.name in PLAIN:
        return Extent(source.path, tensor.at, length, shape, order + PLAIN[kind.name])
    if order == ">":
        raise DamagedFile(
            f"{what} is {kind.name} in a big-endian file, which initreg cannot read. Convert the "
            "file first: gguf-convert-endian FILE little"
        )
    if kind is GGMLQuantizationType.BF16:  # numpy has no type string for it
        return Extent(source.path, tensor.at, length, shape, "bfloat16")
    return Quantised(arrays, kind, shape, tensor.at, length)
