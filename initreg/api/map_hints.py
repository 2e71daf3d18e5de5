"""The hint that a source of PyTorch needs a map, where its names and axes are others."""

from __future__ import annotations

from collections.abc import Sequence

from initreg.arrays.array_map import ArrayMap
from initreg.arrays.tied import tied
from initreg.option_spelling import either
from initreg.plan.rows import Hint
from initreg.plan.transposing import Layers
from initreg.specs import ArraySpec, VariableSpec

# A map looks at pairs of layers. So it is not tried with more names than most models have.
_MOST = 2_000
_KERNELS = (".weight", "/weight")


def may_be_mapped(arrays: Sequence[ArraySpec]) -> bool:
    """Whether arrays have names of PyTorch, and are not too many to look at their layers."""
    return len(arrays) <= _MOST and any(each.name.endswith(_KERNELS) for each in arrays)


def map_hint(
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    layers: Layers,
    source: str,
    kept: str,
    best: int,
    opened: ArrayMap,
) -> Hint | None:
    """A hint to map the source, if that finds more than the names do.

    Args:
        arrays: the arrays of the source.
        variables: the variables of the target.
        layers: returns what each variable is in its layer, by name, as far as the target knows.
        source: the code that names the source.
        kept: the code of what the user typed for the whole restore, ``""`` if nothing.
        best: how many variables the source supplies, by its names and by the best other hint.
        opened: the map of the source, which has what its format says of the arrays.

    Returns:
        None if the target does not know its layers, or if a map finds no more.
    """
    known = layers()
    if not known or len(variables) > _MOST:
        return None
    from initreg.bridge.deriving import mapped  # few plans need it

    found = mapped(
        *("", "", arrays, variables, known, tied(opened)),
        doubts=opened.reordered,
        kernel_axes=opened.said_of("kernel_axes"),
    )
    if len(found.variables) <= best:
        return None
    words = f"the arrays have names of PyTorch. With a map of its layers, {found.verdict}: "
    code = either(
        f'initreg.map({source}, model).save("rules.toml"), and then '
        f'SmartInit({source}, rules="rules.toml"{kept})',
        "initreg map SOURCE --onto TARGET --output rules.toml, and then --rules rules.toml",
    )
    return Hint(words + code, {}, "")
