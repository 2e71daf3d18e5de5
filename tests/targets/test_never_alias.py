"""A restored variable never shares memory with an array that the user still holds. Every target,
from every kind of source, is edited, trained and updated in place from either side."""

from __future__ import annotations

import functools
from collections.abc import Callable
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
UPDATED = ("a/kernel", "a/bias")
DATA = np.random.default_rng(1).normal(size=(16, 64)).astype("f4")

Arrays = dict[str, Any]
Layout = tuple[Any, list[Any]]  # what the user gives, and all that the user still holds


def loss(of: Any) -> Any:
    """The loss of a model of two dense layers, which depends on every value of all variables."""
    hidden = tf.matmul(tf.constant(DATA), of["a/kernel"]) + of["a/bias"]
    return tf.reduce_mean((tf.matmul(hidden, of["b/kernel"]) + of["b/bias"] - 1) ** 2)


# --- the targets: what init() is given, and how its variables go on ----------------------------


class Session:
    """A TF1 session. Its graph is the default one only while it is built."""

    training = ("sgd", "adam")
    own = ("*/Adam*", "*_power")  # the optimizer's state, which no source has

    def __init__(self, use_resource: bool) -> None:
        with tf.Graph().as_default():
            self._variables = {
                name: v1.get_variable(name, shape, tf.float32, use_resource=use_resource)
                for name, shape in SHAPES.items()
            }
            of = loss(self._variables)
            self._ops = {
                "sgd": v1.train.GradientDescentOptimizer(0.1).minimize(of),
                "adam": v1.train.AdamOptimizer(0.1).minimize(of),
            }
            for name in UPDATED:
                v = self._variables[name]
                self._ops[f"add {name}"] = v1.assign_add(v, tf.ones(v.shape)).op
                self._ops[f"scatter {name}"] = v1.scatter_add(v, 0, tf.ones(v.shape[1:])).op
            self.obj = v1.Session()
            self.obj.run(v1.global_variables_initializer())

    def values(self) -> Arrays:
        return {name: array.copy() for name, array in self.obj.run(self._variables).items()}

    def train(self, how: str) -> None:
        for _ in range(3):
            self.obj.run(self._ops[how])

    def update(self, how: str, name: str) -> None:
        self.obj.run(self._ops[f"{how} {name}"])


class Eager:
    """``tf.Variable``s: a list of them, or a ``tf.Module``."""

    training: tuple[str, ...] = ("SGD", "Adam", "assign_sub")
    own: tuple[str, ...] = ()

    def __init__(self, module: bool) -> None:
        self._variables = {n: tf.Variable(tf.zeros(s), name=n) for n, s in SHAPES.items()}
        self.obj: Any = list(self._variables.values())
        if module:
            self.obj = tf.Module()
            self.obj.layers = [dict(self._variables)]

    def values(self) -> Arrays:
        return {name: v.numpy().copy() for name, v in self._variables.items()}

    def train(self, how: str) -> None:
        variables = list(self._variables.values())
        optimizer = None if how == "assign_sub" else getattr(keras.optimizers, how)(0.1)
        for _ in range(3):
            with tf.GradientTape() as tape:
                found = loss(self._variables)
            pairs = list(zip(tape.gradient(found, variables), variables, strict=True))
            if optimizer is not None:
                optimizer.apply_gradients(pairs)
            else:
                for gradient, v in pairs:
                    v.assign_sub(0.1 * gradient)

    def update(self, how: str, name: str) -> None:
        v = self._variables[name]
        if how == "add":
            v.assign_add(tf.ones(v.shape))
        else:
            v.scatter_nd_add([[0]], tf.ones([1, *v.shape[1:]]))


class Keras(Eager):
    """A model of Keras 3 or of ``tf_keras``, compiled, that has been trained before."""

    training = ("fit", "assign_sub")
    own = ("optimizer/*",)

    def __init__(self, library: Any) -> None:
        inputs = library.Input((64,))
        hidden = library.layers.Dense(64, name="a")(inputs)
        self.obj = library.Model(inputs, library.layers.Dense(64, name="b")(hidden))
        weights = [v.value if library is keras else v for v in self.obj.weights]
        self._variables = dict(zip(SHAPES, weights, strict=True))
        self.obj.compile(library.optimizers.Adam(0.1), "mse")
        self.train("fit")

    def train(self, how: str) -> None:
        if how == "fit":
            self.obj.fit(DATA, np.ones_like(DATA), batch_size=4, verbose=0)
        else:
            super().train(how)


class Dict:
    """A dict of numpy arrays, nested as the names are."""

    training = ("add", "scatter")
    own: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._arrays = {name: aligned(np.zeros(shape, "f4")) for name, shape in SHAPES.items()}
        self.obj = nested(self._arrays)

    def values(self) -> Arrays:
        return {name: array.copy() for name, array in self._arrays.items()}

    def train(self, how: str) -> None:
        for name in self._arrays:
            self.update(how, name)

    def update(self, how: str, name: str) -> None:
        self._arrays[name][: None if how == "add" else 1] += 1


