"""tf.Variables and tf.Modules of TF2 as targets."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from initreg import (
    DuplicateName,
    MismatchError,
    NothingMatched,
    SmartInit,
    TargetError,
    UnknownTarget,
    dtypes,
)
from initreg_targets.tf_variables import initreg_target

DTYPES = [
    *("float16", "float32", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("bool", "complex64", "complex128", "int4", "uint4"),
]


class Dense(tf.Module):  # type: ignore[misc]
    """A layer whose variables have the same names as in every other one."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.w = tf.Variable(tf.zeros((size, size)), name="w")
        self.b = tf.Variable(tf.zeros(size), name="b")


class Net(tf.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layers = [Dense(2), Dense(2)]
        self.heads = {"a": Dense(2), "b.c/d": Dense(2)}
        self.scale = tf.Variable(1.0, name="scale")
        self.unnamed = tf.Variable(2.0)


def fill(variables: Any) -> None:
    """Give each variable values of its own."""
    rng = np.random.default_rng(0)
    for v in variables:
        v.assign(rng.random(v.shape).astype(v.dtype.as_numpy_dtype))


def names(obj: Any) -> list[str]:
    target = initreg_target(obj)
    assert target is not None
    return [spec.name for spec in target.variables()]


@pytest.mark.parametrize(
    "collect", [list, tuple, deque, iter, lambda v: dict(enumerate(v)).values()]
)
def test_any_iterable(collect: Any) -> None:
    """A list, a tuple, a view and a generator, which can be iterated only once."""
    a, b = tf.Variable([0.0, 0.0], name="a"), tf.Variable(0.0, name="scope/b")
    plan = SmartInit({"a": np.ones(2, "f4"), "scope/b:0": np.float32(3)}).init(collect([a, b]))
    assert a.numpy().tolist() == [1, 1]
    assert b.numpy() == 3
    assert [row.name for row in plan.restored] == ["a", "scope/b"]


def test_one_variable_alone() -> None:
    """A single variable is a target."""
    v = tf.Variable([0.0, 0.0], name="v")
    SmartInit({"v": np.ones(2, "f4")}).init(v)
    assert v.numpy().tolist() == [1, 1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_every_dtype_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    """Every dtype and shape is restored with the same bits."""
    kind = dtypes.to_numpy(dtype)
    given = (np.arange(int(np.prod(shape))) % 2).reshape(shape).astype(kind)
    v = tf.Variable(tf.constant(np.zeros(shape, kind)), name="v")
    SmartInit({"v": given}).init([v])
    found = v.numpy()
    assert found.dtype == kind
    assert found.shape == shape
    assert found.tobytes() == given.tobytes()


def test_strings() -> None:
    """Strings arrive as bytes, text in UTF-8."""
    v, one = tf.Variable(["", "", ""], name="v"), tf.Variable("", name="one")
    none = tf.Variable(tf.constant([], tf.string), name="none")
    given = {"v": np.array(["a", "zwölf", b"\xff\0x"], dtype=object), "one": "hi"}
    SmartInit({**given, "none": np.array([], dtype="U3")}).init([v, one, none])
    assert v.numpy().tolist() == [b"a", "zwölf".encode(), b"\xff\0x"]
    assert one.numpy() == b"hi"
    assert none.shape == (0,)


def test_shares_no_memory_with_the_source() -> None:
    """Editing the user's aligned array changes no variable, and training changes no array."""
    raw = np.zeros(4 * 1024 + 64, "u1")
    start = -raw.ctypes.data % 64
    given = raw[start : start + 4096].view("f4")
    given[:] = 1
    v = tf.Variable(tf.zeros(1024), name="v")
    SmartInit({"v": given}).init([v])
    given[:] = 7
    np.testing.assert_array_equal(v.numpy(), np.ones(1024, "f4"))
    v.assign_add(tf.ones(1024))
    v.scatter_nd_update([[0]], [5.0])
    np.testing.assert_array_equal(given, np.full(1024, 7, "f4"))
    assert v.numpy()[:2].tolist() == [5, 2]


def test_variables_share_no_memory_with_each_other() -> None:
    """Two variables from the same array of the user change independently."""
    both = np.zeros(1024, "f4")
    a, b = tf.Variable(tf.ones(1024), name="a"), tf.Variable(tf.ones(1024), name="b")
    SmartInit({"a": both, "b": both}).init([a, b])
    a.assign_add(tf.ones(1024))
    assert b.numpy().max() == 0


def test_unknown_shapes() -> None:
    """A variable of unknown shape takes any shape, and one with an open axis any length there."""
    any_ = tf.Variable([1.0], shape=tf.TensorShape(None), name="any")
    rows = tf.Variable([[1.0, 2.0]], shape=[None, 2], name="rows")
    SmartInit({"any": np.ones((2, 1, 2), "f4"), "rows": np.zeros((5, 2), "f4")}).init([any_, rows])
    assert any_.numpy().shape == (2, 1, 2)
    assert rows.numpy().shape == (5, 2)
    with pytest.raises(MismatchError, match=r"rows: shape \(5, 3\) does not fit"):
        SmartInit({"rows": np.zeros((5, 3), "f4"), "any": np.float32(1)}).init([any_, rows])


def test_an_uninitialised_variable() -> None:
    """A variable that has no value yet has one afterwards."""
    from tensorflow.python.ops.resource_variable_ops import UninitializedVariable

    v = UninitializedVariable(shape=[2], dtype=tf.float32, name="v")
    SmartInit({"v": np.ones(2, "f4")}).init([v])
    assert v.numpy().tolist() == [1, 1]


def test_the_same_variable_twice_is_one() -> None:
    """A variable that is listed twice is written once. Two variables of the same name are an
    error."""
    a, b = tf.Variable(0.0, name="a"), tf.Variable(0.0, name="a")
    assert len(SmartInit({"a": np.float32(1)}).init([a, a])) == 1
    with pytest.raises(DuplicateName, match="'a'"):
        SmartInit({"a": np.float32(2)}).init([a, b])
    assert (a.numpy(), b.numpy()) == (1, 0)


def test_keras_variables_go_by_their_path() -> None:
    """``model.weights`` and a mixed list: a Keras variable is called by its path."""
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(2, name="one"), keras.layers.Dense(2, name="two")],
        name="net",
    )
    own = tf.Variable(0.0, name="own")
    assert names([own, *model.weights]) == [
        *("own", "net/one/kernel", "net/one/bias", "net/two/kernel", "net/two/bias")
    ]
    given = {v.path: np.full(v.shape, i, "f4") for i, v in enumerate(model.weights)}
    SmartInit({**given, "own": np.float32(9)}).init([own, *model.trainable_variables])
    assert own.numpy() == 9
    for v in model.weights:
        np.testing.assert_array_equal(v.numpy(), given[v.path])


