"""What the weights of Keras layers are: the class of the layer, the role, and the axes.

Sources: ``build()`` of each layer in ``keras/src/layers`` and ``tf_keras/src/layers``; for the
kernel of an ``EinsumDense``, its equation.
"""

from __future__ import annotations

from typing import Any

from initreg import LayerSpec
from initreg_targets import variables as eager
from initreg_targets.frameworks import KERAS, is_a
from initreg_targets.keras_flattening import has_own_code
from initreg_targets.keras_graph import Graph

_WINDOW = "window"
# The attributes that hold the weights of a layer, with their roles.
_ROLES = (
    *("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "embeddings"),
    *("depthwise_kernel", "pointwise_kernel", "recurrent_kernel", "scale", "reverse_embeddings"),
)
_KNOWN = {"moving_mean": "mean", "moving_variance": "variance", "embeddings": "kernel"}
_KINDS = (
    *("EinsumDense", "Dense", "SeparableConv1D", "SeparableConv2D", "DepthwiseConv1D"),
    *("DepthwiseConv2D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("Conv1D", "Conv2D", "Conv3D", "Embedding", "BatchNormalization", "LayerNormalization"),
    *("GroupNormalization", "RMSNormalization", "LSTMCell", "GRUCell", "SimpleRNNCell", "PReLU"),
)
# What has a weight for each feature that comes in.
_ALONG_FEATURES = (
    *("BatchNormalization", "LayerNormalization", "RMSNormalization", "GroupNormalization"),
    "PReLU",
)

# The axes of the kernels whose last one has the features that a layer returns.
_MAKING_FEATURES = (("in", "out"), ("flattened", "out"))


def kind_of(layer: Any) -> str:
    """The class of Keras that a layer is of, or the name of its own class."""
    for keras in KERAS:
        for kind in _KINDS:
            if is_a(layer, keras, f"layers.{kind}"):
                return kind
    return type(layer).__name__


def _gets_features(axes: tuple[str, ...], role: str) -> bool:
    """Whether a weight has one axis of what comes into its layer, which is the first one."""
    return role == "kernel" and axes[:1] == ("in",) and "in" not in axes[1:]


def _changes_size(layer: Any) -> bool:
    """Whether a Dense layer returns another number of features than come in."""
    return len(set(layer.kernel.shape)) > 1


def own_variables(layer: Any) -> list[Any]:
    """The variables of a layer, without those of the layers in it."""
    found: list[Any] = []
    for kind in ("variables", "weights"):  # of Keras 3, of Keras 2
        for trainable in ("_trainable_", "_non_trainable_"):
            found += list(getattr(layer, trainable + kind, ()))
    return eager.unique(found)


def role_of(layer: Any, variable: Any) -> str:
    """What a variable is in its layer."""
    for attribute in _ROLES:
        for name in (attribute, f"_{attribute}"):
            held = vars(layer).get(name)
            if held is not None and eager.unwrapped(held) is eager.unwrapped(variable):
                return _KNOWN.get(attribute, attribute)
    return eager.name_of(variable).rpartition("/")[2]


def axes_of(layer: Any, kind: str, role: str, ndim: int) -> tuple[str, ...]:
    """What the axes of a weight stand for, () if that is not known."""
    if kind == "EinsumDense" and role in ("kernel", "bias"):
        return _of_equation(layer.equation, ndim) if role == "kernel" else ("out",) * ndim
    if ndim == 1 and role in ("bias", "beta", "gamma", "mean", "variance", "scale"):
        return ("out",)
    if kind == "Dense" and role == "kernel" and ndim == 2:
        return ("in", "out")
    if kind == "Embedding" and role in ("kernel", "reverse_embeddings") and ndim == 2:
        return ("tokens", "width") if role == "kernel" else ("width", "tokens")
    window = (_WINDOW,) * (ndim - 2)
    if role == "depthwise_kernel" or (kind.startswith("Depthwise") and role == "kernel"):
        return (*window, "channels", "multiplier")
    if kind.endswith("Transpose") and role == "kernel":
        return (*window, "out", "in")
    if "Conv" in kind and role in ("kernel", "pointwise_kernel"):
        return (*window, "in", "out")
    if kind.endswith("Cell") and role in ("kernel", "recurrent_kernel"):
        # A GRU that resets the state before it is multiplied computes something else.
        is_reset_first = kind == "GRUCell" and not getattr(layer, "reset_after", True)
        return ("in", "gates_reset_first" if is_reset_first else "gates")
    return ()


def _of_equation(equation: str, ndim: int) -> tuple[str, ...]:
    """The axes of a kernel in ``"abc,cde->abde"``: those of the input alone are summed over."""
    inputs, _, result = equation.replace(" ", "").partition("->")
    left, _, kernel = inputs.partition(",")
    axes = []
    for letter in kernel:
        if letter in left and letter in result:
            return ()  # a kernel for each element of an axis
        axes.append("in" if letter in left else "out")
    return tuple(axes) if len(axes) == ndim else ()


def layer_specs(model: Any, names: dict[int, str]) -> dict[str, LayerSpec]:
    """What each variable of a model is in its layer.

    Args:
        model: the model or layer.
        names: the names of the variables, by the ids of what they hold.
    """
    found: dict[str, LayerSpec] = {}
    graph = Graph(model)
    layers = [layer for layer in model._flatten_layers() if own_variables(layer)]
    paths, unnamed = graph.paths()
    order = graph.order(layers)
    for layer in layers:
        path = paths.get(id(layer), layer.name)
        kind = kind_of(layer)
        after = graph.before(layer)
        owner = graph.owner(layer)
        inside = "" if owner is None or owner is layer else paths.get(id(owner), "")
        own = own_variables(layer)
        shapes = [eager.shape_of(eager.unwrapped(each).shape) or () for each in own]
        is_along = kind in _ALONG_FEATURES or all(len(shape) == 1 for shape in shapes)
        for variable, shape in zip(own, shapes, strict=True):
            name = names.get(id(eager.unwrapped(variable)))
            if name is None:
                continue
            role = role_of(layer, variable)
            axes = axes_of(layer, kind, role, len(shape))
            flattened: tuple[int, ...] = ()
            unflattened: tuple[int, ...] = ()
            is_kernel = _gets_features(axes, role) and not (
                kind == "EinsumDense" and graph.owner(layer) is None
            )
            if is_kernel or (len(shape) == 1 and is_along):
                layout = graph.flattened(layer, shape[0] or 0)
                # Groups of features that come in another order are other groups.
                if layout and (kind == "GroupNormalization" or has_own_code(layer)):
                    layout = None
                if layout is not None:
                    flattened = layout
                elif is_kernel or kind in _ALONG_FEATURES:
                    axes = ("flattened", *axes[1:])
            is_one = len(shape) == 1 and axes in ((), ("out",))
            if axes in _MAKING_FEATURES or (is_one and (is_along or kind == "Dense")):
                image = graph.unflattened(layer, shape[-1] or 0)
                if image and (kind == "GroupNormalization" or has_own_code(layer)):
                    image = None
                if image is None:
                    axes = (*axes[:-1], "unflattened")
                elif not (len(axes) == 1 and flattened):
                    unflattened = image
            is_made = kind == "Dense" and role == "bias" and _changes_size(layer)
            if has_own_code(layer) and not is_made and graph.is_along_flattened(layer, shape):
                axes = ("flattened", *(axes[1:] or ("",) * (len(shape) - 1)))
            found[name] = LayerSpec(
                name=path,
                kind=kind,
                role=role,
                order=order[id(layer)],
                axes=axes,
                flattened=flattened,
                after=None
                if after is None
                else tuple(sorted(paths[each] for each in after if each in paths)),
                inside=inside,
                automatic=id(layer) in unnamed,
                unflattened=unflattened,
            )
    return found
