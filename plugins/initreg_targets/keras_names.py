"""What people, and Keras itself, called the layers of a model.

A name is *automatic* if Keras made it from the class of the layer: ``dense_4``. The number counts
the layers of a process, so that it says nothing about the model.

Source: ``auto_name`` in ``keras/src/utils/naming.py``; ``_legacy_weights`` and
``load_weights_from_hdf5_group`` in ``keras/src/legacy/saving/legacy_h5_format.py``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from initreg_targets.frameworks import KERAS, is_a
from initreg_targets.variables import unique

_UNNAMED = re.compile(r"[Vv]ariable(_\d+)?")


def is_automatic(thing: Any) -> bool:
    """Whether the name of a layer, model or optimizer is the one that Keras gives its class."""
    name = str(getattr(thing, "name", ""))
    base = re.escape(snake_case(type(thing).__name__))
    if base == "functional":  # Keras 2 calls it as Model does
        base = "(functional|model)"
    # Bidirectional gives its layers the name of the one that it was made of, with a prefix.
    pattern = rf"((forward|backward)_)?{base}(_\d+)?"
    return re.fullmatch(pattern, name, re.IGNORECASE) is not None


def automatic_names(model: Any) -> frozenset[str]:
    """The names of all layers in a model, and of the model, that are automatic."""
    flatten = getattr(model, "_flatten_layers", None)
    layers = [model, *(flatten() if callable(flatten) else ())]
    return frozenset(layer.name for layer in layers if is_automatic(layer))


def is_unnamed(name: str) -> bool:
    """Whether a variable has the name that TensorFlow or Keras gives one without a name."""
    return _UNNAMED.fullmatch(name.rpartition("/")[2]) is not None


def has_automatic_part(name: str, automatic: Collection[str]) -> bool:
    """Whether a layer in a variable's name has an automatic name, or the variable itself."""
    return is_unnamed(name) or any(each in automatic for each in name.split("/")[:-1])


def label(place: str, names: Mapping[str, str], automatic: Collection[str]) -> str | None:
    """What people called the layers on the way to a variable, in a file of weights.

    Layers with automatic names are left out, or keep their place if they come last. The h5
    format gives arrays the same names.

    Args:
        place: the name of the variable's dataset: ``"layers/functional/layers/dense/vars/0"``.
        names: the names of layers, by their paths.
        automatic: the names that are automatic.

    Returns:
        None if no layer has a name that somebody gave it.

    >>> label("layers/dense/vars/0", {"layers/dense": "head"}, ())
    'head/vars/0'
    """
    path, found, key = place.rpartition("vars/")
    given: list[str] = []
    rest = path
    for at in re.finditer("/", path):
        name = names.get(path[: at.start()])
        if name is not None and name not in automatic:
            given.append(name)
            rest = path[at.end() :]
    return "/".join(given) + f"/{rest}{found}{key}" if given else None


def layers_above(place: str, names: Mapping[str, str]) -> str:
    """The names of all layers on the way to a variable: ``block_1/dense_3/``. "" if its own layer
    has none.

    The path of a variable has fewer of them if a layer was built before its model was called.

    Args:
        place: the name of the variable's dataset in a file of weights.
        names: the names of layers, by their paths.

    >>> layers_above("a/d/vars/0", {"a": "block_1", "a/d": "dense_3"})
    'block_1/dense_3/'
    """
    path = place.rpartition("vars/")[0]
    if path[:-1] not in names:
        return ""
    found = (names.get(path[: at.start()]) for at in re.finditer("/", path))
    return "".join(f"{name}/" for name in found if name is not None)


def legacy_names(model: Any) -> Iterator[tuple[Any, str, str, str]]:
    """The position of each variable among the layers, as in a legacy ``.h5``, its label, and the
    name of its layer.

    The position is ``#layer 0 of 3, weight 1 of 2``. Layers without weights do not count. The label
    is ``head: weight 1 of 2``. Variables of the model itself have neither label nor layer.
    """
    if not any(is_a(model, keras, "Model") for keras in KERAS):
        return
    layers = []
    for layer in model.layers:
        weights = unique([*layer.trainable_weights, *layer.non_trainable_weights])
        if weights:
            layers.append((layer, weights))
    for number, (layer, weights) in enumerate(layers):
        for at, variable in enumerate(weights):
            where = f"weight {at} of {len(weights)}"
            place = f"#layer {number} of {len(layers)}, {where}"
            yield variable, place, f"{layer.name}: {where}", layer.name
    for kind in ("variables", "weights"):  # of Keras 3, of Keras 2
        if hasattr(model, f"_non_trainable_{kind}"):
            own = [
                *getattr(model, f"_trainable_{kind}"),
                *getattr(model, f"_non_trainable_{kind}"),
            ]
            break
    own = unique(own)
    for at, variable in enumerate(own):
        yield variable, f"#top level, weight {at} of {len(own)}", "", ""


def snake_case(name: str) -> str:
    """The name of a class in snake case, as both versions of Keras spell it."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