def test_the_variable_of_a_keras_variable_is_the_same_one() -> None:
    """A Keras variable and the tf.Variable in it are not two."""
    v = keras.Variable(np.zeros(2, "f4"), name="v")
    SmartInit({"v": np.ones(2, "f4")}).init([v, v.value])
    assert v.numpy().tolist() == [1, 1]


def test_a_module_by_name_and_by_attribute() -> None:
    """A variable is called by its name if that is unique, otherwise by its attributes."""
    assert sorted(names(Net())) == [
        *("Variable", "heads/a/b", "heads/a/w", "heads/b..c.Sd/b", "heads/b..c.Sd/w"),
        *("layers/0/b", "layers/0/w", "layers/1/b", "layers/1/w", "scale"),
    ]
    net = Net()
    target = initreg_target(net)
    assert target is not None
    assert {s.name: s.aliases for s in target.variables()}["Variable"] == ("unnamed",)
    given = {s.name: np.full(s.shape, i, "f4") for i, s in enumerate(target.variables())}
    SmartInit(given).init(net)
    assert net.layers[1].w.numpy().max() == given["layers/1/w"].max()
    assert net.heads["b.c/d"].b.numpy().max() == given["heads/b..c.Sd/b"].max()


def test_a_module_from_its_own_checkpoint(tmp_path: Path) -> None:
    """An object-based checkpoint of a module restores into another one as in TensorFlow."""
    saved, ours, theirs = Net(), Net(), Net()
    fill(saved.variables)
    prefix = tf.train.Checkpoint(saved).write(str(tmp_path / "net"))
    tf.train.Checkpoint(theirs).read(prefix).assert_consumed()
    SmartInit(prefix).init(ours)
    for a, b, c in zip(saved.variables, ours.variables, theirs.variables, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes() == c.numpy().tobytes()


def test_a_module_with_keras_layers_in_it() -> None:
    """The variables of Keras layers inside a module are the module's, too."""

    class Holder(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.own = tf.Variable(0.0, name="own")
            self.dense = keras.layers.Dense(2, name="dense")
            self.dense.build((None, 2))

    holder = Holder()
    assert sorted(names(holder)) == ["dense/bias", "dense/kernel", "own"]
    SmartInit(
        {"own": np.float32(1), "dense": {"kernel": np.ones((2, 2), "f4"), "bias": np.ones(2, "f4")}}
    ).init(holder)
    assert holder.dense.kernel.numpy().tolist() == [[1, 1], [1, 1]]


def test_no_variables_at_all() -> None:
    """An empty list and an empty module are targets without variables."""
    assert names([]) == []
    assert names(tf.Module()) == []
    with pytest.raises(NothingMatched):
        SmartInit({"v": np.float32(1)}).init([])


def test_variables_of_a_graph_are_refused() -> None:
    """Variables of a TF1 graph are an error that says to pass the session."""
    with tf.Graph().as_default():
        for use_resource in (True, False):
            v = tf.compat.v1.Variable(0.0, name="v", use_resource=use_resource)
            with pytest.raises(TargetError, match=r"'v(_1)?:0' belongs to a TF1 graph.*session"):
                SmartInit({"v": np.float32(1)}).init([v])
    with pytest.raises(TargetError, match="Pass the session"):
        SmartInit({"v": np.float32(1)}).init([v])


def test_inside_a_function_nothing_can_be_written() -> None:
    """Inside a tf.function or a graph, init() is an error and writes nothing."""
    v = tf.Variable(0.0, name="v")

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def inside() -> None:
        SmartInit({"v": np.float32(1)}).init([v])

    with pytest.raises(TargetError, match=r"inside a graph or a tf\.function"):
        inside()
    with tf.Graph().as_default(), pytest.raises(TargetError, match="inside a graph"):
        SmartInit({"v": np.float32(1)}).init([v])
    assert v.numpy() == 0


MIRRORED = """
import numpy as np, tensorflow as tf
from initreg import SmartInit

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    v = tf.Variable(tf.zeros(3), name="v")
    s = tf.Variable(
        0.0,
        name="s",
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
SmartInit({"v": np.arange(3, dtype="f4"), "s": np.float32(4)}).init([v, s])
print([copy.numpy().tolist() for copy in (*v.values, *s.values)])
strategy.run(lambda: v.assign_add([1.0, 1.0, 1.0]))
print([copy.numpy().tolist() for copy in v.values])
"""


def test_a_mirrored_variable() -> None:
    """A variable with a copy on each of two devices is one variable, and all copies are written.

    In a process of its own, because the devices must be set up before TensorFlow starts.
    """
    code = [sys.executable, "-c", MIRRORED]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], 4.0, 4.0]",
        "[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]",
    ]


