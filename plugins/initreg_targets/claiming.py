"""Targets as sources: what a target writes into, it reads, too.

Every target is asked about every source. So this module, and those of the hooks, import nothing
that only an object of TensorFlow or Keras needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from initreg import Claim, Confidence, InitregError, Source, Target, TargetError


def claim(source: Source, find: Callable[[object], Target | None]) -> Claim | None:
    """The answer to ``initreg_claim`` of a target: it reads what it writes into."""
    if source.path is not None or isinstance(source.obj, Iterator):  # which would be used up
        return None
    try:
        found = find(source.obj)
    except TargetError as error:  # initreg_open raises it once more
        return Claim(Confidence.EXACT, str(error))
    if found is None:
        return None
    _found[source] = found
    return Claim(Confidence.EXACT, found.label)


# To find the variables of a large model takes a second, so that what claimed it is kept.
_found: WeakKeyDictionary[Source, Target] = WeakKeyDictionary()


def target_of(source: Source, find: Callable[[object], Target | None], what: str) -> Any:
    """The target that reads a source. Raises InitregError if there is none."""
    found = _found.pop(source, None)
    if found is None and source.path is None:
        found = find(source.obj)
    if found is None:
        raise InitregError(f"{source.label} is {what}")
    return found
