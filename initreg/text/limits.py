"""How many lines a text may have, as users pass it."""

from __future__ import annotations

import operator
from typing import Any

from initreg.errors import RuleError


def checked_limit(limit: Any) -> int | None:
    """The number of lines, or None for all of them.

    Raises:
        RuleError: it is neither.

    >>> checked_limit(20), checked_limit(None)
    (20, None)
    """
    if limit is None:
        return None
    try:
        number = operator.index(limit)
    except TypeError:
        number = -1
    if isinstance(limit, bool) or number < 0:
        raise RuleError(
            f"limit is {limit!r}: give a number of lines of at least 0, or None for all"
        )
    return number
