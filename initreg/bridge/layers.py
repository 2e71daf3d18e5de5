"""The layers of a source and of a target, each with its weights by their roles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from initreg.bridge import roles
from initreg.plan.axes import PYTORCH, TENSORFLOW
from initreg.specs import ArraySpec, LayerSpec, VariableSpec

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight of a source: an array, a part of one, or what several arrays make.

    Args:
        array: the array.
        shape: the shape of the weight.
        axis: along which axis it is a part, -1 if it is the whole array.
        part: which part it is.
        parts: how many parts there are.
        others: the arrays that it is put together with.
        how: how it is put together: ``"sum"``, ``"stack"`` or ``"concat"``.
        along: the axis along which it is put together.
        gates: the order of its gates, as the rule ``gates`` calls it, "" if it has none.
        heads: the shape that the array gets before it is taken apart, () for its own.
        sizes: the lengths of the parts, () if they are equal.
    """

    array: ArraySpec
    shape: Shape
    axis: int = -1
    part: int = 0
    parts: int = 1
    others: tuple[ArraySpec, ...] = ()
    how: str = ""
    along: int = 0
    gates: str = ""
    heads: Shape = ()
    sizes: Shape = ()

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """The arrays that it is made of."""
        return (self.array, *self.others)


@dataclass(slots=True)
class SourceLayer:
    """A layer of a source.

    Args:
        name: the part of the names that its weights share.
        position: the position of its first array in the source.
        weights: its weights, by role.
        why: how it was found, if it is not a layer of the source as such.
        tied: the same number as that of all layers with the same weights, -1 if there are none.
        convention: the framework whose order the axes of its kernel have, as the format says it.
            "" if it does not.
    """

    name: str
    position: int
    weights: dict[str, Weight] = field(default_factory=dict)
    why: str = ""
    tied: int = -1
    convention: str = ""


@dataclass(slots=True)
class TargetLayer:
    """A layer of a target.

    Args:
        name: its path.
        kind: its class, "" if it is not known.
        position: its position in the target.
        variables: its variables, by role.
        layers: what each of them is in the layer, by role.
        after: the layers right before it, None if that is not known.
        inside: the layer that it is a part of, in which the order is not known.
        automatic: whether its name is one that a framework made up.
        path: the path of the layer that it is a weight of, if it is one with a name of its own.
    """

    name: str
    kind: str
    position: int
    variables: dict[str, VariableSpec] = field(default_factory=dict)
    layers: dict[str, LayerSpec] = field(default_factory=dict)
    after: tuple[str, ...] | None = None
    inside: str = ""
    automatic: bool = False
    path: str = ""


# --- sources --------------------------------------------------------------------------------------

_IN_PROJ = re.compile(r"in_proj_(weight|bias)")


def split_name(name: str) -> tuple[str, str]:
    """The layer of an array, and the last part of its name.

    >>> split_name("layer1.0.conv1.weight"), split_name("conv1/kernel"), split_name("w")
    (('layer1.0.conv1', 'weight'), ('conv1', 'kernel'), ('', 'w'))
    """
    at = max(name.rfind("/"), name.rfind("."))
    return name[: max(at, 0)], name[at + 1 :]


# Where flax keeps the two halves of a BatchNorm. Source: flax/linen/normalization.py.
_COLLECTION = re.compile(r"^(params|batch_stats)[/.]")
_OF_FLAX = re.compile(r"(?:.*[/.])?(Conv|ConvTranspose|Dense|Embed|LayerNorm|BatchNorm)_\d+")


def has_collections(names: Iterable[str]) -> bool:
    """Whether arrays are in the collections of flax.

    >>> has_collections(["params/up/kernel"]), has_collections(["up/kernel"])
    (True, False)
    """
    return any(_COLLECTION.match(name) for name in names)


def is_of_flax(layers: Sequence[SourceLayer]) -> bool:
    """Whether these are layers of flax: in its collections, called as it calls them, or with a
    ``scale`` in norms and a ``kernel`` in others, which Keras calls ``gamma`` and ``kernel``."""
    lasts = set()
    if has_collections(w.array.name for layer in layers for w in layer.weights.values()):
        return True
    for layer in layers:
        if _OF_FLAX.fullmatch(layer.name):
            return True
        lasts |= {split_name(weight.array.name)[1] for weight in layer.weights.values()}
    return {"scale", "kernel"} <= lasts


