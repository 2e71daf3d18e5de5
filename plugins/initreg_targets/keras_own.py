"""A layer that saves and loads in a way of its own, and so is asked to load."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from initreg import TargetError, VariableSpec, dtypes
from initreg_targets import variables as eager
from initreg_targets.frameworks import is_variable
from initreg_targets.keeping import PutBack, keep_values
from initreg_targets.keras_part import Named, Part, own_variables, place

_HOME = ("keras.src.", "tf_keras.src.")  # where Keras's own code is
_KEPT = (
    "The source has the variables of this layer alone, and not all that its save_own_variables() "
    "saves. Restore from a .weights.h5 or .keras file, or set the rest as it was in the model that "
    "was saved"
)


def is_usual(layer: Any, method: str) -> bool:
    """Whether the layer has a method as Keras has it, and not one that a user wrote."""
    return _is_usual(layer.__class__, method)


@functools.lru_cache(1024)
def _is_usual(kind: Any, method: str) -> bool:
    module = getattr(getattr(kind, method, None), "__module__", None) or _HOME[0]
    return module.startswith(_HOME)


class Own(Part):
    """A layer with its own ``save_own_variables`` or ``load_own_variables``.

    What it saves are *entries*, each with a key. An entry that is a variable of the layer is that
    variable of the plan. Any other entry is in the plan under its name in the file, with the shape
    that it has now. Once all entries are read, the layer loads them. If only some are restored, the
    others are what the layer would save now.

    A source that has the variables and not the entries, such as a checkpoint of TensorFlow, is
    written into the variables.
    """

    def __init__(self, layer: Any, path: str, owner: str | None = None) -> None:
        super().__init__(layer, path, owner)
        self._own = own_variables(layer)
        self._entries = self._stored()
        self._specs = {
            key: _shape_and_dtype(value)
            for key, value in self._entries.items()
            if not is_variable(value)
        }
        self._keys: dict[str, str] = {}  # by the name in the plan
        self._store: dict[str, Any] = {}
        self._names: list[str] = []  # of what is in the store
        self._is_loaded = False

    def names(self) -> Iterable[tuple[str, Any]]:
        return [
            (place(self.path, key), value)
            for key, value in self._entries.items()
            if is_variable(value)
        ]

    def specs(self, named: Named) -> Iterable[VariableSpec]:
        instead = tuple(map(named, self._others()))
        copies = self._copies() if instead else ()
        for key, (shape, dtype) in self._specs.items():
            name = place(self.path, key)
            spec = VariableSpec(name, shape, dtype, places=(name,), not_needed_with=instead)
            if key in copies:
                spec = replace(spec, not_needed="the variables of its layer are restored")
            elif instead:
                why = "keeps its own, unless it follows from its variables"
                why = f"layer {self.layer.name!r} {why}"
                spec = replace(spec, not_needed=why, kept_with=instead, remedy=_KEPT)
            yield spec

    def not_needed(self, named: Named) -> Iterator[tuple[Any, str, tuple[str, ...]]]:
        entries = tuple(self.takes(named))
        for variable in self._others() if entries else ():
            yield variable, "set by its layer, from what that saved", entries

    def takes(self, named: Named) -> Iterable[str]:
        self._keys = {
            named(value) if is_variable(value) else place(self.path, key): key
            for key, value in self._entries.items()
        }
        return self._keys

    def reads(self, name: str) -> Callable[[tuple[slice, ...] | None], Any] | None:
        import numpy as np

        key = self._keys[name]

        def read(box: tuple[slice, ...] | None) -> Any:
            found = np.array(_value(self._stored()[key]))
            return found if box is None else found[box]

        return read

    def take(self, name: str, array: Any) -> list[str]:
        self._store[self._keys[name]] = array
        self._names.append(name)
        return self._load() if len(self._store) == len(self._entries) else []

    def finish(self, written: Callable[[Any], bool]) -> tuple[bool, list[str]]:
        names = []
        if self._store:
            for key, value in self._saved().items():
                self._store.setdefault(key, value)
            names = self._load()
        if any(map(written, self._own)) and hasattr(self.layer, "finalize_state"):
            self.call(self.layer.finalize_state)
            self._is_loaded = True
        is_changed, self._is_loaded = self._is_loaded, False
        return is_changed, names

    def keep(self) -> PutBack:
        before = self._others_saved()
        values = keep_values(v for v in self._own if eager.is_one(v))
        attributes = super().keep()

        def put_back() -> None:
            values()
            attributes()
            if self._is_as(before):
                return
            failed: TargetError | None = None
            try:  # it changed something in place
                self.call(self.layer.load_own_variables, {**self._saved(), **before})
            except TargetError as error:
                failed = error
                values()
                attributes()
            if not self._is_as(before):
                text = f"layer {self.layer.name!r} does not save what it has loaded"
                raise failed or TargetError(text)

        return put_back

    def _stored(self) -> dict[str, Any]:
        """What the layer saves now: variables, and other values."""
        if is_usual(self.layer, "save_own_variables"):
            return {str(number): v for number, v in enumerate(self._own)}
        found: dict[str, Any] = {}
        self.layer.save_own_variables(found)
        return found

    def _saved(self) -> dict[str, Any]:
        """The same as arrays, which later changes of the layer do not change."""
        import numpy as np

        return {key: np.array(_value(value)) for key, value in self._stored().items()}

    def _others_saved(self) -> dict[str, Any]:
        """Those of them that are not in variables."""
        import numpy as np

        found = self._stored()
        return {key: np.array(each) for key, each in found.items() if not is_variable(each)}

    def _is_as(self, before: Mapping[str, Any]) -> bool:
        """Whether the layer saves the same beside its variables as before, in every bit."""
        now = self._others_saved()
        return now.keys() == before.keys() and all(
            now[key].dtype == value.dtype
            and now[key].shape == value.shape
            and now[key].tobytes() == value.tobytes()
            for key, value in before.items()
        )

    def _copies(self) -> set[str]:
        """The keys of the entries that have the values of a variable, maybe in another order.

        Zeros are the values of many things. So an entry of one value counts only if all that the
        layer saves has the values of its variables.
        """
        import numpy as np

        def values(entry: Any) -> tuple[str, bytes]:
            array = np.asarray(_value(entry)).ravel()
            return str(array.dtype), np.sort(array).tobytes()

        free = [values(v) for v in self._others() if eager.is_one(v)]
        sizes = {len(found) for _, found in free}
        copies = set()
        for key in self._specs:
            if np.asarray(self._entries[key]).nbytes in sizes:
                found = values(self._entries[key])
                if found in free:
                    free.remove(found)
                    copies.add(key)
        if len(copies) == len(self._specs):
            return copies
        return {key for key in copies if len(np.unique(np.asarray(self._entries[key]))) > 1}

    def _others(self) -> list[Any]:
        """The variables of the layer that are not entries."""
        entries = {id(value) for value in self._entries.values()}
        return [v for v in self._own if id(v) not in entries]

    def _load(self) -> list[str]:
        store, self._store = self._store, {}
        names, self._names = self._names, []
        self._is_loaded = True
        put_back = self.keep()
        try:
            self.call(self.layer.load_own_variables, store)
        except TargetError as error:
            try:
                put_back()
            except Exception as other:  # of the layer, once more
                text = " ".join(str(other).split())[:500]
                raise TargetError(
                    f"{error}. It may have changed by then, because putting its old values back "
                    f"failed: {text}"
                ) from error
            raise
        return names


def _shape_and_dtype(value: Any) -> tuple[tuple[int | None, ...], str]:
    """Those of an entry. If it is empty now, it takes any length."""
    import numpy as np

    array = np.asarray(_value(value))
    return tuple(axis or None for axis in array.shape), dtypes.name_of(array.dtype)


def _value(value: Any) -> Any:
    return eager.unwrapped(value) if is_variable(value) else value
