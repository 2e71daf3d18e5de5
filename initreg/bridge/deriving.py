"""Derive which array of a source is meant for which variable of a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from initreg.bridge.altering import Altered, altered, why_not
from initreg.bridge.conventions import conventions, only_convention, shown_conventions
from initreg.bridge.conversions import AS_IT_IS, Change
from initreg.bridge.fitting import of_an_own_class
from initreg.bridge.flattening import maybe_flattened
from initreg.bridge.fusing import Splitting, fused_targets, not_apart, together
from initreg.bridge.layers import (
    SourceLayer,
    TargetLayer,
    Weight,
    convention_of,
    is_of_flax,
    is_of_module,
    is_table,
    source_layers,
    target_layers,
)
from initreg.bridge.lines import LongerTable, MappedVariable, OpenQuestion, Reading
from initreg.bridge.mapped import Mapped
from initreg.bridge.pairing import Paired, pair
from initreg.bridge.readings import of_axes, of_flattened
from initreg.bridge.roles import KERNEL
from initreg.plan.axes import PYTORCH, TENSORFLOW
from initreg.specs import ArraySpec, LayerSpec, VariableSpec


def mapped(
    source: str,
    target: str,
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    known: Mapping[str, LayerSpec],
    same: Mapping[str, int] | None = None,
    first: str = "",
    doubts: Mapping[str, str] | None = None,
    of_flax: bool = False,
    kernel_axes: Mapping[str, str] | None = None,
) -> Mapped:
    """Derive which array is meant for which variable.

    Args:
        source: what messages call the source.
        target: what messages call the target.
        arrays: the arrays of the source, in its order.
        variables: the variables of the target, in its order.
        known: what each variable is in its layer, by name, as far as the target knows.
        same: by name, a number that is equal for arrays with the same values: tied weights.
        first: the text of the rules that gave the arrays their names, "" if there are none.
        doubts: why the elements of an array may be in another order, by name.
        of_flax: whether the source is known to be of flax, whatever its names are after the rules.
        kernel_axes: ``"out, in"`` or ``"in, out"`` for the kernels of which the format knows how
            they are multiplied, by name.
    """
    same = same or {}
    own = [v for v in variables if v.state is None and not v.not_needed]
    readable = [each for each in arrays if not each.unreadable]
    lines = _Lines(doubts=doubts or {}, altered=altered(readable))
    by_itself = lines.add_modules(readable, [v for v in own if v.name not in known])
    readable = [each for each in readable if each.name not in by_itself]
    own = [each for each in own if each.name not in by_itself]
    layers, others = source_layers(readable)
    targets = target_layers(own, known)
    sources = _with_fused(_with_unfused(layers, targets), targets)
    _tie(sources, same)
    _say_axes(sources, kernel_axes or {})
    lines.of_flax = of_flax or is_of_flax(sources)
    lines.flattened = maybe_flattened(targets, known)
    all_axes = [spec.axes for layer in targets for spec in layer.layers.values()]
    lines.windows = frozenset(axes.count("window") for axes in all_axes) - {0}
    found = pair(sources, targets)
    only = only_convention(found.paired)
    lines.convention = only or convention_of(sources)
    if only is not None and found.open:
        found = pair(sources, targets, [only])  # a kernel of the other order is not this layer's
    lines.taken |= {
        array.name
        for each in found.paired
        for weight in each.source.weights.values()
        for array in weight.arrays
    }
    lines.own_kernels = _own_kernels(found.paired)
    for each, (convention, how) in zip(
        found.paired, conventions(found.paired, convention_of(sources)), strict=True
    ):
        lines.add(each, convention, how)
    for open_ in found.open:
        names = tuple(v.name for layer in open_.targets for v in layer.variables.values())
        if not open_.sources:
            lines.missing += names
            continue
        fitting = dict.fromkeys(
            array.origin
            for layer in open_.sources
            for weight in layer.weights.values()
            for array in weight.arrays
        )
        lines.open.append(OpenQuestion(names, tuple(fitting), open_.why))
    for layer in found.only_in_target:
        lines.missing += [variable.name for variable in layer.variables.values()]
    used = {name for line in lines.variables for name in line.arrays}
    asked = {name for question in lines.open for name in question.arrays}
    no_weights = {each.origin for each in others}
    taken = {same[each.name] for each in arrays if each.origin in used and each.name in same}
    tied = [e.origin for e in arrays if same.get(e.name) in taken and e.origin not in used]
    no_weights |= set(tied)
    unused = [
        each.origin
        for each in arrays
        if each.origin not in used and each.origin not in asked and each.origin not in no_weights
    ]
    return Mapped(
        source,
        target,
        tuple(lines.variables),
        tuple(lines.open),
        tuple(lines.missing),
        tuple(unused),
        tuple(each.origin for each in others),
        tuple(tied),
        _longer_tables(targets, lines.missing, [each for each in arrays if each.origin in unused]),
        first,
        not_apart(sources, unused) if lines.missing or lines.open else (),
    )


def _own_kernels(paired: Sequence[Paired]) -> dict[str, set[bool]]:
    """For each class of somebody's own, whether arrays fit it as kernels of PyTorch do, or as they
    are. Those that fit both ways say nothing."""
    found: dict[str, set[bool]] = {}
    for each in paired:
        weight = each.source.weights.get(KERNEL)
        if weight is None or KERNEL not in each.target.variables:
            continue
        if "out" in each.target.layers[KERNEL].axes:
            continue
        moved = of_an_own_class(each.target, KERNEL, weight.shape) is not None
        if moved != (weight.shape == each.target.variables[KERNEL].shape):
            found.setdefault(each.target.kind, set()).add(moved)
    return found


def _longer_tables(
    targets: Sequence[TargetLayer], missing: Sequence[str], unused: Sequence[ArraySpec]
) -> tuple[LongerTable, ...]:
    """The unused arrays that are as wide as a table without an array, and have more rows. No name
    says which rows are meant: RoBERTa, OPT and BART leave out the first two, others the last."""
    found = []
    for layer in targets:
        for role, variable in layer.variables.items():
            wanted = tuple(axis or 0 for axis in variable.shape or ())
            if variable.name not in missing or len(wanted) != 2:
                continue
            if {"in", "out"} & set(layer.layers[role].axes):
                continue
            found += [
                LongerTable(variable.name, wanted, array.origin, array.shape)
                for array in unused
                if len(array.shape) == 2
                and array.shape[1] == wanted[1]
                and array.shape[0] > wanted[0]
            ]
    return tuple(found)


def _with_unfused(
    layers: Sequence[SourceLayer], targets: Sequence[TargetLayer]
) -> list[SourceLayer]:
    """The layers, of which those that hold several are as many, unless the target has such a layer,
    too."""
    found: list[SourceLayer] = []
    splitting = Splitting(layers, targets)
    for layer in layers:
        parts = splitting.apart(layer)
        rest = SourceLayer(layer.name, layer.position, dict(layer.weights), layer.why)
        if parts:
            taken = {id(w.array) for part in parts for w in part.weights.values()}
            rest.weights = {r: w for r, w in rest.weights.items() if id(w.array) not in taken}
        found += [rest] if rest.weights else []
        found += parts
    return found


def _with_fused(layers: Sequence[SourceLayer], targets: Sequence[TargetLayer]) -> list[SourceLayer]:
    """The layers, of which queries, keys and values are one where the target has them in one. It
    must be known in which order the source has the axes of its kernels."""
    if not fused_targets(targets):
        return list(layers)
    said: set[str | None] = {*shown_conventions(pair(layers, targets).paired)}
    said = said or {convention_of(layers)}
    if len(said) != 1 or None in said:
        return list(layers)
    return together(layers, targets, 1 if TENSORFLOW in said else 0)


def _tie(layers: Sequence[SourceLayer], same: Mapping[str, int]) -> None:
    """Note which layers have the same weights."""
    numbers: dict[tuple[object, ...], int] = {}
    for layer in layers:
        key = tuple(
            sorted(
                (role, str(same.get(array.name, array.name)), weight.part)
                for role, weight in layer.weights.items()
                for array in weight.arrays
            )
        )
        layer.tied = numbers.setdefault(key, len(numbers))


_CONVENTIONS = {"out, in": PYTORCH, "in, out": TENSORFLOW}


def _say_axes(layers: Sequence[SourceLayer], kernel_axes: Mapping[str, str]) -> None:
    """Note what the format says of the axes of kernels. Parts and what is put together say
    themselves along which axis."""
    for layer in layers:
        kernel = layer.weights.get(KERNEL)
        if kernel is not None and kernel.axis < 0 and not kernel.how:
            layer.convention = _CONVENTIONS.get(kernel_axes.get(kernel.array.name, ""), "")


# The order in which the layers of Keras have the gates of a cell.
_GATES = {"torch-gru": "keras-gru", "torch-lstm": "keras-lstm"}
# PyTorch has the channels of an image first, and what is flattened has another order there.
_FLATTENED = (
    "several axes come flattened into this layer, and it is not known in which order the source "
    "has them"
)
_UNFLATTENED = (
    "several axes are made of what this layer returns, and it is not known in which order the "
    "source has them"
)
# Source: conv_transpose in jax/_src/lax/convolution.py, with transpose_kernel=False.
_TURNED = (
    "a ConvTranspose of flax computes with its window the other way round, unless it was made with "
    "transpose_kernel. No rule turns a window: convert the array yourself"
)

# Sources: Mixtral and Llama 4 of transformers, (experts, out, in) and (experts, in, out).
_EXPERTS = (
    "as many inputs as outputs, and the modules of PyTorch do not agree on their order in the "
    "kernels of experts"
)

_MULTIPLIED = "it fits as it is, and transposed, as PyTorch has its kernels"


@dataclass(slots=True)
class _Lines:
    variables: list[MappedVariable] = field(default_factory=list)
    open: list[OpenQuestion] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    of_flax: bool = False
    convention: str | None = None
    flattened: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
    altered: Mapping[str, Altered] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    own_kernels: Mapping[str, set[bool]] = field(default_factory=dict)
    windows: frozenset[int] = frozenset()  # the numbers of axes of those of convolutions

    def add_modules(
        self, arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec]
    ) -> set[str]:
        """The arrays of recurrent modules and of attention that the target has under the same name
        and in the same form. Returns their names."""
        shapes = {each.name: each for each in arrays if is_of_module(each.name)}
        taken = set()
        for variable in variables:
            array = shapes.get(variable.name)
            if array is None or array.shape != variable.shape:
                continue
            taken.add(array.name)
            self.taken.add(array.name)
            names = (array.origin,)
            self.variables.append(
                MappedVariable(
                    *(variable.name, names, "", (), -1, 0, 1, AS_IT_IS, "", "the same name")
                )
            )
        return taken

    def add(self, paired: Paired, convention: str | None, how: str) -> None:
        for role, variable in paired.target.variables.items():
            weights = paired.source.weights
            weight: Weight = weights[role] if role in weights else next(iter(weights.values()))
            axes = paired.target.layers[role].axes
            doubt = ""
            if convention != TENSORFLOW:
                doubt = _UNFLATTENED if "unflattened" in axes else doubt
                doubt = _FLATTENED if "flattened" in axes else doubt
            if self.of_flax and axes[:1] == ("window",) and axes[-2:] == ("out", "in"):
                # With transpose_kernel, and with no other options, its last axes are (out, in).
                *_, outputs, inputs = weight.shape
                doubt = _TURNED if outputs == inputs else ""
            altered_by = (
                self.doubts.get(a.name) or why_not(a, variable, self.altered, self.taken)
                for a in weight.arrays
            )
            why = next((each for each in altered_by if each), "")
            if why:
                self._ask(variable.name, weight.array.origin, why)
                continue
            if axes[:1] == ("experts",) and len(paired.fit) > 1:
                doubt = _EXPERTS
            framework, maybe = self.flattened.get(variable.name, ("", ""))
            if maybe and convention not in (framework, None):
                doubt = maybe
            doubt = doubt or self._multiplied(paired, role, weight)
            fits = {each: changes[role] for each, changes in paired.fit.items()}
            is_known = convention is not None and convention in fits
            if not doubt and not is_known and len(set(fits.values())) > 1:
                doubt = f"square: {how}"
            if doubt:
                self._ask_how(paired, role, weight, doubt, convention if is_known else None)
                continue
            change = fits[convention] if convention and is_known else next(iter(fits.values()))
            moved = of_an_own_class(paired.target, role, weight.shape)
            shown = self._shown(paired.target.kind) if moved is not None else set()
            if moved is not None and len(shown) == 1 and self.convention != TENSORFLOW:
                change = moved if shown == {True} else _as_said(change, weight)
                how = f"axes as in other layers of {paired.target.kind}"
            if weight.heads and not change.reshape:
                change = replace(change, reshape=weight.shape)
            reasons = [paired.why, paired.source.why]
            if role == KERNEL and paired.source.convention and len(paired.fit) > 1:
                reasons.append("axes as the file says")
                change = _as_said(change, weight)
            reasons += [how] if change.permute else []
            self.variables.append(
                MappedVariable(
                    variable.name,
                    tuple(array.origin for array in weight.arrays),
                    weight.how,
                    (weight.gates, _GATES[weight.gates]) if weight.gates else (),
                    weight.axis,
                    weight.part,
                    weight.parts,
                    change,
                    paired.target.kind,
                    "; ".join(each for each in reasons if each),
                    weight.along,
                    weight.heads,
                    weight.sizes,
                )
            )

    def _ask_how(
        self, paired: Paired, role: str, weight: Weight, why: str, convention: str | None
    ) -> None:
        """Ask in which order the elements of an array are, of which the variable is known."""
        variable, axes = paired.target.variables[role], paired.target.layers[role].axes
        names = variable.name, weight.array.origin
        wanted = tuple(axis or 0 for axis in variable.shape or ())
        fits = {each: changes[role] for each, changes in paired.fit.items()}
        found: tuple[Reading, ...] = ()
        gates = (weight.gates, _GATES[weight.gates]) if weight.gates else ()
        is_gated = bool(gates) and why != _FLATTENED
        if weight.how or weight.axis >= 0 or is_gated or weight.heads or why == _TURNED:
            pass  # no few lines say it
        elif why.startswith(_MULTIPLIED):
            transposed = of_an_own_class(paired.target, role, weight.shape)
            orders = {
                "the source multiplies it as the target does": _as_said(AS_IT_IS, weight),
                "the source has its axes as PyTorch": transposed or AS_IT_IS,
            }
            found = of_axes(*names, orders)
        elif {"flattened", "unflattened"} & set(axes) or variable.name in self.flattened:
            in_one = fits[convention] if convention in fits else next(iter(fits.values()))
            moved = of_an_own_class(paired.target, role, weight.shape)
            is_moved = weight.shape != wanted or self._shown(paired.target.kind) == {True}
            if moved is not None and axes == ("flattened", "") and is_moved:
                in_one, axes = moved, ("flattened", "out")
            found = of_flattened(*names, wanted, in_one, axes, self.windows, gates)
        else:
            orders = {
                f"the source has its axes as {each}": _as_said(fit, weight)
                for each, fit in fits.items()
            }
            found = of_axes(*names, orders)
        self.open.append(OpenQuestion(names[:1], names[1:], why, found))

    def _multiplied(self, paired: Paired, role: str, weight: Weight) -> str:
        """Why it is open how a layer of somebody's own class multiplies its kernel, "" if not."""
        target = paired.target
        moved = of_an_own_class(target, role, weight.shape)
        if moved is None or is_table(paired.source.name) or self.convention == TENSORFLOW:
            return ""
        if weight.shape != target.variables[role].shape or len(self._shown(target.kind)) == 1:
            return ""
        return f"{_MULTIPLIED}, and the target does not say how {target.kind} multiplies it"

    def _shown(self, kind: str) -> set[bool]:
        """Whether arrays of other layers of a class of somebody's own only fit it as kernels of
        PyTorch do, or as they are."""
        return self.own_kernels.get(kind, set())

    def _ask(self, variable: str, array: str, why: str) -> None:
        """Ask for a variable, together with others for the same reason."""
        for at, other in enumerate(self.open):
            if other.why == why:
                names = (*other.variables, variable), (*other.arrays, array)
                self.open[at] = OpenQuestion(*names, why)
                return
        self.open.append(OpenQuestion((variable,), (array,), why))


def _as_said(made: Change, weight: Weight) -> Change:
    """A change that also says so if the axes stay, so that a restore does not doubt it."""
    return made or replace(made, permute=tuple(range(len(weight.shape))))
