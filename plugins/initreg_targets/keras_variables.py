"""The variables of a Keras model or layer. In Keras 3 a variable is called by its path, in Keras 2
(``tf_keras``) by its weight name.

Every variable has places: where a ``.weights.h5`` or ``.keras`` file, an object-based checkpoint
and a legacy ``.h5`` of the model have it. It has the names of its layers as labels, if somebody
gave them. If two variables have the same name, as in nested models, the place in the file becomes
their primary name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from initreg import LayerSpec, TargetError, VariableSpec
from initreg_targets import reading
from initreg_targets import variables as eager
from initreg_targets.frameworks import KERAS, classes, is_a, is_one_of, is_variable
from initreg_targets.keeping import PutBack, can_keep, keep_values
from initreg_targets.keras_layers import layer_specs
from initreg_targets.keras_layout import layout
from initreg_targets.keras_metrics import STATE, counted_metrics
from initreg_targets.keras_names import (
    automatic_names,
    has_automatic_part,
    label,
    layers_above,
    legacy_names,
    snake_case,
)
from initreg_targets.keras_outputs import outputs
from initreg_targets.keras_part import Part, own_variables
from initreg_targets.keras_state import forget_traces, special_parts
from initreg_targets.object_paths import (
    Tracked,
    keys_of,
    layers_of,
    places_of,
    without_underscores,
)
from initreg_targets.optimizer_states import optimizers_of, owned_by, states_of
from initreg_targets.plain_variables import Variables

if TYPE_CHECKING:
    from initreg.format_tools.living import LivingArrays

# What is not state of the model itself.
_NOT_STATE = ("metrics.Metric", "optimizers.Optimizer", "optimizers.legacy.Optimizer")
# What of it Keras saves in no format of its own, and another run does not miss: where the variables
# lie in objects of these classes.
_OF_ONE_RUN = (("layers.RNN", ("/states/", "/_states/")), ("random.SeedGenerator", ("/",)))


class Model(Variables):
    """All state that Keras or TensorFlow saves with the model.

    These are the weights, the moving statistics, the states of RNNs, and the state of the optimizer
    if that is built. Metrics are left out, and the state of seeds unless a layer saves it.

    Layers that do more than hold their variables are in ``self._parts``.
    """

    def __init__(self, model: Any) -> None:
        kind = "model" if any(is_a(model, keras, "Model") for keras in KERAS) else "layer"
        self.label = f"Keras {kind} {model.name!r}"
        if not model.built:
            raise TargetError(
                f"{self.label}: it is not built, so it has no variables yet. Call it on some data, "
                "or build(input_shape), before init()"
            )
        self._model = model
        # By the id of each variable, which is kept. Keras takes long to answer, and is asked often.
        self._inner: dict[int, tuple[Any, Any]] = {}
        self._parts = special_parts(model)
        self._takers: dict[str, Part] = {}
        self._written: set[int] = set()
        tracked = Tracked()
        objects, self._keys = keys_of(model, tracked)
        self._lengths = Counter(
            self._keys[id(each)].rpartition("/")[0] for each in objects if is_variable(each)
        )
        owned = owned_by([model, *objects])
        weights = [v for v in model.weights if is_variable(v)]  # and not the handler of a table
        weights = eager.unique(weights)
        metrics, self._of_metrics = counted_metrics(model, weights, objects)
        without = [id(each.optimizer) for each in owned]
        saved, self._layers = layout(model, without, set(map(id, metrics)))
        for part in self._parts:
            saved += part.names()
        self._automatic = automatic_names(model)
        self._is_functional = layers_of(model) is not None  # its layers are built without it
        self._above = f"{model.name}/"  # what the names of variables may begin with
        self._name = "" if model.name in self._automatic else str(model.name)
        self._class = snake_case(type(model).__name__) if kind == "layer" else ""
        self._places: dict[int, list[str]] = {}
        self._labels: dict[int, list[str]] = {}
        self._others: dict[int, list[str]] = {}
        for place, variable in saved:
            places = [place, without_underscores(place)]
            if self._identity(variable) in self._of_metrics:  # which is no layer
                self._note(variable, places, None)
                continue
            self._note(variable, places, label(place, self._layers, self._automatic))
            self._note_whole(variable, layers_above(place, self._layers))
        for variable, place, named, layer in legacy_names(model):
            is_given = layer != "" and layer not in self._automatic
            self._note(variable, [place], named if is_given else None)
            if layer and not is_given:
                self._others.setdefault(self._identity(variable), []).append(named)
        for name in ("variables", "trainable_variables", "non_trainable_variables"):
            found = eager.unique(getattr(model, name))
            for number, variable in enumerate(found):  # as model.export() keeps them
                self._note(variable, [f"#{name}/{number} of {len(found)}"], None)
        more, self._paths = places_of(model, tracked)
        self._objects = [*objects, *more]  # keeping objects keeps their ids
        for number, variable in enumerate(weights):  # as get_weights() returns them
            self._note(variable, [f"#weights/{number} of {len(weights)}"], None)
        own = [v for part in self._parts for v in part.variables()]
        saved_by_keras = [*weights, *(variable for _, variable in saved), *own]
        self._optimizers = optimizers_of(owned, self._prefixes(self._layers), self._keys)
        for each in self._optimizers:
            for number, variable in enumerate(each.variables):
                place = f"{each.places[0]}/{number} of {len(each.variables)}"
                self._note(variable, [place], None)
            saved_by_keras += each.variables
        self._above_state = tuple(f"{self._keys.get(id(o.optimizer), o.name)}/" for o in owned)
        known = set(map(self._identity, saved_by_keras))
        self._tracked = [v for v in self._tracked_variables() if self._identity(v) not in known]
        super().__init__([*saved_by_keras, *self._tracked])

    def _prefixes(self, layers: Mapping[str, str]) -> Callable[[Any], Iterator[str]]:
        """A function that says where an object is, in a file of weights and in a checkpoint."""
        named: dict[str, list[str]] = {}
        for path, name in layers.items():
            named.setdefault(name, []).append(path)

        def prefixes(owner: Any) -> Iterator[str]:
            if owner is self._model:
                yield ""
                return
            in_file = named.get(owner.name, [])
            yield from (f"{path}/" for path in in_file if len(in_file) == 1)
            found = [self._keys.get(id(owner), ""), *self._paths.get(id(owner), [])]
            yield from (f"{path}/" for path in dict.fromkeys(found) if path)

        return prefixes

    def _tracked_variables(self) -> list[Any]:
        """All variables that a checkpoint of TensorFlow holds, without those of optimizers and
        metrics. Keras leaves some out of its own formats, such as the states of RNNs, and a
        ``tf.Variable`` that is an attribute of a layer of Keras 3."""
        not_state = classes(KERAS, _NOT_STATE)
        skipped = tuple(
            f"{self._keys[id(each)]}/" for each in self._objects if is_one_of(each, not_state)
        )
        return [
            each
            for each in self._objects
            if is_variable(each) and not self._keys.get(id(each), "").startswith(skipped)
        ]

    def _of_one_run(self) -> list[Any]:
        """Those tracked variables that are the states of RNNs and of seeds."""
        beginnings = tuple(
            (self._keys[id(each)] + inside).removeprefix("/")  # the model itself has the key ""
            for path, insides in _OF_ONE_RUN
            for each in self._objects
            if is_one_of(each, classes(KERAS, (path,))) and id(each) in self._keys
            for inside in insides
        )
        return [v for v in self._tracked if self._keys.get(id(v), "").startswith(beginnings)]

    def _identity(self, variable: Any) -> int:
        """The id of the variable of TensorFlow, while it is planned for."""
        known = self._inner.get(id(variable))
        if known is None:
            known = self._inner[id(variable)] = variable, eager.unwrapped(variable)
        return id(known[1])

    def _note(self, variable: Any, places: list[str], named: str | None) -> None:
        self._places.setdefault(self._identity(variable), []).extend(places)
        if named is not None:
            self._labels.setdefault(self._identity(variable), []).append(named)

    def _note_whole(self, variable: Any, layers: str) -> None:
        """Note the path that a variable has if its layers are built by the model, if it has another
        one: they were built before. Checkpoints may record the former."""
        own = eager.name_of(variable)
        whole = layers + own.rpartition("/")[2]
        usual = (whole, self._above + whole) if self._is_functional else (self._above + whole,)
        if layers and own not in usual:
            self._others.setdefault(self._identity(variable), []).extend(
                (self._above + whole, whole)
            )

    def _made_up(self, own: str, in_model: str) -> Iterable[str]:
        """Those names of a variable that Keras made up: with the name of the model, and without."""
        if has_automatic_part(in_model, self._automatic):
            return {own, in_model}
        is_of_model = own.rpartition("/")[0] == self._above[:-1]  # a weight beside its layers
        return {own} if is_of_model and self._model.name in self._automatic else ()

    def _specs(self) -> list[VariableSpec]:
        places = [self._places_of(v) for v in self._variables]
        given = [eager.name_of(v) for v in self._variables]
        names = eager.distinct(
            given,
            [next((p for p in found if not p.startswith("#")), None) for found in places],
        )
        labels = [
            [*self._labels.get(self._identity(v), ()), own.removeprefix(self._above)]
            for v, own in zip(self._variables, given, strict=True)
        ]
        states = states_of(self._optimizers, self._variables, names)
        state_of = [states.get(self._identity(v)) for v in self._variables]
        return [
            eager.spec(
                variable,
                name,
                aliases=eager.others(name, named, [] if state else found),
                places=() if state else tuple(found),
                automatic=(
                    *self._made_up(own, named[-1]),
                    *self._others.get(self._identity(variable), ()),
                ),
                state=state,
                model=self._name,
                layer_class=self._class,
            )
            for variable, name, own, named, found, state in zip(
                self._variables, names, given, labels, places, state_of, strict=True
            )
        ]

    def _listed(self) -> list[VariableSpec]:
        """The variables, and what layers take that is not in a variable."""
        specs = super()._listed()
        at = {self._identity(v): index for index, v in enumerate(self._variables)}

        def named(variable: Any) -> str:
            return specs[at[self._identity(variable)]].name

        self._takers = {name: part for part in self._parts for name in part.takes(named)}
        reasons: list[tuple[Any, str, tuple[str, ...]]]
        reasons = [(v, "Keras saves it in no format of its own", ()) for v in self._of_one_run()]
        reasons += [
            (v, STATE, ()) for v in self._variables if self._identity(v) in self._of_metrics
        ]
        reasons += [reason for part in self._parts for reason in part.not_needed(named)]
        added = [self._placed(s) for part in self._parts for s in part.specs(named)]
        for variable, why, instead in reasons:
            index = at[self._identity(variable)]
            specs[index] = replace(specs[index], not_needed=why, not_needed_with=instead)
        return specs + added

    def left_out(self) -> list[str]:
        """The names of the variables that are state of the model, and are in no file of Keras."""
        usual = set(map(id, self._of_one_run()))
        specs = self._listed()[: len(self._variables)]
        pairs = zip(self._variables, specs, strict=True)
        names = {self._identity(variable): spec.name for variable, spec in pairs}
        found = [names[self._identity(v)] for v in self._tracked if id(v) not in usual]
        return list(dict.fromkeys(found))

    def living(self) -> LivingArrays:
        """The same as a source."""
        eager.check_readable(self._variables, self.label)
        specs = self._listed()

        def of_part(spec: VariableSpec) -> reading.Read | None:
            part = self._takers.get(spec.name)
            return None if part is None else part.reads(spec.name)

        return reading.living(self.label, specs, self._by_name, of_part, self._model)

    def layers(self) -> Mapping[str, LayerSpec]:
        """See ``initreg.Target``."""
        specs = super()._listed()
        names = {
            self._identity(variable): spec.name
            for variable, spec in zip(self._variables, specs, strict=True)
        }
        return layer_specs(self._model, names)

    def outputs(self, inputs: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
        """See ``initreg.Target``."""
        return outputs(self._model, self.label, inputs, names)

    def _placed(self, spec: VariableSpec) -> VariableSpec:
        """The spec of what a layer takes, with all names that an array for it may have."""
        path, _, key = spec.name.rpartition("/")
        dataset = spec.name if path.endswith("vars") else f"{path}/vars/{key}"
        named = label(dataset, self._layers, self._automatic)
        if named is not None and dataset != spec.name:
            named = named.replace(f"/vars/{key}", f"/{key}")
        places = (spec.name, without_underscores(spec.name))
        aliases = eager.others(spec.name, [] if named is None else [named], places)
        return replace(spec, aliases=aliases, places=places)

    def room(self, variable: VariableSpec, shape: tuple[int, ...], nbytes: int) -> Any:
        """See ``initreg.Target``."""
        taken = variable.name in self._takers
        return None if taken else super().room(variable, shape, nbytes)

    def snapshot(self, variables: Iterable[VariableSpec]) -> PutBack | None:
        """See ``initreg.Target``."""
        eager.check_writable(self._variables, self.label)
        if not can_keep(self._variables):
            return None
        found = [self._by_name[s.name] for s in variables if s.name in self._by_name]
        for part in self._parts:
            found += [*own_variables(part.layer), *part.variables()]
        values, parts = keep_values(eager.unique(found)), [part.keep() for part in self._parts]

        def put_back() -> None:
            for each in (values, *parts):
                each()
            forget_traces(self._model)

        return put_back

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        if not self._parts:
            yield from super().write(arrays)
            return
        eager.check_writable(self._variables, self.label)
        written = self._written  # of all calls: a chain may be written in parts
        is_changed = True  # until it is known
        try:
            for spec, array in arrays:
                part = self._takers.get(spec.name)
                if part is not None:
                    done = part.take(spec.name, array)
                else:
                    variable = self._by_name[spec.name]
                    is_done = self._memory.write(variable, spec, array)
                    written.add(_identity(variable))
                    done = [spec.name] if is_done else []
                del array
                yield from done
            finished = []
            for part in self._parts:
                changed, done = part.finish(lambda variable: _identity(variable) in written)
                finished.append(changed)
                yield from done
            is_changed = any(finished)
        finally:
            if is_changed:
                forget_traces(self._model)
            self._memory.clear()

    def _places_of(self, variable: Any) -> list[str]:
        """Where a variable is: in a file of weights, and in an object-based checkpoint."""
        found = list(self._places.get(self._identity(variable), []))
        for each in (variable, eager.unwrapped(variable)):
            key = self._keys.get(id(each), "")
            path, _, number = key.rpartition("/")
            if key.startswith(self._above_state):
                # The place of a weight in a list of its optimizer changes with what is trainable,
                # so it counts only in lists of the same length, and is the last resort: Keras 3 has
                # no other one for weights that a layer keeps in a list or a dict.
                is_alone = number.isdecimal() and id(each) not in self._paths
                key = f"{key} of {self._lengths[path]}" if is_alone else ""
            found += [key] if key else []
            found += self._paths.get(id(each), [])
        return list(dict.fromkeys(found))


def _identity(variable: Any) -> int:
    return id(eager.unwrapped(variable))
