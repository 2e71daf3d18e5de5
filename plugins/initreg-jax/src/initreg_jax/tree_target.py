"""Pytrees of JAX as a target and as a source. Their arrays cannot be changed, so a :class:`Tree`
holds the pytree and makes another one. As a source, the pytree itself will do.

JAX is not imported here before somebody restores into a tree.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from initreg import (
    Claim,
    Confidence,
    InitregError,
    OpenOptions,
    Source,
    Target,
    TargetError,
    VariableSpec,
    dtypes,
    hookimpl,
)
from initreg.format_tools.living import LivingArray, LivingArrays

initreg_takes = "an initreg_jax.Tree, which holds a pytree of JAX"

_NUMBERS = {bool: "bool", int: "int64", float: "float64", complex: "complex128"}
_BOXED = "value"  # where flax.nnx has the array of a variable
_KEYS = ("key", "idx", "name")  # what the four kinds of JAX's path entries have


class Tree:
    """A pytree, and after a restore another one with the arrays of the source.

    Leaves may be arrays of JAX or numpy, numbers, and ``jax.ShapeDtypeStruct``, so that
    ``jax.eval_shape`` is enough to restore into. Other leaves stay as they are. A new array is
    where the old one was: it gets its sharding.

    Args:
        value: the pytree: nested dicts and lists, a ``TrainState``, the state of an optimizer.

    >>> tree = Tree(model.init(key, x))  # doctest: +SKIP
    >>> SmartInit("flax_model.msgpack").init(tree)  # doctest: +SKIP
    >>> variables = tree.value  # doctest: +SKIP
    """

    def __init__(self, value: Any) -> None:
        self._value = value
        self._structure: Any = None
        self._leaves: list[Any] | None = None  # of the new pytree, until it is made

    @property
    def value(self) -> Any:
        """The pytree. It can be set, too."""
        if self._leaves is not None:
            import jax

            self._value = jax.tree_util.tree_unflatten(self._structure, self._leaves)
            self._leaves = None
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value, self._leaves = value, None

    def hold(self, structure: Any, leaves: list[Any]) -> None:
        """Hold the pytree with this structure and these leaves. It is made when it is asked for."""
        self._structure, self._leaves = structure, leaves


@hookimpl
def initreg_target(obj: object) -> Target | None:
    return _Leaves(obj) if isinstance(obj, Tree) else None


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if source.path is None and _is_tree(source.obj):
        return Claim(Confidence.EXACT, "a pytree with arrays of JAX")
    return None


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    if source.path is not None or not _is_tree(source.obj):
        raise InitregError(f"{source.label} is not a pytree with arrays of JAX")
    obj = source.obj
    return _Leaves(obj if isinstance(obj, Tree) else Tree(obj)).living()


def _is_tree(obj: Any) -> bool:
    """Whether it is a pytree with arrays of JAX. A dict is for the format of mappings."""
    if isinstance(obj, Tree):
        return True
    if "jax" not in sys.modules or isinstance(obj, (Mapping, str, bytes)):
        return False
    import jax

    leaves = jax.tree_util.tree_leaves(obj)
    is_leaf = len(leaves) == 1 and leaves[0] is obj
    return not is_leaf and any(isinstance(leaf, jax.Array) for leaf in leaves)


class _Leaves:
    """The leaves of a tree, by the keys on the way to them, joined with ``/``."""

    def __init__(self, tree: Tree) -> None:
        import jax

        self._tree = tree
        self.label = f"tree of {type(tree.value).__name__}"
        found, self._structure = jax.tree_util.tree_flatten_with_path(tree.value)
        self._leaves = [leaf for _, leaf in found]
        self._positions: dict[str, int] = {}
        self._aliases: dict[str, tuple[str, ...]] = {}
        for position, (path, leaf) in enumerate(found):
            if not (type(leaf) in _NUMBERS or (hasattr(leaf, "shape") and hasattr(leaf, "dtype"))):
                continue  # a function, or a text
            name = "/".join(map(_text, path))
            if name in self._positions:
                raise TargetError(f"{self.label}: two leaves are called {name!r}")
            self._positions[name] = position
            if len(path) > 1 and getattr(path[-1], "name", "") == _BOXED:
                self._aliases[name] = ("/".join(map(_text, path[:-1])),)

    def variables(self) -> Sequence[VariableSpec]:
        return [
            _spec(name, self._leaves[at], self._aliases.get(name, ()))
            for name, at in self._positions.items()
        ]

    def living(self) -> LivingArrays:
        """The same leaves as a source, without keys of random numbers.

        Raises:
            TargetError: a leaf has a shape and no values, or another process has some of them.
        """
        found = []
        for spec in self.variables():
            leaf = self._leaves[self._positions[spec.name]]
            if spec.not_needed:
                continue
            what = f"{self.label}: {spec.name!r}"
            if type(leaf) not in _NUMBERS and not hasattr(leaf, "__array__"):
                raise TargetError(f"{what} is a {type(leaf).__name__}, which has no values")
            if not getattr(leaf, "is_fully_addressable", True):
                raise TargetError(
                    f"{what} is spread over several processes, and this one has only a part of it"
                )
            found.append(
                (
                    spec.name,
                    LivingArray(spec, tuple(n or 0 for n in spec.shape or ()), _reader(leaf)),
                )
            )
        return LivingArrays(self.label, found, None)

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        for variable, array in arrays:
            at = self._positions[variable.name]
            try:
                self._leaves[at] = _like(self._leaves[at], array)
            except (RuntimeError, TypeError, ValueError) as error:
                reason = " ".join(str(error).split())[:500]
                raise TargetError(
                    f"{self.label}: {variable.name!r} cannot be written: {reason}"
                ) from error
            self._tree.hold(self._structure, self._leaves)
            yield variable.name


def _text(entry: Any) -> str:
    """One key on the way to a leaf."""
    return str(next((getattr(entry, key) for key in _KEYS if hasattr(entry, key)), entry))


def _spec(name: str, leaf: Any, aliases: tuple[str, ...]) -> VariableSpec:
    if type(leaf) in _NUMBERS:
        return VariableSpec(name, (), _NUMBERS[type(leaf)], aliases)
    shape = tuple(leaf.shape)
    if _is_key(leaf):
        why = "a key of random numbers, which is kept"
        return VariableSpec(name, shape, str(leaf.dtype), aliases, not_needed=why)
    return VariableSpec(name, shape, dtypes.name_of(leaf.dtype), aliases)


def _reader(leaf: Any) -> Callable[[tuple[slice, ...] | None], Any]:
    """What reads a leaf, or a box of it, into memory of its own."""

    def read(box: tuple[slice, ...] | None) -> Any:
        import numpy as np

        if type(leaf) in _NUMBERS:
            return np.array(leaf, _NUMBERS[type(leaf)])
        return np.array(leaf if box is None else leaf[box])

    return read


def _is_key(leaf: Any) -> bool:
    import jax

    return bool(jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended))


def _like(leaf: Any, array: Any) -> Any:
    """The array as a leaf of the same kind.

    Raises:
        TypeError: JAX has no such array.
    """
    import jax
    import numpy as np

    if type(leaf) in _NUMBERS:
        return type(leaf)(array.item())
    if isinstance(leaf, (np.ndarray, np.generic)):
        return array if isinstance(leaf, np.ndarray) else array[()]
    if leaf.dtype != jax.dtypes.canonicalize_dtype(leaf.dtype):
        raise TypeError(f"JAX makes no {leaf.dtype} unless jax_enable_x64 is set")
    return jax.device_put(array, getattr(leaf, "sharding", None))
