"""Mappings of names to arrays: a dict, an open npz or HDF5 file, any ``Mapping``.

Nested mappings join their names with ``/``. A value is anything that ``np.asarray`` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, Confidence, InitregError, OpenOptions, Source, hookimpl


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if isinstance(source.obj, Mapping):
        # What another format knows better, such as a dict of layers, has a class of its own.
        sure = Confidence.EXACT if type(source.obj) is dict else Confidence.CONTENT
        return Claim(sure, f"a {type(source.obj).__name__}, which is a mapping")
    return None


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_formats.shared.flattening import flatten

    if not isinstance(source.obj, Mapping):
        raise InitregError(
            f"{source.label}: the mapping format opens mappings of names to arrays, and this is of "
            f"type {type(source.obj).__name__}"
        )
    return flatten(source.obj, source.label)
