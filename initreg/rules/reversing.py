"""What undoes rules: the steps that take arrays back to the names and axes that they came from.

Only what is sure is undone: exact renames, prefixes, orders of axes, and arrays that were taken
apart or put together. For anything else, the user says in the step what undoes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from initreg.errors import RuleError
from initreg.names import normalise
from initreg.option_spelling import join, spell_options
from initreg.option_spelling import option as option_text
from initreg.records import replace
from initreg.rules.change_rules import change_of
from initreg.rules.name_templates import NUMBER
from initreg.rules.options import ORDER
from initreg.rules.rename_rules import is_pair
from initreg.rules.steps import Step, parts_of
from initreg.rules.structure_specs import EQUAL, Spec, spec_of
from initreg.rules.taking import Take
from initreg.rules.toml_lines import Path
from initreg.rules.writing import spelt
from initreg.text.wording import plural


def reversed_steps(steps: Sequence[Step]) -> list[Step]:
    """The steps that undo these, in the order in which they are to be applied.

    Args:
        steps: the steps, in the order in which they were applied.

    Raises:
        RuleError: something cannot be undone. The error lists all that cannot, with their lines.
    """
    found: list[Step] = []
    faults: list[str] = []
    for step in reversed(steps):
        if step.inverse is not None:
            at = (*step.at, "inverse")
            found += [replace(step, options=step.inverse, inverse=None, at=at)] * bool(step.inverse)
            continue
        for option in sorted(step.options, key=ORDER.index, reverse=True):
            undone = _Undone(step, option)
            found += undone.steps
            faults += undone.faults
    if faults:
        count = plural(len(faults), "rule")
        start = "" if len(faults) == 1 else f"{count} cannot be undone:\n  "
        raise RuleError(start + join("\n  ", faults))
    return found


class _Undone:
    """What undoes one option of a step.

    Args:
        step: the step.
        option: the option.
    """

    def __init__(self, step: Step, option: str) -> None:
        self._step = step
        self._option = option
        self.steps: list[Step] = []
        self.faults: list[str] = []
        value = step.options[option]
        if option in ("transpose", "prefix"):
            self._add("strip_prefix" if option == "prefix" else option, value, {})
        elif option == "rename":
            self._renames(value)
        elif option == "permute":
            self._add(option, {glob: _inverse(axes) for glob, axes in value.items()}, {})
        elif option == "gates":
            self._add(
                option, {glob: (axis, new, old) for glob, (axis, old, new) in value.items()}, {}
            )
        elif option == "take":
            self._takes(value)
        elif option in _OPPOSITES:
            self._structures(value)
        else:
            reason, example = _WHY_NOT[option]
            for path, part in parts_of(option, value):
                self._refuse(path, part, reason, example)

    def _add(self, option: str, value: Any, moved: Mapping[Path, Path]) -> None:
        """Add a step.

        Args:
            option: its option.
            value: the value of the option.
            moved: for parts of the value, which part of the given value each undoes.
        """
        at, lines = self._step.at, dict(self._step.lines)
        for new, old in [((), ()), *moved.items()]:
            place = (*at, self._option, *old)
            if place in lines:
                lines[(*at, option, *new)] = lines[place]
        step = Step({option: value}, None, self._step.file, lines, at, is_reversed=True)
        self.steps.append(step)

    def _refuse(self, path: Path, part: Any, reason: str, example: str) -> None:
        clause = option_text(self._option, part)
        if not self._step.file:
            self.faults.append(clause + f" cannot be undone: {reason}. Undo it with its own rules")
            return
        table = "[step.inverse]" if self._step.at else "[inverse]"
        where = self._step.where(self._option, *path)
        self.faults.append(
            f"{where}: {spell_options(clause, spelt)} cannot be undone: {reason}. Say what undoes "
            f"the step, in {table}: {example}"
        )

    def _renames(self, value: Any) -> None:
        if isinstance(value, list) and not is_pair(value):
            for index in reversed(range(len(value))):
                self._rename(value[index], (index,))
        else:
            self._rename(value, ())

    def _rename(self, value: Any, at: Path) -> None:
        if not isinstance(value, Mapping):
            reason = "a regular expression does not say which names it came from"
            if not is_pair(value):
                reason = "a function does not say which names it came from"
            self._refuse(at, [value] if is_pair(value) else value, reason, _RENAME)
            return
        back: dict[str, str] = {}
        for old, new in value.items():
            if normalise(new) in back:
                other = back[normalise(new)]
                reason = f"{other!r} is called {new!r}, too"
                self._refuse((*at, old), {old: new}, reason, _RENAME)
            back[normalise(new)] = normalise(old)
        moved: dict[Path, Path] = {(new,): (*at, old) for old, new in value.items()}
        self._add("rename", back, moved)

    def _takes(self, value: Mapping[str, Any]) -> None:
        back: dict[str, Any] = {}
        for glob, given in value.items():
            change = change_of(self._option, given)
            indices = change.undone() if isinstance(change, Take) else None
            if indices is None:
                reason = "not each element is taken once, so some are lost or doubled"
                self._refuse((glob,), {glob: given}, reason, "such as a take")
            else:
                back[glob] = (given[0], indices)
        if back:
            self._add(self._option, back, {(glob,): (glob,) for glob in back})

    def _structures(self, value: Mapping[str, Any]) -> None:
        opposite = _OPPOSITES[self._option]
        back: dict[str, Any] = {}
        for name, given in value.items():
            spec = spec_of(self._option, name, given)
            parts = [part.text for part in spec.parts]
            undone: list[Any] = [spec.axis, parts[0] if spec.is_numbered else parts]
            if opposite == "concat":
                undone.append(EQUAL if spec.sizes is None else spec.sizes)
            elif opposite == "split":
                reason = _why_not_split(spec)
                if reason:
                    self._refuse((name,), {name: given}, *reason)
                    continue
                undone.append(spec.sizes)
            back[spec.whole.text] = tuple(undone)
        if back:
            self._add(opposite, back, {(name,): (name,) for name in value})


def _why_not_split(spec: Spec) -> tuple[str, str] | None:
    """Why a concat cannot be undone, with what to do. None if it can."""
    if spec.sizes is None:
        return "it does not say how long its parts are", 'or give the concat sizes, such as "equal"'
    if spec.sizes == EQUAL and spec.is_numbered:
        return f"it does not say how many parts {NUMBER} stands for", "or give the concat sizes"
    return None


def _inverse(axes: Sequence[int]) -> tuple[int, ...]:
    """The order that undoes an order of axes."""
    order = [axis % len(axes) for axis in axes] if axes else []
    return tuple(order.index(axis) if axis in order else -1 for axis in range(len(order)))


_OPPOSITES = {"split": "concat", "unstack": "stack", "concat": "split", "stack": "unstack"}
_NOTHING = "{} for nothing"
_RENAME = "a rename, or {} for nothing"
# Why an option cannot be undone, and what may undo it.
_WHY_NOT = {
    "keep": ("the arrays that it leaves out are gone", _NOTHING),
    "drop": ("the arrays that it leaves out are gone", _NOTHING),
    "strip_prefix": ("it does not say which names had the prefix", "such as a prefix"),
    "view": ("it does not say the dtype that it came from", "such as a view"),
    "scale": ("values that are divided again are rounded", "such as a scale"),
    "fold_batch_norm": ("the normalization's arrays are gone", _NOTHING),
    "add": ("values from which a number is subtracted again are rounded", "such as an add"),
    "sum": ("it does not say what each part of it was", _NOTHING),
    "reshape": ("it does not say the shape that it came from", "such as a reshape"),
    "slice": ("what it cuts off is gone", _NOTHING),
    "pad": ("it does not say the length that it came from", "such as a slice"),
    "cast": ("it does not say the dtype that it came from", "such as a cast"),
}
