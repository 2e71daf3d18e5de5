"""Where the bytes of each tensor are: extents, or objects that unpack what extents cannot say."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from initreg import (
    Automatic,
    DamagedFile,
    DuplicateName,
    Extent,
    InitregError,
    Source,
)
from initreg.dtypes import to_numpy
from initreg.format_tools.values import Computed, OpaqueDtype, Unreadable, is_of_a_graph

from initreg_tflite import claiming
from initreg_tflite.flatbuffer import Fault, Flatbuffer
from initreg_tflite.model import Model, Tensor
from initreg_tflite.quantising import beside
from initreg_tflite.types import NOT_NUMBERS, QUANTISED, TYPES, Type

Array = np.ndarray[Any, Any]

_AGAIN = "The file is damaged. Download or copy it again"
# The names that the converter makes up.
_AUTOMATIC = re.compile(r"(.*/)?(arith\.constant|tfl\.[\w.]+?|tensor_)\d*")
_COUNT = 4  # bytes of each number in a tensor of texts


class Arrays(dict[str, Any]):
    """What initreg gets: names to arrays.

    Args:
        metadata: what the model is, in words.
        not_needed: arrays that may stay unused, each with the reason.
    """

    def __init__(self, description: str) -> None:
        super().__init__()
        self.metadata = {"description": description} if description else {}
        self.not_needed: dict[str, str] = {}


def open_model(source: Source) -> Arrays:
    """Every tensor that has values, by name. Raises DamagedFile or DuplicateName."""
    if source.path is None:
        raise InitregError(f"{source.label} is not a file")
    if not source.exists:
        raise source.not_found()
    if not claiming.has_identifier(source):
        raise DamagedFile(
            f"{source.label}: is not a TensorFlow Lite model: it has not the identifier TFL3. "
            "Download or copy it again"
        )
    try:
        with source.open() as file:
            model = Model(Flatbuffer(file, source.size))
    except Fault as error:
        raise DamagedFile(
            f"{source.label}: as a TensorFlow Lite model, it {error}. {_AGAIN}"
        ) from error
    arrays, seen, total = Arrays(model.description), dict[str, Tensor](), 0
    for tensor in model.tensors:
        what = f"{source.label}: array {tensor.name!r}"
        if tensor.name in seen:
            if _is_same(seen[tensor.name], tensor):
                continue
            raise DuplicateName(f"{source.label}: two tensors are called {tensor.name!r}")
        seen[tensor.name] = tensor
        array, read = _array(source, tensor, what)
        found = {tensor.name: array}
        if tensor.quantisation is not None:
            found |= beside(
                tensor.name,
                tensor.shape,
                TYPES[tensor.type].bits if tensor.type in TYPES else 0,
                tensor.quantisation,
                read,
                what,
            )
        elif is_of_a_graph(array.dtype, tensor.shape):
            arrays.not_needed[tensor.name] = "a number of the model, such as a shape or an axis"
        for name, each in found.items():
            if name in arrays:
                raise DuplicateName(f"{source.label}: two arrays are called {name!r}")
            arrays[name] = each
            if name != tensor.name:
                arrays.not_needed[name] = f"says how {tensor.name!r} was quantised"
        if tensor.span is not None:
            total += tensor.span[1] - tensor.span[0]
    DamagedFile.check_shared(source.label, source.size, total)
    return arrays


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one name are one array. Converters merge equal buffers."""
    return (one.shape, one.type, one.span) == (other.shape, other.type, other.span)


