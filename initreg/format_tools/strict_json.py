"""Strict JSON objects: unique keys, none of JavaScript's constants, no endless nesting."""

from __future__ import annotations

from typing import Any, NoReturn

from initreg.errors import DamagedFile


def parse_object(text: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object without repeated keys. Raises DamagedFile, naming ``what``."""
    import json

    try:
        found = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}, not an object")
        "".join(found).encode()  # a lone surrogate is not text, and could not be printed
    except RecursionError as error:
        raise DamagedFile(f"{what}: its JSON is nested too deeply") from error
    except ValueError as error:
        raise DamagedFile(f"{what}: its JSON is damaged: {error}") from error
    return found


def is_text(text: str) -> bool:
    """Whether it is valid Unicode. A lone surrogate could not be printed, or written again."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} occurs twice")
            seen.add(key)
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
