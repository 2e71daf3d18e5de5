"""A dict of numpy arrays, filled in place. Nested dicts join their keys with ``/``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from initreg import Target, TargetError, VariableSpec, hookimpl


@hookimpl
def initreg_target(obj: object) -> Target | None:
    return Arrays(obj) if isinstance(obj, Mapping) else None


class Arrays:
    """The arrays of a mapping; writing copies into them, so that who holds them sees it."""

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self.label = f"{type(mapping).__name__} of arrays"
        self._arrays = dict(_walk(mapping, ""))

    def variables(self) -> Sequence[VariableSpec]:
        from initreg import dtypes

        return [
            VariableSpec(name, array.shape, dtypes.name_of(array.dtype))
            for name, array in self._arrays.items()
        ]

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        for variable, array in arrays:
            self._arrays[variable.name][...] = array
            yield variable.name


def _walk(mapping: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    import numpy as np

    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _walk(value, f"{name}/")
        elif not isinstance(value, np.ndarray):
            raise TargetError(
                f"dict of arrays: {name!r} is a {type(value).__name__}, which cannot be filled "
                "in place; give a numpy array"
            )
        elif not value.flags.writeable:
            raise TargetError(f"dict of arrays: {name!r} is read-only and cannot be filled")
        else:
            yield name, value
