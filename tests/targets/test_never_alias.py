"""A restored variable never shares memory with an array that the user still holds: every target,
from every kind of source, is edited, trained and updated in place from either side."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import initreg
from initreg import SmartInit

v1 = tf.compat.v1

SHAPES = {"a/kernel": (64, 64), "a/bias": (64,), "b/kernel": (64, 64), "b/bias": (64,)}
DATA = np.random.default_rng(1).normal(size=(16, 64)).astype("f4")

Values = dict[str, np.ndarray[Any, Any]]


def loss(of: Any) -> Any:
    """The loss of a model of two dense layers, on which every value of all variables bears."""
    hidden = tf.matmul(tf.constant(DATA), of["a/kernel"]) + of["a/bias"]
    return tf.reduce_mean((tf.matmul(hidden, of["b/kernel"]) + of["b/bias"] - 1) ** 2)


# --- the targets: what init() is given, and how its variables go on ----------------------------


class Session:
    """A TF1 session. Its graph was the default one only while it was built."""

    training = ("sgd", "adam")
    updates = ("assign_add", "scatter")
    own = ("*/Adam*", "*_power")  # the optimizer's state, which no source has

    def __init__(self, use_resource: bool) -> None:
        self._ops: dict[str, Any] = {}
        with tf.Graph().as_default():
            self._variables = {
                name: v1.get_variable(name, shape, tf.float32, use_resource=use_resource)
                for name, shape in SHAPES.items()
            }
            of = loss(self._variables)
            self._ops["sgd"] = v1.train.GradientDescentOptimizer(0.1).minimize(of)
            self._ops["adam"] = v1.train.AdamOptimizer(0.1).minimize(of)
            for name, v in self._variables.items():
                self._ops[f"assign_add {name}"] = v1.assign_add(v, tf.ones(v.shape)).op
                row = tf.fill(v.shape[1:], 9.0)
                self._ops[f"scatter {name}"] = v1.scatter_update(v, 0, row).op
            self.obj = v1.Session()
            self.obj.run(v1.global_variables_initializer())

    def values(self) -> Values:
        return {name: array.copy() for name, array in self.obj.run(self._variables).items()}

    def train(self, how: str) -> None:
        for _ in range(3):
            self.obj.run(self._ops[how])

    def update(self, how: str, name: str) -> None:
        self.obj.run(self._ops[f"{how} {name}"])


class Eager:
    """``tf.Variable``s: a list of them, or a ``tf.Module``."""

    training = ("SGD", "Adam", "assign_sub")
    updates = ("assign_add", "scatter")
    own: tuple[str, ...] = ()

    def __init__(self, module: bool) -> None:
        self._variables = {n: tf.Variable(tf.zeros(s), name=n) for n, s in SHAPES.items()}
        self.obj: Any = list(self._variables.values())
        if module:
            self.obj = tf.Module()
            self.obj.layers = [dict(self._variables)]

    def values(self) -> Values:
        return {name: v.numpy().copy() for name, v in self._variables.items()}

    def train(self, how: str) -> None:
        variables = list(self._variables.values())
        optimizer = None if how == "assign_sub" else getattr(keras.optimizers, how)(0.1)
        for _ in range(3):
            with tf.GradientTape() as tape:
                found = loss(self._variables)
            gradients = tape.gradient(found, variables)
            if optimizer is not None:
                optimizer.apply_gradients(zip(gradients, variables, strict=True))
            else:
                for v, gradient in zip(variables, gradients, strict=True):
                    v.assign_sub(0.1 * gradient)

    def update(self, how: str, name: str) -> None:
        v = self._variables[name]
        if how == "assign_add":
            v.assign_add(tf.ones(v.shape))
        else:
            v.scatter_nd_update([[0]], tf.fill([1, *v.shape[1:]], 9.0))


class Keras(Eager):
    """A model of Keras 3 or of ``tf_keras``, compiled and trained with ``fit``."""

    training = ("fit", *Eager.training)
    own = ("optimizer/*",)

    def __init__(self, library: Any) -> None:
        inputs = library.Input((64,))
        hidden = library.layers.Dense(64, name="a")(inputs)
        self.obj = library.Model(inputs, library.layers.Dense(64, name="b")(hidden))
        self._variables = {
            name: getattr(v, "value", v) if library is keras else v
            for name, v in zip(SHAPES, self.obj.weights, strict=True)
        }
        self.obj.compile(library.optimizers.Adam(0.1), "mse")
        self.train("fit")  # so that the optimizer has its state, as when training is gone on with

    def train(self, how: str) -> None:
        if how == "fit":
            self.obj.fit(DATA, np.ones_like(DATA), batch_size=8, epochs=2, verbose=0)
        else:
            super().train(how)


class Arrays:
    """A dict of numpy arrays, nested as the names are."""

    training = updates = ("add", "scatter")
    own: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._arrays = {name: aligned(np.zeros(shape, "f4")) for name, shape in SHAPES.items()}
        self.obj = nested(self._arrays)

    def values(self) -> Values:
        return {name: array.copy() for name, array in self._arrays.items()}

    def train(self, how: str) -> None:
        for name in self._arrays:
            self.update(how, name)

    def update(self, how: str, name: str) -> None:
        if how == "add":
            self._arrays[name] += 1
        else:
            self._arrays[name][0] = 9


TARGETS: dict[str, Callable[[], Any]] = {
    "session-resource": lambda: Session(use_resource=True),
    "session-reference": lambda: Session(use_resource=False),
    "variables": lambda: Eager(module=False),
    "module": lambda: Eager(module=True),
    "keras": lambda: Keras(keras),
    "tf_keras": lambda: Keras(tf_keras),
    "arrays": Arrays,
}


@functools.cache
def the(kind: str) -> Any:
    """The one target of a kind: each test restores all of it, so none depends on another."""
    return TARGETS[kind]()


# --- the sources: the values of SHAPES laid out, and what the user holds of it ------------------


@dataclass(frozen=True)
class Mine:
    """What the user gives, and the arrays and variables that the user still holds."""

    given: Any
    held: list[Any]

    def bits(self) -> list[bytes]:
        return [np.asarray(each).tobytes() for each in self.held]

    def edit(self) -> None:
        """Overwrite everything in place."""
        for each in self.held:
            if isinstance(each, np.ndarray):
                each[...] = 7
            else:
                each.assign_add(tf.ones(each.shape))


def aligned(array: Any, off: int = 0) -> Any:
    """A copy that starts ``off`` bytes after a multiple of 64, which is what TensorFlow looks at."""
    array = np.asarray(array)
    raw = np.empty(array.nbytes + 128, "u1")
    start = -raw.ctypes.data % 64 + off
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert copy.ctypes.data % 64 == off
    return copy


def each_aligned(values: Values) -> Values:
    return {name: aligned(array) for name, array in values.items()}


def nested(arrays: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        layer, _, weight = name.partition("/")
        found.setdefault(layer, {})[weight] = array
    return found


def is_aligned(values: Values, folder: Path) -> Mine:
    arrays = each_aligned(values)
    return Mine(arrays, [*arrays.values()])


def is_misaligned(values: Values, folder: Path) -> Mine:
    arrays = {name: aligned(array, off=4) for name, array in values.items()}
    return Mine(arrays, [*arrays.values()])


def is_nested(values: Values, folder: Path) -> Mine:
    arrays = each_aligned(values)
    return Mine(nested(arrays), [*arrays.values()])


def open_map(values: Values, folder: Path) -> Mine:
    """An open map, and the arrays that were read from it before."""
    arrays = each_aligned(values)
    opened = initreg.open(arrays)
    return Mine(opened, [*arrays.values(), *(np.asarray(lazy) for lazy in opened.values())])


def map_renamed(values: Values, folder: Path) -> Mine:
    arrays = {f"x/{name}": array for name, array in each_aligned(values).items()}
    return Mine(initreg.open(arrays).rename([("^x/", "")]), [*arrays.values()])


def map_transposed(values: Values, folder: Path) -> Mine:
    """One array with its axes reversed, and one whose axes stay where they are."""
    arrays = each_aligned({**values, "a/kernel": values["a/kernel"].T})
    opened = initreg.open(arrays).transpose("a/kernel").permute("b/kernel", (0, 1))
    return Mine(opened, [*arrays.values()])


def maps_prefixed(values: Values, folder: Path) -> Mine:
    """A chain of maps, the first of which is overridden in part."""
    layers = nested(each_aligned(values))
    decoy = aligned(np.zeros((64, 64), "f4"))
    chain = [initreg.open(arrays).prefix(f"{layer}/") for layer, arrays in layers.items()]
    held = [array for arrays in layers.values() for array in arrays.values()]
    return Mine([{"b/kernel": decoy}, *chain], [decoy, *held])


def smart_init(values: Values, folder: Path) -> Mine:
    """Rules of a SmartInit; the cast changes half of the arrays, and leaves the others."""
    arrays = {
        f"x/{name}": aligned(array.astype("f8" if name.startswith("a/") else "f4"))
        for name, array in values.items()
    }
    renamed = {name: name.removeprefix("x/") for name in arrays}
    return Mine(SmartInit(arrays, rename=renamed, cast="float32"), [*arrays.values()])


def views(values: Values, folder: Path) -> Mine:
    """Every second column, Fortran order, backwards, and a view that is read-only itself."""
    wide = aligned(np.repeat(values["a/kernel"], 2, axis=1))
    turned = aligned(values["b/kernel"].T)
    backwards = aligned(values["a/bias"][::-1])
    base = aligned(values["b/bias"])
    read_only = base[:]
    read_only.flags.writeable = False
    arrays = {"a/kernel": wide[:, ::2], "b/kernel": turned.T, "a/bias": backwards[::-1]}
    return Mine({**arrays, "b/bias": read_only}, [wide, turned, backwards, base])


def one_buffer(values: Values, folder: Path) -> Mine:
    """All arrays side by side in one buffer, each of them aligned."""
    whole = aligned(np.concatenate([values[name].ravel() for name in SHAPES]))
    ends = np.cumsum([values[name].size for name in SHAPES])
    parts = zip(SHAPES.items(), np.split(whole, ends[:-1]), strict=True)
    arrays = {name: part.reshape(shape) for (name, shape), part in parts}
    assert all(array.base is not None and array.ctypes.data % 64 == 0 for array in arrays.values())
    return Mine(arrays, [whole])


def overlapping(values: Values, folder: Path) -> Mine:
    """Variables that are given the same memory: the kernels all but a row, the biases all of it."""
    base = aligned(np.vstack([values["a/kernel"], values["a/bias"]]))
    arrays = {"a/kernel": base[:-1], "b/kernel": base[1:], "a/bias": base[-1], "b/bias": base[-1]}
    values.update({name: array.copy() for name, array in arrays.items()})
    return Mine(arrays, [base])


def tensors(values: Values, folder: Path) -> Mine:
    """``tf.Tensor``s whose memory is that of the user's arrays."""
    arrays = each_aligned(values)
    made = {n: tf.experimental.dlpack.from_dlpack(a.__dlpack__()) for n, a in arrays.items()}
    for name, array in arrays.items():
        array += 1
        assert made[name].numpy().tobytes() == array.tobytes()
        array -= 1
        values[name] = array.copy()
    return Mine(made, [*arrays.values()])


