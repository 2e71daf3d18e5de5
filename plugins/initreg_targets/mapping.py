"""A dict of numpy arrays, filled in place. Nested dicts join their keys with ``/``.

An :class:`initreg.Part` among them is a box of a larger array, of which only that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from initreg import (
    DuplicateName,
    Part,
    PartSpec,
    PieceSpec,
    Target,
    TargetError,
    VariableSpec,
    hookimpl,
)
from initreg_targets.tracked_dicts import is_tracked_dict

initreg_takes = ("a dict of numpy arrays",)


@hookimpl
def initreg_target(obj: object) -> Target | None:
    return Arrays(obj) if isinstance(obj, Mapping) and not is_tracked_dict(obj) else None


class Arrays:
    """The arrays of a mapping. Writing copies into them, so that everybody who holds them sees the
    new values."""

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self.label = f"{type(mapping).__name__} of arrays"
        self._given = _by_name(mapping, self.label)
        self._arrays = {name: _array_of(each) for name, each in self._given.items()}
        _refuse_shared(self._arrays)

    def variables(self) -> Sequence[VariableSpec]:
        from initreg import dtypes

        found = []
        for name, array in self._arrays.items():
            dtype = _dtype(array, dtypes.name_of(array.dtype))
            given = self._given[name]
            if isinstance(given, Part):
                of, at = (tuple(map(int, each)) for each in (given.of, given.at))
                parts = (PartSpec(at, array.shape),)
                elsewhere = of != array.shape
                found.append(VariableSpec(name, of, dtype, parts=parts, elsewhere=elsewhere))
            else:
                found.append(VariableSpec(name, array.shape, dtype))
        return found

    def snapshot(self, variables: Iterable[VariableSpec]) -> Callable[[], None]:
        """See ``initreg.Target``."""
        kept = [(array, array.copy()) for array in (self._arrays[v.name] for v in variables)]

        def put_back() -> None:
            for array, values in kept:
                array[...] = values

        return put_back

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        # All arrays are read before the first is filled: the source may be the target's own arrays.
        for variable, array in list(arrays):
            into = self._arrays[variable.name]
            given = self._given[variable.name]
            if isinstance(variable, PieceSpec):
                into = into[variable.index_in_part]
            elif isinstance(given, Part):  # a target that wraps this one may give entire arrays
                box = zip(given.at, into.shape, strict=True)
                array = array[tuple(slice(a, a + n) for a, n in box)]
            _fill(variable.name, into, array)
            if not isinstance(variable, PieceSpec) or variable.is_last:
                yield variable.name


def _array_of(given: Any) -> Any:
    return given.array if isinstance(given, Part) else given


def _refuse_shared(arrays: Mapping[str, Any]) -> None:
    """Raise TargetError if filling one array would change another one."""
    if len({id(array) for array in arrays.values()}) == len(arrays) and all(
        array.flags.owndata for array in arrays.values()
    ):
        return
    from initreg_targets.shared_memory import shared  # few dicts have views

    found = shared(arrays)
    if found is None:
        return
    first, second = found
    if first == second:
        raise TargetError(
            f"dict of arrays: elements of {first!r} share memory with each other, so it cannot "
            "hold its values. Give a copy of it"
        )
    raise TargetError(
        f"dict of arrays: {first!r} and {second!r} share memory, so filling one changes the "
        "other. Give each an array of its own"
    )


def _dtype(array: Any, name: str) -> str:
    """The dtype of an array. An object array whose elements are all strings takes strings."""
    if name == "object" and all(isinstance(each, (str, bytes)) for each in array.flat):
        return "string"
    return name


def _fill(name: str, into: Any, array: Any) -> None:
    if into.dtype.kind in "SU":  # of fixed width, and numpy would cut longer strings silently
        try:
            width = array.astype(into.dtype.kind).dtype.itemsize
        except UnicodeError as error:
            raise TargetError(
                f"dict of arrays: {name!r} of dtype {into.dtype} cannot hold the strings: {error}. "
                "Give an object array"
            ) from error
        if width > into.dtype.itemsize:
            raise TargetError(
                f"dict of arrays: {name!r} of dtype {into.dtype} would cut the strings short. "
                "Give an object array"
            )
    into[...] = array


def _by_name(mapping: Mapping[str, Any], label: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in _walk(mapping, ""):
        if name in found:
            raise DuplicateName(
                f"{label}: two arrays are called {name!r} once nesting is joined, so they cannot "
                "be told apart by name. Give them different keys, or pass only one of them"
            )
        found[name] = value
    return found


def _walk(mapping: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    import numpy as np

    for key, value in mapping.items():
        name = f"{prefix}{key}"
        is_array = isinstance(value, np.ndarray)  # most are, and this is found out soonest
        if not is_array and isinstance(value, Mapping):
            yield from _walk(value, f"{name}/")
            continue
        array = value if is_array else _array_of(value)
        if not isinstance(array, np.ndarray):
            raise TargetError(f"dict of arrays: {name!r} is {_remedy(array)}")
        if not array.flags.writeable:
            raise TargetError(
                f"dict of arrays: {name!r} is read-only and cannot be filled. Give a writable array"
            )
        yield name, value


def _remedy(value: Any) -> str:
    """What a value is that is not an array of numpy, and what to give instead."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    if package in ("jax", "jaxlib"):
        return (
            "an array of JAX, which cannot be changed. Give initreg_jax.Tree(variables) of "
            "'pip install initreg-jax', which makes another pytree"
        )
    if package == "torch":
        return "a tensor of torch. Give the module, with 'pip install initreg-torch'"
    return f"a {kind.__name__}, which cannot be filled in place. Give a numpy array"
