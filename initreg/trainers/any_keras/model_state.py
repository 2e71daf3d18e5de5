"""The state of a model that a ``.weights.h5`` file of Keras does not hold: seeds above all."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from initreg.errors import InitregError, MismatchError
from initreg.trainers.any_keras.models import is_keras3, unlisted_numbers


class ModelState:
    """The training state of a model that Keras does not save with its weights.

    It consists of the seeds of layers such as Dropout, the learning rate (``tf_keras`` only), what
    an optimizer does not list among its variables, and whether a callback stopped the training.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def state_dict(self) -> dict[str, Any]:
        unlisted = unlisted_numbers(self._optimizer)
        return {
            "seeds": [value_of(each) for each in seeds_of(self._model)],
            "learning_rate": self._learning_rate(),
            "stopped": bool(getattr(self._model, "stop_training", False)),
            "optimizer": _kind(self._optimizer),
            "unlisted": {name: float(each.numpy()) for name, each in unlisted.items()},
        }

    def check(self, state: Mapping[str, Any], label: str) -> None:
        """Check a state without a change.

        Raises:
            MismatchError: the model has another kind of optimizer. The message begins with
                ``label``.
            InitregError: the model has another number of seeds.
            ValueError: a value is not a seed or not a rate.
        """
        kind, saved = _kind(self._optimizer), state.get("optimizer")
        if saved is not None and saved != kind:
            raise MismatchError(
                f"{label}: was saved with the optimizer {str(saved)[:80]}, and the model has "
                f"{kind}: compile the model with the optimizer that it was trained with"
            )
        seeds = seeds_of(self._model)
        if len(seeds) != len(state["seeds"]):
            raise InitregError(
                f"model {self._model.name!r} has {len(seeds)} seeds (of layers such as Dropout), "
                f"and {len(state['seeds'])} were saved: this is not the model that was trained"
            )
        rate = state["learning_rate"]
        if rate is not None and not isinstance(rate, (int, float)):
            raise ValueError(f"learning_rate is not a number: {str(rate)[:80]!r}")
        for each, value in zip(seeds, state["seeds"], strict=True):
            _check_value(each, value)
        for name, value in state.get("unlisted", {}).items():
            if not isinstance(value, (int, float)):
                raise ValueError(f"{str(name)[:80]} is not a number: {str(value)[:80]}")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the seeds and the rate, or change nothing.

        Raises:
            InitregError: what :meth:`check` raises.
            ValueError: a value is not a seed or not a rate.
        """
        self.check(state, "the state of a model")
        for each, value in zip(seeds_of(self._model), state["seeds"], strict=True):
            set_value(each, value)
        rate = state["learning_rate"]
        if rate is not None and self._learning_rate() is not None:
            with contextlib.suppress(TypeError):  # a schedule, which goes by the step
                self._model.optimizer.learning_rate = rate
        saved = state.get("unlisted", {})
        for name, each in unlisted_numbers(self._optimizer).items():
            if name in saved:
                each.assign(saved[name])

    @property
    def _optimizer(self) -> Any:
        return getattr(self._model, "optimizer", None)

    def _learning_rate(self) -> float | None:
        rate: Any = getattr(self._optimizer, "learning_rate", None)
        return float(rate.numpy()) if hasattr(rate, "numpy") else None


def _kind(optimizer: Any) -> str | None:
    """The class of an optimizer, with that of the one inside of a LossScaleOptimizer."""
    if optimizer is None:
        return None
    inner = _kind(getattr(optimizer, "inner_optimizer", None))
    name = type(optimizer).__name__
    return name if inner is None else f"{name}({inner})"


def seeds_of(model: Any) -> list[Any]:
    """The seeds or generators of a model's layers.

    In Keras 3 they are variables that are not weights. ``tf_keras`` has generators only after
    ``tf_keras.backend.experimental.enable_tf_random_generator()``.
    """
    weights = {id(each) for each in model.weights}
    skipped = weights | {id(each) for each in getattr(model, "metrics_variables", ())}
    if is_keras3(model):
        found = [each for each in model.variables if id(each) not in skipped]
    else:
        # tf_keras has no public way to these generators. ``submodules`` is public, but has another
        # order than the seeds that are saved already. Without the private attributes no seeds are
        # found. Then resuming from a checkpoint that has some is an error, and not a silent loss.
        layers = getattr(model, "_flatten_layers", lambda: model.submodules)()
        generators = [getattr(each, "_random_generator", None) for each in layers]
        found = [getattr(each, "_generator", None) for each in generators]
    return list({id(each): each for each in found if each is not None}.values())


def value_of(generator: Any) -> Any:
    """The state of a ``keras.random.SeedGenerator``, a ``tf.random.Generator`` or a variable, as an
    array."""
    state = getattr(generator, "state", generator)
    return state.numpy()


def _check_value(generator: Any, value: Any) -> None:
    """Raises ValueError unless the value has integers, in the shape of the generator's state.

    Which integer dtype they have differs between versions of Keras.
    """
    now = value_of(generator)
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind not in ("i", "u") or value.shape != now.shape:
        raise ValueError(f"{str(value)[:80]} is not a state ({now.dtype} of shape {now.shape})")


def set_value(generator: Any, value: Any) -> None:
    """Give the generator a state that :func:`value_of` returned."""
    if hasattr(generator, "reset"):  # a tf.random.Generator
        generator.reset(value)
    else:
        getattr(generator, "state", generator).assign(value)


class GeneratorStates:
    """Saves the states of random generators of your own, as one of a saver's ``objects``.

    The seeds of a model's layers need none of this: they are saved with the model.

    Args:
        generators: ``tf.random.Generator`` or ``keras.random.SeedGenerator``, by name.

    >>> noise = tf.random.Generator.from_seed(1)  # doctest: +SKIP
    >>> ModelSaver("run", objects={"noise": GeneratorStates(noise=noise)})  # doctest: +SKIP
    """

    def __init__(self, **generators: Any) -> None:
        self._generators = generators

    def state_dict(self) -> dict[str, Any]:
        return {name: value_of(each) for name, each in self._generators.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore all generators, or change nothing.

        Raises:
            InitregError: a generator is missing on either side.
            ValueError: a value is not a state of its generator.
        """
        if state.keys() != self._generators.keys():
            raise InitregError(
                f"the states of generators {sorted(state)} were saved, and there are "
                f"{sorted(self._generators)}: give GeneratorStates the same names"
            )
        for name, each in self._generators.items():
            _check_value(each, state[name])
        for name, each in self._generators.items():
            set_value(each, state[name])
