"""The names of the arrays in what a pickle holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from initreg import DamagedFile, DuplicateName

from initreg_torch.values import Global, Items, NotRead, NumpyArray, Record, Tensor

_DEEPEST = 100  # levels. No model has as many; a list that holds itself has more
_VISITS = 4  # visits for each value: a few names may share one, but they do not multiply
_PARTS = ("parameters", "buffers", "modules")

Leaf = Tensor | NumpyArray | NotRead | int | float | bool


class Tree:
    """The arrays in a value, by name.

    Keys are joined with ``/``. The parameters and buffers of a pickled ``torch.nn.Module`` have the
    names of its ``state_dict()``, whose parts are joined with ``.``.

    Args:
        value: what the pickle holds.
        size: how many values it can hold.
        label: what messages call the file.
    """

    def __init__(self, value: Any, size: int, label: str) -> None:
        self._left, self._label = _VISITS * size + 1000, label
        self._letters = 100 * size + 1_000_000  # of all names together
        self.leaves: dict[str, Leaf] = {}
        self.training: set[str] = set()  # the names of what belongs to a training
        if isinstance(value, (Tensor, NumpyArray, NotRead)):
            raise DamagedFile(
                f"{label}: holds one array without a name. Load it with torch, and pass initreg a "
                "dict that gives it a name"
            )
        for name, leaf, in_training in self._walk(value, "", False, False, 0):
            if name in self.leaves:
                raise DuplicateName(
                    f"{label}: two arrays are called {name!r} once their keys are joined"
                )
            self._letters -= len(name)
            if self._letters < 0:
                raise DamagedFile(f"{label}: its names are too long, all together")
            self.leaves[name] = leaf
            if in_training:
                self.training.add(name)

    def _walk(
        self, value: Any, name: str, in_module: bool, in_training: bool, depth: int
    ) -> Iterator[tuple[str, Leaf, bool]]:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise DamagedFile(
                f"{self._label}: at {name[:80]!r} its values are nested in each other or in "
                "themselves without end"
            )
        if isinstance(value, (Tensor, NumpyArray, NotRead)):
            yield name, value, in_training
        elif isinstance(value, (bool, int, float)):
            if not in_module:
                yield name, value, True
        elif isinstance(value, (Items, list, tuple)):
            in_training = in_training or _is_optimizer(value)
            for key, each in _pairs(value):
                path = _join(name, key, "." if in_module else "/")
                yield from self._walk(each, path, in_module, in_training, depth + 1)
        elif isinstance(value, Record):
            yield from self._of_record(value, name, in_module, in_training, depth)

    def _of_record(
        self, value: Record, name: str, in_module: bool, in_training: bool, depth: int
    ) -> Iterator[tuple[str, Leaf, bool]]:
        attributes = _attributes(value)
        found = False
        for key, each in _of_module(attributes):
            path = _join(name, key, "." if in_module else "/")
            for leaf in self._walk(each, path, True, in_training, depth + 1):
                found = True
                yield leaf
        for key, each in (*value.items, *enumerate(value.elements)):
            for leaf in self._walk(each, _join(name, key, "/"), in_module, in_training, depth + 1):
                found = True
                yield leaf
        if not found and not in_module:
            why = f"it is an object of {_class_of(value)}, which initreg does not make"
            yield name, NotRead(why, (), "object"), True


def _join(name: str, key: Any, mark: str) -> str:
    if isinstance(key, Record):
        key = f"<{_class_of(key)}>"
    elif not isinstance(key, (str, int, float, bytes, Global)) and key is not None:
        key = f"<{type(key).__name__}>"  # its text could be of any length
    return f"{name}{mark}{key}" if name else str(key)


def _pairs(value: Any) -> Any:
    """The pairs of a dict, of which the last of one key counts, or of a list."""
    if not isinstance(value, Items):
        return enumerate(value)
    if all(isinstance(key, str) for key, _ in value):
        return dict(value).items()
    return value


def _is_optimizer(value: Any) -> bool:
    """Whether this is the ``state_dict()`` of an optimizer."""
    return isinstance(value, Items) and {"state", "param_groups"} == {
        key for key, _ in value if isinstance(key, str)
    }


def _class_of(value: Record) -> str:
    made_by = value.made_by
    # copyreg.__newobj__ and copyreg._reconstructor are given the class.
    if isinstance(made_by, Global) and made_by.module in ("copyreg", "copy_reg"):
        made_by = next(iter(value.arguments), made_by)
    return str(made_by) if isinstance(made_by, Global) else "an unknown class"


def _attributes(value: Record) -> Items:
    """What the state of an object sets: a dict, or a pair of dicts if it has slots."""
    state = value.state
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    return Items(pair for part in parts if isinstance(part, Items) for pair in part)


def _of_module(attributes: Items) -> Items:
    """The parameters, the buffers that are saved, and the parts of a ``torch.nn.Module``; or, of
    any other object, its attributes."""
    named = {key: value for key, value in attributes if isinstance(key, str)}
    parameters, buffers, modules = (named.get(f"_{part}") for part in _PARTS)
    if not (
        isinstance(parameters, Items) and isinstance(buffers, Items) and isinstance(modules, Items)
    ):
        return attributes
    passing = named.get("_non_persistent_buffers_set")
    names = passing if isinstance(passing, list) else []
    skipped = {name for name in names if isinstance(name, str)}  # there may be very many
    kept = [
        (key, value) for key, value in buffers if not isinstance(key, str) or key not in skipped
    ]
    return Items([*parameters, *kept, *modules])