def tf_variables(values: Values, folder: Path) -> Mine:
    made = {name: tf.Variable(array) for name, array in values.items()}
    return Mine(made, [*made.values()])


def keras_variables(values: Values, folder: Path) -> Mine:
    made = {name: keras.Variable(array) for name, array in values.items()}
    return Mine(made, [variable.value for variable in made.values()])


class WithoutCopy:
    """What knows of no copies, as before numpy 2, and hands out its own array."""

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype, self._array = array.shape, array.dtype, array

    def __array__(self, dtype: Any = None) -> Any:
        return self._array


class WithCopy(WithoutCopy):
    """What makes a copy where one is asked for, as numpy 2 wants it."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._array.copy() if copy else self._array


def array_likes(values: Values, folder: Path) -> Mine:
    arrays = each_aligned(values)
    kinds = {"kernel": WithoutCopy, "bias": WithCopy}
    given = {name: kinds[name[2:]](array) for name, array in arrays.items()}
    return Mine(given, [*arrays.values()])


def memory_maps(values: Values, folder: Path) -> Mine:
    """Files mapped into memory, whose arrays numpy aligns; to edit them is to edit the file."""
    arrays = {}
    for name, array in values.items():
        path = folder / f"{name.replace('/', '_')}.npy"
        np.save(path, array)
        arrays[name] = np.load(path, mmap_mode="r+")
        assert arrays[name].ctypes.data % 64 == 0
    return Mine(arrays, [*arrays.values()])


def npz_map(values: Values, folder: Path) -> Mine:
    """An open file, and the arrays that were read from it before."""
    np.savez(folder / "model.npz", **values)
    opened = initreg.open(folder / "model.npz")
    return Mine(opened, [lazy.read() for lazy in opened.values()])


LAYOUTS = [
    *(is_aligned, is_misaligned, is_nested, open_map, map_renamed, map_transposed, maps_prefixed),
    *(smart_init, views, one_buffer, overlapping, tensors, tf_variables, keras_variables),
    *(array_likes, memory_maps, npz_map),
]


def random_values(seed: int = 0) -> Values:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.01, 0.1, shape).astype("f4") for name, shape in SHAPES.items()}


def init(source: Any, target: Any, atomic: bool = False) -> None:
    """Restore all variables but the state of the optimizer."""
    plan = SmartInit(source, expect_missing=target.own, atomic=atomic).init(target.obj)
    assert {row.name.removesuffix(":0") for row in plan.restored} == set(SHAPES)


def check(found: Values, expected: Values) -> None:
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


every_target = pytest.mark.parametrize("kind", TARGETS)
every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
either_way = pytest.mark.parametrize("atomic", [False, True], ids=["", "atomic"])


def test_the_premise() -> None:
    """TensorFlow itself does share: an aligned array that is fed becomes the variable's memory,
    from where the user's edits are seen, and to where training writes."""
    with tf.Graph().as_default():
        v = v1.get_variable("v", (64, 64), tf.float32, use_resource=True)
        add = v1.assign_add(v, tf.ones(v.shape)).op
        session = v1.Session()
    array = aligned(np.ones((64, 64), "f4"))
    session.run(v.initializer, {v.initializer.inputs[1]: array})
    array[:] = 7
    np.testing.assert_array_equal(session.run(v), np.full((64, 64), 7, "f4"))
    session.run(add)
    np.testing.assert_array_equal(array, np.full((64, 64), 8, "f4"))


