"""``tf.Variable``s of TF2: an iterable of them, a single one, or a ``tf.Module``.

The iterable may also hold variables of Keras 3, such as ``model.weights``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from initreg import Target, TargetError, VariableSpec, hookimpl
from initreg_targets import variables as eager
from initreg_targets.frameworks import (
    find,
    is_keras_layer,
    is_module,
    is_variable,
)


@hookimpl
def initreg_target(obj: object) -> Target | None:
    if isinstance(obj, (str, bytes, Mapping)):
        return None
    if find("tensorflow", "Variable") is None and find("keras", "Variable") is None:
        return None
    if is_keras_layer(obj):
        return None  # keras_model's, though those of Keras 2 are tf.Modules as well
    if is_variable(obj):
        return Variables([obj])
    if is_module(obj):
        return Module(obj)
    # A stranger's attributes may raise, so they are looked at last. An array is iterable, too.
    if not isinstance(obj, Iterable) or hasattr(obj, "shape"):
        return None
    found = list(obj)
    strangers = [each for each in found if not is_variable(each)]
    if not strangers:
        return Variables(found)
    if len(strangers) < len(found):
        raise TargetError(
            f"TF variables: a {type(strangers[0]).__name__} is among them, which is not a "
            "variable. Leave it out"
        )
    return None


class Variables:
    """Variables by name. Those of Keras 3 are called by their path."""

    label = "TF variables"

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = eager.unique(variables)
        self._by_name: dict[str, Any] = {}
        self._memory = eager.Memory()

    def variables(self) -> Sequence[VariableSpec]:
        eager.check_writable(self._variables, self.label)
        specs = self._specs()
        self._by_name = {spec.name: v for spec, v in zip(specs, self._variables, strict=True)}
        return specs

    def _specs(self) -> list[VariableSpec]:
        return [eager.spec(v, eager.name_of(v)) for v in self._variables]

    def room(self, variable: VariableSpec, shape: tuple[int, ...], nbytes: int) -> Any:
        """See ``initreg.Target``."""
        return self._memory.room(self._by_name[variable.name], shape, nbytes)

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        eager.check_writable(self._variables, self.label)
        try:
            for spec, array in arrays:
                self._memory.assign(self._by_name[spec.name], array)
                del array
                yield spec.name
        finally:
            self._memory.clear()


class Module(Variables):
    """All variables of a ``tf.Module``, and those of Keras layers in it.

    Each has its key in an object-based checkpoint of the module as an alias. If two variables have
    the same name, the key becomes their primary name.
    """

    def __init__(self, module: Any) -> None:
        objects, self._paths = eager.object_paths(module)
        self._objects = objects  # so that the ids in self._paths are not used again
        inside = [each for each in objects if is_variable(each)]
        super().__init__([*module.variables, *inside])
        self.label = f"tf.Module {type(module).__name__!r}"

    def _specs(self) -> list[VariableSpec]:
        paths = [self._paths.get(id(v)) for v in self._variables]
        names = eager.distinct([eager.name_of(v) for v in self._variables], paths)
        return [
            eager.spec(v, name, () if path is None else (path,))
            for v, name, path in zip(self._variables, names, paths, strict=True)
        ]
