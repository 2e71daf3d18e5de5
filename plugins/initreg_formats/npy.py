"""numpy's ``.npy``: one array, or one pickled dict of arrays as old model zoos have it.

A plain array is called by the stem of its file. A pickled dict, from Python 2 too, is opened only
with ``allow_pickle=True``, because a pickle can run any code.

Source of the layout: numpy's NEP 1 and ``numpy.lib.format``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from initreg import Claim, Confidence, DamagedFile, Extent, OpenOptions, Source, hookimpl
from initreg_formats.shared.flattening import flatten
from initreg_formats.shared.npy_header import MAGIC, header_size, parse_header
from initreg_formats.shared.numpy_reading import (
    ReadByNumpy,
    read_pickled,
    refused_pickle,
    structured_dtype,
)
from initreg_formats.shared.paths import file_of


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if source.head.startswith(MAGIC):
        return Claim(Confidence.EXACT, "begins with numpy's magic '\\x93NUMPY'")
    if source.suffix == ".npy" and source.is_file:
        return Claim(Confidence.NAME, "is named .npy, but does not begin like one")
    return None


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
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