def source_layers(arrays: Iterable[ArraySpec]) -> tuple[list[SourceLayer], list[ArraySpec]]:
    """The layers of a source in its order, and the arrays that are no weights."""
    found: dict[str, SourceLayer] = {}
    others: list[ArraySpec] = []
    for position, array in enumerate(arrays):
        name, last = split_name(array.name)
        if roles.is_no_weight(last) or array.state is not None:
            others.append(array)
            continue
        is_own = _IN_PROJ.fullmatch(last) or _RECURRENT.fullmatch(last)
        role = last if is_own else roles.role(last, len(array.shape))
        # A weight with a name of its own is a layer of its own: cls_token, layer_scale.
        name = _COLLECTION.sub("", name)
        key = array.name if role == roles.OWN else name
        layer = found.setdefault(key, SourceLayer(key, position))
        if role in layer.weights:  # weight and kernel in one layer: neither is known
            key = array.name
            layer = found.setdefault(key, SourceLayer(key, position))
        layer.weights[role] = Weight(array, array.shape)
    whole = [each for layer in found.values() for each in _convolutions(layer)]
    layers = [each for layer in whole for each in (recurrent(layer) or [layer])]
    for layer in layers:
        kernel, bias = layer.weights.get(roles.KERNEL), layer.weights.get(roles.BIAS)
        if kernel is not None and bias is not None and _is_scale(kernel.shape, bias.shape):
            layer.weights[roles.GAMMA] = layer.weights.pop(roles.KERNEL)
        is_norm = set(layer.weights) == {roles.GAMMA, roles.BIAS} or roles.MEAN in layer.weights
        if is_norm and roles.BIAS in layer.weights:
            layer.weights[roles.BETA] = layer.weights.pop(roles.BIAS)
    return layers, others


def _is_scale(kernel: Sequence[int | None], bias: Sequence[int | None]) -> bool:
    """Whether a weight scales each channel, and has axes of length 1 beside them: (1, 1, 1, 64), as
    its bias has. Source: ConvNextV2GRN of transformers."""
    return kernel == bias and len(kernel) > 1 and sum(axis != 1 for axis in kernel) == 1


def _convolutions(layer: SourceLayer) -> list[SourceLayer]:
    """A layer, or the two of a separable convolution of TensorFlow."""
    depthwise = layer.weights.pop(roles.DEPTHWISE, None)
    pointwise = layer.weights.pop(roles.POINTWISE, None)
    if pointwise is not None:
        layer.weights[roles.KERNEL] = pointwise
    if depthwise is None:
        return [layer]
    if pointwise is None:
        layer.weights[roles.KERNEL] = depthwise
        return [layer]
    first = SourceLayer(f"{layer.name}/depthwise", layer.position, {roles.KERNEL: depthwise})
    return [first, layer]


# torch.nn.RNN, LSTM and GRU: one layer for each direction of each l0, l1, ...
_RECURRENT = re.compile(r"(weight|bias)_(ih|hh)_l(\d+)(_reverse)?")
_GATES = {1: "", 3: "torch-gru", 4: "torch-lstm"}


def is_of_module(name: str) -> bool:
    """Whether an array is one that a module of PyTorch has in another form than other layers."""
    last = split_name(name)[1]
    return _RECURRENT.fullmatch(last) is not None or _IN_PROJ.fullmatch(last) is not None


def is_recurrent(name: str) -> bool:
    """Whether an array is one of a recurrent module of PyTorch."""
    return _RECURRENT.fullmatch(split_name(name)[1]) is not None


def recurrent(layer: SourceLayer) -> list[SourceLayer]:
    """The layers of a recurrent module of PyTorch. [] for any other layer."""
    parts: dict[tuple[str, str], dict[str, Weight]] = {}
    for last, weight in layer.weights.items():
        found = _RECURRENT.fullmatch(last)
        if found is None:
            return []
        kind, into, number, reverse = found.groups()
        parts.setdefault((number, reverse or ""), {})[f"{kind}_{into}"] = weight
    made = []
    for (number, reverse), weights in parts.items():
        kernel, state = weights.get("weight_ih"), weights.get("weight_hh")
        if kernel is None or state is None or len(state.shape) != 2:
            return []
        count, rest = divmod(state.shape[0], max(1, state.shape[1]))
        if rest or count not in _GATES or len(weights) not in (2, 4):
            return []  # an LSTM with projections has other shapes
        gates = _GATES[count]
        roles_of = {
            roles.KERNEL: replace(kernel, gates=gates),
            roles.RECURRENT: replace(state, gates=gates),
        }
        one, other = weights.get("bias_ih"), weights.get("bias_hh")
        if one is not None and other is not None:
            # Keras keeps the two biases of a GRU, and the sum of those of the others.
            stacked = gates == "torch-gru"
            roles_of[roles.BIAS] = Weight(
                one.array,
                (2, *one.shape) if stacked else one.shape,
                others=(other.array,),
                how="stack" if stacked else "sum",
                gates=gates,
            )
        name = f"{layer.name}.l{number}.{'backward' if reverse else 'forward'}"
        why = f"layer {number} of {layer.name}" + (", reverse" if reverse else "")
        made.append(SourceLayer(name, layer.position, roles_of, why))
    return made


