"""Layers of one class, saved by Keras in one format, and restored by Keras and by initreg."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from cases import BATCH, WORDS, Case, classes

from initreg import InitregWarning, SmartInit

HDF5, ARCHIVE, LEGACY, RENAMED = ".weights.h5", ".keras", ".h5", ".h5, other names"
CHECKPOINT, TF_WEIGHTS, SAVED_MODEL = "checkpoint", "TF weights", "SavedModel"

# What may come out.
EQUAL = "equal"  # initreg restores the outputs and the state that were saved
LACKING = "lacking"  # the file lacks something, and the reference loader does no better
BETTER = "unlike Keras"  # initreg restores the outputs, and the reference loader does not
DIFFERENT = "different"  # a fault
NOT_SAVED = "not saved"  # Keras cannot save the layer in this format

Arrays = list[np.ndarray[Any, Any]]


def formats(library: str) -> tuple[str, ...]:
    """The formats that a library saves in."""
    more = (TF_WEIGHTS,) if library == "tf_keras" else ()
    return (HDF5, ARCHIVE, LEGACY, RENAMED, CHECKPOINT, *more, SAVED_MODEL)


class Sample:
    """A model with two layers of each class, and a Dense layer that any format can save."""

    def __init__(self, K: Any, case: Case, seed: int) -> None:
        self.K, self.case, self.seed = K, case, seed
        kinds = classes(K)
        twice = 2 if len(case.kinds) == 1 else 1
        self.layers = [case.make(K.layers, kinds[kind]) for kind in case.kinds * twice]
        for number, layer in enumerate(self.layers):
            if case.before is not None:
                case.before(layer, seed + number)
        given = [K.Input(batch_shape=(BATCH, *s), dtype=case.dtype) for s in case.shapes]
        outputs = [_call(layer, given) for layer in self.layers]
        plain = K.Input(batch_shape=(BATCH, 2))
        self.model = K.Model([*given, plain], [*outputs, K.layers.Dense(2)(plain)])
        self.fill()
        for number, layer in enumerate(self.layers):
            if case.after is not None:
                case.after(layer, seed + number)
        self._first = self.state()

    def fill(self) -> None:
        """Give all variables values of the seed."""
        rng = np.random.default_rng(self.seed)
        learnt = {id(getattr(each, "idf_weights", None)) for each in self.model._flatten_layers()}
        for variable in variables(self.model):
            if id(variable) in learnt:
                continue
            shape = np.asarray(variable).shape
            dtype = getattr(variable.dtype, "name", variable.dtype)
            if dtype == "string":
                variable.assign(rng.choice(WORDS, shape))
            elif "float" in dtype:
                variable.assign(rng.uniform(0.1, 1, shape).astype(dtype))
            else:
                variable.assign(rng.integers(1, 9, shape).astype(dtype))

    def reset(self, alike: bool = False) -> Sample:
        """As it was, or a new one if that takes more than its variables."""
        if self.case.derives:
            return (_named_alike if alike else Sample)(self.K, self.case, self.seed)
        for variable, value in zip(variables(self.model), self._first, strict=True):
            variable.assign(value)
        return self

    def state(self) -> Arrays:
        return [np.asarray(v) for v in variables(self.model)]

    def outputs(self) -> Arrays:
        """What the model computes; twice if it is stateful, so that its next state shows."""
        given = [tf.constant(x) for x in (*self.case.inputs(5), np.ones((BATCH, 2), "f4"))]
        times = 2 if self.case.is_stateful else 1
        found = [self.model(given, training=False) for _ in range(times)]
        return [np.asarray(each) for each in tf.nest.flatten(found)]


def _named_alike(K: Any, case: Case, seed: int) -> Sample:
    """A sample whose automatic names are the first ones."""
    K.backend.clear_session()
    return Sample(K, case, seed)


def _call(layer: Any, given: list[Any]) -> Any:
    if type(layer).__name__ == "DenseFeatures":
        return layer({"x": given[0]})
    if len(given) > 1 and type(layer).__name__ not in ("AdditiveAttention", "Attention"):
        return layer(*given)
    return layer(given if len(given) > 1 else given[0])


def variables(model: Any) -> list[Any]:
    """All variables of the model: weights, states of RNNs, random seeds and generators."""
    found = [v for v in (*model.variables, *model.weights) if hasattr(v, "assign")]
    for layer in model._flatten_layers():
        found += [v for v in tf.nest.flatten(getattr(layer, "states", [])) if v is not None]
        generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
        found += [] if generator is None else [generator.state]
    return list({id(v): v for v in found}.values())


def save(sample: Sample, suffix: str, folder: Path) -> Path:
    """Save with Keras, or with TensorFlow."""
    model, path = sample.model, folder / f"model{suffix if suffix.startswith('.') else ''}"
    is_keras3 = sample.K.__name__ == "keras"
    if suffix == CHECKPOINT:
        tf.train.Checkpoint(model=model).write(str(path))
    elif suffix == SAVED_MODEL and is_keras3:
        model.export(str(path), verbose=False)
    elif suffix == SAVED_MODEL:
        model.save(str(path), save_format="tf", save_traces=False)
    elif suffix in (HDF5, TF_WEIGHTS) or (suffix == LEGACY and not is_keras3):
        model.save_weights(str(path))
    else:
        model.save(str(path))
    return path


def load(sample: Sample, suffix: str, path: Path) -> None:
    """Load with Keras, or with TensorFlow, into the model."""
    if suffix == CHECKPOINT:
        tf.train.Checkpoint(model=sample.model).read(str(path)).expect_partial()
    else:
        done = sample.model.load_weights(str(path))
        if suffix == TF_WEIGHTS:
            done.expect_partial()


class Sweep:
    """One case in all formats. Its models are made once, because that takes most of the time."""

    def __init__(self, K: Any, case: Case) -> None:
        self._saved = _named_alike(K, case, 0)
        self._ours = _named_alike(K, case, 99)
        self._theirs = Sample(K, case, 99)  # its automatic names are other ones
        self._renamed = Sample(K, case, 99)
        self._expected: tuple[Arrays, Arrays] | None = None

    def outcome(self, suffix: str, folder: Path) -> tuple[str, str]:
        """What comes out in a format, and the details."""
        saved = self._saved
        real = LEGACY if suffix == RENAMED else suffix
        if self._expected is None:
            saved.outputs()  # a stateful model then has a state that is not zero
            state = saved.state()
            self._expected = saved.outputs(), state
            for variable, value in zip(variables(saved.model), state, strict=True):
                variable.assign(value)
        outputs, state = self._expected
        try:
            path = save(saved, real, folder)
        except Exception as error:
            return NOT_SAVED, f"{type(error).__name__}: {error}"
        theirs = None if suffix == SAVED_MODEL else self._theirs.reset()
        if theirs is not None:
            load(theirs, real, path)
        ours = self._ours.reset(alike=True) if suffix == LEGACY else self._renamed.reset()
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always", InitregWarning)
            plan = SmartInit(path).init(ours.model)
        told = [str(w.message) for w in found if issubclass(w.category, InitregWarning)]
        details = f"{plan!r} {told}"
        our_state, our_outputs = ours.state(), ours.outputs()
        right = alike(our_outputs, outputs)
        if theirs is None:
            return (EQUAL if right else LACKING), details
        their_state, their_outputs = theirs.state(), theirs.outputs()
        if right and not alike(their_outputs, outputs):
            return BETTER, details
        if alike(our_state, their_state) and alike(our_outputs, their_outputs):
            return (EQUAL if right else LACKING), details
        return DIFFERENT, details


def alike(a: Arrays, b: Arrays) -> bool:
    """Whether all arrays are equal, up to rounding."""
    return len(a) == len(b) and all(
        x.shape == y.shape
        and (np.allclose(x, y, atol=1e-5) if x.dtype.kind == "f" else np.array_equal(x, y))
        for x, y in zip(a, b, strict=True)
    )
