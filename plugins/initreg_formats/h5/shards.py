"""Weights in several files, and their index.

Keras writes ``NAME.weights.json`` and ``NAME_00000.weights.h5``, and so on. The index has a
``weight_map``, which gives for each group of variables its part, or a list of parts. Source of the
layout: ``keras/src/saving/saving_lib.py``, ``ShardedH5IOStore``.

transformers wrote ``tf_model.h5.index.json`` and ``tf_model-00001-of-00002.h5``. Its ``weight_map``
gives for each weight its part, under a name that may have one component more than the dataset.
Source: ``tf_shard_checkpoint`` in ``transformers/modeling_tf_utils.py`` (4.x).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from initreg import DamagedFile, InitregError, OpenOptions, Source, part_sets
from initreg.format_tools.files import is_there, listed
from initreg.format_tools.indexes import index_of, parts_of, together, weight_map
from initreg_formats.h5.claiming import KERAS_INDEX, TRANSFORMERS_INDEX, is_index
from initreg_formats.h5.container import Container
from initreg_formats.h5.names import arrays_of

_KERAS_PART = re.compile(r"(.+)_\d{5}\.weights\.h5")
_NUMBERED = re.compile(r"(.+)_([1-9]\d*)")
_AGAIN = "The index and the parts come from different saves. Download or copy all of them again"
_MOST_COMPARED = 3  # files that may be other parts


def index_beside(source: Source) -> Source | None:
    """The index of the parts of which a file is one by its name. None if there is no index.

    Raises InitregError if the index beside the file names other parts.
    """
    assert source.path is not None
    name = source.path.name
    keras, sets = _KERAS_PART.fullmatch(name), part_sets([name])
    if keras is not None:
        name = keras[1] + KERAS_INDEX
    elif sets:
        name = sets[0].stem[:-1] + TRANSFORMERS_INDEX
    else:
        return None
    beside = source.path.with_name(name)
    if not is_there(beside):
        return None
    index = source.part(name)
    return index_of(source, name) if is_index(index) else None


def open_shards(source: Source, options: OpenOptions) -> tuple[dict[str, Any], list[Container]]:
    """The arrays of all parts that an index names, and the parts, which the caller must close.

    Raises DamagedFile if the index and a part disagree.
    """
    what = source.label
    places = _places(source)
    names = list(dict.fromkeys(part for parts in places.values() for part in parts))
    files = parts_of(source, names)
    assert source.path is not None
    if source.path.name.lower().endswith(TRANSFORMERS_INDEX):
        return _counted(what, places, files, options)
    arrays: dict[str, Any] = {}
    with _closed_on_error() as containers:
        for name, file in zip(names, files, strict=True):
            containers.append(Container.of_file(file, options))
            found = arrays_of(containers[-1])
            for path in found:
                if name not in places.get(_group(path), ()) or path in arrays:
                    raise DamagedFile(
                        f"{what}: array {path!r} lies in part {name}, but the index does not say "
                        f"so. {_AGAIN}"
                    )
            groups = {_group(path) for path in found}
            for group, parts in places.items():
                if name in parts and group not in groups:
                    raise DamagedFile(
                        f"{what}: group {group!r} should lie in part {name}, which has no such "
                        f"group. {_AGAIN}"
                    )
            arrays |= found
    return arrays, containers


def open_set(
    files: tuple[Source, ...], options: OpenOptions
) -> tuple[dict[str, Any], list[Container]]:
    """The arrays of all parts of a set without an index, and the parts, which the caller must
    close. Raises DuplicateName."""
    with _closed_on_error() as containers:
        containers += [Container.of_file(file, options) for file in files]
        arrays = together(
            (file, arrays_of(container)) for file, container in zip(files, containers, strict=True)
        )
    return arrays, containers


def refuse_keras_part(source: Source, names: dict[str, Any], options: OpenOptions) -> None:
    """Refuse one part of a sharded save of Keras whose index is missing.

    ``m_00001.weights.h5`` may also be the save of an epoch. Then other epochs have arrays of the
    same names, and there is no ``dense_1`` without a ``dense``.

    Raises:
        InitregError: the arrays show that it is a part.
    """
    assert source.path is not None
    match = _KERAS_PART.fullmatch(source.path.name)
    if match is None or not names:
        return
    others = _beside(source, match[1])
    gap = _gap(names)
    disjoint = others and all(
        names.keys().isdisjoint(_names(source.part(other), options)) for other in others
    )
    if not gap and not disjoint:
        return
    why = f"It has {gap[0]!r} and no {gap[1]!r}" if gap else "Its arrays and theirs differ"
    shown = f" ({', '.join(others)} {'is' if len(others) == 1 else 'are'} beside it)"
    raise InitregError(
        f"{source.label}: is named like one part of a sharded save of Keras, and its index, "
        f"{match[1]}{KERAS_INDEX}, is missing{shown if others else ''}. {why}. Download or copy "
        "the index and all parts into its folder. If the file is complete nevertheless, give a "
        "copy of it another name"
    )


def _beside(source: Source, stem: str) -> list[str]:
    """The names of the first files that may be other parts."""
    assert source.path is not None
    found = []
    for name in sorted(listed(source.path.parent)):
        match = _KERAS_PART.fullmatch(name)
        if match is not None and match[1] == stem and name != source.path.name:
            found.append(name)
    return found[:_MOST_COMPARED]


def _names(file: Source, options: OpenOptions) -> set[str]:
    """The names of the arrays of another file. Empty if it cannot be read."""
    try:
        container = Container.of_file(file, options)
    except InitregError:
        return set()
    try:
        return set(arrays_of(container))
    except InitregError:
        return set()
    finally:
        container.close()


def _gap(names: dict[str, Any]) -> tuple[str, str] | None:
    """A layer such as ``layers/dense_1`` whose predecessor, ``layers/dense``, has no arrays."""
    layers = {
        "/".join(parts[: at + 1])
        for parts in (name.split("/") for name in names)
        for at in range(1, len(parts) - 1)
        if parts[at - 1] == "layers"
    }
    for layer in sorted(layers):
        match = _NUMBERED.fullmatch(layer)
        if match is not None:
            before = match[1] if match[2] == "1" else f"{match[1]}_{int(match[2]) - 1}"
            if before not in layers:
                return layer, before
    return None


@contextmanager
def _closed_on_error() -> Iterator[list[Container]]:
    containers: list[Container] = []
    try:
        yield containers
    except BaseException:
        for container in containers:
            container.close()
        raise


def _counted(
    what: str, places: dict[str, list[str]], files: list[Source], options: OpenOptions
) -> tuple[dict[str, Any], list[Container]]:
    """The arrays of parts whose index gives a part for each array, under names of its own."""
    expected = Counter(part for parts in places.values() for part in parts)
    found: list[tuple[Source, dict[str, Any]]] = []
    with _closed_on_error() as containers:
        for file in files:
            assert file.path is not None
            containers.append(Container.of_file(file, options))
            found.append((file, arrays_of(containers[-1])))
            count, said = len(found[-1][1]), expected[file.path.name]
            if count != said:
                raise DamagedFile(
                    f"{what}: part {file.path.name} has {count:,} arrays, and the index says "
                    f"{said:,}. {_AGAIN}"
                )
        return together(found), containers


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
