"""numpy's ``.npy``: one array, or one pickled dict of arrays as old model zoos have it.

A plain array is called by the stem of its file. A pickled dict, from Python 2 too, is opened only
with ``allow_pickle=True``, because a pickle can run any code.

Source of the layout: numpy's NEP 1 and ``numpy.lib.format``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, Confidence, OpenOptions, Source, hookimpl
from initreg_formats.shared.npy_header import MAGIC


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if source.head.startswith(MAGIC):
        return Claim(Confidence.EXACT, "begins with numpy's magic '\\x93NUMPY'")
    if source.suffix == ".npy" and source.is_file:
        return Claim(Confidence.NAME, "is named .npy, but does not begin like one")
    return None


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_formats.npy import reading

    return reading.open_file(source, options)
