"""Dense kernels of a target that does not know what it flattens.

PyTorch flattens (channels, height, width), and TensorFlow (height, width, channels). Keras's models
know it of each layer. A module of PyTorch, a dict or a list of variables does not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from initreg.bridge.layers import TargetLayer
from initreg.bridge.roles import BIAS, KERNEL
from initreg.plan.axes import PYTORCH, TENSORFLOW

_WHY = (
    "its {} inputs are {} for each of the {} channels of the layer before it. If they are "
    "flattened, PyTorch has the channels first, and TensorFlow last"
)


def maybe_flattened(
    targets: Sequence[TargetLayer], known: Collection[str]
) -> dict[str, tuple[str, str]]:
    """The kernels just behind a convolution that have several inputs for each of its channels.

    Args:
        targets: the layers of the target.
        known: the names of the variables of which the target knows what they are.

    Returns:
        By the name of the variable: the framework in whose order the target has its axes, and why
        an array of the other one may need another order.
    """
    found = {}
    channels = 0  # of the convolution just before
    for layer in targets:
        kernel = layer.variables.get(KERNEL)
        if kernel is None or kernel.shape is None:
            continue  # a norm, say
        axes = layer.layers[KERNEL].axes
        if "window" in axes:
            channels = _channels(layer)
            continue
        inputs = kernel.shape[axes.index("in")] or 0 if "in" in axes else 0
        if kernel.name not in known and 1 < channels < inputs and inputs % channels == 0:
            framework = PYTORCH if axes[0] == "out" else TENSORFLOW
            found[kernel.name] = framework, _WHY.format(inputs, inputs // channels, channels)
        channels = 0
    return found


def _channels(layer: TargetLayer) -> int:
    """How many channels a convolution gives, 0 if that is not known."""
    bias = layer.variables.get(BIAS)
    if bias is not None and bias.shape is not None and len(bias.shape) == 1:
        return bias.shape[0] or 0
    kernel, axes = layer.variables[KERNEL], layer.layers[KERNEL].axes
    shape = kernel.shape or ()
    return shape[axes.index("out")] or 0 if "out" in axes and len(shape) == len(axes) else 0
