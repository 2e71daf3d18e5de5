"""The state of optimizers in a file of Keras: which arrays are such state, and of what optimizer.

A ``.weights.h5`` or ``.keras`` file has the state as a list without names, ``optimizer/vars/3``. It
begins with an integer, the number of steps. An optimizer that the model has under another attribute
is known by the name that Keras gave it. A LossScaleOptimizer is saved with all of its state, and
the optimizer in it once more in ``optimizer/inner_optimizer/vars``. Keras 3.6 and later record the
name of the optimizer as the attribute ``name`` of the group ``vars``, and an archive has its class
in ``config.json``. A legacy ``.h5`` has the state in ``optimizer_weights``, in the order of
``weight_names``, and the class in the attribute ``training_config``.

Source: ``keras/src/saving/saving_lib.py``, ``save_own_variables`` of the optimizers,
``keras/src/legacy/saving/legacy_h5_format.py`` and ``saving_utils.py``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from initreg import ChunkedExtent, Extent, InitregError, OptimizerSpec, Place, StateSpec
from initreg.dtypes import integer_bits, is_float, name_of_descr
from initreg_formats.h5.attributes import has_attribute, string_list
from initreg_formats.h5.container import Container
from initreg_formats.h5.walk import Contents

LEGACY = "optimizer_weights"
_OF_THE_MODEL = "optimizer"  # where a compiled model keeps its own
_CONFIG = "training_config"
_DEEPEST = 8  # optimizers in each other
_CLASSES = (
    *("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion"),
    *("LossScaleOptimizer", "Muon", "Nadam", "RMSprop", "SGD"),
)
# The optimizers of Keras, as it names one that nobody gave a name, and as ``compile("adam")`` does.
_KINDS = {each.lower(): each for each in _CLASSES}


class Found(NamedTuple):
    """What a file says about optimizers, beside its arrays.

    Args:
        names: the name of each group that may be an optimizer, "" if none is recorded, by the path
            of the group.
        listed: the names of the arrays in a legacy file's list, in their order.
        config: the config of the optimizer that the model was compiled with.
    """

    names: Mapping[str, str] = {}
    listed: Sequence[str] = ()
    config: Any = None


def look(
    contents: Contents, container: Container, arrays: Mapping[str, Any], listed: Sequence[str]
) -> Found:
    """What a file says about optimizers. What cannot be read is left out.

    Args:
        contents: what the file has.
        container: the open file.
        arrays: its arrays.
        listed: the names of the arrays in a legacy file's list, in their order.
    """
    names = {}
    for path, group in contents.groups.items():
        above, _, last = path.rpartition("/")
        if last == "vars" and _is_number(arrays.get(f"{path}/0"), "iu"):
            names[above] = _text(group, "name", container)
    config: Any = None
    if container.config:
        config = _part(_parsed(container.config), "compile_config", "optimizer")
    elif listed:
        text = _text(contents.groups[""], _CONFIG, container) if "" in contents.groups else ""
        config = _part(_parsed(text), "optimizer_config")
    return Found(names, tuple(listed), config)


def with_states(arrays: Mapping[str, Any], found: Iterable[Found]) -> dict[str, Any]:
    """The same arrays, each of which knows what it is in the state of an optimizer.

    Args:
        arrays: those of all parts of a file, because a list may be spread over several.
        found: what each part says.
    """
    found = list(found)
    names = {path: name for each in found for path, name in each.names.items()}
    config = next((each.config for each in found if each.config is not None), None)
    states = _legacy([name for each in found for name in each.listed], config)
    owners = {path for path, name in names.items() if _is_optimizer(path, name, arrays)}
    places = {name: at for name in arrays if (at := _place(name, owners)) is not None}
    lengths = Counter((place.owner, place.inner) for place in places.values())
    specs: dict[str, OptimizerSpec] = {}
    for owner in dict.fromkeys(place.owner for place in places.values()):
        levels = sorted({"", *(inner for of, inner in lengths if of == owner)}, key=len)
        specs[owner] = OptimizerSpec(
            (owner,),
            _classes(config if owner == _OF_THE_MODEL else None, len(levels)),
            tuple(names.get(f"{owner}/{inner}".rstrip("/"), "") for inner in levels),
        )
    for name, place in places.items():
        number = f"{place.inner}{place.number} of {lengths[place.owner, place.inner]}"
        states[name] = StateSpec(specs[place.owner], (number,))
    return {
        name: _with(array, states[name], name not in places) if name in states else array
        for name, array in arrays.items()
    }


class _Place(NamedTuple):
    """``optimizer/inner_optimizer/vars/3``: the optimizer, ``"inner_optimizer/"``, and ``"3"``."""

    owner: str
    inner: str
    number: str


def _place(path: str, owners: Collection[str]) -> _Place | None:
    """Where an array is in the state of an optimizer, None if it is no such state.

    Args:
        path: the path of the array.
        owners: the paths of the optimizers.
    """
    above, is_list, number = path.rpartition("/vars/")
    if not owners or not is_list or not (number.isascii() and number.isdigit()):
        return None
    at = 0
    while at >= 0:
        at = above.find("/", at + 1)
        owner = above if at < 0 else above[:at]
        if owner in owners:
            inner = above[len(owner) + 1 :]
            return _Place(owner, f"{inner}/" if inner else "", number)
    return None


def _is_optimizer(path: str, name: str, arrays: Mapping[str, Any]) -> bool:
    """Whether a group whose first array is an integer is an optimizer."""
    if path.endswith("optimizer"):
        return True
    kind = re.sub(r"(_\d+)+$", "", name).replace("_", "").lower()
    return kind in _KINDS and _is_number(arrays.get(f"{path}/vars/1"), "f")


def _is_number(array: Any, kinds: str) -> bool:
    """Whether an array is a number of numpy's ``kinds``."""
    if not isinstance(array, (ChunkedExtent, Extent)) or array.shape != ():
        return False
    name = name_of_descr(array.dtype) or array.dtype
    return is_float(name) if kinds == "f" else integer_bits(name) is not None


