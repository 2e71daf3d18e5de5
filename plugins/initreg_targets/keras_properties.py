"""Properties of a layer of Keras 2 that make a weight when somebody reads them.

Keras reads every property when it saves a model, to find layers. A plan does the same walk, and
must not create anything. What such a property returns is a weight, which the walk passes over, so
that nothing is missed without it.
"""

from __future__ import annotations

import functools
from types import CodeType, FunctionType
from typing import Any

_MAKING = frozenset(("add_weight", "add_variable", "Variable"))
_OF_KERAS = ("keras", "tf_keras", "tensorflow")


@functools.lru_cache(1024)
def making_weights(kind: Any) -> frozenset[str]:
    """The names of those properties of a class whose code, or that of methods of the class that
    they call, may make a weight. Those of Keras's own classes do not."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] not in _OF_KERAS:
            found |= vars(base)
        else:  # what it overrides
            found = {name: each for name, each in found.items() if name not in vars(base)}
    return frozenset(
        name
        for name, value in found.items()
        if not isinstance(value, FunctionType)
        and (code := _code_of(value)) is not None
        and _makes(code, found, {name})
    )


def _makes(code: CodeType, members: dict[str, Any], seen: set[str]) -> bool:
    names = set(code.co_names)
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]  # lambdas in it
    if not _MAKING.isdisjoint(names) or any(_makes(each, members, seen) for each in inner):
        return True
    for name in names & members.keys() - seen:
        seen.add(name)
        called = _code_of(members[name])
        if called is not None and _makes(called, members, seen):
            return True
    return False


def _code_of(value: Any) -> CodeType | None:
    """The code of a property or a method, None if it has none in Python."""
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, functools.cached_property):
        value = value.func
    while hasattr(value, "__wrapped__"):  # by a decorator
        value = value.__wrapped__
    return value.__code__ if isinstance(value, FunctionType) else None