TARGETS: dict[str, Callable[[], Any]] = {
    "session-resource": lambda: Session(use_resource=True),
    "session-reference": lambda: Session(use_resource=False),
    "variables": lambda: Eager(module=False),
    "module": lambda: Eager(module=True),
    "keras": lambda: Keras(keras),
    "tf_keras": lambda: Keras(tf_keras),
    "dict": Dict,
}


@functools.cache
def the(kind: str, updated: str = "") -> Any:
    """The only target of a kind. A test restores all of it first, so that no test depends on
    another. A target to update is a separate one: a variable that was scattered into copies what it
    is assigned."""
    return TARGETS[kind]()


# --- the sources: the values of each variable, laid out ----------------------------------------


def aligned(array: Any, off: int = 0) -> Any:
    """A copy that starts ``off`` bytes after a multiple of 64. TensorFlow shares it if that is
    0."""
    raw = np.empty(array.nbytes + 128, "u1")
    start = -raw.ctypes.data % 64 + off
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert copy.ctypes.data % 64 == off
    return copy


def nested(arrays: Arrays) -> Arrays:
    return {
        layer: {name[2:]: array for name, array in arrays.items() if name.startswith(layer)}
        for layer in "ab"
    }


def ruled_map(arrays: Arrays) -> Any:
    """Other names, one array with its axes reversed, and one with its axes unchanged."""
    given = {f"x/{name}": array for name, array in arrays.items()}
    given["x/a/kernel"] = given["x/a/kernel"].T
    ruled = initreg.open(given).transpose("x/a/kernel").permute("x/b/kernel", (0, 1))
    return ruled.rename([("^x/", "")])


def chain(arrays: Arrays) -> Any:
    """A dict that is overridden in part, and maps with a prefix."""
    maps = [initreg.open(part).prefix(f"{layer}/") for layer, part in nested(arrays).items()]
    return [{**arrays, "b/kernel": arrays["a/kernel"]}, *maps]


def tensors(arrays: Arrays) -> Any:
    """``tf.Tensor``s whose memory is the user's."""
    made = {n: tf.experimental.dlpack.from_dlpack(a.__dlpack__()) for n, a in arrays.items()}
    assert all(np.shares_memory(np.asarray(made[name]), arrays[name]) for name in made)
    return made


class WithoutCopy:
    """An object without ``copy=``, as before numpy 2, which returns its own array."""

    def __init__(self, array: Any) -> None:
        self.shape, self.dtype, self._array = array.shape, array.dtype, array

    def __array__(self, dtype: Any = None) -> Any:
        return self._array


