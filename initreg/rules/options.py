"""The rules of one option: from the value that a user gave to what is applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from initreg.errors import RuleError
from initreg.names import Patterns, plain
from initreg.rules.change_rules import (
    ChangeByGlob,
    cast_rule,
    change_by_glob,
    dtype_names,
    view_rule,
)
from initreg.rules.changes import Permute
from initreg.rules.norm_folding import fold_rule
from initreg.rules.rename_rules import put_before, renames, strip
from initreg.rules.rule import Rule
from initreg.rules.scaling import scale_rule
from initreg.rules.select_rules import Select
from initreg.rules.structure_rules import structure_rule
from initreg.rules.structure_specs import APART, TOGETHER

# The order in which options are applied. Those of a rule file come before them.
ORDER = (
    "keep",
    "drop",
    "strip_prefix",
    "rename",
    "prefix",
    "view",
    "scale",
    "fold_batch_norm",
    "split",
    "unstack",
    "add",
    "sum",
    "concat",
    "stack",
    "transpose",
    "permute",
    "reshape",
    "gates",
    "take",
    "slice",
    "pad",
    "cast",
)
# They take a dict.
_TABLES = {
    "rename",
    "view",
    "permute",
    "reshape",
    "gates",
    "take",
    "scale",
    "fold_batch_norm",
    "add",
    "slice",
    "pad",
    "cast",
    *APART,
    *TOGETHER,
}


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that ask for a rule, of Python's own types, in the order of application.

    Args:
        options: values by option.

    Raises:
        RuleError: a dtype is not one.
    """
    values = {
        name: _table(options[name]) if name in _TABLES else plain(options[name])
        for name in ORDER
        if name in options
    }
    given = {name: value for name, value in values.items() if _is_given(name, value)}
    for name in ("view", "cast"):
        if name in given:
            given[name] = dtype_names(given[name], name)
    return given


def rules_of(option: str, given: Any) -> Iterator[Rule]:
    """The rules of one option, in the order in which they are applied.

    Args:
        option: its name.
        given: its value, as :func:`checked` returns it.

    Raises:
        RuleError: the option cannot have this value.
    """
    if option in ("keep", "drop"):
        yield Select(Patterns(given, option), keep=option == "keep")
    elif option == "strip_prefix":
        yield strip(_text(given, option))
    elif option == "prefix":
        yield put_before(_text(given, option))
    elif option == "rename":
        yield from renames(given)
    elif option == "transpose":
        globs = Patterns(given, option)
        yield ChangeByGlob(option, dict.fromkeys(globs, Permute(None)), globs.clause)
    elif option == "view":
        yield view_rule(given)
    elif option == "cast":
        yield cast_rule(given)
    elif option == "scale":
        yield scale_rule(given)
    elif option == "fold_batch_norm":
        yield fold_rule(given)
    elif option in (*APART, *TOGETHER):
        yield structure_rule(option, given)
    else:
        yield change_by_glob(option, given)


def clauses_of(option: str, given: Any) -> list[str]:
    """The parts of an option that must each match an array, as the user typed them."""
    return [clause for rule in rules_of(option, given) for clause in rule.clauses]


def _table(given: Any) -> Any:
    """The value of an option that takes a dict, of Python's own types. A pandas Series is one."""
    if hasattr(given, "keys") and not isinstance(given, (Mapping, type)):
        given = {key: given[key] for key in given.keys()}  # noqa: SIM118 - it iterates its values
    return plain(given)


def _is_given(option: str, value: Any) -> bool:
    """Whether the option asks for a rule. An empty value does not, unless it is an error."""
    if option in ("keep", "rename", "view", "cast"):
        return value is not None
    return not (value is None or (isinstance(value, (str, list, tuple, dict, bool)) and not value))


def _text(given: Any, option: str) -> str:
    if not isinstance(given, str):
        raise RuleError(f"{option}={given!r}: give a str, as in {option}='model/'")
    return given
