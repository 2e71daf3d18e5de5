"""What each variable is in the state of an optimizer of Keras.

The h5 and tf_checkpoint formats say the same of their arrays. Nothing here creates a variable: an
older optimizer makes its counter when somebody asks for ``iterations``.

Source: ``keras/src/optimizers/``, ``tf_keras/src/optimizers/``, its ``legacy/``, and
``tf_keras/src/mixed_precision/loss_scale_optimizer.py``.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from initreg import OptimizerSpec, StateSpec
from initreg_targets import variables as eager
from initreg_targets.frameworks import KERAS, is_a, is_keras_variable, is_variable

# What the optimizers of Keras call slots that hold squares, norms or sums of these.
_NEVER_NEGATIVE = {
    *("velocity", "velocity_hat", "norm", "accumulator", "accumulated_grad"),
    *("accumulated_delta_var", "v", "vhat", "u", "r", "c", "rms", "accum_grad", "accum_var"),
}
_SLOTS = _NEVER_NEGATIVE | {"m", "momentum", "average_gradient", "linear", "average"}  # of Keras 2
# What keras and tf_keras call the same slot, in classes that compute the same from the same.
_ADAM = {"momentum": "m", "velocity": "v", "velocity_hat": "vhat"}
_TWINS: dict[str, Mapping[str, str]] = {
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "Adadelta": {slot: slot for slot in ("accumulated_grad", "accumulated_delta_var")},
    "Adagrad": {"accumulator": "accumulator"},
    "Adamax": {"momentum": "m", "norm": "u"},
    "Ftrl": {slot: slot for slot in ("accumulator", "linear")},
    "Lion": {"momentum": "m"},
    "RMSprop": {slot: slot for slot in ("velocity", "momentum", "average_gradient")},
    "SGD": {"momentum": "m"},
}
_NUMBERS = ("iteration", "iter", "learning_rate", "step_counter", "dynamic_scale", "momentum_cache")
_INNER = "inner_optimizer"
_MOST_IN_A_LIST = 100  # so that no data of a user is searched for optimizers


def is_optimizer(obj: object) -> bool:
    """Whether it is an optimizer of Keras 2 or 3, the legacy ones among them."""
    kinds = ("optimizers.Optimizer", "optimizers.legacy.Optimizer")
    return any(is_a(obj, keras, kind) for keras in KERAS for kind in kinds)


def inner_of(optimizer: Any) -> Any | None:
    """The optimizer in a LossScaleOptimizer."""
    inner = getattr(optimizer, _INNER, None)
    return inner if is_optimizer(inner) else None


def is_built(optimizer: Any) -> bool:
    """Whether it has all of its variables."""
    inner = inner_of(optimizer)
    if is_legacy(optimizer):
        inner = optimizer if inner is None else inner
        return bool(getattr(inner, "_hypers_created", False) and inner.weights)
    if inner is not None and not hasattr(optimizer, "built"):
        return is_built(inner)
    built = getattr(optimizer, "built", None)
    return bool(getattr(optimizer, "_built", False) if built is None else built)


def is_legacy(optimizer: Any) -> bool:
    return is_a(optimizer, "tf_keras", "optimizers.legacy.Optimizer")


class Optimizer(NamedTuple):
    """An optimizer, where it is in the target, and its state, with the numbers that only
    checkpoints have."""

    optimizer: Any
    places: tuple[str, ...]
    variables: list[Any]


def optimizer_at(optimizer: Any, places: Iterable[str]) -> Optimizer:
    return Optimizer(optimizer, tuple(places), [variable for variable, _ in _members(optimizer)])


class Owned(NamedTuple):
    """An optimizer of a model, and what files call it there: ``"optimizer"``."""

    owner: Any
    name: str
    optimizer: Any


def owned_by(objects: Iterable[Any]) -> list[Owned]:
    """The optimizers that the models among some objects have, as attributes or in lists and dicts
    of these. An optimizer of several models is found several times."""
    found = []
    models = {
        id(each): each for each in objects if any(is_a(each, keras, "Model") for keras in KERAS)
    }
    for model in models.values():
        for attribute, value in sorted(vars(model).items()):
            if attribute.startswith("_self_"):  # TensorFlow's own notes on the other attributes
                continue
            if is_optimizer(value):
                found.append(Owned(model, attribute, value))
            elif isinstance(value, (list, tuple, dict)) and len(value) <= _MOST_IN_A_LIST:
                used: Counter[str] = Counter()
                for each in value.values() if isinstance(value, dict) else value:
                    if is_optimizer(each):
                        name = _snake_case(type(each).__name__)
                        number = f"_{used[name]}" if used[name] else ""
                        used[name] += 1
                        found.append(Owned(model, f"{attribute}/{name}{number}", each))
    return found


def optimizers_of(
    owned: Iterable[Owned], prefixes: Callable[[Any], Iterable[str]], keys: Mapping[int, str]
) -> list[Optimizer]:
    """The optimizers of a model that are built. One that is not built has no state to restore to,
    and Keras restores nothing into it either.

    Args:
        owned: all of its optimizers.
        prefixes: where a model in it is: ``""``, or ``"layers/functional/"``.
        keys: what TensorFlow calls each object in a checkpoint, by ``id``.
    """
    found: dict[int, tuple[Any, list[str]]] = {}
    for owner, name, optimizer in owned:
        if is_built(optimizer):
            places = found.setdefault(id(optimizer), (optimizer, []))[1]
            places += [prefix + name for prefix in prefixes(owner)]
    return [
        optimizer_at(optimizer, dict.fromkeys(filter(None, [*places, keys.get(key, "")])))
        for key, (optimizer, places) in found.items()
    ]


def _snake_case(name: str) -> str:
    """As Keras calls an object in a list, by its class."""
    split = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", split).lower()


def states_of(
    optimizers: Iterable[Optimizer], variables: Sequence[Any], names: Sequence[str]
) -> dict[int, StateSpec]:
    """What each variable is in the state of an optimizer, by the ``id`` of the variable in it.

    Args:
        optimizers: the optimizers of a target.
        variables: all variables of the target.
        names: what each is called in the target.
    """
    optimizers = list(optimizers)
    state = {id(eager.unwrapped(v)) for each in optimizers for v in each.variables}
    weights: dict[str, tuple[str, Any]] = {}
    shared: set[str] = set()
    for variable, name in zip(variables, names, strict=True) if optimizers else ():
        own = eager.name_of(variable)
        if id(eager.unwrapped(variable)) not in state:
            if own in weights:
                shared.add(own)
            weights[own] = name, variable
    found: dict[int, StateSpec] = {}
    for each in optimizers:
        for key, spec in _states(each.optimizer, each.places, weights, shared).items():
            found.setdefault(key, spec)
    return found


def _states(
    optimizer: Any,
    places: Sequence[str],
    weights: Mapping[str, tuple[str, Any]],
    shared: Collection[str],
) -> dict[int, StateSpec]:
    levels = [optimizer, *filter(None, [inner_of(optimizer)])]
    spec = OptimizerSpec(
        tuple(places),
        tuple(type(each).__name__ for each in levels),
        tuple(_name(each) for each in levels),
        tuple(map(_automatic, levels)),
        is_built(optimizer),
    )
    slots = _Slots(optimizer, weights, shared)
    found: dict[int, StateSpec] = {}
    for variable, at in _members(optimizer):
        weight, called, slot = slots.of(variable)
        if slots.is_legacy and weight:
            at = [f"{slot} of {{weight}}", *at]
        found.setdefault(
            id(eager.unwrapped(variable)),
            StateSpec(
                spec,
                tuple(at),
                optional=not any(" of " in each for each in at),
                weight=weight,
                called=called,
                never_negative=slot in _NEVER_NEGATIVE and _is_of_keras(levels[-1]),
                also_called=slots.elsewhere(slot) if called else (),
            ),
        )
    return found


def _is_of_keras(optimizer: Any) -> bool:
    return type(optimizer).__module__.partition(".")[0] in KERAS


def _name(optimizer: Any) -> str:
    # A LossScaleOptimizer of tf_keras has none.
    return str(getattr(optimizer, "name", None) or getattr(optimizer, "_name", None) or "")


def _automatic(optimizer: Any) -> tuple[str, ...]:
    """The names that such an optimizer has if nobody names it: those of its class, and its default.
    Keras makes them from the name of the class."""
    kind = type(optimizer)
    try:
        default = inspect.signature(kind.__init__).parameters["name"].default
    except (KeyError, TypeError, ValueError):
        default = None
    names = [kind.__name__, *([default] if isinstance(default, str) else ())]
    return tuple(dict.fromkeys(names))


# --- the variables ------------------------------------------------------------------------------


def _members(optimizer: Any) -> list[tuple[Any, list[str]]]:
    """The variables of an optimizer, and where each is in it, in files and checkpoints."""
    inner = inner_of(optimizer)
    if is_legacy(optimizer):
        members = _legacy(optimizer if inner is None else inner)
    elif inner is None:
        members = _numbered(_listed(optimizer))
        members += _attributes(optimizer)
    else:
        whole, within = _listed(optimizer), _listed(inner)
        own = whole[: len(whole) - len(within)]
        members = [] if not own else _numbered(own)
        for number, variable in enumerate(within):
            at = [f"{_INNER}/{number} of {len(within)}"]
            at.append(f"{len(own) + number} of {len(whole)}")
            members.append((variable, at))
        if own:
            for number, (_, at) in enumerate(members[: len(own)]):
                at.append(f"{number} of {len(whole)}")
        else:
            members += _attributes(inner)
    scale = getattr(optimizer, "_loss_scale", None)
    if scale is not None and hasattr(scale, "current_loss_scale"):
        members.append((scale.current_loss_scale, ["loss_scale/current_loss_scale"]))
        members.append((scale.counter, ["loss_scale/good_steps"]))
    known: set[int] = set()
    found = []
    for variable, at in members:
        if is_variable(variable) and id(eager.unwrapped(variable)) not in known:
            known.add(id(eager.unwrapped(variable)))
            found.append((variable, at))
    return found


def _listed(optimizer: Any) -> list[Any]:
    variables = optimizer.variables
    return list(variables() if callable(variables) else variables)


def _numbered(variables: Sequence[Any]) -> list[tuple[Any, list[str]]]:
    return [(v, [f"{number} of {len(variables)}"]) for number, v in enumerate(variables)]


def _attributes(optimizer: Any) -> list[tuple[Any, list[str]]]:
    """The variables that only checkpoints have, such as the learning rate in tf_keras."""
    return [(value, [name]) for name, value in vars(optimizer).items() if is_variable(value)]


def _legacy(optimizer: Any) -> list[tuple[Any, list[str]]]:
    """Those of a legacy optimizer. Its names tell them, and no position in a list: it has all of a
    slot before the next one, and a later optimizer of the same class has them weight by weight."""
    members = []
    attributes = {
        id(value): name.lstrip("_") for name, value in vars(optimizer).items() if is_variable(value)
    }
    for variable in optimizer.weights:
        name = attributes.get(id(variable))
        at = {"iterations": "iter", "m_cache": "momentum_cache"}.get(name or "", name)
        members.append((variable, [at] if at else []))
    hyper = getattr(optimizer, "_hyper", {})
    members += [(value, [name]) for name, value in hyper.items() if is_variable(value)]
    return members


# --- slots --------------------------------------------------------------------------------------


class _Slots:
    """Finds the weight that a variable of an optimizer belongs to, and what files call it."""

    def __init__(
        self,
        optimizer: Any,
        weights: Mapping[str, tuple[str, Any]],
        shared: Collection[str],
    ) -> None:
        innermost = inner_of(optimizer) or optimizer
        self._optimizer = innermost
        self.is_legacy = is_legacy(innermost)
        self._by_id: dict[int, tuple[str, str]] = {}
        if self.is_legacy:
            names = {
                getattr(eager.unwrapped(weight), "_unique_id", None): name
                for name, weight in weights.values()
            }
            for key, slots in getattr(innermost, "_slots", {}).items():
                for slot, variable in slots.items():
                    self._by_id[id(variable)] = names.get(key, ""), slot
        # A name that several weights have does not tell which one a slot belongs to.
        self._names = {n: "" if n in shared else spec for n, (spec, _) in weights.items()}
        for weight in getattr(innermost, "_trainable_variables", ()):  # of an optimizer alone
            self._names.setdefault(eager.name_of(weight), "")
        # Keras 3 joins the names of a weight and of its slot with "_", and "/" becomes "_".
        self._flat: dict[str, str] = {}
        for name, spec in self._names.items():
            flat = name.replace("/", "_")
            self._flat[flat] = "" if flat in self._flat else spec  # a/b_c and a_b/c

    def elsewhere(self, slot: str) -> tuple[str, ...]:
        """What the other version of Keras calls a slot, in files that record names."""
        twins = _TWINS.get(type(self._optimizer).__name__, {})
        if self.is_legacy or not _is_of_keras(self._optimizer):
            return ()
        if is_a(self._optimizer, "tf_keras", "optimizers.Optimizer"):
            return tuple(f"{{flat}}_{new}" for new, old in twins.items() if old == slot)
        return (f"{twins[slot]}/{{name}}",) if slot in twins else ()

    def of(self, variable: Any) -> tuple[str, str, str]:
        """``("fc/kernel", "{flat}_momentum", "momentum")``: the name of the weight, what files call
        the variable after it, and the name of the slot. Empty if it is not known."""
        if id(variable) in self._by_id:
            weight, slot = self._by_id[id(variable)]
            return weight, f"{{name}}/{_escaped(slot)}", slot
        own = eager.name_of(variable)
        if is_keras_variable(variable):
            own = own.rpartition("/")[2]
            at = len(own)
            while (at := own.rfind("_", 0, at)) > 0:
                known = self._flat.get(own[:at])
                if known is not None:
                    slot = own[at + 1 :]
                    return known, f"{{flat}}_{_escaped(slot)}", slot
        else:
            parts = own.split("/")
            for at in range(1, len(parts)):
                known = self._names.get("/".join(parts[at:]))
                if known is not None or parts[at - 1] in _SLOTS:
                    slot = parts[at - 1]
                    return known or "", f"{_escaped(slot)}/{{name}}", slot
        last = own.rpartition("/")[2]
        return ("", last, "") if last in _NUMBERS else ("", "", "")


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
