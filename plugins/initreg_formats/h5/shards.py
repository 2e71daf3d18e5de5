"""Keras weights in several files: ``NAME.weights.json`` and ``NAME_00000.weights.h5``, ...

Source of the layout: ``keras/src/saving/saving_lib.py``, ``ShardedH5IOStore``. The index has a
``weight_map``, which gives for each group of variables its part, or a list of parts.
"""

from __future__ import annotations

from typing import Any

from initreg import DamagedFile, OpenOptions, Source
from initreg_formats.h5.container import Container
from initreg_formats.h5.names import arrays_of
from initreg_formats.shared.parts import part_of, weight_map


def open_shards(source: Source, options: OpenOptions) -> tuple[dict[str, Any], list[Container]]:
    """The arrays of all parts, and the parts, which the caller must close.

    Raises DamagedFile if the index and a part disagree.
    """
    what = source.label
    assert source.path is not None
    places = _places(source)
    arrays: dict[str, Any] = {}
    containers: list[Container] = []
    try:
        for name in dict.fromkeys(part for parts in places.values() for part in parts):
            container = Container.of_file(part_of(source.path, name, what), options)
            containers.append(container)
            found = arrays_of(container)
            for path in found:
                if name not in places.get(_group(path), ()) or path in arrays:
                    raise DamagedFile(
                        f"{what}: array {path!r} lies in part {name}, but the index does not say "
                        "so. Download or copy all parts again"
                    )
            groups = {_group(path) for path in found}
            for group, parts in places.items():
                if name in parts and group not in groups:
                    raise DamagedFile(
                        f"{what}: group {group!r} should lie in part {name}, which has no such "
                        "group. Download or copy all parts again"
                    )
            arrays |= found
    except BaseException:
        for container in containers:
            container.close()
        raise
    return arrays, containers


def _group(path: str) -> str:
    return path.rpartition("/")[0]


def _places(source: Source) -> dict[str, list[str]]:
    """The parts of each group, by its path without a leading ``/``."""
    places: dict[str, list[str]] = {}
    for group, parts in weight_map(source).items():
        parts = [parts] if isinstance(parts, str) else parts
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise DamagedFile(
                f"{source.label}: its weight_map does not say which part {group!r} lies in"
            )
        places[group.lstrip("/")] = parts
    return places
