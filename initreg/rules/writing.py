"""Rules as the text of a rule file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from initreg.errors import RuleError
from initreg.option_spelling import option as option_text
from initreg.rules.boxes import box, is_box, text_of

# The parts of a value, by option: their names in order, and those that must be there.
FIELDS = {
    "scale": (("by", "block"), ("by", "block")),
    "fold_batch_norm": (
        ("axis", "epsilon", "bias", "mean", "variance", "gamma", "beta"),
        ("axis", "epsilon", "bias", "mean", "variance"),
    ),
    "split": (("axis", "into", "sizes"), ("axis", "into")),
    "unstack": (("axis", "into"), ("axis", "into")),
    "concat": (("axis", "of", "sizes"), ("axis", "of")),
    "stack": (("axis", "of"), ("axis", "of")),
    "gates": (("axis", "from", "to"), ("axis", "from", "to")),
    "take": (("axis", "indices", "old", "new", "fill"), ("axis",)),
    "slice": (("axis", "start", "stop"), ("axis", "start")),
    "pad": (("axis", "length", "fill"), ("axis", "length")),
}


def readings(option: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The parts of a value and those that must be there, for each way in which it can be given."""
    names, needed = FIELDS[option]
    if option != "take":
        return [(names, needed)]
    axis, indices, old, new, fill = names
    return [((axis, indices),) * 2, ((axis, old, new, fill), (axis, old, new))]


def in_order(option: str) -> int:
    """How many parts a value must have at least if it is a list of them, 0 if it may not be one."""
    if option == "take":
        return 0
    names, needed = FIELDS[option]
    return len(names if option == "slice" else needed)


def spelt(options: Mapping[str, Any]) -> str:
    """Options as they are typed in a rule file, for messages.

    Args:
        options: the options. One whose value is ``...`` is mentioned without a value.

    >>> print(spelt({"drop": "head/*"}))
    drop = "head/*"
    """
    return ", ".join(
        name if value is ... else f"{name} = {_for_message(name, value)}"
        for name, value in options.items()
    )


def _for_message(name: str, value: Any) -> str:
    try:
        return toml_value(_fields(name, value))
    except ValueError:  # it was not read from a file: what to type may be a function
        return repr(value)


def file_text(steps: Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]]) -> str:
    """A rule file.

    Args:
        steps: for each step its options, as :func:`initreg.rules.options.checked` returns them, and
            those that undo it, if the user said them.

    Raises:
        RuleError: an option has a value that a file cannot have, such as a function.
    """
    return steps_text(steps, "step" if len(steps) > 1 else "")


def steps_text(
    steps: Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]], header: str = "step"
) -> str:
    """The steps of a rule file that has others as well.

    Args:
        steps: as for :func:`file_text`.
        header: the name of their tables, "" if the options stand at the top of the file.

    Raises:
        RuleError: an option has a value that a file cannot have, such as a function.
    """
    texts = []
    for options, inverse in steps:
        text = (f"[[{header}]]\n" if header else "") + _step_text(options, header)
        if inverse is not None:
            table = f"{header}.inverse" if header else "inverse"
            text += f"\n[{table}]\n" + _step_text(inverse, table)
        texts.append(text)
    return "\n".join(texts)


def _step_text(options: Mapping[str, Any], header: str) -> str:
    """One step of a rule file.

    Args:
        options: its options.
        header: the name of its table, "" if the options stand at the top of the file.
    """
    lines, tables = [], []
    for name, value in options.items():
        try:
            shown = _fields(name, value)
            if isinstance(shown, Mapping) and shown:
                table = f"{header}.{name}" if header else name
                pairs = [
                    f"{_key(key)} = {toml_value(each, bare=True)}" for key, each in shown.items()
                ]
                tables += ["", f"[{table}]", *pairs]
            elif isinstance(shown, (list, tuple)) and len(shown) > 1:
                lines += [f"{name} = [", *(f"    {toml_value(each)}," for each in shown), "]"]
            else:
                lines.append(f"{name} = {toml_value(shown)}")
        except ValueError as error:
            raise RuleError(
                option_text(name, value) + f": a rule file cannot say this: {error}"
            ) from error
    text = "\n".join((*lines, *tables)).lstrip("\n")
    return f"{text}\n" if text else ""


def _fields(name: str, value: Any) -> Any:
    """The value with the parts of a slice or a pad by name, because TOML has no None."""
    if name not in FIELDS or not isinstance(value, Mapping):
        return value
    ways = [names for names, _ in readings(name)]
    if name == "slice":
        value = {
            glob: text_of(box(each).ends) if is_box(each) else each for glob, each in value.items()
        }
    return {
        glob: {
            k: v for k, v in zip(ways[len(each) > 2 and -1], each, strict=False) if v is not None
        }
        if isinstance(each, (list, tuple))
        else each
        for glob, each in value.items()
    }


def toml_value(value: Any, *, bare: bool = False) -> str:
    """A value as TOML writes it, on one line.

    Args:
        value: the value.
        bare: whether the keys of a table are written without quotes, as those of a slice are.
            Names and globs are quoted.

    Raises:
        ValueError: TOML has no such value.

    >>> print(toml_value({"emb": {"axis": 0, "start": 5}}))
    { "emb" = { axis = 0, start = 5 } }
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return toml_text(value)
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, os.PathLike):
        return toml_text(os.fspath(value))
    if isinstance(value, re.Pattern):
        if value.flags != re.compile("").flags:
            raise ValueError(f"flags of {value!r}. Write them into the regex, as in (?i)")
        return toml_text(value.pattern)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, Mapping):
        pairs = (
            f"{key if bare else _key(key)} = {toml_value(each, bare=True)}"
            for key, each in value.items()
        )
        return "{ " + ", ".join(pairs) + " }" if value else "{}"
    raise ValueError(f"{value!r} is not a value of TOML")


def toml_text(text: str) -> str:
    """A string as TOML writes it. One with backslashes, such as a regex, stands as it is."""
    if "\\" in text and "'" not in text and text.isprintable():
        return f"'{text}'"
    # JSON's escapes are TOML's, but for surrogates, which no TOML text has.
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted.replace("\x7f", "\\u007f")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{key!r} is not a name")
    return toml_text(key)
