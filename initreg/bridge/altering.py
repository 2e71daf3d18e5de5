"""Arrays that are no weights as they stand, because other arrays of the source change them.

A quantised weight has scales beside it, an adapter adds to its layer, and a weight that is
normalised is computed from two arrays. Their shapes are those of the weight, and their values are
not.

Sources: ``torch.nn.utils.parametrize``, ``weight_norm``, ``spectral_norm`` and ``prune``; the
layers of peft and of kohya's scripts; compressed-tensors, DeepSeek V3 and bitsandbytes;
``WeightNorm`` and ``SpectralNorm`` in flax/linen/normalization.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from initreg.dtypes import QUANTISED, integer_bits, is_float, itemsize
from initreg.option_spelling import option
from initreg.specs import ArraySpec, VariableSpec


@dataclass(frozen=True, slots=True)
class Altered:
    """Why an array is not a weight as it stands.

    Args:
        why: what changes it, and what to do.
        by: the names of the arrays that change it.
    """

    why: str
    by: tuple[str, ...]


_LORA = re.compile(
    r"((?:.*?[./])?)lora_(?:A|B|embedding_A|embedding_B|magnitude_vector|down|up)(?:[./].*)?"
)
_PARAMETRIZED = re.compile(
    r"((?:.*[./])?parametrizations[./]\w+)[./].+"
    r"|((?:.*[./])?(?:weight|bias)(?:_\w+?)?)_(?:orig|g|v|u|mask)"
)
_SCALES = re.compile(r"(.*)(_scale_inv|_scale|[./]scale)|(.*[./])SCB")
_OF_FLAX = re.compile(r"(.*)/(?:scale|sigma|u)")
_WRAPPER = re.compile(r"^(?:params|batch_stats)/|\b(?:WeightNorm|SpectralNorm)_\d+/")


def altered(arrays: Sequence[ArraySpec]) -> dict[str, Altered]:
    """The arrays that others change, by name."""
    found: dict[str, Altered] = {}
    by_name = {each.name: each for each in arrays}
    for add in (_adapted, _parametrized, _scaled, _normalised):
        found = {**add(by_name), **found}
    return found


def _adapted(by_name: Mapping[str, ArraySpec]) -> dict[str, Altered]:
    """The factors of adapters, and the weights that they belong to."""
    factors = _grouped(by_name, lambda name: _LORA.fullmatch(name))
    found: dict[str, Altered] = {}
    for layer, names in factors.items():
        why = (
            "an adapter (LoRA) is in the source, whose factors make one weight. Merge it into its "
            "model first, or leave it out with " + option("drop", "*lora_*", 'drop="*lora_*"')
        )
        found |= dict.fromkeys(names, Altered(why, ()))
        weights = [f"{layer}{last}" for last in ("weight", "base_layer.weight")]
        found |= {each: Altered(why, tuple(names)) for each in weights if each in by_name}
    return found


def _parametrized(by_name: Mapping[str, ArraySpec]) -> dict[str, Altered]:
    """What torch computes a weight from: g and v, a weight and its mask, or any parametrization."""
    found = {}
    for weight, names in _grouped(by_name, lambda name: _PARAMETRIZED.fullmatch(name)).items():
        lasts = {name[len(weight) :] for name in names}
        if not ("parametrizations" in weight or lasts >= {"_g", "_v"} or "_orig" in lasts):
            continue
        why = (
            "the module computes this weight from several arrays. Save it in PyTorch without "
            "them: torch.nn.utils has remove_weight_norm, remove_spectral_norm, "
            "parametrize.remove_parametrizations and prune.remove"
        )
        for name in names:
            if not name.endswith("_u"):  # also in the SpectralNormalization of Keras
                found[name] = Altered(why, tuple(each for each in names if each != name))
    return found


def _scaled(by_name: Mapping[str, ArraySpec]) -> dict[str, Altered]:
    """The weights of one byte that have scales beside them."""
    found = {}
    for name, scales in by_name.items():
        match = _SCALES.fullmatch(name)
        if match is None:
            continue
        last, layer = match[2], match[3]
        weight = by_name.get(match[1] if layer is None else f"{layer}weight")
        if weight is None or not _is_small(weight.dtype):
            continue
        why = "quantised, with its scales in another array"
        example = _example(weight, scales, last) if last else ""
        found[weight.name] = Altered(why + example, (name,))
    return found


def _example(weight: ArraySpec, scales: ArraySpec, last: str) -> str:
    """The rule that multiplies a weight by its scales, if they are such that it can."""
    is_number = all(axis == 1 for axis in scales.shape)
    if not is_number and len(scales.shape) != len(weight.shape):
        return ""
    at = max(weight.name.rfind("/"), weight.name.rfind("."))
    glob = weight.name if at < 0 else f"*{weight.name[at:]}"
    is_block = not is_number and any(
        axis not in (1, whole) for axis, whole in zip(scales.shape, weight.shape, strict=True)
    )
    other = f'("{glob}{last}", BLOCK)' if is_block else f'"{glob}{last}"'
    said = ". Map again with the rule " + option(
        "scale", {glob: f"{glob}{last}"}, f'scale={{"{glob}": {other}}}'
    )
    return said + (", with the size of a block for BLOCK" if is_block else "")


def _normalised(by_name: Mapping[str, ArraySpec]) -> dict[str, Altered]:
    """The kernels that a WeightNorm or a SpectralNorm of flax is around."""
    bare = {_WRAPPER.sub("", name): name for name in by_name if _OF_FLAX.fullmatch(name) is None}
    found: dict[str, Altered] = {}
    groups = _grouped(by_name, lambda name: _OF_FLAX.fullmatch(name))
    for kernel, names in groups.items():
        weight = bare.get(_WRAPPER.sub("", _WRAPPER.sub("", kernel)))
        if weight is not None:
            why = "a WeightNorm or SpectralNorm of flax computes this weight anew from other arrays"
            found[weight] = Altered(why, (*found.get(weight, Altered("", ())).by, *names))
    return found


def _is_small(dtype: str) -> bool:
    return dtype in QUANTISED or (
        (is_float(dtype) or bool(integer_bits(dtype))) and itemsize(dtype) == 1
    )


def _grouped(
    names: Iterable[str], match: Callable[[str], re.Match[str] | None]
) -> dict[str, list[str]]:
    """The names that match, by the first group that took part in it."""
    found: dict[str, list[str]] = {}
    for name in names:
        hit = match(name)
        if hit is not None:
            found.setdefault(next(each for each in hit.groups() if each is not None), []).append(
                name
            )
    return found


def why_not(
    array: ArraySpec,
    variable: VariableSpec,
    altered_arrays: Mapping[str, Altered],
    taken: Iterable[str],
) -> str:
    """Why an array is not this variable as it stands, "" if nothing says so.

    Args:
        array: the array.
        variable: the variable that it would fit.
        altered_arrays: the arrays that others change.
        taken: the arrays that variables take. A target that has those that change it has such a
            layer, too.
    """
    found = altered_arrays.get(array.name)
    if found is not None and not set(found.by) & set(taken):
        is_same = variable.name == array.name or "lora" in variable.name.lower()
        return "" if is_same and not found.by else found.why
    is_integer = array.dtype in QUANTISED or integer_bits(array.dtype) is not None
    if is_integer and is_float(variable.dtype):
        return (
            f"{array.dtype} is not cast to {variable.dtype} without a rule. Map again with the "
            "rule cast, or scale if it is quantised"
        )
    return ""
