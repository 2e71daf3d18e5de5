"""What tracks variables of TF2: a module, a checkpoint, an optimizer, or anything else that does.

:mod:`initreg_targets.tf_variables` says which object is which.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from initreg import PieceSpec, VariableSpec
from initreg_targets import reading
from initreg_targets import variables as eager
from initreg_targets.frameworks import is_variable
from initreg_targets.keeping import PutBack, can_keep, keep_values
from initreg_targets.keras_names import is_unnamed
from initreg_targets.object_paths import keys_of, places_of
from initreg_targets.optimizer_states import is_optimizer as is_keras_optimizer
from initreg_targets.optimizer_states import optimizer_at, states_of
from initreg_targets.plain_variables import Variables
from initreg_targets.trackables import (
    Paths,
    is_checkpoint,
    own_variables,
    twins,
)


class Module(Variables):
    """All variables of a ``tf.Module``, and those of Keras layers in it.

    The paths to a variable in an object-based checkpoint of the module are its places. If two
    variables have the same name, the path becomes their primary name.
    """

    def __init__(self, module: Any) -> None:
        objects, self._keys = keys_of(module)
        more, self._places = places_of(module)
        self._objects = [*objects, *more]  # so that their ids are not used again
        inside = [each for each in objects if is_variable(each)]
        super().__init__([*module.variables, *inside])
        self.label = f"tf.Module {type(module).__name__!r}"

    def _specs(self) -> list[VariableSpec]:
        places = [self._places_of(v) for v in self._variables]
        given = [eager.name_of(v) for v in self._variables]
        names = eager.distinct(given, [found[0] if found else None for found in places])
        return [
            eager.spec(
                variable,
                name,
                aliases=eager.others(name, found),
                places=tuple(found),
                automatic=(own,) if is_unnamed(own) else (),
            )
            for variable, name, own, found in zip(
                self._variables, names, given, places, strict=True
            )
        ]

    def _places_of(self, variable: Any) -> list[str]:
        """The paths to a variable, its key first."""
        key = self._keys.get(id(variable))
        found = ([] if key is None else [key]) + self._places.get(id(variable), [])
        return list(dict.fromkeys(found))


class Tracked(Variables):
    """All variables that TensorFlow tracks from an object.

    Those of a ``tf.train.Checkpoint`` are called by their paths, as in the checkpoint that it
    writes, and by nothing else. Those of any other object are called by their names, and their
    paths are their places.
    """

    def __init__(self, root: Any) -> None:
        self._paths = Paths(root)
        self._is_checkpoint = is_checkpoint(root)
        found = self._paths.variables()
        self._twins: dict[int, list[Any]] = {}
        if not self._is_checkpoint:
            found, self._twins = twins(self._paths, eager.unique(found))
        super().__init__(found)
        self.label = f"tf.train.{type(root).__name__}" if self._is_checkpoint else _label(root)

    def _specs(self) -> list[VariableSpec]:
        places = [self._paths.of(v) for v in self._variables]
        firsts = [
            next((path for path in found if not path.startswith("#")), None) for found in places
        ]
        own = [eager.name_of(v) for v in self._variables]
        if self._is_checkpoint:
            names = [path or name for path, name in zip(firsts, own, strict=True)]
        else:
            names = eager.distinct(own, firsts)
        states = states_of(self._paths.optimizers, self._variables, names)
        state_of = [states.get(id(eager.unwrapped(v))) for v in self._variables]
        return [
            eager.spec(
                variable,
                name,
                aliases=eager.others(name, found),
                places=tuple(found) if state is None else (),
                automatic=(given,) if is_unnamed(given) else (),
                state=state,
            )
            for variable, name, given, found, state in zip(
                self._variables, names, own, places, state_of, strict=True
            )
        ]

    def snapshot(self, variables: Iterable[VariableSpec]) -> PutBack | None:
        """See ``initreg.Target``."""
        eager.check_writable(self._variables, self.label)
        if not can_keep(self._variables):
            return None
        found = [self._by_name[spec.name] for spec in variables]
        return keep_values([v for each in found for v in (each, *self._twins.get(id(each), ()))])

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        return super().write(self._copied(arrays))

    def identities(self) -> set[Hashable]:
        """See ``initreg.Target``."""
        twins = [each for found in self._twins.values() for each in found]
        return reading.identities([*self._variables, *twins])

    def _copied(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[Any]:
        for spec, array in arrays:
            for twin in self._twins.get(id(self._by_name[spec.name]), ()):
                eager.assign(twin, array, spec if isinstance(spec, PieceSpec) else None)
            yield spec, array
            del array


def _label(root: Any) -> str:
    kind = type(root).__name__
    return {
        "_UserObject": "loaded SavedModel",
        "AutoTrackable": "loaded SavedModel",
        "ListWrapper": "list of tracked objects",
        "_DictWrapper": "dict of tracked objects",
    }.get(kind, kind)


class Optimizer(Variables):
    """The state of an optimizer that is alone, without the weights that it trains.

    Its places are those in the files of a model that it belongs to, and in a checkpoint of itself.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizers = [optimizer_at(optimizer, [""])] if is_keras_optimizer(optimizer) else []
        more = [v for each in self._optimizers for v in each.variables]
        super().__init__([*own_variables(optimizer), *more])
        self.label = f"optimizer {type(optimizer).__name__!r}"
        self._inside, self._alone = Paths(optimizer, "optimizer"), Paths(optimizer)

    def _specs(self) -> list[VariableSpec]:
        count = len(self._variables)
        places = [
            [f"optimizer/vars/{number} of {count}", *self._inside.of(v), *self._alone.of(v)]
            for number, v in enumerate(self._variables)
        ]
        own = [eager.name_of(v) for v in self._variables]
        names = eager.distinct(own, [found[0] for found in places])
        states = states_of(self._optimizers, self._variables, names)
        return [
            eager.spec(
                variable,
                name,
                aliases=eager.others(name, found),
                places=tuple(found),
                automatic=(given,),
                state=states.get(id(eager.unwrapped(variable))),
            )
            for variable, name, given, found in zip(
                self._variables, names, own, places, strict=True
            )
        ]
