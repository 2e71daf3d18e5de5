"""Reading ``.npy``: an array as an extent, so that initreg reads it, or a pickled dict or list."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from initreg import DamagedFile, Extent, OpenOptions, Source
from initreg_formats.shared.flattening import flatten
from initreg_formats.shared.npy_header import Header, header_size, parse_header
from initreg_formats.shared.numpy_reading import (
    ReadByNumpy,
    arrays_in,
    read_pickled,
    read_structured,
    refused_pickle,
    structured_dtype,
)
from initreg_formats.shared.paths import file_of


def open_file(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    """The array of the file, or those of its dict or list. Raises DamagedFile, RefusedFile."""
    path = file_of(source, "npy")
    what = source.label
    size = header_size(source.head, what)
    header = parse_header(source.read(0, size), what)
    name = path.stem
    if header.is_pickle:
        if not options.allow_pickle:
            raise refused_pickle(what)
        return _open_pickle(source, header, name)
    if isinstance(header.descr, list):
        dtype = structured_dtype(header.descr, what, math.prod(header.shape))
        nbytes = math.prod(header.shape) * dtype.itemsize
        if header.size + nbytes > source.size:
            raise DamagedFile(
                f"{what}: holds fewer than the {nbytes:,} bytes that its header says. Download or "
                "copy it again"
            )
        return {name: ReadByNumpy(header.shape, dtype, lambda: _load(source, header, dtype))}
    return {
        name: Extent(
            file=path,
            offset=header.size,
            length=source.size - header.size,
            shape=header.shape,
            dtype=header.descr,
            order=header.order,
        )
    }


def _load(source: Source, header: Header, dtype: Any) -> Any:
    with source.open() as file:
        return read_structured(file, header, dtype, source.label)


def _open_pickle(source: Source, header: Header, name: str) -> Mapping[str, Any]:
    with source.open() as file:
        found = read_pickled(file, header, source.label)
    arrays = arrays_in(found, "", source.label)
    if arrays is not None:
        return arrays
    if not found.shape:
        raise DamagedFile(
            f"{source.label}: holds a pickled {type(found.item()).__name__}, not a dict of arrays "
            "or a list of them"
        )
    return flatten({name: found}, source.label)  # an array of numbers or strings, as objects
