"""Options as they are typed on the command line, and messages that name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from initreg.errors import InitregError, InitregWarning, printable
from initreg.option_spelling import said, spell


def message(said_by: InitregError | InitregWarning) -> str:
    """The text of an error or a warning, with options as they are typed here."""
    return printable(typed(said(said_by)), keep="\n")


def typed(text: str) -> str:
    """A text of initreg, with options as they are typed here."""
    return spell(text, flags)


def quote(text: str) -> str:
    """Quote text for a shell. Control characters become ``$'\\033'``, which can be printed."""
    if text.isprintable():
        import shlex  # few messages quote anything

        return shlex.quote(text)
    return "$'" + "".join(map(_typed, text)) + "'"


def _typed(c: str) -> str:
    """A character between ``$'`` and ``'``. Source: POSIX.1-2024, 2.2.4 Dollar-Single-Quotes."""
    if c in "\\'":
        return f"\\{c}"
    if c.isprintable():
        return c
    is_byte = "\udc80" <= c <= "\udcff"  # of a path that is not valid text
    data = c.encode(errors="surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"\\{byte:03o}" for byte in data)


def flags(options: Mapping[str, Any]) -> str:
    """Keywords of a function as they are typed here.

    Args:
        options: the keywords. One whose value is ``...`` is mentioned without a value.

    >>> flags({"drop": ["a", "b*"], "max_inflation": 2000.0, "allow_pickle": True})
    "--drop a --drop 'b*' --max-inflation 2000 --allow-pickle"
    """
    return " ".join(word for name, value in options.items() for word in _flag(name, value))


def _flag(name: str, value: Any) -> Iterator[str]:
    flag = "--" + name.replace("_", "-")
    if value is ... or value is True:
        yield flag
    elif name == "rename" and isinstance(value, Mapping):
        for old, new in value.items():
            yield f"{flag} {quote(old)} {quote(new)}"
    elif name == "rename":
        for regex, replacement in value:
            yield f"{flag}-regex {quote(regex)} {quote(replacement)}"
    elif isinstance(value, Mapping):
        for glob, given in value.items():
            yield f"{flag} {quote(f'{glob}={_value(name, given)}')}"
    else:
        for text in map(_number, [value] if isinstance(value, (str, int, float)) else value):
            gap = "=" if text.startswith("-") else " "  # or it would be taken for an option
            yield f"{flag}{gap}{quote(text)}"


def _value(name: str, given: Any) -> str:
    """The value of a rule about one array. Those of a table are in the order of its fields."""
    if isinstance(given, Mapping):
        from initreg.rules.writing import FIELDS  # most messages have no such value

        fields = FIELDS.get(name, ((), ()))[0]
        names = [*(f for f in fields if f in given), *(f for f in given if f not in fields)]
        given = [given[each] for each in names]
    values = list(given) if isinstance(given, (list, tuple)) else [given]
    sizes: list[Any] = []
    if name in ("split", "concat") and len(values) == 3:
        *values, last = values
        sizes = [last] if last is not None else []
    return ";".join(",".join(map(_number, _flat(each))) for each in (values, sizes) if each)


def _flat(values: list[Any]) -> list[Any]:
    """The values, with the names of parts in one row."""
    return [v for each in values for v in (each if isinstance(each, (list, tuple)) else [each])]


def _number(value: Any) -> str:
    """A part of a value. None is left empty, and a whole number has no decimal point."""
    if isinstance(value, float):
        return str(value).removesuffix(".0")
    return "" if value is None else str(value)