class WithCopy(WithoutCopy):
    """An object that makes a copy if asked for one, as numpy 2 wants it."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._array.copy() if copy else self._array


def array_likes(arrays: Arrays) -> Any:
    kinds = {"a": WithoutCopy, "b": WithCopy}
    return {name: kinds[name[0]](array) for name, array in arrays.items()}


def of_arrays(give: Callable[[Arrays], Any], off: int = 0) -> Callable[..., Layout]:
    """A layout of arrays that are all aligned, or all off by so many bytes."""

    def layout(values: Arrays, folder: Path) -> Layout:
        arrays = {name: aligned(array, off) for name, array in values.items()}
        return give(arrays), list(arrays.values())

    return layout


def read_map(values: Arrays, folder: Path) -> Layout:
    """An open map, and the arrays that were read from it before."""
    opened, held = of_arrays(initreg.open)(values, folder)
    return opened, held + [np.asarray(lazy) for lazy in opened.values()]


def smart_init(values: Arrays, folder: Path) -> Layout:
    """Rules of a SmartInit. The cast changes half of the arrays, and leaves the others."""
    arrays = {f"x/{n}": aligned(a.astype("f8" if n[0] == "a" else "f4")) for n, a in values.items()}
    renamed = {name: name.removeprefix("x/") for name in arrays}
    return SmartInit(arrays, rename=renamed, cast="float32"), list(arrays.values())


def views(values: Arrays, folder: Path) -> Layout:
    """Every second column, Fortran order, backwards, and a view that is read-only itself."""
    wide = aligned(np.repeat(values["a/kernel"], 2, axis=1))
    turned, backwards = aligned(values["b/kernel"].T), aligned(values["a/bias"][::-1])
    base = aligned(values["b/bias"])
    given = {"a/kernel": wide[:, ::2], "b/kernel": turned.T, "a/bias": backwards[::-1]}
    given["b/bias"] = np.broadcast_to(base, base.shape)
    return given, [wide, turned, backwards, base]


def one_buffer(values: Arrays, folder: Path) -> Layout:
    """All arrays side by side in one buffer, each of them aligned."""
    whole = aligned(np.concatenate([array.ravel() for array in values.values()]))
    parts = np.split(whole, np.cumsum([array.size for array in values.values()])[:-1])
    given = {n: part.reshape(SHAPES[n]) for n, part in zip(values, parts, strict=True)}
    assert all(p.ctypes.data % 64 == 0 and np.shares_memory(p, whole) for p in given.values())
    return given, [whole]


def overlapping(values: Arrays, folder: Path) -> Layout:
    """Variables that get the same memory: the kernels all but a row, the biases all of it."""
    base = aligned(np.vstack([values["a/kernel"], values["a/bias"]]))
    given = {"a/kernel": base[:-1], "b/kernel": base[1:], "a/bias": base[-1], "b/bias": base[-1]}
    values.update({name: array.copy() for name, array in given.items()})
    return given, [base]


def variables(values: Arrays, folder: Path) -> Layout:
    """Variables of TensorFlow and of Keras."""
    tensorflow = {name: tf.Variable(values[name]) for name in ("a/kernel", "b/bias")}
    keras_ = {name: keras.Variable(values[name]) for name in ("b/kernel", "a/bias")}
    return {**tensorflow, **keras_}, [*tensorflow.values(), *(v.value for v in keras_.values())]


def memory_maps(values: Arrays, folder: Path) -> Layout:
    """Files mapped into memory, whose arrays numpy aligns. Editing them edits the file."""
    given = {}
    for name, array in values.items():
        np.save(path := folder / f"{len(given)}.npy", array)
        given[name] = np.load(path, mmap_mode="r+")
        assert given[name].ctypes.data % 64 == 0
    return given, list(given.values())


LAYOUTS = {
    "aligned": of_arrays(dict),
    "misaligned": of_arrays(dict, off=4),
    **{f.__name__: of_arrays(f) for f in (nested, ruled_map, chain, tensors, array_likes)},
    **{f.__name__: f for f in (read_map, smart_init, views, one_buffer, overlapping)},
    **{f.__name__: f for f in (variables, memory_maps)},
}


@pytest.fixture(params=LAYOUTS)
def user(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, list[Any], Arrays]:
    """What the user gives, what the user holds, and the values that each variable should have."""
    rng = np.random.default_rng(0)
    values = {name: rng.uniform(0.01, 0.1, shape).astype("f4") for name, shape in SHAPES.items()}
    return *LAYOUTS[request.param](values, tmp_path), values


def init(given: Any, target: Any, atomic: bool = False) -> None:
    """Restore all variables but the state of the optimizer."""
    plan = SmartInit(given, expect_missing=target.own, atomic=atomic).init(target.obj)
    assert {row.name for row in plan.restored} == set(SHAPES)


def bits(held: list[Any]) -> list[bytes]:
    return [np.asarray(each).tobytes() for each in held]


def check(target: Any, expected: Arrays) -> None:
    for name, array in target.values().items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


every_target = pytest.mark.parametrize("kind", TARGETS)
either_way = pytest.mark.parametrize("atomic", [False, True], ids=["streamed", "atomic"])


def test_the_premise() -> None:
    """TensorFlow shares an aligned array that it is fed. Otherwise the tests below would show
    little."""
    with tf.Graph().as_default():
        v = v1.get_variable("v", (64, 64), tf.float32, use_resource=True)
        session = v1.Session()
    array = aligned(np.ones((64, 64), "f4"))
    session.run(v.initializer, {v.initializer.inputs[1]: array})
    array[:] = 7
    np.testing.assert_array_equal(session.run(v), np.full((64, 64), 7, "f4"))


@every_target
@either_way
def test_editing_the_arrays(kind: str, user: Any, atomic: bool) -> None:
    """Whatever the user overwrites after the restore, every variable keeps what was restored."""
    given, held, values = user
    target, before = the(kind), bits(held)
    init(given, target, atomic)
    for each in held:
        if isinstance(each, np.ndarray):
            each[...] = 7
        else:
            each.assign_add(tf.ones(each.shape))
    assert all(old != new for old, new in zip(before, bits(held), strict=True))
    check(target, values)


@every_target
@either_way
def test_training_on(kind: str, user: Any, atomic: bool) -> None:
    """However training goes on after the restore, the user's arrays keep every bit. No variable is
    read in between, because TensorFlow writes elsewhere while a value is held."""
    given, held, values = user
    target, before = the(kind), bits(held)
    for how in target.training:
        init(given, target, atomic)
        target.train(how)
        assert bits(held) == before, how
        for name, array in target.values().items():
            assert np.isfinite(array).all()
            assert not np.array_equal(array, values[name]), (how, name)


@every_target
@pytest.mark.parametrize("how", ["add", "scatter"])
def test_updates_in_place(kind: str, user: Any, how: str) -> None:
    """Adding to one variable, or scattering into it, changes no array of the user and no other
    variable, even if both came from the same array."""
    given, held, values = user
    target, before = the(kind, how), bits(held)
    for name in UPDATED:
        init(given, target)
        target.update(how, name)
        assert bits(held) == before, name
        changed = values[name].copy()
        changed[: None if how == "add" else 1] += 1
        check(target, {**values, name: changed})
