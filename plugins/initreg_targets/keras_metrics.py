"""Metrics that Keras 2 counts among the weights of a model, because they are attributes of it.

``self.loss_tracker = tf_keras.metrics.Mean()`` is two weights of its model. They are in the order
of ``get_weights()``, in checkpoints, and in the legacy ``.h5`` file of a model around that model.
They are not in its own one. So their positions count, and yet no file has to have them. Keras 3
has no metric among the weights.

Source: ``Model.weights`` and ``non_trainable_weights`` in ``tf_keras/src/engine/training.py``,
``_flatten_modules`` in ``tf_keras/src/engine/base_layer.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from initreg_targets.frameworks import is_a, is_module, is_variable
from initreg_targets.keras_part import own_variables
from initreg_targets.variables import unwrapped

STATE = "the state of a metric, which fit() and evaluate() reset"


def counted_metrics(
    model: Any, weights: Sequence[Any], objects: Iterable[Any]
) -> tuple[list[Any], set[int]]:
    """The metrics that Keras counts among the weights.

    Args:
        model: the model.
        weights: its weights.
        objects: all objects in it.

    Returns:
        The metrics, and the ids of those weights that only they have. A metric may compute with a
        layer of the model.
    """
    if not is_module(model):
        return [], set()
    metrics = [each for each in objects if is_a(each, "tf_keras", "metrics.Metric")]
    if not metrics:
        return [], set()
    state = {id(unwrapped(v)) for each in metrics for v in each.variables if is_variable(v)}
    state &= {id(unwrapped(v)) for v in weights}
    for module in model._flatten_modules():
        is_layer = is_a(module, "tf_keras", "layers.Layer")
        found = own_variables(module) if is_layer else module.variables
        state -= {id(unwrapped(v)) for v in found if is_variable(v)}
    counted = [m for m in metrics if any(id(unwrapped(v)) in state for v in m.variables)]
    return counted, state
