"""Where the bytes of each array of a file are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from initreg import DamagedFile, Source
from initreg.dtypes import is_number, stored_itemsize
from initreg.format_tools.runs import Run, extent_of
from initreg.format_tools.values import OpaqueDtype, Unreadable

from initreg_jax.msgpack import Array, Extension, Fault, Parser, Span
from initreg_jax.naming import Chunked, Leaf, leaves, parse


class Arrays(dict[str, Any]):
    """What initreg gets: names to arrays.

    Args:
        parameters: the names of those that belong to the model and not to its training.
        not_arrays: the names of texts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parameters: tuple[str, ...] = ()
        self.not_arrays: tuple[str, ...] = ()


def open_file(source: Source) -> Arrays:
    """The arrays of one file. Raises DamagedFile or DuplicateName."""
    arrays = Arrays()
    own: list[str] = []
    texts: list[str] = []
    try:
        with source.open() as file:

            def read(at: int, length: int) -> bytes:
                file.seek(at)
                return file.read(min(length, source.size - at))

            parser = Parser(read, source.size)
            found = parse(parser)
        if parser.at != source.size:
            raise Fault(f"ends at byte {parser.at:,}, but the file has {source.size:,}")
        for name, leaf, is_model in leaves(found, source.label):
            if isinstance(leaf, Span):
                texts.append(name)
                continue
            arrays[name] = _array(source, leaf, f"{source.label}: array {name!r}")
            if is_model:
                own.append(name)
    except Fault as error:
        raise DamagedFile(
            f"{source.label}: as msgpack of Flax, it {error}. The file is damaged, or is not one. "
            "Download or copy it again"
        ) from error
    arrays.parameters, arrays.not_arrays = tuple(own), tuple(texts)
    return arrays


def _array(source: Source, leaf: Leaf, what: str) -> Any:
    assert not isinstance(leaf, Span)
    if isinstance(leaf, Extension):
        return Unreadable(
            (),
            OpaqueDtype("extension"),
            f"{what} cannot be read: it is a msgpack extension of type {leaf.code}, which Flax "
            "does not write. Drop it",
        )
    if isinstance(leaf, (Array, Chunked)):
        shape, chunks = leaf if isinstance(leaf, Chunked) else (leaf.shape, (leaf,))
        return _of_bytes(source, shape, chunks, what)
    if type(leaf) is int and not -(1 << 63) <= leaf < 1 << 63:
        return np.array(leaf, np.uint64)
    return np.array(leaf)


def _of_bytes(source: Source, shape: tuple[int, ...], chunks: tuple[Array, ...], what: str) -> Any:
    dtype = chunks[0].dtype
    try:
        item = stored_itemsize(dtype) if is_number(dtype) else 0
    except TypeError:
        item = 0
    if not item:
        return Unreadable(
            shape,
            OpaqueDtype(dtype[:80]),
            f"{what} cannot be read: it has the dtype {dtype[:80]!r}, which neither numpy nor "
            "ml_dtypes has for numbers. Drop it, or cast it where it was saved",
        )
    for chunk in chunks:
        if math.prod(chunk.shape) * item != chunk.length:
            raise DamagedFile(
                f"{what} has {chunk.length:,} bytes for {dtype} of shape {chunk.shape}. The file "
                "is damaged. Download or copy it again"
            )
    assert source.path is not None
    nbytes, wanted = sum(chunk.length for chunk in chunks), math.prod(shape) * item
    if nbytes != wanted:
        raise DamagedFile(
            f"{what} has {nbytes // item:,} elements in its chunks, but its shape {shape} takes "
            f"{wanted // item:,}. The file is damaged. Download or copy it again"
        )
    # Each chunk holds whole elements, so that no element lies in two.
    return extent_of(
        [Run(source.path, chunk.begin, chunk.length) for chunk in chunks], shape, dtype
    )
