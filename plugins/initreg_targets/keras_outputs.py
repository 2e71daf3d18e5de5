"""What the layers of a Keras model compute for an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from initreg import TargetError
from initreg_targets.frameworks import is_module

if TYPE_CHECKING:
    import numpy as np


def outputs(
    model: Any, label: str, inputs: Mapping[str, Any], names: Sequence[str]
) -> dict[str, np.ndarray[Any, Any]]:
    """The outputs of layers, and that of the model under ``""``, in inference.

    Args:
        model: the model.
        label: what messages call it.
        inputs: the arrays that go in, by the names of the inputs. One alone may have any name.
        names: the names of layers. Only those of functional and sequential models can be asked.

    Raises:
        TargetError: there is no such layer, or the model cannot be run.
    """
    found = {"": _run(model, label, inputs)}
    if not names:
        return found
    if not getattr(model, "inputs", None):
        raise TargetError(
            f"{label}: the outputs of its layers are only known for functional and sequential "
            "models. Compare the output of the model alone"
        )
    wanted = {}
    for name in names:
        try:
            wanted[name] = _output(model, name)
        except ValueError as error:
            layers = ", ".join(layer.name for layer in model.layers[:20])
            raise TargetError(
                f"{label} has no layer {name!r} with one output. Its layers: {layers}"
            ) from error
    if is_module(model):
        from tf_keras import Model
    else:
        from keras import Model
    given = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    layers_of = _run(Model(given, wanted), label, inputs)
    order = [layer.name for layer in model.layers]
    for name in sorted(names, key=order.index):
        found[name] = layers_of[name]
    found[""] = found.pop("")  # computed last
    return found


def _output(model: Any, name: str) -> Any:
    """What a layer returns in this model: it may be called in another one as well.

    Raises:
        ValueError: there is no such layer, it is called several times, or returns several tensors.
    """
    layer = model.get_layer(name)
    network = getattr(model, "_functional", None) or model  # what a Sequential of Keras 3 holds
    found: list[Any] = []
    for nodes in network._nodes_by_depth.values():
        for node in nodes:
            if (getattr(node, "operation", None) or getattr(node, "layer", None)) is layer:
                found += _listed(node.output_tensors)
    (output,) = found  # ValueError if there are several
    return output


def _listed(found: Any) -> list[Any]:
    if isinstance(found, Mapping):
        found = list(found.values())
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _run(model: Any, label: str, inputs: Mapping[str, Any]) -> Any:
    import numpy as np

    arrays = {name: np.asarray(array) for name, array in inputs.items()}
    given: Any = next(iter(arrays.values())) if len(arrays) == 1 else arrays
    try:
        found = model(given, training=False)
    except Exception as error:  # the model's own code, on inputs that may be another one's
        shapes = ", ".join(f"{name!r} {array.shape}" for name, array in arrays.items())
        text = " ".join(str(error).split())[:500]
        raise TargetError(
            f"{label} cannot be run on {shapes}: {type(error).__name__}: {text}"
        ) from error
    if isinstance(found, dict):
        return {name: np.asarray(each) for name, each in found.items()}
    if isinstance(found, (list, tuple)):
        if len(found) != 1:
            raise TargetError(f"{label} has {len(found)} outputs without names. Name them")
        (found,) = found
    return np.asarray(found)
