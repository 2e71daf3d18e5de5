"""Which names of weights Keras made up, and where the weights are in the order of the layers.

Keras calls a layer without a name by its class and a number: ``dense_4``. The number counts the
layers that a process made. The topology lists the layers in the order of the model, and the
manifest the weights of each layer in their order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from initreg import Place

_DEEPEST = 50  # models in models


def automatic_of(topology: Any) -> dict[str, bool]:
    """The names of the layers of a layers model, each with whether Keras made it up.

    It is empty for a graph model.

    >>> dense = {"class_name": "Dense", "config": {"name": "dense_4"}}
    >>> automatic_of({"model_config": {"class_name": "Sequential", "config": [dense]}})
    {'dense_4': True}
    """
    found: dict[str, bool] = {}
    for kind, name in _walk(_config(topology), 0):
        base = re.sub(r"_\d+$", "", name).replace("_", "")
        found[name] = found.get(name, False) or base.lower() == kind.lower()
    return found


def is_automatic(weight: str, layers: dict[str, bool]) -> bool:
    """Whether a weight is called after a layer whose name Keras made up: after the innermost one in
    its path."""
    layer = _layer_of(weight, layers)
    return layer is not None and layers[layer]


def places_of(topology: Any, weights: Iterable[str]) -> dict[str, Place]:
    """Where each weight is in the order of the model's layers, as for a legacy HDF5 file.

    A model or a wrapper in the model is one layer there. It is empty unless it is certain for each
    weight which layer it belongs to.

    >>> layers = [{"class_name": "Dense", "config": {"name": name}} for name in ("b", "a")]
    >>> topology = {"model_config": {"class_name": "Sequential", "config": layers}}
    >>> list(places_of(topology, ["a/kernel", "b/kernel"]).values())
    ['#layer 1 of 2, weight 0 of 1', '#layer 0 of 2, weight 0 of 1']
    """
    owners: dict[str, int] = {}
    for number, each in enumerate(_inner(_config(topology))):
        for name in {name for _, name in _walk(each, 0)}:
            owners[name] = number if owners.get(name, number) == number else -1
    by_layer: dict[int, list[str]] = {}
    for weight in weights:
        layer = _layer_of(weight, owners)
        if layer is None or owners[layer] < 0:
            return {}
        by_layer.setdefault(owners[layer], []).append(weight)
    return {
        weight: Place(f"#layer {at} of {len(by_layer)}, weight {n} of {len(by_layer[number])}")
        for at, number in enumerate(sorted(by_layer))
        for n, weight in enumerate(by_layer[number])
    }


def _layer_of(weight: str, layers: Mapping[str, object]) -> str | None:
    """The innermost layer in the path of a weight. None if no layer is called so."""
    return next((part for part in reversed(weight.split("/")[:-1]) if part in layers), None)


def _config(topology: Any) -> Any:
    return topology.get("model_config", topology) if isinstance(topology, dict) else None


def _walk(found: Any, depth: int) -> Iterator[tuple[str, str]]:
    """The class and the name of each layer."""
    if not isinstance(found, dict) or depth > _DEEPEST:
        return
    config, kind = found.get("config"), found.get("class_name")
    name = config.get("name") if isinstance(config, dict) else None
    if isinstance(kind, str) and isinstance(name, str):
        yield kind, name
    for each in _inner(found):
        yield from _walk(each, depth + 1)


def _inner(found: Any) -> list[Any]:
    """The layers of a model, or the one of a wrapper."""
    inner = found.get("config") if isinstance(found, dict) else None
    if isinstance(inner, dict):
        inner = inner.get("layers", [inner.get("layer")])
    return inner if isinstance(inner, list) else []
