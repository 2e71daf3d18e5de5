"""What ``test_keras_layers``, ``test_keras_graph`` and ``test_keras_flattening`` ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import LayerSpec
from initreg_targets.keras_model import initreg_target


def specs(model: Any) -> Mapping[str, LayerSpec]:
    """What each variable of a Keras model is."""
    adapter: Any = initreg_target(model)
    return adapter.layers()


def by_layer(model: Any) -> dict[str, LayerSpec]:
    """The kernels of a model, or what is like one, by the paths of their layers."""
    roles = ("kernel", "gamma")
    return {spec.name: spec for spec in specs(model).values() if spec.role in roles}
