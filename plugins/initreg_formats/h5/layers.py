"""What people called the layers whose weights a file of Keras holds.

The path of a dataset in a ``.weights.h5`` or ``.keras`` file is its place: ``layers/dense/vars/0``.
Keras records the name of each layer beside that: as the attribute ``name`` of the group ``vars``
(Keras 3.6 and later), and in the ``config.json`` of an archive.

Source: ``keras/src/saving/saving_lib.py``, ``H5IOStore.make`` and ``_save_container_state``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from initreg import InitregError
from initreg_formats.h5.attributes import has_attribute, string_list
from initreg_formats.h5.container import Container
from initreg_formats.h5.hdf5.headers import Header
from initreg_formats.h5.walk import Contents
from initreg_formats.shared.keras_names import has_class_name

VARIABLES = re.compile(r"(?P<path>.*/|)vars/[^/]+")  # the path of a variable's dataset
_OLD_LIST = "_layer_checkpoint_dependencies"
_NUMBERED = re.compile(r"(.*?)(?:_(\d{1,9}))?", re.DOTALL)
_DEEPEST = 50  # models within models, in a config


def layer_names(contents: Contents, container: Container) -> dict[str, str]:
    """The names of layers, by their paths in the file: ``{"layers/dense": "head"}``.

    A file whose names cannot be read has none. They are not needed to read its weights.
    """
    layers = configured_layers(contents, container)
    found = {layer.path: layer.name for layer in layers if layer.is_listed}
    for path, group in contents.groups.items():
        above, _, last = path.rpartition("/")
        if last != "vars" or not above or "optimizer" in above:
            continue
        name = _recorded(group, container)
        if name:
            found[above] = name
    return {path: name for path, name in found.items() if name}


def model_name(contents: Contents, container: Container) -> str:
    """The name that somebody gave to the model itself, "" if there is none."""
    group = contents.groups.get("vars")
    name = _recorded(group, container) if group is not None else ""
    if not name:  # Keras 2 records it only in the config of an archive
        name, kind = _configured_model(container)
        if re.fullmatch(rf"{re.escape(_snake_case(kind))}(_\d+)?", name, re.IGNORECASE):
            return ""
    return "" if has_class_name(name) or "/" in name else name


def _configured_model(container: Container) -> tuple[str, str]:
    """The name of the model in the config of an archive, and that of its class."""
    if not container.config:
        return "", ""
    import json

    try:
        layer = json.loads(container.config)
        found = _configured(layer, "", True)
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError):
        return "", ""
    return found.name, found.kind


def _recorded(group: Header, container: Container) -> str:
    """The name of a layer, as the group of its variables records it."""
    try:
        if has_attribute(group, "name", container):
            names = string_list(group, "name", container)
            return names[0] if len(names) == 1 else ""
    except InitregError:
        pass
    return ""


def is_automatic(path: str, name: str) -> bool:
    """Whether a name is one that Keras makes from the class of a layer.

    Args:
        path: the path of the layer. In the list ``layers`` it ends in the name of the class.
        name: its name.
    """
    above, _, last = path.rpartition("/")
    base = re.sub(r"_\d+$", "", last)
    if re.fullmatch(rf"{re.escape(base)}(_\d+)?", name, re.IGNORECASE):
        return True
    # In the list of a Functional or Sequential model, the path says which class it is. So a Dense
    # layer called "conv2d" has this name from a person.
    in_list = above.rpartition("/")[2] == "layers" and has_class_name(base)
    if base == "functional" and re.fullmatch(r"model(_\d+)?", name):  # as Keras 2 names them
        return True
    return has_class_name(name) and not in_list


def label(place: str, names: Mapping[str, str]) -> str | None:
    """A variable's name with the names that people gave to its layers: ``head/vars/0``.

    Layers with automatic names are left out, or keep their place if they come last. None if no
    layer has a name that somebody gave it.

    >>> label("layers/dense/vars/0", {"layers/dense": "head"})
    'head/vars/0'
    """
    match = VARIABLES.fullmatch(place)
    path = match["path"] if match is not None else ""
    given: list[str] = []
    rest = path
    for at in re.finditer("/", path):
        above = path[: at.start()]
        name = names.get(above)
        if name is not None and not is_automatic(above, name):
            given.append(name)
            rest = path[at.end() :]
    return "/".join(given) + f"/{rest}{place[len(path) :]}" if given else None


def automatic_label(place: str, names: Mapping[str, str]) -> str | None:
    """A variable's name with the automatic name of its layer: ``dense_4/vars/0``.

    None if somebody gave the layer a name, or if the file does not record one.
    """
    match = VARIABLES.fullmatch(place)
    path = match["path"].removesuffix("/") if match is not None else ""
    name = names.get(path)
    if name is None or not is_automatic(path, name):
        return None
    return f"{name}{place[len(path) :]}"


def later_places(contents: Contents) -> dict[str, str]:
    """The places that later versions give the groups of a file of Keras 2.12 or 2.13.

    Those kept the layers of a model under ``_layer_checkpoint_dependencies``, and 2.12 counted each
    layer with weights twice: ``dense``, ``dense_2``. Keras 3 reads the groups as ``layers``.

    Returns:
        ``{"_layer_checkpoint_dependencies/dense_2": "layers/dense_1"}``, for every group in such a
        list. Empty for any other file.
    """
    found: dict[str, str] = {}
    members: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for path in contents.groups:
        above, _, last = path.rpartition("/")
        match = _NUMBERED.fullmatch(last)
        if above.rpartition("/")[2] == _OLD_LIST and match is not None:
            members.setdefault((above, match[1]), []).append((int(match[2] or 0), path))
    for (above, base), numbered in sorted(members.items()):  # outer lists first
        for number, (_, path) in enumerate(sorted(numbered)):
            home = above.removesuffix(_OLD_LIST)
            for old, new in found.items():
                if home.startswith(f"{old}/"):
                    home = new + home[len(old) :]
                    break
            found[path] = f"{home}layers/{base}_{number}" if number else f"{home}layers/{base}"
    return found


class ConfiguredLayer(NamedTuple):
    """A layer as the config of a model has it.

    Args:
        path: its path in the file of weights, as far as the config shows it.
        name: its name, "" if it has none.
        kind: the name of its class.
        module: the module of its class.
        registered: the name under which a user registered the class, "" if nobody did.
        config: its own config.
        is_listed: whether it and all layers above it are in lists of layers. The paths of these are
            sure. Others are in an attribute, such as the layer in a wrapper.
    """

    path: str
    name: str
    kind: str
    module: str
    registered: str
    config: Mapping[str, Any]
    is_listed: bool


def configured_layers(contents: Contents, container: Container) -> list[ConfiguredLayer]:
    """The layers that the config of an archive has and its file of weights has, too.

    There are none if it is the config of something else.
    """
    if not container.config:
        return []
    import json

    # A hostile config could have so many long paths that they take all memory.
    known = {*contents.groups}
    for path in container.vocabularies:
        known.update(path[: at.start()] for at in re.finditer("/", path))
        known.add(path)
    try:
        return list(_layers(json.loads(container.config), "", known, True, 0))
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError):
        return []


def _layers(
    config: Any, path: str, known: Collection[str], is_listed: bool, depth: int
) -> Iterator[ConfiguredLayer]:
    inner = config.get("config") if isinstance(config, dict) else None
    if not isinstance(inner, dict) or depth > _DEEPEST:
        return
    found: list[tuple[str, Any, bool]] = []
    layers = inner.get("layers")
    # Keras numbers each class on its own.
    numbers: dict[str, int] = {}
    for layer in layers if isinstance(layers, list) else ():
        base = _snake_case(str(layer["class_name"]))
        number = numbers[base] = numbers.get(base, -1) + 1
        name = f"layers/{base}_{number}" if number else f"layers/{base}"
        found.append((name, layer, is_listed))
    for name, each in inner.items():
        if isinstance(each, dict) and isinstance(each.get("config"), dict):
            found.append((name, each, False))
    for name, layer, sure in found:
        if (below := path + name) in known:
            yield _configured(layer, below, sure)
            yield from _layers(layer, f"{below}/", known, sure, depth + 1)


def _configured(layer: Any, path: str, is_listed: bool) -> ConfiguredLayer:
    config = layer.get("config", {})
    name = config.get("name") or layer.get("name")
    kind, module, registered = (
        value if isinstance(value := layer.get(key), str) else ""
        for key in ("class_name", "module", "registered_name")
    )
    name = name if isinstance(name, str) else ""
    return ConfiguredLayer(path, name, kind, module, registered, config, is_listed)


def _snake_case(name: str) -> str:
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
