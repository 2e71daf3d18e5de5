"""The hints of a plan, and what is in doubt about it, with the code to type."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from initreg.api.chain import OF_THE_CALL, Chain, Link, Typed
from initreg.api.map_hints import map_hint, may_be_mapped
from initreg.arrays.array_map import ArrayMap, RuledMap
from initreg.errors import InitregError
from initreg.plan.axis_hints import reorderings
from initreg.plan.axis_pairs import Pair
from initreg.plan.cast_hints import casts
from initreg.plan.expectations import SourceSpecs
from initreg.plan.hints import nearest, other_ways, renamings
from initreg.plan.in_order import order_hints
from initreg.plan.judging import is_fit
from initreg.plan.plan import Plan
from initreg.plan.row_list import Met
from initreg.plan.row_making import SlotFinder
from initreg.plan.rows import RESTORED, By, Hint, Kind
from initreg.plan.transposing import Layers, study
from initreg.records import replace
from initreg.rules.keywords import Rules
from initreg.specs import ArraySpec, VariableSpec
from initreg.store_paths import StorePath
from initreg.text.wording import code_text, options_text

_FEW_NAMES = 50  # on one side only: a misspelt name is looked for among at most so many
_MOST_HINTS = 3


class Hinting:
    """Adds hints and doubts to the plan of a chain.

    Args:
        source: what the user passed.
        links: the sources of the chain, in order.
        maps: the open map of each link, after its rules.
        variables: the variables of the target by their normalised names.
        slots: finds the slots of an optimiser among names.
        sources: the sources as they were matched.
        planned: makes the plan for sources, as that of this chain was made.
        layers: returns what each variable is in its layer, by name, as far as the target knows.
    """

    def __init__(
        self,
        source: Any,
        links: Sequence[Link],
        maps: Sequence[ArrayMap],
        variables: Mapping[str, VariableSpec],
        slots: SlotFinder,
        sources: Sequence[SourceSpecs],
        planned: Callable[[Sequence[SourceSpecs]], Plan],
        layers: Layers,
    ) -> None:
        self._source = source
        self._links = links
        self._maps = maps
        self._specs = [m.specs() for m in maps]
        self._by_origin = [{spec.origin: spec for spec in specs} for specs in self._specs]
        self._variables = variables
        self._slots = slots
        self._sources = sources
        self._planned = planned
        self._layers = layers

    def of(self, plan: Plan) -> Plan:
        """The plan with its hints and doubts."""
        met: list[list[Met]] = [[] for _ in self._links]
        for each in plan.met():
            met[each.source].append(each)
        hints: list[Hint] = []
        doubts: dict[int, str] = {}
        for number, of_source in enumerate(met):
            ways = []
            if self._links[number].by is None:
                ways = other_ways(plan.ways[number], len(self._variables), "source")
                ways = [way for way in ways if self._fits_more(plan, number, way.options)]
            label = plan.sources[number] if len(self._links) > 1 else ""
            if not of_source and self._links[number].by is None:
                ordered = order_hints(
                    self._specs[number], list(self._variables.values()), is_fit, label
                )
                if ordered:  # such names say nothing, so renaming them would be a guess
                    hints += [self._typed(hint, number) for hint in ordered]
                    continue
            arrays, variables = self._to_rename(number)
            have, want = len(arrays), len(variables)
            if 2 * len(of_source) < min(have, want) or not (have and want):
                ways = renamings(
                    arrays,
                    variables,
                    label=label,
                    slots=self._slots,
                    now=len(_supplied(plan, number)),
                    attempt=partial(self._attempt, number),
                    ways=ways,
                )
            hints += [self._typed(hint, number) for hint in ways]
            if of_source:
                hints += self._of_axes(number, of_source, doubts)
                misfits = [
                    (row, self._by_origin[number][row.array or ""].name)
                    for row in plan.of(Kind.MISMATCHED)
                    if row.source == number
                ]
                hints += [self._typed(hint, number) for hint in casts(misfits)]
            if not hints:
                hints += self._of_the_rest(plan, number, label)
        hints = (self._of_map(len(met[0]) if met else 0, hints) + hints)[:_MOST_HINTS]
        hints = hints or self._misspelt(plan)
        return plan.with_doubts(doubts).with_hints(hints)

    def _of_map(self, now: int, hints: Sequence[Hint]) -> list[Hint]:
        """The hint to map a single source that has no rules, if only ``now`` of its names match."""
        if len(self._links) != 1 or 2 * now >= min(len(self._specs[0]), len(self._variables)):
            return []
        if not may_be_mapped(self._specs[0]):
            return []
        link = self._links[0]
        arrays, variables = self._to_rename(0)
        typed = [*link.opening.typed(), *(name for each in link.typed for name in each.options)]
        has_rules = link.by is not None or not set(typed) <= set(OF_THE_CALL)
        if has_rules or 2 * now >= min(len(arrays), len(variables)):
            return []
        others = (self._attempt(0, hint.options) or {} for hint in hints if hint.options)
        best = max((len(each) for each in others), default=0)
        kept = options_text(self._kept(0))
        hint = map_hint(
            arrays,
            variables,
            self._layers,
            self._code(0, is_part=False),
            kept,
            max(now, best),
            self._maps[0],
        )
        return [] if hint is None else [hint]

    def _to_rename(self, number: int) -> tuple[list[ArraySpec], list[VariableSpec]]:
        """The arrays and the variables that renaming may pair. The state of optimizers is paired by
        what it is, unless nothing else is there."""
        arrays, variables = self._specs[number], list(self._variables.values())
        own = [variable for variable in variables if variable.state is None]
        if not own:
            return arrays, variables
        return [array for array in arrays if array.state is None], own

    def _attempt(self, number: int, options: Mapping[str, Any]) -> dict[str, str] | None:
        """The array for each variable that a source supplies if options are added to it, None if
        that fails."""
        plan = self._replanned(number, options)
        return None if plan is None else _supplied(plan, number)

    def _fits_more(self, plan: Plan, number: int, options: Mapping[str, Any]) -> bool:
        """Whether options let a source supply more, and nothing more that does not fit."""
        other = self._replanned(number, options)
        if other is None or len(_supplied(other, number)) <= len(_supplied(plan, number)):
            return False
        kinds = (Kind.MISMATCHED, Kind.PASSED_OVER)
        return sum(len(other.of(k)) for k in kinds) <= sum(len(plan.of(k)) for k in kinds)

    def _replanned(self, number: int, options: Mapping[str, Any]) -> Plan | None:
        """The plan with options added to a source, None if there is none."""
        rules = {name: value for name, value in options.items() if name != "by"}
        source = self._sources[number]
        try:
            if rules:
                opened = RuledMap(self._maps[number], Rules.of(**rules))
                source = replace(source, arrays=opened.specs(), dropped=opened.dropped)
            if "by" in options:
                source = replace(source, by=By(options["by"]))
            return self._planned([*self._sources[:number], source, *self._sources[number + 1 :]])
        except InitregError:
            return None

    def _of_axes(self, number: int, met: Sequence[Met], doubts: dict[int, str]) -> list[Hint]:
        """The hints about the order of axes of one source. Adds to the doubts, by row."""
        by_origin = self._by_origin[number]
        pairs = [
            Pair(each.kind, each.name, array, self._variables[each.name])
            for each in met
            if len((array := by_origin[each.array]).shape) > 1 and not array.unreadable
        ]
        found = study(pairs, self._variables, self._layers)
        if found.doubts:
            for each in met:
                if each.name in found.doubts and each.kind in RESTORED:
                    doubts[each.at] = found.doubts[each.name]
        return [self._typed(hint, number) for hint in reorderings(found, self._specs[number])]

    def _of_the_rest(self, plan: Plan, number: int, label: str) -> list[Hint]:
        """Hints for the names on one side only of a source whose other names match."""
        unused, missing = self._one_sided(plan, number)
        if not (unused and missing):
            return []
        rest = {spec.name for spec in unused}
        matched = [spec.name for spec in self._specs[number] if spec.name not in rest]
        found = renamings(
            unused,
            missing,
            label=label,
            matched=matched,
            slots=self._slots,
            now=len(_supplied(plan, number)),
            attempt=partial(self._attempt, number),
        )
        return [self._typed(hint, number) for hint in found]

    def _one_sided(self, plan: Plan, number: int) -> tuple[list[ArraySpec], list[VariableSpec]]:
        """The arrays of a source that no variable takes, and the variables without an array, but
        those that are expected."""
        unused = [
            self._by_origin[number][row.array or ""]
            for row in plan.of(Kind.ONLY_IN_SOURCE)
            if row.source == number and not row.expected
        ]
        missing = [
            self._variables[row.name] for row in plan.of(Kind.ONLY_IN_TARGET) if not row.expected
        ]
        return unused, missing

    def _misspelt(self, plan: Plan) -> list[Hint]:
        """Hints for names on one side only that look like a name on the other side."""
        found: list[Hint] = []
        for number in range(len(plan.sources)):
            unused, missing = self._one_sided(plan, number)
            if 0 < len(missing) <= _FEW_NAMES and 0 < len(unused) <= _FEW_NAMES:
                hints = nearest(unused, missing, cutoff=0.85)
                now = _supplied(plan, number)
                found += [
                    self._typed(hint, number)
                    for hint in hints
                    if len(self._attempt(number, hint.options) or ()) > len(now)
                ]
        return found[:_MOST_HINTS]

    # --- code ---------------------------------------------------------------------------------

    def _typed(self, hint: Hint, number: int) -> Hint:
        """The hint with the code of what the user typed, in which it is about one source."""
        if not hint.options:
            return hint
        codes = [self._code(each, is_part=each != number) for each in range(len(self._links))]
        return replace(
            hint,
            source=codes[number],
            kept=self._kept(number),
            before=[code for code in codes[:number] if code],
            after=[code for code in codes[number + 1 :] if code],
        )

    def _kept(self, number: int) -> dict[str, Any]:
        """What the user typed for the whole restore, other than rules."""
        typed = self._links[number].typed[-1:]
        return {k: v for each in typed for k, v in each.options.items() if k in OF_THE_CALL}

    def _code(self, number: int, is_part: bool) -> str:
        """The code that names a source, with its options: ``"zoo.npy", allow_pickle=True``.

        If it has rules, it is ``SmartInit("base.npz", drop="head/*")``. "" if it supplies nothing.

        Args:
            number: which source of the chain.
            is_part: whether nothing is added to it, so that options need a SmartInit of their own.
        """
        link = self._links[number]
        alone = len(self._links) == 1
        path = isinstance(link.source, (str, os.PathLike)) and not isinstance(
            link.source, StorePath
        )
        name = "source" if alone else _expression(self._source, link.source) or "source"
        code = code_text(os.fspath(link.source)) if path else name
        opening = options_text(link.opening.typed())
        *inner, outer = link.typed or (Typed("SmartInit", {}),)
        rules = {k: v for k, v in outer.options.items() if k not in OF_THE_CALL}
        opened = self._maps[number]
        if rules and not alone and isinstance(opened, RuledMap):
            # Rules of the chain, of which each must match an array of the source that it is for.
            left = link.rules[-1].restricted_to(opened.touched)
            if "keep" in rules and "keep" not in left:
                return ""
            rules = left
        levels = [each for each in (*inner, Typed(outer.caller, rules)) if each.options]
        if is_part and opening and not levels:
            levels.append(Typed(outer.caller, {}))
        code += opening
        for caller, options in levels:
            code = f"{caller}({code}{options_text(options)})"
        return code


def _supplied(plan: Plan, number: int) -> dict[str, str]:
    """The array for each variable that a source supplies, whether it fits or not."""
    return {
        each.name: each.array
        for each in plan.met()
        if each.source == number and each.kind is not Kind.OVERRIDDEN
    }


def _expression(source: Any, wanted: Any, code: str = "source") -> str:
    """The code of one part of what the user passed, as ``source``: ``source[1]``. "" if none."""
    if source is wanted:
        return code
    if isinstance(source, Chain):
        return _expression(getattr(source, "source", None), wanted, f"{code}.source")
    if isinstance(source, (list, tuple)):
        for index, each in enumerate(source):
            found = _expression(each, wanted, f"{code}[{index}]")
            if found:
                return found
    return ""
