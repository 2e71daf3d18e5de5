"""Rules that take arrays apart and put them together: split, unstack, concat, stack, sum.

They say which arrays are made of which. :mod:`initreg.arrays.joined` reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from initreg.errors import RuleError
from initreg.option_spelling import join
from initreg.option_spelling import option as option_text
from initreg.records import replace
from initreg.rules.adding import Add
from initreg.rules.changes import Change, Part, Pick
from initreg.rules.combining import made_of, refuse_unreadable
from initreg.rules.name_templates import NUMBER
from initreg.rules.rule import Entry, Join, Outcome, Rule
from initreg.rules.structure_specs import APART, EQUAL, Spec, spec_of
from initreg.specs import ArraySpec
from initreg.text.wording import plural, shape_text

_SHOWN = 4  # arrays that a text names


def structure_rule(option: str, given: Any) -> Rule:
    """The rule of one of these options.

    Raises:
        RuleError: it has another value than it can have.
    """
    if not isinstance(given, Mapping):
        raise RuleError(option_text(option, given) + ": give a dict with a value for each array")
    specs = [spec_of(option, name, value) for name, value in given.items()]
    return _Apart(option, specs) if option in APART else _Together(option, specs)


# --- apart --------------------------------------------------------------------------------------


class _Apart:
    """split and unstack: the array makes place for its parts."""

    def __init__(self, option: str, specs: Sequence[Spec]) -> None:
        self._option = option
        self._specs = specs
        self.clauses = [spec.clause for spec in specs]

    def apply(self, outcome: Outcome) -> None:
        entries: list[Entry] = []
        made: dict[int, str] = {}
        for entry in outcome.entries:
            found = [(each, each.whole.found_in(entry.spec)) for each in self._specs]
            hits = [(each, match[0]) for each, match in found if match is not None]
            _refuse_two([each.clause for each, _ in hits], entry.spec)
            if not hits:
                entries.append(entry)
                continue
            [(spec, stars)] = hits
            outcome.touched.add(spec.clause)
            for part in self._parts(spec, stars, entry):
                made[len(entries)] = spec.clause
                entries.append(part)
        refuse_same_names(entries, made)
        outcome.entries = entries

    def _parts(self, spec: Spec, stars: Sequence[str], entry: Entry) -> Iterator[Entry]:
        array = entry.spec
        axis = _axis(spec, array, len(array.shape))
        length = array.shape[axis]
        start = 0
        for number, size in enumerate(self._sizes(spec, array, length)):
            template = spec.parts[0 if spec.is_numbered else number]
            name = template.filled(stars, number)
            change: Change
            if self._option == "unstack":
                change, cut = Pick(axis, number), str(number)
            else:
                change, cut = Part(axis, start, start + size), f"{start}:{start + size}"
            start += size
            shape, dtype = change.announce(array.shape, array.dtype)
            text = change.text(array.shape, array.dtype)
            part = ArraySpec(
                name,
                shape,
                dtype,
                origin=f"{array.origin}[{', '.join([':'] * axis + [cut])}]",
                changes=(*array.changes, text),
                axes=_without(array.axes, axis) if self._option == "unstack" else array.axes,
                made_of=array.made_of or (array.origin,),
            )
            yield replace(entry, spec=part, changes=(*entry.changes, change))

    def _sizes(self, spec: Spec, array: ArraySpec, length: int) -> list[int]:
        """How long each part is along the axis."""
        what = spec.clause + f": array {array.name!r} of shape {shape_text(array.shape)} has "
        what += f"{length:,} along axis {spec.axis}, "
        if self._option == "unstack":
            if not spec.is_numbered and len(spec.parts) != length:
                raise RuleError(what + f"and there are {len(spec.parts)} names")
            if not length:
                raise RuleError(what + "so it has no parts")
            return [1] * length
        if not spec.is_numbered:
            sizes = spec.sizes_of(len(spec.parts))
        elif isinstance(spec.sizes, int):
            sizes = [spec.sizes] * max(1, length // spec.sizes)
        elif isinstance(spec.sizes, (list, tuple)):
            sizes = list(spec.sizes)
        else:
            raise RuleError(
                spec.clause + f": into how many parts? Give sizes, or a name for each instead of "
                f"one with {NUMBER}"
            )
        if sizes is None:
            count = len(spec.parts)
            if not length or length % count:
                raise RuleError(what + f"which are not {count} equal parts")
            return [length // count] * count
        if sum(sizes) != length:
            added = " + ".join(map(str, sizes)) if len(sizes) <= _SHOWN else "the sizes"
            raise RuleError(what + f"and {added} are {sum(sizes):,}")
        return sizes


# --- together -----------------------------------------------------------------------------------


class _Together:
    """concat, stack and sum: the new array has the place of its first part."""

    def __init__(self, option: str, specs: Sequence[Spec]) -> None:
        self._option = option
        self._specs = specs
        self.clauses = [spec.clause for spec in specs]

    def apply(self, outcome: Outcome) -> None:
        taken: dict[int, str] = {}  # by the position of an array, the clause that takes it
        at: dict[int, tuple[Entry, str]] = {}  # by the position of the first part, what is made
        for spec in self._specs:
            for stars, group in self._groups(spec, outcome).items():
                for position in group:
                    clauses = [taken[position]] if position in taken else []
                    _refuse_two([*clauses, spec.clause], outcome.entries[position].spec)
                    taken[position] = spec.clause
                parts = [outcome.entries[position] for position in group]
                at[min(group)] = self._joined(spec, spec.whole.filled(stars), parts), spec.clause
                outcome.touched.add(spec.clause)
        entries: list[Entry] = []
        made: dict[int, str] = {}
        for position, entry in enumerate(outcome.entries):
            if position in at:
                made[len(entries)] = at[position][1]
                entries.append(at[position][0])
            elif position not in taken:
                entries.append(entry)
        refuse_same_names(entries, made)
        outcome.entries = entries

    def _groups(self, spec: Spec, outcome: Outcome) -> dict[tuple[str, ...], list[int]]:
        """The positions of the parts, in order, of each array that is made."""
        found: dict[tuple[str, ...], dict[int, int]] = {}
        for position, entry in enumerate(outcome.entries):
            for number, template in enumerate(spec.parts):
                match = template.found_in(entry.spec)
                if match is None:
                    continue
                stars, counted = match
                group = found.setdefault(stars, {})
                place = number if counted is None else counted
                if place in group:
                    names = [outcome.entries[each].spec.name for each in (group[place], position)]
                    raise RuleError(
                        spec.clause + f": {names[0]!r} and {names[1]!r} are both part {place}"
                    )
                group[place] = position
        for stars, group in found.items():
            count = max(group) + 1 if spec.is_numbered else len(spec.parts)
            gone = next((place for place in range(count) if place not in group), None)
            if gone is not None:
                template = spec.parts[0 if spec.is_numbered else gone]
                there = outcome.entries[next(iter(group.values()))].spec.name
                raise RuleError(
                    spec.clause + f": there is {there!r}, but no array "
                    f"{template.filled(stars, gone)!r}"
                )
        return {stars: [group[place] for place in sorted(group)] for stars, group in found.items()}

    def _joined(self, spec: Spec, name: str, parts: Sequence[Entry]) -> Entry:
        arrays = [part.spec for part in parts]
        first = arrays[0]
        is_sum = self._option == "sum"
        is_stack = self._option == "stack"
        axis = 0 if is_sum else _axis(spec, first, len(first.shape) + is_stack)
        for array in arrays:
            refuse_unreadable(array, spec.clause)
            if array.dtype != first.dtype:
                raise RuleError(
                    spec.clause + f": {first.name!r} is {first.dtype}, and {array.name!r} is "
                    f"{array.dtype}. Give them one dtype first, with " + option_text("cast")
                )
            other = [i for i in range(len(first.shape)) if is_stack or is_sum or i != axis]
            fits = len(array.shape) == len(first.shape) and all(
                array.shape[i] == first.shape[i] for i in other
            )
            if not fits:
                where = "" if is_stack or is_sum else f" but for axis {spec.axis}"
                raise RuleError(
                    spec.clause + f": {first.name!r} has the shape {shape_text(first.shape)}, and "
                    f"{array.name!r} {shape_text(array.shape)}. They must be the same{where}"
                )
        if is_sum:
            return _summed(spec, name, parts)
        lengths = [1 if is_stack else array.shape[axis] for array in arrays]
        _check_sizes(spec, arrays, lengths)
        inside = first.shape[:axis], first.shape[axis + (not is_stack) :]
        shape = (*inside[0], sum(lengths), *inside[1])
        before = {text for array in arrays for text in array.changes}
        text = ("stacked" if is_stack else "concatenated") + f" along axis {axis} from "
        text += _names([array.origin for array in arrays])
        if before:
            text += f" ({', '.join(sorted(before)[:_SHOWN])}{', ...' * (len(before) > _SHOWN)})"
        axes = first.axes if all(array.axes == first.axes for array in arrays) else None
        joined = ArraySpec(
            name,
            shape,
            first.dtype,
            origin=_origin([array.origin for array in arrays]),
            changes=(text,),
            axes=_with(axes, axis) if is_stack else axes,
            made_of=made_of(*arrays),
        )
        return Entry(parts[0].index, joined, (), Join(tuple(parts), axis, is_stack, joined))


def _summed(spec: Spec, name: str, parts: Sequence[Entry]) -> Entry:
    """The sum of arrays: the first one, to which the others are added when it is read."""
    first, *others = parts
    arrays = [part.spec for part in parts]
    change = Add(needs=tuple(others))
    text = change.text(first.spec.shape, first.spec.dtype) if others else ""
    try:
        change.announce(first.spec.shape, first.spec.dtype)
    except ValueError as error:
        raise RuleError(spec.clause + f": array {first.spec.name!r}: {error}") from error
    new = ArraySpec(
        name,
        first.spec.shape,
        first.spec.dtype,
        origin=_origin([array.origin for array in arrays]),
        changes=(*first.spec.changes, *([text] if text else [])),
        axes=first.spec.axes if all(a.axes == first.spec.axes for a in arrays) else None,
        made_of=made_of(*arrays),
    )
    return replace(first, spec=new, changes=(*first.changes, *([change] if text else [])))


def _check_sizes(spec: Spec, arrays: Sequence[ArraySpec], lengths: Sequence[int]) -> None:
    sizes = [lengths[0]] * len(lengths) if spec.sizes == EQUAL else spec.sizes_of(len(lengths))
    if sizes is None:
        return
    if len(sizes) != len(lengths):
        count = plural(len(lengths), "part")
        raise RuleError(spec.clause + f": there are {count}, and {plural(len(sizes), 'size')}")
    for array, size, length in zip(arrays, sizes, lengths, strict=True):
        if size != length:
            raise RuleError(
                spec.clause + f": array {array.name!r} of shape {shape_text(array.shape)} has "
                f"{length:,} along axis {spec.axis}, and not {size:,}"
            )


# --- both ---------------------------------------------------------------------------------------


def _axis(spec: Spec, array: ArraySpec, ndim: int) -> int:
    refuse_unreadable(array, spec.clause)
    if not -ndim <= spec.axis < ndim:
        raise RuleError(
            spec.clause + f": array {array.name!r} of shape {shape_text(array.shape)} has no axis "
            f"{spec.axis}"
        )
    return spec.axis % ndim


def _refuse_two(clauses: Sequence[str], array: ArraySpec) -> None:
    if len(clauses) > 1:
        raise RuleError(
            join(" and ", clauses[:2]) + f" are both about the array {array.name!r}. Only one of "
            "them can take it"
        )


def refuse_same_names(entries: Sequence[Entry], made: Mapping[int, str]) -> None:
    """Raise RuleError if a new array has the name of another one.

    Args:
        entries: all arrays.
        made: the clauses that made the new ones, by their positions.
    """
    names: dict[str, int] = {}
    origins: dict[str, int] = {}
    for position, entry in enumerate(entries):
        spec = entry.spec
        for found, text in ((names, spec.name), (origins, spec.origin)):
            first = found.setdefault(text, position)
            if first != position:
                clause = made.get(position) or made[first]
                other = entries[first].spec
                raise RuleError(
                    clause + f" gives two arrays the same name: what comes from {other.origin!r} "
                    f"and from {spec.origin!r} would both be called {text!r}. Drop or rename one "
                    "of them first"
                )
        if position in made and not spec.name:
            raise RuleError(made[position] + " makes a name empty")


def _origin(names: Sequence[str]) -> str:
    """What a plan calls an array that is put together, by its parts."""
    return " + ".join(names) if len(names) < _SHOWN else f"{names[0]} + ... + {names[-1]}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _SHOWN else f"{len(names)} arrays"


def _without(axes: tuple[int, ...] | None, axis: int) -> tuple[int, ...] | None:
    """The order of the axes of an array that loses one."""
    if axes is None:
        return None
    return tuple(each - (each > axes[axis]) for i, each in enumerate(axes) if i != axis)


def _with(axes: tuple[int, ...] | None, axis: int) -> tuple[int, ...] | None:
    """The order of the axes of an array that gets one."""
    if axes is None:
        return None
    moved = [each + (each >= axis) for each in axes]
    return (*moved[:axis], axis, *moved[axis:])
