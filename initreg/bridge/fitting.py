"""Whether a layer of a source can be one of a target: the same weights, with shapes that fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from initreg.bridge.conversions import CONVENTIONS, Change, change
from initreg.bridge.layers import SourceLayer, TargetLayer, is_table
from initreg.bridge.roles import BIAS, GAMMA, KERNEL, OWN
from initreg.plan.axes import PYTORCH

Changes = dict[str, Change]  # by role
Fit = dict[str, Changes]  # by convention


def fit(source: SourceLayer, target: TargetLayer, conventions: Sequence[str] = CONVENTIONS) -> Fit:
    """How the weights of a layer become those of another one, by the convention that the source
    may follow. Empty if they do not fit."""
    roles_of = {role: role for role in source.weights}
    if roles_of.keys() != target.variables.keys():
        found_roles = _alone(source, target)
        if not found_roles:
            return {}
        roles_of = found_roles
    found: Fit = {}
    for convention in conventions:
        changes: Changes = {}
        for theirs, weight in source.weights.items():
            role = roles_of[theirs]
            spec = target.layers[role]
            if weight.gates == "torch-gru" and "gates_reset_first" in spec.axes:
                return {}  # PyTorch resets what the state was multiplied to
            shape = target.variables[role].shape
            if shape is None or None in shape:
                break
            wanted = tuple(axis or 0 for axis in shape)
            shapes = spec.flattened, spec.unflattened
            made = change(weight.shape, wanted, spec.axes, convention, *shapes)
            if made is None and theirs == KERNEL and convention == PYTORCH:
                made = of_an_own_class(target, role, weight.shape)
            if made is None:
                break
            changes[role] = made
        else:
            found[convention] = changes
    return found


def of_an_own_class(target: TargetLayer, role: str, shape: tuple[int, ...]) -> Change | None:
    """How an array that has the axes of a kernel of PyTorch becomes one of a class of somebody's
    own, of which it is not known how it multiplies it. None if it is none, or does not fit."""
    spec, wanted = target.layers[role], target.variables[role].shape
    if role != KERNEL or {*spec.axes} - {"flattened", ""} or not target.kind:
        return None
    if wanted is None or None in wanted or len(wanted) < 2:
        return None
    if is_table(target.kind) or is_table(target.name):
        return None
    axes = (*("window",) * (len(wanted) - 2), "in", "out")
    return change(shape, tuple(axis or 0 for axis in wanted), axes, PYTORCH)


def _alone(source: SourceLayer, target: TargetLayer) -> dict[str, str]:
    """The roles of two layers with one weight each, of which one has a name of its own, and none is
    multiplied: a table of positions may be an embedding, or a weight of a model itself."""
    if len(source.weights) != 1 or len(target.variables) != 1:
        return {}
    (theirs,), (role,) = source.weights, target.variables
    if OWN not in (theirs, role) or "in" in target.layers[role].axes:
        return {}
    return {theirs: role}


def like_roles(weights: Mapping[str, object]) -> set[frozenset[str]]:
    """The sets of roles that a layer with these may have on the other side."""
    found = {frozenset(weights)}
    if len(weights) == 1:
        found |= {frozenset([OWN])}
        if OWN in weights:
            found |= {frozenset([KERNEL]), frozenset([GAMMA]), frozenset([BIAS])}
    return found
