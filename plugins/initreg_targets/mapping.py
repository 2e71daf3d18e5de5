"""A dict of numpy arrays, filled in place. Nested dicts join their keys with ``/``.

An :class:`initreg.Part` among them is a box of a larger array, of which only that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from initreg import Part, PartSpec, PieceSpec, Target, TargetError, VariableSpec, hookimpl
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
        self._given = dict(_walk(mapping, ""))
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
    import numpy as np

    if len({id(array) for array in arrays.values()}) == len(arrays) and all(
        array.flags.owndata for array in arrays.values()
    ):
        return
    ranges = []
    for name, array in arrays.items():
        if array.size:
            start = array.__array_interface__["data"][0]
            end = start + array.nbytes
            if not (array.flags.c_contiguous or array.flags.f_contiguous):
                spans = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
                start += sum(s for s in spans if s < 0)
                end = start + sum(abs(span) for span in spans) + array.itemsize
            ranges.append((start, end, name))
    ranges.sort()
    last_end, last = 0, ""
    for start, end, name in ranges:
        if start < last_end and np.shares_memory(arrays[name], arrays[last]):
            raise TargetError(
                f"dict of arrays: {last!r} and {name!r} share memory, so filling one changes the "
                "other. Give each an array of its own"
            )
        if end > last_end:
            last_end, last = end, name


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
