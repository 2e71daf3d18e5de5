"""What the values in a rule file may be: how they are checked, and what their JSON Schema says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from initreg.records import record
from initreg.rules.rename_rules import is_pair
from initreg.rules.structure_specs import EQUAL

MEAN = "mean"  # a fill that is computed


@record()
class Kind:
    """A kind of value.

    Args:
        fits: whether a value that ``tomllib`` returns is one.
        schema: its JSON Schema, of draft 7.
    """

    fits: Callable[[Any], bool]
    schema: Mapping[str, Any]


def is_list_of(value: Any, kind: type) -> bool:
    """Whether it is a list of this type alone. A bool is not an int."""
    return isinstance(value, list) and all(type(each) is kind for each in value)


def is_renaming(value: Any) -> bool:
    """Whether it is one renaming, or a list of them."""
    if isinstance(value, Mapping):
        return all(isinstance(each, str) for each in value.values())
    if is_pair(value):
        return True
    return isinstance(value, list) and all(
        is_pair(e) or (isinstance(e, Mapping) and is_renaming(e)) for e in value
    )


def _list(items: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def table(values: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a table whose keys are names or globs."""
    return {"type": "object", "additionalProperties": values}


_TEXT = {"type": "string"}
_INTEGER = {"type": "integer"}
_NUMBER = {"type": "number"}
_EITHER = {"anyOf": [_TEXT, _list(_TEXT)]}
_PAIR = _list(_TEXT, minItems=2, maxItems=2)

TEXT = Kind(lambda value: isinstance(value, str), _TEXT)
TEXTS = Kind(lambda value: isinstance(value, str) or is_list_of(value, str), _EITHER)
INTEGER = Kind(lambda value: type(value) is int, _INTEGER)
INTEGERS = Kind(lambda value: is_list_of(value, int), _list(_INTEGER))
NUMBER = Kind(lambda value: type(value) in (int, float), _NUMBER)
NUMBER_OR_TEXT = Kind(
    lambda value: type(value) in (int, float, str), {"type": ["number", "string"]}
)
BLOCK = Kind(
    lambda value: type(value) is int or is_list_of(value, int),
    {"anyOf": [_INTEGER, _list(_INTEGER)]},
)
SIZES = Kind(
    lambda value: value == EQUAL or type(value) is int or is_list_of(value, int),
    {"anyOf": [{"const": EQUAL}, _INTEGER, _list(_INTEGER)]},
)
FILL = Kind(
    lambda value: value == MEAN or type(value) in (int, float),
    {"anyOf": [{"const": MEAN}, _NUMBER]},
)
RENAMING = Kind(
    is_renaming,
    {"anyOf": [table(_TEXT), _PAIR, _list({"anyOf": [_PAIR, table(_TEXT)]})]},
)
DTYPE = Kind(lambda value: isinstance(value, str), _TEXT)

# The parts of a value, such as { axis = 0, start = 5 }.
FIELD_KINDS = {
    "axis": INTEGER,
    "start": INTEGER,
    "stop": INTEGER,
    "length": INTEGER,
    "indices": INTEGERS,
    "fill": FILL,
    "sizes": SIZES,
    "block": BLOCK,
    "epsilon": NUMBER,
    "into": TEXTS,
    "of": TEXTS,
    "old": TEXT,
    "new": TEXT,
    "by": TEXT,
    "from": TEXT,
    "to": TEXT,
    "bias": TEXT,
    "mean": TEXT,
    "variance": TEXT,
    "gamma": TEXT,
    "beta": TEXT,
}
# What an option takes: all of it, or the values of its table. Those that take tables of fields are
# in initreg.rules.writing.FIELDS.
WHOLE = {
    "keep": TEXTS,
    "drop": TEXTS,
    "strip_prefix": TEXT,
    "rename": RENAMING,
    "prefix": TEXT,
    "view": DTYPE,
    "transpose": TEXTS,
    "cast": DTYPE,
}
IN_TABLE = {
    "view": DTYPE,
    "scale": NUMBER_OR_TEXT,
    "add": NUMBER,
    "sum": TEXTS,
    "permute": INTEGERS,
    "reshape": INTEGERS,
    "slice": TEXT,
    "cast": DTYPE,
}
