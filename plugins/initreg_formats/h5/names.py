"""What the datasets of a file are called: by Keras's attributes if there are any, else by path.

A group's ``layer_names`` attribute names its layer groups. A layer group's ``weight_names`` names
the datasets in it. A list that does not fit into one attribute is written as ``weight_names0``,
``weight_names1``, ... A saved model has its weights in the group ``model_weights`` and those of its
optimizer in ``optimizer_weights``.

Source of the rules: ``keras/src/legacy/saving/legacy_h5_format.py`` (Keras 3 and tf_keras), and
``keras/engine/topology.py`` of Keras 1 and 2.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from initreg import Automatic, DamagedFile, Place
from initreg.format_tools.values import UNKNOWN, Unreadable
from initreg_formats.h5 import optimizers
from initreg_formats.h5.arrays import to_array
from initreg_formats.h5.attributes import has_attribute, string_list
from initreg_formats.h5.container import Container
from initreg_formats.h5.hdf5.headers import Header
from initreg_formats.h5.layers import (
    VARIABLES,
    automatic_label,
    configured_layers,
    label,
    later_places,
    layer_names,
    model_name,
)
from initreg_formats.h5.roles import with_roles
from initreg_formats.h5.walk import Contents, Walk
from initreg_formats.shared.keras_names import (
    has_class_name,
    is_automatic,
    without_underscores,
)

_MODEL = "model_weights"
_TOP_LEVEL = "top_level_model_weights"


def arrays_of(container: Container) -> dict[str, Any]:
    """Every array of the file, by name. Raises DamagedFile, RefusedFile, MissingLibrary."""
    contents = Walk(container).contents
    named = weights(contents, container)
    names = {path: weight.name for path, weight in named.items()}
    layers = {} if named else layer_names(contents, container)
    model = container.model = "" if named else model_name(contents, container)
    later = later_places(contents)
    arrays: dict[str, Any] = {}
    listed: list[str] = []  # the state of an optimizer, in its order
    for path, name in unique(names, contents).items():
        if path in contents.lost:
            message, kind = contents.lost[path]
            arrays[name] = Unreadable((), UNKNOWN, message, () if name == path else (path,), kind)
            continue
        dataset = contents.datasets[path]
        aliases: tuple[str, ...] = tuple(dataset.links)
        if path in named:
            own = (Automatic(path) if is_automatic(path) else path, *aliases)
            aliases = (*own, *named[path].others) if name != path else named[path].others
        elif VARIABLES.fullmatch(path):
            other, automatic = label(path, layers), automatic_label(path, layers)
            aliases = (
                *(() if other is None else (other,)),
                *(() if automatic in (None, path) else (Automatic(automatic),)),
                *((Automatic(f"{model}/{automatic}"),) if automatic and model else ()),
                Place(path),
                Place(without_underscores(path)),
                *map(Place, _later(path, later)),
                *map(Place, aliases),
            )
        array = to_array(container, dataset, aliases, is_weight=path in names)
        if array is not None:
            arrays[name] = array
            if path in named and named[path].is_state:
                listed.append(name)
    arrays = with_roles(arrays, configured_layers(contents, container), layers)
    container.optimizers = optimizers.look(contents, container, arrays, listed)
    if not container.vocabularies:
        return arrays
    from initreg_formats.h5.vocabularies import vocabulary_arrays

    return arrays | vocabulary_arrays(container.vocabularies, layers)


def _later(path: str, later: Mapping[str, str]) -> list[str]:
    """The place of a dataset in later versions of Keras, if its file is of an old one."""
    for at in reversed([at.start() for at in re.finditer("/", path)] if later else []):
        if path[:at] in later:
            return [later[path[:at]] + path[at:]]
    return []


def unique(names: dict[str, str], contents: Contents) -> dict[str, str]:
    """The name of every dataset, and of every link to none, by its path. Those that ``names`` lacks
    are called by their paths, and so are all that would share a name."""
    paths = [*contents.datasets, *contents.lost]
    found = names | {path: path for path in paths if path not in names}
    while True:
        count = Counter(map(_compared, found.values()))
        shared = [p for p, name in found.items() if name != p and count[_compared(name)] > 1]
        if not shared:
            return found
        found.update((path, path) for path in shared)


def _compared(name: str) -> str:
    return name.removesuffix(":0")


class Weight(NamedTuple):
    """A weight that Keras's attributes name. ``others`` are its label and its place. ``is_state``
    is whether it is one of the optimizer's."""

    name: str
    others: tuple[str, ...] = ()
    is_state: bool = False


def weights(contents: Contents, container: Container) -> dict[str, Weight]:
    """The weights that Keras's attributes name, by the paths of the datasets, in Keras's order."""
    for base in ("", _MODEL):
        group = contents.groups.get(base)
        if group is not None and _has_list(group, "layer_names", container):
            break
    else:
        return {}
    layers = _list(group, "layer_names", container)
    lists: dict[str, list[tuple[str, str]]] = {}
    for layer in dict.fromkeys([*layers, _TOP_LEVEL]):
        path = _join(base, layer)
        if path in contents.groups:
            lists[layer] = list(_named(contents, path, container))
        elif layer != _TOP_LEVEL:
            raise DamagedFile(
                f"{container.label}: its layer_names have {layer!r}, but there is no group "
                f"{path!r}. Download or copy the file again"
            )
    found: dict[str, Weight] = {}
    top = lists.pop(_TOP_LEVEL, [])
    with_weights = {layer: named for layer, named in lists.items() if named}
    for number, (layer, named) in enumerate(with_weights.items()):
        for at, (path, name) in enumerate(named):
            where = f"weight {at} of {len(named)}"
            place = Place(f"#layer {number} of {len(with_weights)}, {where}")
            text = f"{layer}: {where}"
            given = Automatic(text) if has_class_name(layer) else text
            own = (Automatic(name),) if is_automatic(name) else ()
            found[path] = Weight(name, (given, place, *own))
    for at, (path, name) in enumerate(top):
        found[path] = Weight(name, (Place(f"#top level, weight {at} of {len(top)}"),))
    if optimizers.LEGACY in contents.groups and optimizers.LEGACY not in layers:
        for path, name in _named(contents, optimizers.LEGACY, container):
            found[path] = Weight(name, is_state=True)
    return found


def _named(contents: Contents, path: str, container: Container) -> Iterator[tuple[str, str]]:
    """The path and the name of each weight in a group's ``weight_names``."""
    for name in _list(contents.groups[path], "weight_names", container):
        below = _join(path, name)
        if below not in contents.datasets and below not in contents.lost:
            raise DamagedFile(
                f"{container.label}: the weight_names of group {path!r} have {name!r}, but there "
                f"is no dataset {below!r}. Download or copy the file again"
            )
        yield below, name


def _join(base: str, name: str) -> str:
    """A path as HDF5 reads it: empty parts and '.' are ignored, a leading '/' means the root."""
    whole = name if name.startswith("/") else f"{base}/{name}"
    return "/".join(part for part in whole.split("/") if part not in ("", "."))


def _has_list(group: Header, name: str, container: Container) -> bool:
    return any(has_attribute(group, f"{name}{part}", container) for part in ("", 0))


def _list(group: Header, name: str, container: Container) -> list[str]:
    """A list of strings in the attribute ``name``, or in the several that it is split into."""
    if has_attribute(group, name, container):
        return string_list(group, name, container)
    found: list[str] = []
    for part in itertools.count():
        if not has_attribute(group, f"{name}{part}", container):
            break
        found += string_list(group, f"{name}{part}", container)
    return found
