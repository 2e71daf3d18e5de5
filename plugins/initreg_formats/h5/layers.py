"""What people called the layers whose weights a file of Keras holds.

The path of a dataset in a ``.weights.h5`` or ``.keras`` file is its place: ``layers/dense/vars/0``.
Keras records the name of each layer beside that: as the attribute ``name`` of the group ``vars``
(Keras 3.6 and later), and in the ``config.json`` of an archive.

Source: ``keras/src/saving/saving_lib.py``, ``H5IOStore.make`` and ``_save_container_state``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

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
    found: dict[str, str] = dict(_of_config(container.config))
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
    return "" if has_class_name(name) or "/" in name else name


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


def _of_config(config: bytes) -> Mapping[str, str]:
    """The names of layers in a model's config, by their paths in its file of weights."""
    found: dict[str, str] = {}
    if config:
        try:
            _layers(json.loads(config), "", found, 0)
        except (ValueError, RecursionError, AttributeError, TypeError, KeyError):
            return {}  # the config of something else
    return found


def _layers(config: Any, path: str, found: dict[str, str], depth: int) -> None:
    inner = config.get("config") if isinstance(config, dict) else None
    layers = inner.get("layers") if isinstance(inner, dict) else None
    if not isinstance(layers, list) or depth > _DEEPEST:
        return
    # Only lists of layers can be told from a config. Keras numbers each class on its own.
    numbers: dict[str, int] = {}
    for layer in layers:
        base = _snake_case(str(layer["class_name"]))
        number = numbers[base] = numbers.get(base, -1) + 1
        below = f"{path}layers/{base}_{number}" if number else f"{path}layers/{base}"
        name = layer.get("config", {}).get("name") or layer.get("name")
        if isinstance(name, str):
            found[below] = name
        _layers(layer, f"{below}/", found, depth + 1)


def _snake_case(name: str) -> str:
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
