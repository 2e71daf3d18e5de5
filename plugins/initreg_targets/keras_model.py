"""A Keras model or layer. In Keras 3 a variable is called by its path, in Keras 2 (``tf_keras``) by
its weight name.

Every variable has aliases: its name in a ``.weights.h5`` or ``.keras`` file of the model, and its
key in an object-based checkpoint of it. If two variables have the same name, as in nested models,
the name in the file becomes their primary name.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from initreg import Target, TargetError, VariableSpec, hookimpl
from initreg_targets import variables as eager
from initreg_targets.frameworks import KERAS, is_a, is_keras_layer, is_variable
from initreg_targets.keras_layout import layout
from initreg_targets.tf_variables import Variables


@hookimpl
def initreg_target(obj: object) -> Target | None:
    return Model(obj) if is_keras_layer(obj) else None


class Model(Variables):
    """All state that Keras saves with the model.

    These are the weights, the moving statistics, and the state of the optimizer if that is built.
    Metrics are left out, and the state of seeds unless a layer saves it.
    """

    def __init__(self, model: Any) -> None:
        kind = "model" if any(is_a(model, keras, "Model") for keras in KERAS) else "layer"
        self.label = f"Keras {kind} {model.name!r}"
        if not model.built:
            raise TargetError(
                f"{self.label}: it is not built, so it has no variables yet. Call it on some data, "
                "or build(input_shape), before init()"
            )
        self._aliases: dict[int, list[str]] = {}
        saved = layout(model)
        for name, variable in saved:
            self._aliases.setdefault(_identity(variable), []).append(name)
        self._objects, self._keys = eager.object_paths(model)  # keeping objects keeps their ids
        self._lengths = Counter(
            self._keys[id(each)].rpartition("/")[0] for each in self._objects if is_variable(each)
        )
        more, self._places = eager.object_paths(model, lists=False)
        self._objects += more
        super().__init__([*model.weights, *(variable for _, variable in saved)])

    def _specs(self) -> list[VariableSpec]:
        aliases = [self._aliases_of(v) for v in self._variables]
        names = eager.distinct(
            [eager.name_of(v) for v in self._variables],
            [found[0] if found else None for found in aliases],
        )
        return [
            eager.spec(v, name, [alias for alias in found if alias != name])
            for v, name, found in zip(self._variables, names, aliases, strict=True)
        ]

    def _aliases_of(self, variable: Any) -> list[str]:
        found = list(self._aliases.get(_identity(variable), []))
        is_state = any(name.startswith("optimizer/") for name in found)
        for each in (variable, eager.unwrapped(variable)):
            key, place = self._keys.get(id(each)), self._places.get(id(each))
            path, _, number = (key or "").rpartition("/")
            if path.startswith("optimizer/") and number.isdecimal():
                # A place in a list of the optimizer. The place of a weight changes with what is
                # trainable. That of the optimizer's own state means the same in lists of the same
                # length.
                key = f"{key} of {self._lengths[path]}" if is_state else None
            found += [name for name in (key, place) if name]
        return list(dict.fromkeys(found))


def _identity(variable: Any) -> int:
    return id(eager.unwrapped(variable))
