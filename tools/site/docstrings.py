"""Docstrings for the site: references as links, and no markup that Markdown does not have.

mkdocstrings loads this. Docstrings name things as Sphinx does, :func:`initreg.open`, because that
also reads well in an editor.
"""

from __future__ import annotations

import re
from typing import Any

import griffe
from reference_pages import public_names

_EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1\S.*)*", re.MULTILINE)  # up to an empty line
_RECORD = "initreg.records.record"
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):`~?\.?([\w.]+)`")


def _reference(match: re.Match[str]) -> str:
    name = match[1]
    for public in (name, f"initreg.{name}"):
        if public in _PUBLIC:
            return f"[`{name}`][{public}]"
    return f"`{name}`"


_PUBLIC = {f"initreg.{name}" for name in public_names()}


def as_markdown(text: str) -> str:
    """The text of a docstring without roles, and with examples as blocks of code."""
    text = _ROLE.sub(_reference, text)
    text = re.sub(r"(?<=\w)::$", ":", text, flags=re.MULTILINE)
    text = re.sub(r" *# doctest: .*$", "", text, flags=re.MULTILINE)
    return _EXAMPLE.sub(r"\1```pycon\n\g<0>\n\1```", text)


class _Record(griffe.ExprCall):
    """The decorator of a record, whose fields griffe then shows as those of a dataclass."""

    @property
    def canonical_path(self) -> str:
        return "dataclasses.dataclass"


class Docstrings(griffe.Extension):
    """What is done to each docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        for decorator in obj.decorators if isinstance(obj, griffe.Class) else ():
            value = decorator.value
            if isinstance(value, griffe.ExprCall) and value.canonical_path == _RECORD:
                decorator.value = _Record(value.function, value.arguments)
        if obj.docstring is None:
            return
        obj.docstring.value = as_markdown(obj.docstring.value)
        if isinstance(obj, griffe.Class) and "NamedTuple" in map(str, obj.bases):
            # It has no __init__ in which griffe could look the arguments up.
            obj.docstring.value = obj.docstring.value.replace("Args:\n", "Attributes:\n", 1)
