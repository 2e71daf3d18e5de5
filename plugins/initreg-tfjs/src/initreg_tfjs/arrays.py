"""The arrays of a model: extents, slices in several shards, or objects that compute values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from initreg import (
    Automatic,
    DamagedFile,
    DuplicateName,
    InitregError,
    OpenOptions,
    Source,
)
from initreg.format_tools.indexes import only_file
from initreg.format_tools.runs import Run, extent_of
from initreg.format_tools.values import Computed

from initreg_tfjs import claiming
from initreg_tfjs.layers import automatic_of, is_automatic, places_of
from initreg_tfjs.manifest import DTYPES, Group, Quantisation, Weight, read
from initreg_tfjs.shards import Shards

Array = np.ndarray[Any, Any]

_BLOCK = 1 << 20  # elements that are computed at once
_WINDOW = 1 << 16  # bytes that are read at once
_LENGTH = 4  # bytes before each text, which say how long it is


class Arrays(dict[str, Any]):
    """What initreg gets: names to arrays. ``metadata`` says who made the model."""

    def __init__(self, metadata: dict[str, str]) -> None:
        super().__init__()
        self.metadata = metadata


def open_model(source: Source, options: OpenOptions) -> Arrays:
    """Every weight by name.

    Raises:
        DamagedFile: a shard is missing, or the manifest and the shards disagree.
        RefusedFile: a shard lies in another folder.
        DuplicateName: two weights have one name.
        AmbiguousSource: a folder holds two models, or none.
    """
    if source.path is None:
        raise InitregError(f"{source.label} is not a file")
    if not source.exists:
        raise source.not_found()
    shard, source = (source, _of_shard(source)) if claiming.is_shard(source) else (None, source)
    if source.is_dir:
        source = only_file(source, claiming.contents(source), "models")
    manifest = read(source)
    listed = {path for group in manifest.groups for path in group.paths}
    if shard is not None and shard.path is not None and shard.path.name not in listed:
        raise DamagedFile(
            f"{shard.label}: is named like a shard of the model beside it, which has no such "
            "shard. Download or copy the model and its shards again"
        )
    layers = automatic_of(manifest.topology)
    names = [weight.name for group in manifest.groups for weight in group.weights]
    places = places_of(manifest.topology, names)
    arrays, seen = Arrays(manifest.metadata), set[str]()
    for number, group in enumerate(manifest.groups, 1):
        for path in group.paths:
            if path in seen:
                raise DamagedFile(f"{source.label}: shard {path!r} is listed twice")
            seen.add(path)
        shards = Shards(
            [source.part(path) for path in group.paths], f"{source.label}: group {number}"
        )
        for weight, begin, length in _laid_out(group, shards):
            if weight.name in arrays:
                raise DuplicateName(f"{source.label}: two weights are called {weight.name!r}")
            aliases: tuple[str, ...] = ()
            if is_automatic(weight.name, layers):
                aliases = (Automatic(weight.name),)
            if weight.name in places:
                aliases = (*aliases, places[weight.name])
            what = f"{source.label}: array {weight.name!r}"
            arrays[weight.name] = _array(weight, shards, begin, length, aliases, what)
    return arrays


def _of_shard(shard: Source) -> Source:
    """The folder of a shard, which holds the model. Raises DamagedFile."""
    assert shard.path is not None
    folder = Source(shard.path.parent, of=shard)
    if not claiming.contents(folder):
        raise DamagedFile(
            f"{shard.label}: is one shard of a TensorFlow.js model, whose {claiming.MODEL} should "
            "lie beside it. Download or copy it there, too"
        )
    return folder


def _laid_out(group: Group, shards: Shards) -> list[tuple[Weight, int, int]]:
    """The weights of a group, and where each begins in the row and how long it is.

    Raises:
        DamagedFile: the shards are shorter than the weights, or longer.
    """
    found, at = [], 0
    for weight in group.weights:
        count = math.prod(weight.shape)
        is_text = weight.dtype == "string"
        # Each text takes at least its length. How long they are is known once they are walked.
        length = count * (_LENGTH if is_text else DTYPES[weight.stored])
        if at + length <= shards.size and is_text:
            length = _end_of_texts(shards, at, count) - at
        if at + length > shards.size:
            raise DamagedFile(
                f"{shards.label}: array {weight.name!r} ends at byte {at + length:,}, but its "
                f"shards have {shards.size:,}: {_few(group.paths)}. They are truncated, or belong "
                "to another model. Download or copy all of them again"
            )
        found.append((weight, at, length))
        at += length
    if at != shards.size:
        raise DamagedFile(
            f"{shards.label}: its weights have {at:,} bytes, but its shards {shards.size:,}: "
            f"{_few(group.paths)}. They belong to another model. Download or copy all of them again"
        )
    return found


def _few(paths: tuple[str, ...]) -> str:
    return ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "") or "none"


def _end_of_texts(shards: Shards, at: int, count: int) -> int:
    """Where the last of some texts ends. It is beyond the shards if they are truncated."""
    data, first = b"", at
    for _ in range(count):
        if at + _LENGTH > shards.size:
            return at + _LENGTH
        if at + _LENGTH > first + len(data):
            data, first = shards.read(at, min(_WINDOW, shards.size - at)), at
        size = data[at - first : at - first + _LENGTH]
        at += _LENGTH + int.from_bytes(size, "little")
    return at


def _array(
    weight: Weight, shards: Shards, begin: int, length: int, aliases: tuple[str, ...], what: str
) -> Any:
    shape, dtype, quantisation = weight.shape, weight.dtype, weight.quantisation
    if dtype == "string":
        return Computed(shape, dtype, lambda: _texts(shards, begin, length, shape, what), aliases)
    if not length:
        return Computed(shape, dtype, lambda: np.zeros(shape, dtype), aliases)
    if quantisation is not None:
        return Computed(
            shape, dtype, lambda: _plain(weight, quantisation, shards, begin, what), aliases
        )
    runs = [Run(piece.path, piece.offset, piece.length) for piece in shards.pieces(begin, length)]
    extent = extent_of(runs, shape, dtype, aliases)
    if extent is not None:
        return extent

    def read() -> Array:  # an element lies in two shards
        found = np.frombuffer(shards.read(begin, length), _stored(dtype)).reshape(shape)
        return found.astype(dtype)

    return Computed(shape, dtype, read, aliases)


def _stored(dtype: str) -> np.dtype[Any]:
    return np.dtype(dtype).newbyteorder("<")


def _texts(shards: Shards, begin: int, length: int, shape: tuple[int, ...], what: str) -> Array:
    data, at = shards.read(begin, length), 0
    found = np.empty(math.prod(shape), object)
    for number in range(found.size):
        size = int.from_bytes(data[at : at + _LENGTH], "little")
        at += _LENGTH + size
        if at > length:
            raise DamagedFile(f"{what} was written to after it was opened. Open it again")
        found[number] = data[at - size : at]
    return found.reshape(shape)


def _plain(
    weight: Weight, quantisation: Quantisation, shards: Shards, begin: int, what: str
) -> Array:
    """What a weight was before it was quantised.

    Source: ``decodeWeights`` in tfjs-core's ``io/io_utils.ts``, and ``dequantize_weights`` in
    tensorflowjs. Both compute in float64.
    """
    count, stored = math.prod(weight.shape), _stored(quantisation.dtype)
    found = np.empty(count, weight.dtype)
    for at in range(0, count, _BLOCK):
        size = min(_BLOCK, count - at)
        data = shards.read(begin + at * stored.itemsize, size * stored.itemsize)
        values: Array = np.frombuffer(data, stored)
        if quantisation.dtype != "float16":
            values = values.astype(np.float64) * quantisation.scale + quantisation.minimum
            if weight.dtype == "int32":
                values = np.round(values)
                if np.abs(values).max() >= 1 << 31:
                    raise DamagedFile(
                        f"{what} is quantised with the scale {quantisation.scale} and the min "
                        f"{quantisation.minimum}, which give numbers beyond int32"
                    )
        with np.errstate(over="ignore"):  # a scale of 1e300 makes infinities, as in a browser
            found[at : at + size] = values
    return found.reshape(weight.shape)