def test_a_sharded_variable() -> None:
    """A variable in shards is one variable of the complete shape."""
    from tensorflow.python.distribute.sharded_variable import ShardedVariable

    shards = [tf.Variable(tf.zeros((2, 3)), name=f"emb/part_{i}") for i in range(2)]
    whole = ShardedVariable(shards, name="emb")
    given = np.arange(12, dtype="f4").reshape(4, 3)
    SmartInit({"emb": given}).init([whole])
    np.testing.assert_array_equal(tf.convert_to_tensor(whole).numpy(), given)


def test_what_is_no_target_is_declined() -> None:
    """Tensors, arrays, strings and lists of other things are declined. A mixed list is an error."""
    for obj in (tf.zeros(2), np.zeros(2), "v", b"v", {"v": 1}, 3, None, [np.zeros(2)], ["v"]):
        assert initreg_target(obj) is None
    with pytest.raises(TargetError, match="a ndarray is among them"):
        initreg_target([tf.Variable(0.0), np.zeros(2)])
    with pytest.raises(UnknownTarget):
        SmartInit({"v": np.float32(1)}).init([np.zeros(2)])


def test_an_object_whose_attributes_raise_is_declined() -> None:
    """A lazy object of another library, which is not iterable, is declined, and nothing raises."""

    class Lazy:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(f"{name!r} is not ready yet")

    assert initreg_target(Lazy()) is None
    with pytest.raises(UnknownTarget) as caught:
        SmartInit({"v": np.float32(1)}).init(Lazy())
    assert "failed" not in str(caught.value)


def test_exactly_one_target_accepts() -> None:
    """Each object is claimed by one of the targets in the wheel, and by no other."""
    points = [p for p in metadata.entry_points(group="initreg") if "_targets." in p.value]
    claim = {point.name: point.load().initreg_target for point in points}
    assert {"keras_model", "mapping_target", "tf_session", "tf_variables"} <= set(claim)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        pass
    objects = {
        "keras_model": [model, model.layers[0]],
        "mapping_target": [{}],
        "tf_session": [graph, session],
        "tf_variables": [Net(), [tf.Variable(0.0)], tf.Variable(0.0), [], *_weights_of(model)],
    }
    for name, each in objects.items():
        for obj in each:
            assert [n for n in claim if claim[n](obj) is not None] == [name], obj


def _weights_of(model: Any) -> list[Any]:
    return [model.weights, model.weights[0]]


def test_thousands_of_variables() -> None:
    """Three thousand variables get each their own array."""
    made = [tf.Variable([0.0, 0.0], name=f"block_{i}/w") for i in range(3000)]
    given = {f"block_{i}/w": np.array([i, -i], "f4") for i in range(3000)}
    SmartInit(given).init(made)
    found = np.stack([v.numpy() for v in made])
    np.testing.assert_array_equal(found, np.stack(list(given.values())))
