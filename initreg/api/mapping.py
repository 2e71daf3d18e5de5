"""map: the rules that take the weights of another framework into a target."""

from __future__ import annotations

from typing import Any, Unpack

from initreg.api.opening_options import OpeningOptions, opening_of, spelt_out
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.notes import still_said
from initreg.arrays.tied import tied
from initreg.bridge.deriving import mapped
from initreg.bridge.layers import has_collections
from initreg.bridge.mapped import Mapped
from initreg.plugin.installed import default_registry
from initreg.records import replace
from initreg.rules.keywords import RuleOptions, Rules
from initreg.rules.writing import steps_text
from initreg.specs import ArraySpec


class MappingOptions(OpeningOptions, RuleOptions, total=False):
    """What may be opened, and the rules that are applied to it first, as keywords."""


@spelt_out(MappingOptions)
def map(source: Any, target: Any, **options: Unpack[MappingOptions]) -> Mapped:
    """Derive the rules with which the arrays of a source go into the variables of a target.

    The source may come from another framework: the names are compared by their words and numbers,
    and a target that knows its layers says what each axis is. Nothing is written. What two readings
    fit equally well is left open.

    Args:
        source: a path, an open map, or what else :func:`initreg.open` takes.
        target: a Keras model, a session, variables, a dict of arrays.
        options: ``format``, ``allow_pickle``, ``native``, ``max_inflation`` and the rules, as for
            :class:`initreg.SmartInit`. The rules are applied before anything is compared, and come
            first in the rule file.

    Returns:
        A :class:`Mapped`. Its text is a rule file.

    Raises:
        UnknownTarget, TargetError: the target cannot be restored into.
        RuleError: a rule matches nothing, does not apply, or cannot be in a file: a function.
        InitregError: what :func:`initreg.open` raises.

    >>> mapped = initreg.map("resnet50.pth", model)  # doctest: +SKIP
    >>> mapped.save("resnet50.toml")  # doctest: +SKIP
    >>> SmartInit("resnet50.pth", rules="resnet50.toml").init(model)  # doctest: +SKIP
    """
    given = {name: value for name, value in options.items() if name in RuleOptions.__annotations__}
    others = {name: value for name, value in options.items() if name not in given}
    opening = opening_of(others, "map", OpeningOptions)
    steps = [(step.options, step.inverse) for step in Rules.of(**given).steps]  # type: ignore[arg-type]
    first = steps_text(steps)
    found = default_registry().target(target)
    layers = getattr(found, "layers", None)
    with opening.open(source) as opened:
        arrays, same = opened.specs(), tied(opened)
        said = source if isinstance(source, ArrayMap) else opened
        doubts, kernel_axes = said.reordered, said.said_of("kernel_axes")
        if steps:
            arrays = opened.apply(**given).specs()  # type: ignore[arg-type]
            same, doubts = _same_after(arrays, same), still_said(arrays, doubts)
            kernel_axes = still_said(arrays, kernel_axes)
        return mapped(
            opened.label,
            found.label,
            [replace(each, origin=each.name) for each in arrays],  # as the rule file has it by then
            found.variables(),
            layers() if callable(layers) else {},
            same,
            first,
            doubts,
            has_collections(opened),
            kernel_axes,
        )


def _same_after(arrays: list[ArraySpec], same: dict[str, int]) -> dict[str, int]:
    """The same, after rules, for the arrays whose values no rule changes."""
    return {
        each.name: same[each.origin]
        for each in arrays
        if each.origin in same and not (each.changes or each.made_of)
    }
