"""Arrays whose names are only numbers: ``arr_0``, ``arr_1`` of ``numpy.savez(path, *weights)``, or
``0``, ``1`` of a list.

Such names say nothing but an order. It may be that of the weights of the model, in which Keras's
``get_weights`` returns them and ``set_weights`` takes them. So nothing is matched by it unless the
user says so, and then all shapes must be equal.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence

from initreg.errors import RuleError
from initreg.names import normalise
from initreg.option_spelling import option
from initreg.plan.rows import Hint
from initreg.specs import ORDER, WEIGHTS, ArraySpec, VariableSpec
from initreg.text.wording import names_text, plural, shape_text

Fits = Callable[[ArraySpec, VariableSpec], bool]
# Numbers alone, as of a list. In ``layer_0`` the number is a part of a name that somebody gave.
_NUMBERED = re.compile(r"((?:.*/)?(?:arr_)?)([0-9]{1,9})", re.DOTALL)
_POSITION = re.compile(re.escape(WEIGHTS) + r"([0-9]+) of ([0-9]+)")
# A layer of a Functional or Sequential model, of which the file has the name of the class.
_IN_LIST = re.compile(r"(?:.*/)?layers/([^/]*?)(?:_\d+)?/vars/\d+", re.DOTALL)
_MOST = 3


def numbered(arrays: Sequence[ArraySpec]) -> list[int] | None:
    """The indices of arrays in their order, if their names are the numbers from 0, of one list.
    None if they are not."""
    groups = _groups(arrays)
    if len(groups) != 1 or any(p.startswith(ORDER) for array in arrays for p in array.places):
        return None
    return next(iter(groups.values()))


def _groups(arrays: Sequence[ArraySpec]) -> dict[str, list[int]]:
    """The arrays with such names, in their order, by what comes before the number. Empty if another
    array has another name."""
    found: dict[str, dict[int, int]] = {}
    for index, array in enumerate(arrays):
        match = _NUMBERED.fullmatch(array.name)
        if match is None:
            return {}
        if found.setdefault(match[1], {}).setdefault(int(match[2]), index) != index:
            return {}  # the same number twice: 0 and 00
    if any(sorted(group) != list(range(len(group))) for group in found.values()):
        return {}
    return {before: [group[n] for n in sorted(group)] for before, group in found.items()}


def in_order(variables: Sequence[VariableSpec]) -> list[int]:
    """The indices of the weights of a target in their order: the one that its framework has for
    them, or else that of the target. State of optimizers is left out."""
    placed: dict[int, int] = {}
    for index, variable in enumerate(variables):
        for place in variable.places:
            match = _POSITION.fullmatch(place)
            if match is not None:
                placed[int(match[1])] = index
    if placed:
        return [placed[position] for position in sorted(placed)]
    return [index for index, variable in enumerate(variables) if variable.state is None]


def pair_in_order(
    arrays: Sequence[ArraySpec],
    numbers: Sequence[int],
    variables: Sequence[VariableSpec],
    fits: Fits,
    route: str,
) -> dict[int, int]:
    """Pair numbered arrays with the weights of a target, as the user asked for.

    Args:
        arrays: the arrays of the source.
        numbers: their indices in their order.
        variables: the variables of the target.
        fits: whether an array fits a variable.
        route: what to call source and target, for an error.

    Returns:
        The index of the array for the index of each weight.

    Raises:
        RuleError: their numbers differ, or an array does not fit. Then no other can be trusted.
    """
    ours = in_order(variables)
    asked = f"{route}: " + option("by", "order")
    if len(numbers) != len(ours):
        raise RuleError(
            asked + f" needs as many arrays as the target has weights. The source has "
            f"{plural(len(numbers), 'array')}, the target {plural(len(ours), 'weight')}. Nothing "
            "was written"
        )
    wrong = _wrong(arrays, numbers, variables, ours, fits)
    if wrong:
        lines = "".join(f"\n  {line}" for line in names_text(wrong, gap=": "))
        raise RuleError(
            asked + " needs equal shapes all along. It is not the order of these weights, or they "
            f"are of another model. Nothing was written:{lines}"
        )
    return dict(zip(ours, numbers, strict=True))


def _wrong(
    arrays: Sequence[ArraySpec],
    numbers: Sequence[int],
    variables: Sequence[VariableSpec],
    ours: Sequence[int],
    fits: Fits,
) -> list[tuple[str, str]]:
    """The arrays that do not fit the weight at their position, each with both shapes."""
    found = []
    for number, index in zip(numbers, ours, strict=True):
        array, variable = arrays[number], variables[index]
        if _is_equal(array, variable) and fits(array, variable):
            continue
        note = (
            f"{shape_text(array.shape)} {array.dtype}, and {normalise(variable.name)!r} is "
            f"{shape_text(variable.shape)} {variable.dtype}"
        )
        found.append((array.name, note))
    return found


def _is_equal(array: ArraySpec, variable: VariableSpec) -> bool:
    shape = variable.shape
    return shape is None or (
        len(shape) == len(array.shape)
        and all(b is None or a == b for a, b in zip(array.shape, shape, strict=True))
    )


def _other_class(
    arrays: Sequence[ArraySpec],
    numbers: Sequence[int],
    variables: Sequence[VariableSpec],
    ours: Sequence[int],
) -> tuple[str, str] | None:
    """An array and the weight at its position that are in layers of different classes, as the
    places in files of Keras say."""
    for number, index in zip(numbers, ours, strict=True):
        theirs, mine = _classes(arrays[number]), _classes(variables[index])
        if theirs and mine and not theirs & mine:
            return arrays[number].name, normalise(variables[index].name)
    return None


def _classes(entry: ArraySpec | VariableSpec) -> set[str]:
    return {match[1] for match in map(_IN_LIST.fullmatch, entry.places) if match is not None}


def order_hints(
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    fits: Fits,
    label: str = "",
) -> list[Hint]:
    """Hints for arrays whose names are only numbers.

    Args:
        arrays: the arrays of one source, none of which has the name of a variable.
        variables: the variables of the target.
        fits: whether an array fits a variable.
        label: what to call the source if there are others, else "".

    Returns:
        For all arrays, or for each list of them that fits, the options that match it by order. If
        all are one list that does not fit, one hint that says why, without code.
    """
    groups = _groups(arrays)
    ours = in_order(variables)
    if all(_NUMBERED.fullmatch(normalise(variables[index].name)) for index in ours):
        return []  # these are numbers, too, and may be the same ones
    of = f" of {label}" if label else ""
    hints: list[Hint] = []
    for before, numbers in groups.items():
        called = f"{plural(len(numbers), 'array')}{of}"
        called += f" called {before!r} and a number" if len(groups) > 1 else ""
        if len(numbers) != len(ours):
            why = f"the target has {plural(len(ours), 'weight')}"
        elif other := _other_class(arrays, numbers, variables, ours):
            why = f"{other[0]!r} is of another class of layers than {other[1]!r}"
        elif wrong := _wrong(arrays, numbers, variables, ours, fits):
            why = f"they do not fit in their order. {wrong[0][0]!r} is {wrong[0][1]}"
        else:
            words = (
                f"the names of {called} are only numbers. In their order, all shapes are those of "
                "the target's weights, as in get_weights()"
            )
            keep = {"keep": f"{glob.escape(before)}*"} if len(groups) > 1 else {}
            hints.append(Hint(words, {**keep, "by": "order"}, "source"))
            continue
        if len(groups) == 1:
            hints.append(Hint(f"the names of {called} are only numbers, and {why}", {}, "source"))
    return hints[:_MOST]
