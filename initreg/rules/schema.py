"""The JSON Schema of rule files, made from what :mod:`initreg.rules.files` checks.

Editors complete and check a rule file by it. It is kept in ``schema.json``, which
``tools/schema.py`` writes.
"""

from __future__ import annotations

from typing import Any

from initreg.rules.files import INVERSE, STEP, USAGE
from initreg.rules.kinds import FIELD_KINDS, IN_TABLE, WHOLE, table
from initreg.rules.options import ORDER
from initreg.rules.writing import FIELDS, in_order, readings

URL = "https://raw.githubusercontent.com/initreg/initreg/main/initreg/rules/schema.json"


def schema() -> dict[str, Any]:
    """The schema, of draft 7."""
    options = {option: {"$ref": f"#/definitions/{option}"} for option in ORDER}
    inverse = {
        "description": f"The options that undo the {STEP}. {{}} is for nothing.",
        "type": "object",
        "properties": options,
        "additionalProperties": False,
    }
    step = {
        "type": "object",
        "properties": {**options, INVERSE: {"$ref": f"#/definitions/{INVERSE}"}},
        "additionalProperties": False,
    }
    steps = {
        "description": "Steps are applied from top to bottom. The order in a step is fixed.",
        "type": "array",
        "items": step,
    }
    only_steps = {"type": "object", "properties": {STEP: steps}, "required": [STEP]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": URL,
        "title": "Rules of initreg",
        "description": "Rules that rename, drop and change the arrays of a file of weights.",
        "anyOf": [step, {**only_steps, "additionalProperties": False}],
        "definitions": {**{option: _option(option) for option in ORDER}, INVERSE: inverse},
    }


def _option(option: str) -> dict[str, Any]:
    kinds = [WHOLE[option].schema] if option in WHOLE else []
    values = [IN_TABLE[option].schema] if option in IN_TABLE else []
    if option in FIELDS:
        values += [each for names in readings(option) for each in _fields(option, *names)]
    if values:
        kinds.append(table(_one_of(values)))
    return {"description": f"Give {USAGE[option]}", **_one_of(kinds)}


def _fields(option: str, names: tuple[str, ...], needed: tuple[str, ...]) -> list[dict[str, Any]]:
    """The schemas of a value with these fields: by their names, and in their order."""
    by_name = {
        "type": "object",
        "properties": {name: FIELD_KINDS[name].schema for name in names},
        "required": list(needed),
        "additionalProperties": False,
    }
    least = in_order(option)
    if not least:
        return [by_name]
    by_place = {
        "type": "array",
        "items": [FIELD_KINDS[name].schema for name in names],
        "additionalItems": False,
        "minItems": least,
    }
    return [by_name, by_place]


def _one_of(kinds: list[Any]) -> dict[str, Any]:
    return dict(kinds[0]) if len(kinds) == 1 else {"anyOf": kinds}
