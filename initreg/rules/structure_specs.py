"""What the values of split, unstack, concat, stack and sum say."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from initreg.errors import RuleError
from initreg.option_spelling import either
from initreg.option_spelling import option as option_text
from initreg.records import record
from initreg.rules.name_templates import NUMBER, Template
from initreg.text.wording import plural

APART, TOGETHER = ("split", "unstack"), ("sum", "concat", "stack")
EQUAL = "equal"  # the sizes of parts that are all of one size
Sizes = Sequence[int] | int | str | None


@record()
class Spec:
    """What one clause says.

    Args:
        clause: the clause, as the user typed it.
        whole: the name of the array that the parts are in.
        axis: the axis along which they lie, 0 for a sum, which has none.
        parts: their names: several, or one with ``{i}``.
        sizes: how long they are along the axis: of each, one for all, ``"equal"``, or None if
            nothing is said.
    """

    clause: str
    whole: Template
    axis: int
    parts: tuple[Template, ...]
    sizes: Sizes

    @property
    def is_numbered(self) -> bool:
        return self.parts[0].is_numbered

    def sizes_of(self, count: int) -> list[int] | None:
        """The sizes of so many parts, None if they may have any."""
        if isinstance(self.sizes, int):
            return [self.sizes] * count
        return None if self.sizes is None or isinstance(self.sizes, str) else list(self.sizes)


def spec_of(option: str, name: Any, value: Any) -> Spec:
    """What a value of one of these options says about one array.

    Args:
        option: the option.
        name: the name of the whole.
        value: the axis, the parts and the sizes, in this order or by name. Of a sum, the parts.

    Raises:
        RuleError: the option cannot have this value.
    """
    clause = option_text(option, {name: value})
    usage = clause + ": give " + _USAGE[option]
    key = "into" if option in APART else "of"
    try:
        if isinstance(value, Mapping) and option != "sum":
            names = ("axis", key, "sizes") if option in ("split", "concat") else ("axis", key)
            if set(value) - set(names):
                raise TypeError
            value = (value["axis"], value[key], *([value["sizes"]] if "sizes" in value else []))
        if option in ("split", "concat"):
            axis, parts, sizes = _sized(*value)
        elif option == "sum":
            axis, parts, sizes = 0, value, None
        else:
            (axis, parts), sizes = value, None
        index = operator.index(axis)
    except (TypeError, ValueError, KeyError) as error:
        raise RuleError(usage) from error
    texts = [parts] if isinstance(parts, str) else list(parts) if _are_texts(parts) else []
    if not isinstance(name, str) or not name or not texts or isinstance(axis, bool):
        raise RuleError(usage)
    whole = Template(name, clause)
    templates = tuple(Template(text, clause) for text in texts)
    if whole.is_numbered:
        raise RuleError(
            clause + f": {NUMBER} numbers the parts, and is not in the name of the whole"
        )
    numbered = [each for each in templates if each.is_numbered]
    if bool(numbered) != (len(templates) == 1):
        raise RuleError(
            clause + f": give the names of at least two parts, or one name with {NUMBER} for their "
            "numbers, which count from 0"
        )
    for each in templates:
        if each.stars != whole.stars:
            raise RuleError(
                clause
                + f": {whole.text!r} has {whole.stars} *, and {each.text!r} has {each.stars}. "
                "Each * stands for the same text in both"
            )
    if len({each.text for each in templates}) < len(templates):
        raise RuleError(clause + ": two parts have the same name")
    if not numbered and isinstance(sizes, list) and len(sizes) != len(templates):
        raise RuleError(
            clause + f": {plural(len(templates), 'part')} and {plural(len(sizes), 'size')}. Give "
            "as many sizes as parts"
        )
    return Spec(clause, whole, index, templates, sizes)


def _are_texts(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and all(isinstance(each, str) for each in given)


def _sized(axis: Any, parts: Any, sizes: Any = None) -> tuple[Any, Any, Sizes]:
    if sizes is None or (isinstance(sizes, str) and sizes == EQUAL):
        return axis, parts, sizes
    one = not isinstance(sizes, (list, tuple))
    given = [sizes] if one else sizes
    found = [operator.index(each) for each in given]
    if not found or min(found) < 1 or any(isinstance(each, bool) for each in given):
        raise ValueError
    return axis, parts, found[0] if one else found


_PARTS = "the names of the parts, or one name with {i} for their numbers"
_USAGE = {
    "split": either(
        "(axis, names) or (axis, names, sizes), where names are "
        f"{_PARTS}, and sizes are their lengths along the axis, equal by default",
        "AXIS,NAME,NAME,..., or AXIS,NAME,NAME,...;SIZE,SIZE,... for parts that are not equally "
        "long",
    ),
    "unstack": either(
        f"(axis, names), where names are {_PARTS}",
        "AXIS,NAME,NAME,..., or AXIS,NAME with {i} for the numbers of the parts",
    ),
    "concat": either(
        "(axis, names) or (axis, names, sizes), where names are "
        f"{_PARTS}, and sizes are their lengths along the axis",
        "AXIS,NAME,NAME,..., or AXIS,NAME with {i} for the numbers of the parts, and their lengths "
        "after that if you want: ;SIZE,SIZE,...",
    ),
    "sum": either(
        f"{_PARTS}",
        "NAME,NAME,..., or NAME with {i} for the numbers of the parts",
    ),
    "stack": either(
        f"(axis, names), where names are {_PARTS}",
        "AXIS,NAME,NAME,..., or AXIS,NAME with {i} for the numbers of the parts",
    ),
}
