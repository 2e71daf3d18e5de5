"""The objects of a model that Keras saves, and their paths in a ``.weights.h5`` or ``.keras`` file.

Source: ``_save_state`` and ``_save_container_state`` in ``keras/src/saving/saving_lib.py`` and
``tf_keras/src/saving/saving_lib.py``. This is the same walk, but it saves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, WrapperDescriptorType
from typing import Any

from initreg_targets.frameworks import is_module
from initreg_targets.keras_properties import making_weights


def walk_of(model: Any) -> Walk:
    """The walk of the Keras that a model is of. Raises ImportError."""
    return _Keras2() if is_module(model) else _Keras3()


def saved_objects(model: Any) -> list[tuple[str, Any]]:
    """``("layers/dense", layer)`` for the model, its layers, and what else Keras saves.

    Raises whatever the attributes of layers raise, and AttributeError or ImportError if this
    version of Keras saves in another way.
    """
    return list(walk_of(model).objects(model, ""))


class Walk:
    """The walk, as far as both versions of Keras agree.

    It asks each object once, so it is for one plan, in which no object changes.
    """

    containers: tuple[type, ...]

    def __init__(self) -> None:
        self._visited: set[int] = set()
        self._below: dict[int, tuple[Any, list[tuple[str, Any]]]] = {}  # keeps the objects, too

    def is_saved(self, each: Any) -> bool:
        raise NotImplementedError

    def children(self, each: Any) -> Iterable[tuple[str, Any]]:
        raise NotImplementedError

    def elements(self, container: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
        raise NotImplementedError

    def below(self, each: Any) -> Iterator[tuple[str, Any]]:
        """What Keras saves right below an object, in its attributes and in lists and dicts of
        these, and the path from the object to each."""
        for attribute, child in self.children(each):
            if self.is_saved(child):
                yield attribute, child
            elif isinstance(child, self.containers):
                yield from self.elements(child, attribute, set())

    def without(self, ids: Collection[int]) -> None:
        """Leave out the objects with these ids, such as optimizers."""
        self._visited |= set(ids)

    def objects(self, each: Any, path: str) -> Iterator[tuple[str, Any]]:
        """An object and all that Keras saves below it, each once, by the first path to it."""
        if id(each) in self._visited:
            return
        self._visited.add(id(each))
        yield path, each
        for name, child in self.below(each):
            yield from self.objects(child, f"{path}/{name}" if path else name)


class _Keras3(Walk):
    containers = (list, dict, tuple)

    def __init__(self) -> None:
        from keras.src.saving import keras_saveable, saving_lib
        from keras.src.utils import naming

        super().__init__()
        self._saveable = keras_saveable.KerasSaveable
        self._snake_case = naming.to_snake_case
        self._library = saving_lib
        self._stand_in = _stand_in(self._saveable)
        self._of_class: dict[type, list[str] | None] = {}

    def is_saved(self, each: Any) -> bool:
        return isinstance(each, self._saveable)

    def below(self, each: Any) -> Iterator[tuple[str, Any]]:
        known = self._below.get(id(each))
        if known is None:
            known = self._below[id(each)] = each, list(super().below(each))
        return iter(known[1])

    def children(self, each: Any) -> Iterable[tuple[str, Any]]:
        kind = type(each)
        if kind not in self._of_class:
            self._of_class[kind] = _attributes_of(kind)
        names = self._of_class[kind]
        shown = each if names is None else self._stand_in(each, [*names, *vars(each)])
        found: Iterable[tuple[str, Any]] = self._library._walk_saveable(shown)
        return found

    def elements(self, container: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
        if id(container) in seen:
            return
        seen.add(id(container))
        used: dict[str, int] = {}
        for each in container.values() if isinstance(container, dict) else container:
            if self.is_saved(each):
                yield f"{path}/{_numbered(self._snake_case(type(each).__name__), used)}", each
            elif isinstance(each, self.containers):
                yield from self.elements(each, f"{path}/{_numbered('container', used)}", seen)


class _Keras2(Walk):
    containers = (list, dict, tuple, set)

    def __init__(self) -> None:
        from tf_keras.src.saving import saving_lib
        from tf_keras.src.utils import generic_utils

        super().__init__()
        self._snake_case = generic_utils.to_snake_case
        self._library = saving_lib

    def is_saved(self, each: Any) -> bool:
        return bool(self._library._is_keras_trackable(each))

    def children(self, each: Any) -> Iterable[tuple[str, Any]]:
        return attributes_in_keras_2(each)

    def elements(self, container: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
        used: dict[str, int] = {}
        for each in container.values() if isinstance(container, dict) else container:
            if self.is_saved(each) and id(each) not in self._visited:
                yield f"{path}/{_numbered(self._snake_case(type(each).__name__), used)}", each


def attributes_in_keras_2(each: Any) -> Iterable[tuple[str, Any]]:
    """The attributes of an object that Keras 2 looks at, without properties that make weights."""
    from tf_keras.src.saving import saving_lib

    kind: Any = type(each)
    making = making_weights(kind)
    if making:
        each = _stand_in(object)(each, [name for name in dir(each) if name not in making])
    found: Iterable[tuple[str, Any]] = saving_lib._walk_trackable(each)
    return found


# What a class may have that is no state, whatever the object is.
_CODE = (FunctionType, BuiltinFunctionType, WrapperDescriptorType, MethodDescriptorType)


def _attributes_of(kind: type) -> list[str] | None:
    """The attributes that objects of a class have by their class and that may be state. None if
    its objects say themselves which attributes they have."""
    usual: Any = object
    says: Any = kind
    if says.__dir__ is not usual.__dir__ or says.__getattribute__ is not usual.__getattribute__:
        return None
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        found |= vars(base)
    return [
        name
        for name, value in found.items()
        if not name.startswith("__") and not _is_code(value)  # Keras skips the former, too
    ]


def _is_code(value: Any) -> bool:
    if type(value) in (staticmethod, classmethod):
        value = value.__func__
    return type(value) in _CODE


def _stand_in(saveable: Any) -> Any:
    """A class whose objects stand for others. Keras, which looks at every attribute of an object,
    finds fewer of them: most are methods, and Keras sorts and gets 200 of them for each layer.

    Args:
        saveable: the class of what Keras saves.
    """

    class StandIn(saveable):  # type: ignore[misc]
        def __init__(self, of: Any, names: list[str]) -> None:
            object.__setattr__(self, "of", of)
            object.__setattr__(self, "names", names)

        def __dir__(self) -> list[str]:
            return list(set(object.__getattribute__(self, "names")))

        def __getattribute__(self, name: str) -> Any:
            return getattr(object.__getattribute__(self, "of"), name)

    return StandIn


def _numbered(name: str, used: dict[str, int]) -> str:
    """The name in its container: ``dense``, then ``dense_1``."""
    count = used[name] = used.get(name, -1) + 1
    return f"{name}_{count}" if count else name


@contextmanager
def skipped_once() -> Iterator[None]:
    """Let Keras 3 find out once, and not for each layer, which attributes of a class it skips.

    Keras 3.15 keeps them as ``saving_attr_skipset_Layer`` and looks for
    ``saving_attr_skiplist_Layer``, so that it makes a new layer for each one that it walks over.
    Half of the time of a plan for 1,000 layers was spent on that. The attributes are those of this
    thread, and what is put there is removed afterwards.
    """
    from keras.src.backend.common import global_state
    from keras.src.saving import saving_lib

    put = []
    find: Any = getattr(saving_lib, "get_attr_skipset", None)
    for kind in ("Layer", "Functional", "Sequential") if find is not None else ():
        found, name = find(kind), f"saving_attr_skiplist_{kind}"
        if global_state.get_global_attribute(name) is None:
            global_state.set_global_attribute(name, found)
            put.append(name)
    try:
        yield
    finally:
        for name in put:
            global_state.set_global_attribute(name, None)
