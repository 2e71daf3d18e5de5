"""Arrays that hold several weights, and kernels of a target that do.

Names say what is in such an array and in which order; :data:`FUSED` has the sources. The layers of
the target say of which sizes the parts are, and how many heads there are. An array of which this is
not known stays as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from initreg.bridge import roles
from initreg.bridge.fitting import fit
from initreg.bridge.layers import Shape, SourceLayer, TargetLayer, Weight, split_name
from initreg.bridge.lines import FusedArray
from initreg.bridge.words import meaning
from initreg.rules.writing import toml_text, toml_value

QKV = ("query", "key", "value")
_GATED = ("gate_proj", "up_proj")


@dataclass(frozen=True, slots=True)
class Fused:
    """What an array of a name holds.

    Args:
        parts: the layers in it, in their order.
        axis: the axis of the outputs.
        by_head: whether it holds the parts of each head in turn, and not one part after the other.
        beside: the layers that must be beside it, because others use its name in other ways.
    """

    parts: tuple[str, ...] = QKV
    axis: int = 0
    by_head: bool = False
    beside: tuple[str, ...] = ()


# Sources: torch.nn.MultiheadAttention (in_proj_weight); GPT-2 of OpenAI and of transformers
# (c_attn, whose outputs are the last axis); the vision transformers of timm and torchvision (qkv);
# MPT, ModernBERT and flash-attention (Wqkv); Phi-3 of transformers (qkv_proj, gate_up_proj. In its
# CodeGen, whose other projection is out_proj, qkv_proj has another order); BLOOM, Falcon and
# GPT-NeoX of transformers (query_key_value).
FUSED: Mapping[str, Fused] = {
    "in_proj": Fused(),
    "c_attn": Fused(axis=1),
    "qkv": Fused(),
    "Wqkv": Fused(),
    "qkv_proj": Fused(beside=("o_proj",)),
    "query_key_value": Fused(by_head=True, beside=("dense",)),
    "gate_up_proj": Fused(_GATED, beside=("down_proj",)),
}
_NAME = re.compile(rf"(?:.*[._/])?({'|'.join(FUSED)})")
# The order in which Megatron itself stores heads depends on its version, which is not in a name.
_MEGATRON = re.compile(r"(?:.*[._/])?language_model[._/].*")
_FOUR = "dense_h_to_4h"  # the layer that all decoders with query_key_value have
_GROUPS = "ln_attn"  # of Falcon's second architecture, the only one that has groups of heads so


def fused_name(name: str) -> str:
    """The word of :data:`FUSED` that a layer is called, "" if it is called otherwise.

    >>> fused_name("h.0.attn.c_attn"), fused_name("stage_0/attn/attention_qkv"), fused_name("fc")
    ('c_attn', 'qkv', '')
    """
    found = _NAME.fullmatch(name)
    return found[1] if found is not None else ""


class Splitting:
    """Takes layers apart that hold several, for the layers of one target.

    Args:
        sources: all layers of the source.
        targets: the layers of the target.
    """

    def __init__(self, sources: Sequence[SourceLayer], targets: Sequence[TargetLayer]) -> None:
        self._targets = targets
        self._names = {each.name for each in sources}
        self._own = {s.name: s.weights[roles.OWN].shape for s in sources if roles.OWN in s.weights}
        self._lasts = {split_name(each.name)[1] for each in sources}
        self._by_word = _kernels(targets)
        self._is_megatrons = any(_MEGATRON.fullmatch(name) for name in self._names)

    def apart(self, layer: SourceLayer) -> list[SourceLayer]:
        """The layers in a layer that holds several. [] for any other layer, and if the target has
        such a layer as well."""
        if roles.OWN in layer.weights:
            return self._experts(layer)
        kernel, bias, word = _weights(layer)
        if kernel is None or not word or len(kernel.shape) != 2 or kernel.axis >= 0:
            return []
        fused = FUSED[word]
        axis = 1 if split_name(kernel.array.name)[1] == "kernel" else fused.axis
        if bias is not None and bias.shape != (kernel.shape[axis],):
            return []
        if not self._is_like(layer, fused) or self._stays(layer, fused, kernel.shape[1 - axis]):
            return []
        if fused.by_head:
            return self._by_head(layer, kernel, bias)
        sizes = self._sizes(fused, kernel.shape[axis], kernel.shape[1 - axis])
        if sizes is None or kernel.shape[0] == kernel.shape[1]:
            return []
        why = f"{_last(kernel)} holds {_listed(fused.parts)}, one after the other"
        is_equal = len(set(sizes)) == 1

        def part(weight: Weight, at: int) -> Weight:
            along = axis if weight is kernel else 0
            shape = list(weight.shape)
            shape[along] = sizes[at]
            lengths = () if is_equal else sizes
            return Weight(weight.array, tuple(shape), along, at, len(sizes), sizes=lengths)

        return _layers(layer, fused, why, kernel, bias, part)

    def _experts(self, layer: SourceLayer) -> list[SourceLayer]:
        """The gates of experts and what they let through, of one array (experts, 2 * inner, width).

        Source: Mixtral of transformers. Llama 4 and gpt-oss have (experts, width, 2 * inner), and
        the latter has gates and others by turns.
        """
        weight = layer.weights[roles.OWN]
        above, last = split_name(layer.name)
        down = self._own.get(f"{above}.down_proj")
        if last != "gate_up_proj" or down is None or len(down) != 3:
            return []
        experts, width, inner = down
        if weight.shape != (experts, 2 * inner, width) or width == 2 * inner:
            return []
        if any(fit(layer, target) for target in self._targets):
            return []
        why = f"{last} holds {_listed(_GATED)}, one after the other"
        return [
            SourceLayer(
                f"{above}.{name}",
                layer.position,
                {roles.OWN: Weight(weight.array, (experts, inner, width), 1, at, 2)},
                why,
            )
            for at, name in enumerate(_GATED)
        ]

    def _by_head(
        self, layer: SourceLayer, kernel: Weight, bias: Weight | None
    ) -> list[SourceLayer]:
        """The layers in one that holds the query, the key and the value of each head in turn, or
        of each group of heads that share a key and a value."""
        rows, width = kernel.shape
        found = {
            (heads, groups, size)
            for heads, size in self._heads("query", width)
            for groups, same in self._heads("key", width) & self._heads("value", width)
            if size == same and heads % groups == 0 and (heads + 2 * groups) * size == rows
        }
        if len(found) != 1:
            return []
        [(heads, groups, size)] = found
        each = heads // groups
        if 1 < groups < heads and _GROUPS not in self._lasts:
            return []  # ChatGLM has all queries first
        if each == 1:
            of = f"each of {heads} heads"
        else:
            of = f"each of {groups} groups of {each} heads" if groups > 1 else f"all {heads} heads"
        why = f"{_last(kernel)} holds the query, the key and the value of {of}"
        sizes = () if each == 1 else (each, 1, 1)

        def part(weight: Weight, at: int) -> Weight:
            count = size * (heads if at == 0 else groups)
            inner = weight.shape[1:]
            first = (groups, each + 2, size, *inner)
            return Weight(weight.array, (count, *inner), 1, at, 3, heads=first, sizes=sizes)

        return _layers(layer, FUSED["query_key_value"], why, kernel, bias, part)

    def _is_like(self, layer: SourceLayer, fused: Fused) -> bool:
        """Whether the layers beside it are those that such a layer has beside it."""
        if fused.by_head and (self._is_megatrons or _FOUR not in self._lasts):
            return False
        above = layer.name.removesuffix(split_name(layer.name)[1])
        return all(f"{above}{name}" in self._names for name in fused.beside)

    def _stays(self, layer: SourceLayer, fused: Fused, width: int) -> bool:
        """Whether the target has such a layer, and none for its parts."""
        like = [target for target in self._targets if fit(layer, target)]
        if any(fused_name(target.name) for target in like):
            return True
        words = [next(iter(_said(part))) for part in fused.parts]
        return bool(like) and not all(width in dict(self._by_word[word]) for word in words)

    def _sizes(self, fused: Fused, total: int, width: int) -> Shape | None:
        """The lengths of the parts, None if they are not known."""
        parts = fused.parts
        if parts != QKV:
            return (total // 2,) * 2 if total % 2 == 0 else None
        outs = {
            word: {math.prod(shape) for size, shape in self._by_word[word] if size == width}
            for word in QKV
        }
        found = {
            (query, key, key)
            for query in outs["query"]
            for key in outs["key"] & outs["value"]
            if query + 2 * key == total
        }
        if len(found) == 1:
            return found.pop()
        return (width,) * 3 if total == 3 * width and not found else None

    def _heads(self, word: str, width: int) -> set[tuple[int, int]]:
        """How many heads the layers of a word have, and of which size."""
        return {
            (shape[0], shape[1])
            for size, shape in self._by_word[word]
            if size == width and len(shape) == 2
        }


def _weights(layer: SourceLayer) -> tuple[Weight | None, Weight | None, str]:
    """The kernel and the bias of a layer that may hold several, and what it is called."""
    kernel = layer.weights.get("in_proj_weight")
    if kernel is not None:
        return kernel, layer.weights.get("in_proj_bias"), "in_proj"
    word = fused_name(layer.name)
    return layer.weights.get(roles.KERNEL), layer.weights.get(roles.BIAS), word


def _layers(
    layer: SourceLayer,
    fused: Fused,
    why: str,
    kernel: Weight,
    bias: Weight | None,
    part: Callable[[Weight, int], Weight],
) -> list[SourceLayer]:
    found = []
    stem = _stem(layer.name, fused_name(layer.name) if roles.KERNEL in layer.weights else "")
    for at, name in enumerate(fused.parts):
        weights = {roles.KERNEL: part(kernel, at)}
        if bias is not None:
            weights[roles.BIAS] = part(bias, at)
        found.append(SourceLayer(f"{stem}.{name}".lstrip("."), layer.position, weights, why))
    return found


def _stem(name: str, word: str) -> str:
    return name.removesuffix(word).rstrip("._/")


def _last(weight: Weight) -> str:
    name = weight.array.name
    above, last = split_name(name)
    return split_name(above)[1] if last in ("weight", "kernel") else last


def _listed(parts: Sequence[str]) -> str:
    names = {"gate_proj": "the gate", "up_proj": "what it lets through"}
    *some, last = [names.get(part, f"the {part}") for part in parts]
    return f"{', '.join(some)} and {last}"


def _said(part: str) -> frozenset[str]:
    """The words that tell a part from the others."""
    return meaning(part) & {"query", "key", "value", "gate", "intermediate"}


def _kernels(targets: Sequence[TargetLayer]) -> dict[str, set[tuple[int, Shape]]]:
    """By the word of a part, the inputs and the shape of the outputs of the layers with it."""
    found: dict[str, set[tuple[int, Shape]]] = {
        word: set() for word in ("query", "key", "value", "gate", "intermediate")
    }
    for target in targets:
        variable, spec = target.variables.get(roles.KERNEL), target.layers.get(roles.KERNEL)
        if variable is None or spec is None or variable.shape is None or None in variable.shape:
            continue
        sizes = list(zip(variable.shape, spec.axes, strict=False))
        into = math.prod(size or 0 for size, axis in sizes if axis == "in")
        out = tuple(size or 0 for size, axis in sizes if axis == "out")
        if not out or len(sizes) != len(variable.shape):
            continue
        words = meaning(target.name) & set(found)
        if len(words) == 1:
            found[next(iter(words))].add((into, out))
    return found


def not_apart(sources: Sequence[SourceLayer], unused: Collection[str]) -> tuple[FusedArray, ...]:
    """What is left of a source and may hold a query, a key and a value, each with the rules that
    take it apart if somebody knows how. Layers that differ by their numbers are one."""
    found: dict[str, FusedArray] = {}
    for layer in sources:
        kernel, bias, word = _weights(layer)
        if kernel is None or not word or kernel.axis >= 0 or len(kernel.shape) != 2:
            continue
        if kernel.array.origin not in unused or FUSED[word].parts != QKV:
            continue
        axis = 1 if split_name(kernel.array.name)[1] == "kernel" else FUSED[word].axis
        glob = _NUMBER.sub("*", kernel.array.origin)
        others = [_NUMBER.sub("*", bias.array.origin)] if bias is not None else []
        stem = _stem(_NUMBER.sub("*", layer.name), word)
        before = found.get(glob)
        count = 1 if before is None else before.count + 1
        found[glob] = FusedArray(
            glob,
            kernel.shape,
            count,
            _one_after_the_other(glob, others, stem, axis),
            _head_by_head(glob, others, stem, kernel.shape[1]) if axis == 0 else (),
        )
    return tuple(found.values())


_NUMBER = re.compile(r"(?<![^._/])\d+(?![^._/])")


def _into(stem: str, name: str, part: str) -> str:
    return f"{stem}.{part}.{split_name(name)[1]}".lstrip(".")


def _one_after_the_other(
    kernel: str, others: Sequence[str], stem: str, axis: int
) -> tuple[str, ...]:
    lines = ["[[step]]", "[step.split]"]
    for name in (kernel, *others):
        into = toml_value([_into(stem, name, part) for part in QKV])
        along = axis if name == kernel else 0
        lines.append(
            f"{toml_text(name)} = {{ axis = {along}, into = {into}, sizes = [QUERY, KEY, VALUE] }}"
        )
    return tuple(lines)


def _head_by_head(kernel: str, others: Sequence[str], stem: str, width: int) -> tuple[str, ...]:
    names = (kernel, *others)
    lines = ["[[step]]", "[step.reshape]", f"{toml_text(kernel)} = [HEADS, 3, -1, {width}]"]
    lines += [f"{toml_text(name)} = [HEADS, 3, -1]" for name in others]
    lines += ["[[step]]", "[step.unstack]"]
    for name in names:
        into = toml_value([_into(stem, name, part) for part in QKV])
        lines.append(f"{toml_text(name)} = {{ axis = 1, into = {into} }}")
    lines += ["[[step]]", "[step.reshape]"]
    for name in names:
        shape = f"[-1, {width}]" if name == kernel else "[-1]"
        lines += [f"{toml_text(_into(stem, name, part))} = {shape}" for part in QKV]
    return tuple(lines)


# --- the other way round --------------------------------------------------------------------------


def together(
    sources: Sequence[SourceLayer], targets: Sequence[TargetLayer], axis: int
) -> list[SourceLayer]:
    """The layers of a source, of which the queries, keys and values of an attention are one layer
    if the target has them in one.

    Args:
        sources: the layers of the source.
        targets: the layers of the target.
        axis: the axis of the outputs in the source.
    """
    wanted = fused_targets(targets)
    if not wanted or any(fused_name(each.name) in _ONE_AFTER_THE_OTHER for each in sources):
        return list(sources)
    by_parent: dict[str, dict[str, SourceLayer]] = {}
    for each in sources:
        above, last = split_name(each.name)
        words = meaning(last) & set(QKV)
        if len(words) == 1:
            by_parent.setdefault(above, {}).setdefault(next(iter(words)), each)
    taken: dict[int, SourceLayer | None] = {}
    for above, parts in by_parent.items():
        if parts.keys() != set(QKV):
            continue
        made = _joined(above, [parts[word] for word in QKV], axis)
        if made is not None and any(fit(made, target) for target in wanted):
            taken |= {id(part): None for part in parts.values()}
            taken[id(parts["query"])] = made
    found = [taken.get(id(each), each) for each in sources]
    return [each for each in found if each is not None]


# Where a kernel of these names has its parts one after the other on either side.
_ONE_AFTER_THE_OTHER = ("qkv", "Wqkv", "c_attn", "qkv_proj")


def fused_targets(targets: Sequence[TargetLayer]) -> list[TargetLayer]:
    """The layers of a target that hold a query, a key and a value, one after the other, if no layer
    of it is one of these alone."""
    if any(_kernels(targets)[word] for word in QKV):
        return []
    return [each for each in targets if fused_name(each.name) in _ONE_AFTER_THE_OTHER]


def _joined(above: str, parts: Sequence[SourceLayer], axis: int) -> SourceLayer | None:
    """One layer of three, None if they do not have the same weights."""
    first, *others = parts
    if any(each.weights.keys() != first.weights.keys() for each in others):
        return None
    if not first.weights.keys() <= {roles.KERNEL, roles.BIAS} or roles.KERNEL not in first.weights:
        return None
    weights = {}
    for role in first.weights:
        found = [part.weights[role] for part in parts]
        along = axis if role == roles.KERNEL else 0
        shapes = [each.shape for each in found]
        if any(each.axis >= 0 or each.others for each in found):
            return None
        if any(len(shape) != (2 if role == roles.KERNEL else 1) for shape in shapes):
            return None
        if len({shape[:along] + shape[along + 1 :] for shape in shapes}) != 1:
            return None
        shape = list(shapes[0])
        shape[along] = sum(each[along] for each in shapes)
        arrays = [each.array for each in found]
        weights[role] = Weight(
            arrays[0], tuple(shape), others=tuple(arrays[1:]), how="concat", along=along
        )
    names = ", ".join(split_name(part.name)[1] for part in parts)
    why = f"{names} one after the other"
    return SourceLayer(f"{above}.qkv".lstrip("."), first.position, weights, why)