def convention_of(layers: Sequence[SourceLayer]) -> str | None:
    """The framework whose names the layers have, None if they have neither's."""
    lasts = [
        split_name(weight.array.name)[1]
        for layer in layers
        for role, weight in layer.weights.items()
        if role == roles.KERNEL
    ]
    torch = sum(
        last in ("weight", "in_proj_weight") or _RECURRENT.fullmatch(last) is not None
        for last in lasts
    )
    tensorflow = sum(last in ("kernel", "embeddings", "embedding", "w") for last in lasts)
    if torch and not tensorflow:
        return PYTORCH
    if tensorflow and not torch:
        return TENSORFLOW
    return None


# The kernels of the experts of a mixture in one array. They are multiplied like those of dense
# layers, and some programs store (experts, in, out), others (experts, out, in).
EXPERTS = ("experts", "in", "out")
_EXPERT = re.compile(r"expert", re.I)


# --- targets --------------------------------------------------------------------------------------


def target_layers(
    variables: Iterable[VariableSpec], known: Mapping[str, LayerSpec]
) -> list[TargetLayer]:
    """The layers of a target in its order.

    Args:
        variables: the variables, without the state of optimizers.
        known: what each is in its layer, by name. What is missing is told from the name.
    """
    found: dict[str, TargetLayer] = {}
    for position, variable in enumerate(variables):
        shape = variable.shape or ()
        spec = known.get(variable.name)
        if spec is None:
            name, last = split_name(variable.name)
            role = roles.role(last, len(shape))
            spec = LayerSpec(name, "", role, position, _usual_axes(role, name, last, len(shape)))
        role = roles.role(spec.role, len(shape))
        if role == roles.OWN and not spec.axes and len(shape) == 3 and _EXPERT.search(spec.name):
            spec = replace(spec, axes=EXPERTS)
        if role == roles.BIAS and (roles.GAMMA in _roles(found, spec.name)):
            role = roles.BETA
        key = spec.name
        if role == roles.OWN:
            # Alone, as in the source.
            key = f"{spec.name}/{spec.role}" if variable.name in known else variable.name
        after = spec.after
        if spec.kind.startswith("Separable") and role == roles.DEPTHWISE:
            key = f"{spec.name}/depthwise"
        elif spec.kind.startswith("Separable") and after is not None:
            after = (f"{spec.name}/depthwise",)
        layer = found.setdefault(
            key,
            TargetLayer(
                key,
                spec.kind,
                spec.order,
                after=after,
                inside=spec.inside,
                automatic=spec.automatic,
                path=spec.name if role == roles.OWN else "",
            ),
        )
        if role in (roles.DEPTHWISE, roles.POINTWISE):
            role = roles.KERNEL
        if role in layer.variables:  # weight and kernel in one layer: neither is known
            layer = found.setdefault(
                variable.name, TargetLayer(variable.name, spec.kind, spec.order, after=after)
            )
        layer.variables[role] = variable
        layer.layers[role] = spec
    for layer in found.values():
        kernel, bias = (layer.variables.get(role) for role in (roles.KERNEL, roles.BIAS))
        if kernel is None or bias is None or layer.kind:
            continue
        if _is_scale(kernel.shape or (), bias.shape or ()):
            for old, new in ((roles.KERNEL, roles.GAMMA), (roles.BIAS, roles.BETA)):
                layer.variables[new] = layer.variables.pop(old)
                layer.layers[new] = replace(layer.layers.pop(old), axes=())
    return sorted(found.values(), key=lambda layer: layer.position)


def _roles(found: Mapping[str, TargetLayer], name: str) -> Iterable[str]:
    return found[name].variables if name in found else ()


def _usual_axes(role: str, layer: str, last: str, ndim: int) -> tuple[str, ...]:
    """What the axes of a weight stand for if only its name is known: those of TensorFlow, or those
    of PyTorch if it is called as there. Those of an embedding stand as they are everywhere."""
    if ndim == 1:
        return ("out",)
    window = ("window",) * (ndim - 2)
    if role == roles.DEPTHWISE:
        return (*window, "channels", "multiplier")
    is_matrix = role in (roles.KERNEL, roles.POINTWISE)
    if not is_matrix or is_table(layer):
        return ()
    return ("out", "in", *window) if last == "weight" else (*window, "in", "out")


def is_table(name: str) -> bool:
    """Whether the name of a layer or of its class is that of an embedding, whose rows are looked
    up. They are in the same order everywhere.

    >>> is_table("PositionEmbedding"), is_table("transformer.wpe"), is_table("Mixer")
    (True, True, False)
    """
    return re.search(r"emb|vocab|wte|wpe|lookup", name, re.I) is not None