def _array(source: Source, tensor: Tensor, what: str) -> tuple[Any, Callable[[], Array] | None]:
    """The array of a tensor, and what reads it, None if it cannot be read. Raises DamagedFile."""
    kind, shape = TYPES.get(tensor.type), tensor.shape
    if why := _why_not(tensor, kind):
        label = kind.name if kind else NOT_NUMBERS.get(tensor.type, f"type {tensor.type}")
        return Unreadable(shape, OpaqueDtype(label), f"{what} cannot be read: {why}"), None
    assert kind is not None
    assert tensor.span is not None
    assert source.path is not None
    aliases: tuple[str, ...] = ()
    if not tensor.is_named or _AUTOMATIC.fullmatch(tensor.name):
        aliases = (Automatic(tensor.name),)
    begin, end = tensor.span
    count = math.prod(shape)

    def data() -> bytes:
        found = source.read(begin, end - begin)
        if len(found) < end - begin:
            raise DamagedFile(f"{what}: the file became shorter while it was read. Open it again")
        return found

    if kind.name == "string":
        read: Callable[[], Array] = lambda: _texts(data(), count, what).reshape(shape)  # noqa: E731
        return Computed(shape, "string", read, aliases), read
    nbytes = -(-count * kind.bits // 8)
    if end - begin != nbytes:
        raise DamagedFile(
            f"{what} has {end - begin:,} bytes, but its shape {shape} and dtype {kind.name} take "
            f"{nbytes:,}. {_AGAIN}"
        )
    name = kind.name
    if kind.bits < 8:
        read = lambda: _small(data(), kind, count).reshape(shape)  # noqa: E731
        return Computed(shape, name, read, aliases), read
    if tensor.quantisation is not None:
        name = QUANTISED.get(name, name)
    read = lambda: np.frombuffer(data(), to_numpy(kind.name)).reshape(shape)  # noqa: E731
    return Extent(source.path, begin, nbytes, shape, name, aliases=aliases), read


def _why_not(tensor: Tensor, kind: Type | None) -> str:
    """Why a tensor cannot be read, and what to do. "" if it can."""
    if tensor.is_sparse:
        return "it is sparse. Convert the model without sparsity"
    if tensor.span is None:
        return "its values are in another file, which the model calls an external buffer"
    if tensor.type in NOT_NUMBERS:
        return f"it is a {NOT_NUMBERS[tensor.type]} of TensorFlow, and not an array"
    if kind is None:
        return (
            f"its dtype has the number {tensor.type}, which TensorFlow 2.21 does not have. A newer "
            "initreg-tflite may read it"
        )
    if kind.name != "string":
        try:
            to_numpy(kind.name)
        except TypeError as error:
            return str(error)
    return ""


def _small(data: bytes, kind: Type, count: int) -> Array:
    """Elements of 4 or 2 bits. The first one is in the lowest bits of its byte."""
    packed = np.frombuffer(data, np.uint8)
    mask = (1 << kind.bits) - 1
    bits = np.stack([packed >> at & mask for at in range(0, 8, kind.bits)], axis=-1)
    found = bits.reshape(-1)[:count]
    if kind.name.startswith("u"):
        return found.astype(to_numpy(kind.name))
    sign = 1 << kind.bits - 1
    signed = (found ^ sign).astype(np.int8) - np.int8(sign)
    return signed.astype(to_numpy(kind.name))


def _texts(data: bytes, count: int, what: str) -> Array:
    """Texts: how many they are, where each begins and the last one ends, and their bytes.

    Source: ``tensorflow/lite/string_util.h``.

    Raises:
        DamagedFile: there are more or fewer, or they lie beyond their bytes.
    """
    size = _COUNT * (count + 2)
    if len(data) < size or int.from_bytes(data[:_COUNT], "little") != count:
        raise DamagedFile(f"{what} has not as many texts as its shape says. {_AGAIN}")
    ends = np.frombuffer(data[_COUNT:size], "<u4").tolist()
    if ends != sorted(ends) or ends[0] < size or ends[-1] > len(data):
        raise DamagedFile(f"{what} has texts that lie beyond its bytes. {_AGAIN}")
    found = np.empty(count, object)
    for number in range(count):
        found[number] = data[ends[number] : ends[number + 1]]
    return found