@every_target
@every_layout
@either_way
def test_editing_the_arrays(
    kind: str, layout: Callable[..., Mine], atomic: bool, tmp_path: Path
) -> None:
    """Whatever the user overwrites after the restore, every variable keeps what was restored."""
    values, target = random_values(), the(kind)
    mine = layout(values, tmp_path)
    init(mine.given, target, atomic)
    before = mine.bits()
    mine.edit()
    assert all(old != new for old, new in zip(before, mine.bits(), strict=True))
    check(target.values(), values)


@every_target
@every_layout
@either_way
def test_training_on(kind: str, layout: Callable[..., Mine], atomic: bool, tmp_path: Path) -> None:
    """However training goes on after the restore, the user's arrays keep every bit.

    No variable is read in between: who reads one holds its memory, and TensorFlow then writes to
    another.
    """
    values, target = random_values(), the(kind)
    mine = layout(values, tmp_path)
    before = mine.bits()
    for how in target.training:
        init(mine.given, target, atomic)
        target.train(how)
        assert mine.bits() == before, how
        for name, array in target.values().items():
            assert np.isfinite(array).all()
            assert not np.array_equal(array, values[name]), (how, name)


@every_target
@every_layout
def test_updates_in_place(kind: str, layout: Callable[..., Mine], tmp_path: Path) -> None:
    """One variable that is added to, or scattered into, changes no array of the user's and no
    other variable, though the other's array may be the same one."""
    values, target = random_values(), the(kind)
    mine = layout(values, tmp_path)
    before = mine.bits()
    for how in target.updates:
        for name, array in values.items():
            init(mine.given, target)
            target.update(how, name)
            assert mine.bits() == before, (how, name)
            changed = array + 1 if how.endswith("add") else array.copy()
            if how == "scatter":
                changed[0] = 9
            check(target.values(), {**values, name: changed})


@every_target
@pytest.mark.parametrize("opened", [False, True], ids=["dict", "map"])
def test_two_models_of_one_source(kind: str, opened: bool) -> None:
    """One SmartInit restores two models, of which training one leaves the other as it was."""
    values = random_values()
    arrays = each_aligned(values)
    source = SmartInit(initreg.open(arrays) if opened else arrays)
    first, second = the(kind), TARGETS[kind]()
    for each in (first, second):
        init(source, each)
    first.train(first.training[-1])
    check(second.values(), values)
    init(source, first)
    second.train(second.training[-1])
    check(first.values(), values)