def _legacy(listed: Sequence[str], config: Any) -> dict[str, StateSpec]:
    optimizer = OptimizerSpec((_OF_THE_MODEL,), _classes(config, 0))
    return {
        name: StateSpec(optimizer, (f"{number} of {len(listed)}",))
        for number, name in enumerate(listed)
    }


def _classes(config: Any, levels: int) -> tuple[str, ...]:
    """The class of an optimizer, and of those in it, outermost first.

    Args:
        config: its config, or what stands for it in ``compile("adam")``. In mixed precision it may
            be that of the inner one alone.
        levels: how many optimizers in each other there are, if the file shows it, or 0.
    """
    classes: list[str] = []
    while isinstance(config, dict) and len(classes) < _DEEPEST:
        name = config.get("class_name")
        # tf_keras writes "Custom>Adam", and the classes of users with their package.
        classes.append(name.rpartition(">")[2] if isinstance(name, str) else "")
        config = _part(config, "config", "inner_optimizer")
    if isinstance(config, str) and len(classes) < _DEEPEST:
        name = config.rpartition(">")[2]
        classes.append(_KINDS.get(name.lower(), name))
    missing = max(1, levels) - len(classes)
    return ("",) * missing + tuple(classes)


def _with(array: Any, state: StateSpec, is_listed: bool) -> Any:
    """The array with its state. Numbers in a list have no names but those of their places."""
    aliases = array.aliases
    if not is_listed:
        aliases = tuple(each for each in aliases if isinstance(each, Place))
    if isinstance(array, (ChunkedExtent, Extent)):
        import dataclasses  # many files have no optimizer

        return dataclasses.replace(array, aliases=aliases, state=state)
    if hasattr(array, "state"):
        array.aliases, array.state = aliases, state
    return array


def _text(owner: Any, name: str, container: Container) -> str:
    """The one string in an attribute, "" if there is none or if it cannot be read."""
    try:
        if has_attribute(owner, name, container):
            texts = string_list(owner, name, container)
            return texts[0] if len(texts) == 1 else ""
    except InitregError:
        pass
    return ""


def _parsed(text: bytes | str) -> Any:
    if not text:
        return None
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _part(config: Any, *keys: str) -> Any:
    for key in keys:
        config = config.get(key) if isinstance(config, dict) else None
    return config
