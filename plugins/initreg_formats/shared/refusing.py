"""One error for all arrays that a format cannot store, raised before anything is written."""

from __future__ import annotations

from collections.abc import Mapping

from initreg import InitregError
from initreg.option_spelling import join

_SHOWN = 10
OBJECTS = "it holds Python objects, which no format stores. Drop it"


def refuse(problems: Mapping[str, str], kind: str, label: str) -> None:
    """Raise InitregError if any array has a problem.

    Args:
        problems: by the array's name, what is wrong and what to do; ``""`` if nothing is wrong.
        kind: what the format is called.
        label: what messages call the output.
    """
    lines = [f"array {name!r}: " + problem for name, problem in problems.items() if problem]
    if not lines:
        return
    if len(lines) == 1:
        raise InitregError(f"{label}: {kind} cannot store " + lines[0] + ". Nothing was written")
    more = [f"and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    raise InitregError(
        f"{label}: {kind} cannot store {len(lines):,} of the arrays. Nothing was written:\n  "
        + join("\n  ", lines[:_SHOWN] + more)
    )


def name_problem(name: str) -> str:
    """Why no file can have this name; ``""`` if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not valid Unicode. Rename it"
    return ""
