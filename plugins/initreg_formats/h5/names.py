"""What the datasets of a file are called: by Keras's attributes if there are any, else by path.

A group's ``layer_names`` attribute names its layer groups. A layer group's ``weight_names`` names
the datasets in it. A list that does not fit into one attribute is written as ``weight_names0``,
``weight_names1``, ... A saved model has its weights in the group ``model_weights`` and those of its
optimizer in ``optimizer_weights``.

Source of the rules: ``keras/src/legacy/saving/legacy_h5_format.py`` (Keras 3 and tf_keras), and
``keras/engine/topology.py`` of Keras 1 and 2.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from initreg import DamagedFile, Extent
from initreg_formats.h5.arrays import to_array
from initreg_formats.h5.attributes import has_attribute, string_list
from initreg_formats.h5.container import Container
from initreg_formats.h5.walk import Contents, Walk

if TYPE_CHECKING:
    import h5py

_MODEL = "model_weights"
_OPTIMIZER = "optimizer_weights"
_OPTIMIZER_STATE = re.compile(r"((?:.*/)?\w*optimizer/vars)/\d+")
_TOP_LEVEL = "top_level_model_weights"


def arrays_of(container: Container) -> dict[str, Any]:
    """Every array of the file, by name. Raises DamagedFile, RefusedFile, MissingLibrary."""
    contents = Walk(container).contents
    names = weight_names(contents, container)
    arrays: dict[str, Any] = {}
    for path, name in unique(names, contents).items():
        dataset = contents.datasets[path]
        aliases = (path, *dataset.links) if name != path else tuple(dataset.links)
        array = to_array(container, dataset, aliases, is_weight=path in names)
        if array is not None:
            arrays[name] = array
    return arrays


def with_places(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The same arrays, with ``optimizer/vars/3 of 8`` as an alias of ``optimizer/vars/3``.

    Keras 3 saves the state of an optimizer as a list without names, and refuses a list of another
    length. Such a list belongs to another optimizer, where the same place means something else.
    ``arrays`` must be those of all parts, because the list may be spread over several.
    """
    found = dict(arrays)
    matches = [match for match in map(_OPTIMIZER_STATE.fullmatch, arrays) if match is not None]
    lengths = Counter(match[1] for match in matches)
    for match in matches:
        array = found[match[0]]
        aliases = (*array.aliases, f"{match[0]} of {lengths[match[1]]}")
        if isinstance(array, Extent):
            found[match[0]] = dataclasses.replace(array, aliases=aliases)
        else:
            array.aliases = aliases
    return found


def unique(names: dict[str, str], contents: Contents) -> dict[str, str]:
    """The name of every dataset, by its path. Datasets that ``names`` lacks are called by their
    paths, and so are all datasets that would share a name."""
    found = names | {path: path for path in contents.datasets if path not in names}
    while True:
        count = Counter(map(_compared, found.values()))
        shared = [p for p, name in found.items() if name != p and count[_compared(name)] > 1]
        if not shared:
            return found
        found.update((path, path) for path in shared)


def _compared(name: str) -> str:
    return name.removesuffix(":0")


def weight_names(contents: Contents, container: Container) -> dict[str, str]:
    """The names from Keras's attributes, by the paths of the datasets, in Keras's order."""
    for base in ("", _MODEL):
        group = contents.groups.get(base)
        if group is not None and _has_list(group, "layer_names", container):
            break
    else:
        return {}
    layers = _list(group, "layer_names", container)
    found: dict[str, str] = {}
    for layer in [*layers, _TOP_LEVEL]:
        path = _join(base, layer)
        if path in contents.groups:
            found |= dict(_named(contents, path, container))
        elif layer != _TOP_LEVEL:
            raise DamagedFile(
                f"{container.label}: its layer_names have {layer!r}, but there is no group "
                f"{path!r}. Download or copy the file again"
            )
    if _OPTIMIZER in contents.groups and _OPTIMIZER not in layers:
        found |= dict(_named(contents, _OPTIMIZER, container))
    return found


def _named(contents: Contents, path: str, container: Container) -> Iterator[tuple[str, str]]:
    """The path and the name of each weight in a group's ``weight_names``."""
    for name in _list(contents.groups[path], "weight_names", container):
        below = _join(path, name)
        if below not in contents.datasets:
            raise DamagedFile(
                f"{container.label}: the weight_names of group {path!r} have {name!r}, but there "
                f"is no dataset {below!r}. Download or copy the file again"
            )
        yield below, name


def _join(base: str, name: str) -> str:
    """A path as HDF5 reads it: empty parts and '.' are ignored, a leading '/' means the root."""
    whole = name if name.startswith("/") else f"{base}/{name}"
    return "/".join(part for part in whole.split("/") if part not in ("", "."))


def _has_list(group: h5py.h5g.GroupID, name: str, container: Container) -> bool:
    return any(has_attribute(group, f"{name}{part}", container) for part in ("", 0))


def _list(group: h5py.h5g.GroupID, name: str, container: Container) -> list[str]:
    """A list of strings in the attribute ``name``, or in the several that it is split into."""
    if has_attribute(group, name, container):
        return string_list(group, name, container)
    found: list[str] = []
    for part in itertools.count():
        if not has_attribute(group, f"{name}{part}", container):
            break
        found += string_list(group, f"{name}{part}", container)
    return found
