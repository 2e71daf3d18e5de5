"""Reading ``.npy``: an array as an extent, so that initreg reads it, or a pickled dict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from initreg import DamagedFile, Extent, OpenOptions, Source
from initreg_formats.shared.flattening import flatten
from initreg_formats.shared.npy_header import header_size, parse_header
from initreg_formats.shared.numpy_reading import (
    ReadByNumpy,
    read_pickled,
    refused_pickle,
    structured_dtype,
)
from initreg_formats.shared.paths import file_of


def open_file(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    """The array of the file, or those of its dict. Raises DamagedFile, RefusedFile."""
    path = file_of(source, "npy")
    what = source.label
    size = header_size(source.head, what)
    header = parse_header(source.read(0, size), what)
    if header.is_pickle:
        if not options.allow_pickle:
            raise refused_pickle(what)
        return _open_pickle(source)
    name = path.stem
    if isinstance(header.descr, list):
        dtype = structured_dtype(header.descr, what)
        nbytes = math.prod(header.shape) * dtype.itemsize
        if header.size + nbytes > source.size:
            raise DamagedFile(
                f"{what}: holds fewer than the {nbytes:,} bytes that its header says. Download or "
                "copy it again"
            )
        return {name: ReadByNumpy(header.shape, dtype, lambda: _load(source))}
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


def _load(source: Source) -> Any:
    import numpy as np

    with source.open() as file:
        return np.load(file, allow_pickle=False)


def _open_pickle(source: Source) -> Mapping[str, Any]:
    with source.open() as file:
        array = read_pickled(file, source.label)
    found = array.item() if array.shape == () else array
    if not isinstance(found, Mapping):
        raise DamagedFile(
            f"{source.label}: holds a pickled {type(found).__name__}, not a dict of arrays"
        )
    return flatten(found, source.label)
