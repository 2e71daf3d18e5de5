"""One error for all the arrays that a format has no place for, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping

from initreg import InitregError

_SHOWN = 10


def refuse(problems: Mapping[str, str], kind: str, label: str) -> None:
    """Raise InitregError if there are any. ``problems``: by the array's name, what is wrong and
    what to do; ``kind``: what the format is called."""
    if not problems:
        return
    lines = [f"array {name!r}: {problem}" for name, problem in problems.items()]
    if len(lines) == 1:
        raise InitregError(f"{label}: {kind} has no place for {lines[0]}; nothing was written")
    more = [f"and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    raise InitregError(
        f"{label}: {kind} has no place for {len(lines):,} of the arrays, and nothing was "
        "written:\n  " + "\n  ".join(lines[:_SHOWN] + more)
    )


def name_problem(name: str) -> str:
    """What keeps a name from any file, "" if nothing does."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is no valid Unicode: rename it"
    return ""
