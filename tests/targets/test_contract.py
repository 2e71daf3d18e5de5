"""Every built-in target passes the conformance kit that third parties inherit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.python import debug

from initreg.testing import TargetContract
from initreg_targets import session_writing

v1 = tf.compat.v1

Array = np.ndarray[Any, Any]

NUMBERS = tuple(TargetContract.dtypes)
TENSORFLOW = (*NUMBERS, "bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "string")
UNENCODABLE = np.array(["\ud800"] * 3, object)  # text that has no UTF-8


# --- a dict of arrays -------------------------------------------------------------------------


class TestDict(TargetContract):
    """A flat dict, which is filled in place."""

    target = "mapping_target"
    dtypes = (*NUMBERS, "bfloat16", "float8_e4m3fn", "float8_e5m2", "int4", "string")
    exempt = {"stranger dict": "a dict is what this target is for"}

    def make(self, values: dict[str, Array]) -> Any:
        return values

    def values(self, obj: Any) -> Mapping[str, Any]:
        return dict(obj)

    def change(self, obj: Any, name: str) -> None:
        obj[name] += 1

    def unwritable(self) -> Iterator[Any]:
        """What is no array, what is read-only, and two arrays that are one."""
        frozen, twice = np.zeros((3, 5), "f4"), np.zeros((3, 5), "f4")
        frozen.flags.writeable = False
        yield {"alpha": 1.5}
        yield {"alpha": frozen}
        yield {"alpha": twice, "beta": twice}

    def failing(self) -> Any:
        """Strings that are longer than the array has room for."""
        obj = {
            "alpha": np.zeros(3, "f4"),
            "beta": np.array(["old"] * 3, "U3"),
            "gamma": np.zeros(3, "f4"),
        }
        ones = np.ones(3, "f4")
        return obj, {"alpha": ones, "beta": np.array(["longer"] * 3), "gamma": ones}


class TestNestedDict(TestDict):
    """A dict in a dict: names are joined with '/'."""

    def make(self, values: dict[str, Array]) -> Any:
        return {"block": {"fc": values}}

    def values(self, obj: Any) -> Mapping[str, Any]:
        return dict(obj["block"]["fc"])

    def named(self, name: str) -> str:
        return f"block/fc/{name}"

    def change(self, obj: Any, name: str) -> None:
        obj["block"]["fc"][name] += 1

    def failing(self) -> Any:
        obj, given = super().failing()
        return {"block": {"fc": obj}}, given


# --- variables of TensorFlow 2 ----------------------------------------------------------------


class TestVariables(TargetContract):
    """A list of ``tf.Variable``s."""

    target = "tf_variables"
    dtypes = TENSORFLOW

    def make(self, values: dict[str, Array]) -> Any:
        return [tf.Variable(tf.constant(value), name=name) for name, value in values.items()]

    def variables(self, obj: Any) -> dict[str, Any]:
        return {v.name.removesuffix(":0"): v for v in obj}

    def values(self, obj: Any) -> Mapping[str, Any]:
        return {name: v.numpy() for name, v in self.variables(obj).items()}

    def change(self, obj: Any, name: str) -> None:
        v = self.variables(obj)[name]
        v.assign_add(tf.ones(v.shape))
        v.scatter_nd_add([[0]], tf.ones([1, *v.shape[1:]]))

    def make_open(self, value: Array, shape: Any) -> Any:
        return [tf.Variable(value, shape=tf.TensorShape(shape), name="alpha")]

    def strangers(self) -> Iterator[Any]:
        yield tf.zeros(2)
        yield [tf.zeros(2)]
        yield tf.dtypes.float32
        yield keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])

    def unwritable(self) -> Iterator[Any]:
        """Variables among other things, and those of a graph."""
        yield [tf.Variable(0.0, name="alpha"), np.zeros(2)]
        with tf.Graph().as_default():
            yield [v1.Variable(tf.zeros((3, 5)), name="alpha", use_resource=True)]

    def failing(self) -> Any:
        ones = np.ones(3, "f4")
        obj = self.make(
            {"alpha": 0 * ones, "beta": np.array([b"old"] * 3, object), "gamma": 0 * ones}
        )
        return obj, {"alpha": ones, "beta": UNENCODABLE, "gamma": ones}


class TestModule(TestVariables):
    """A ``tf.Module``, whose variables also answer to their paths."""

    def make(self, values: dict[str, Array]) -> Any:
        module = tf.Module()
        module.held = {name: tf.Variable(tf.constant(v), name=name) for name, v in values.items()}
        return module

    def variables(self, obj: Any) -> dict[str, Any]:
        return dict(obj.held)

    def aliases(self, obj: Any) -> Mapping[str, str]:
        return {f"held/{name}": name for name in obj.held}

    def make_open(self, value: Array, shape: Any) -> Any:
        module = tf.Module()
        module.held = {"alpha": tf.Variable(value, shape=tf.TensorShape(shape), name="alpha")}
        return module

    def unwritable(self) -> Iterable[Any]:
        with tf.Graph().as_default():
            module = tf.Module()
            module.v = v1.Variable(tf.zeros((3, 5)), name="alpha", use_resource=True)
        return [module]


class TestCheckpoint(TestModule):
    """A ``tf.train.Checkpoint``, whose variables are called by their paths."""

    def make(self, values: dict[str, Array]) -> Any:
        return tf.train.Checkpoint(net=super().make(values))

    def variables(self, obj: Any) -> dict[str, Any]:
        return dict(obj.net.held)

    def named(self, name: str) -> str:
        return f"net/held/{name}"

    def aliases(self, obj: Any) -> Mapping[str, str]:
        return {}

    def make_open(self, value: Array, shape: Any) -> Any:
        return tf.train.Checkpoint(net=super().make_open(value, shape))

    def unwritable(self) -> Iterable[Any]:
        return [tf.train.Checkpoint(net=each) for each in super().unwritable()]


class TestCheckpointManager(TestCheckpoint):
    """A ``tf.train.CheckpointManager``, with two paths to each variable."""

    def make(self, values: dict[str, Array]) -> Any:
        checkpoint = super().make(values)
        checkpoint.also = checkpoint.net
        return tf.train.CheckpointManager(checkpoint, "/nonexistent", 1)

    def make_open(self, value: Array, shape: Any) -> Any:
        return tf.train.CheckpointManager(super().make_open(value, shape), "/nonexistent", 1)

    def variables(self, obj: Any) -> dict[str, Any]:
        return super().variables(obj.checkpoint)

    def aliases(self, obj: Any) -> Mapping[str, str]:
        return {f"also/held/{name}": name for name in obj.checkpoint.net.held}


class TestSavedModel(TestModule):
    """What ``tf.saved_model.load`` returns for a ``tf.Module``."""

    dtypes = tuple(each for each in TENSORFLOW if each != "string")

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = str(tmp_path / "model")

    def make(self, values: dict[str, Array]) -> Any:
        tf.saved_model.save(super().make(values), self.folder)
        return tf.saved_model.load(self.folder)

    def make_open(self, value: Array, shape: Any) -> Any:
        tf.saved_model.save(super().make_open(value, shape), self.folder)
        return tf.saved_model.load(self.folder)

    def failing(self) -> None:
        return None


class TestTrackedDict(TestVariables):
    """A dict of variables that an object tracks."""

    def make(self, values: dict[str, Array]) -> Any:
        module = tf.Module()
        module.held = {name: tf.Variable(tf.constant(v), name=name) for name, v in values.items()}
        return module.held

    def variables(self, obj: Any) -> dict[str, Any]:
        return dict(obj)

    def make_open(self, value: Array, shape: Any) -> Any:
        module = tf.Module()
        module.held = {"alpha": tf.Variable(value, shape=tf.TensorShape(shape), name="alpha")}
        return module.held


class TestOptimizer(TestVariables):
    """An optimizer of ``tf_keras`` with variables of its own."""

    def make(self, values: dict[str, Array]) -> Any:
        optimizer = tf_keras.optimizers.SGD()
        optimizer._variables = []
        del optimizer._iterations, optimizer._learning_rate  # which checkpoints have as well
        for name, value in values.items():
            v = tf.Variable(tf.constant(value), name=name)
            optimizer._variables.append(v)
        return optimizer

    def variables(self, obj: Any) -> dict[str, Any]:
        return {v.name.removesuffix(":0"): v for v in obj.variables}

    def aliases(self, obj: Any) -> Mapping[str, str]:
        names = list(self.variables(obj))
        return {
            alias: name
            for i, name in enumerate(names)
            for alias in (
                f"optimizer/vars/{i} of {len(names)}",
                f"optimizer/_variables/{i} of {len(names)}",
                f"_variables/{i}",
            )
        }

    def make_open(self, value: Array, shape: Any) -> None:
        return None

    def unwritable(self) -> Iterable[Any]:
        return ()


# --- a TF1 session ----------------------------------------------------------------------------


class TestSession(TargetContract):
    """A session whose variables are resources, and whose graph is finalized."""

    target = "tf_session"
    dtypes = TENSORFLOW
    use_resource = True

    def make(self, values: dict[str, Array]) -> Any:
        with tf.Graph().as_default() as graph:
            for name, value in values.items():
                self.variable(tf.constant(value), name)
            return self.session(graph)

    def variable(self, initial: Any, name: str) -> None:
        """With an op that reads it, and ops that change it if it is of float32."""
        fixed = initial.shape.is_fully_defined()
        v = v1.Variable(initial, name=name, use_resource=self.use_resource, validate_shape=fixed)
        tf.identity(v.read_value(), name=f"{name}/now")
        if fixed and v.dtype.base_dtype == tf.float32 and v.shape.rank:
            add = v1.assign_add(v, tf.ones(v.shape))
            with tf.control_dependencies([add]):
                scatter = v1.scatter_add(v, [0], tf.ones([1, *v.shape[1:]]))
            v1.add_to_collection(f"change {name}", scatter)

    def session(self, graph: Any) -> Any:
        session = v1.Session()
        session.run(v1.global_variables_initializer())
        graph.finalize()
        return session

    def values(self, obj: Any) -> Mapping[str, Any]:
        names = [v.op.name for v in obj.graph.get_collection("variables")]
        return dict(obj.run({name: f"{name}/now:0" for name in names}))

    def change(self, obj: Any, name: str) -> None:
        obj.run(obj.graph.get_collection(f"change {name}"))

    def make_open(self, value: Array, shape: Any) -> Any:
        with tf.Graph().as_default() as graph:
            self.variable(v1.placeholder_with_default(value, tf.TensorShape(shape)), "alpha")
            return self.session(graph)

    def unwritable(self) -> Iterator[Any]:
        """A session that is closed, and a graph, which can only be planned for."""
        closed = self.make({"alpha": np.zeros((3, 5), "f4")})
        graph = closed.graph
        closed.close()
        yield closed
        yield graph

    def failing(self) -> Any:
        ones = np.ones(3, "f4")
        old = np.array([b"old"] * 3, object)
        obj = self.make({"alpha": 0 * ones, "beta": old, "gamma": 0 * ones})
        return obj, {"alpha": ones, "beta": UNENCODABLE, "gamma": ones}


class TestSessionInManyRuns(TestSession):
    """A session that does not allow runs without the graph optimiser, and so needs several."""

    @pytest.fixture(autouse=True)
    def _several_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session_writing, "_MOST_OPTIMISED", 1)
        monkeypatch.setattr(session_writing, "_run_plainly", lambda *arguments: False)


class TestWrappedSession(TestSession):
    """A session in TensorFlow's debugger, in a wrapper of a user's own."""

    def session(self, graph: Any) -> Any:
        inner = debug.DumpingDebugWrapperSession(super().session(graph), "/nonexistent")
        return SimpleNamespace(sess=inner, graph=graph, run=inner.session.run)

    def unwritable(self) -> Iterator[Any]:
        closed = self.make({"alpha": np.zeros((3, 5), "f4")})
        closed.sess.close()
        yield closed

    def strangers(self) -> Iterator[Any]:
        yield SimpleNamespace(sess=3, _sess=None)
        yield ModuleType("tensorflow")


class TestReferenceVariables(TestSession):
    """A session whose variables are references, as before TensorFlow 1.15."""

    use_resource = False
    dtypes = (*NUMBERS, "bfloat16", "string")


# --- models of Keras 3 and of tf_keras --------------------------------------------------------


def holder(library: Any) -> Any:
    """A model with one layer that has these variables."""

    class Holder(library.layers.Layer):  # type: ignore[misc]
        def __init__(self, values: dict[str, Array]) -> None:
            super().__init__(name="layer")
            self.names = list(values)
            for name, value in values.items():
                v = self.add_weight(
                    name=name,
                    shape=value.shape,
                    dtype=tf.as_dtype(value.dtype).name,
                    initializer=lambda shape, dtype=None, value=value: tf.constant(value),
                    trainable=value.dtype == np.float32,
                )
                setattr(self, name, v)
            self.built = True

    class Net(library.Model):  # type: ignore[misc]
        def __init__(self, values: dict[str, Array]) -> None:
            super().__init__(name="net")
            self.holder = Holder(values)
            self.built = True

    return Net


class TestKeras(TargetContract):
    """A model of Keras 3: by path, by the name in its file, by the key in a checkpoint."""

    target = "keras_model"
    library: Any = keras
    in_file = "holder/vars"  # what the list of the layer's weights is called in a .weights.h5
    dtypes: Any = (*NUMBERS, "bfloat16", "float8_e4m3fn", "float8_e5m2")

    def make(self, values: dict[str, Array]) -> Any:
        return holder(self.library)(values)

    def values(self, obj: Any) -> Mapping[str, Any]:
        return {name: getattr(obj.holder, name).numpy() for name in obj.holder.names}

    def named(self, name: str) -> str:
        return f"layer/{name}"

    def aliases(self, obj: Any) -> Mapping[str, str]:
        names = obj.holder.names
        return {
            **{f"holder/{name}": name for name in names},
            **{f"{self.in_file}/{i}": name for i, name in enumerate(names)},
        }

    def change(self, obj: Any, name: str) -> None:
        v = getattr(obj.holder, name)
        v.assign_add(tf.ones(v.shape))

    def strangers(self) -> Iterator[Any]:
        yield tf.Variable(0.0)
        yield [tf.Variable(0.0)]
        yield tf.Module()
        yield self.library.layers.Dense  # the class
        yield self.library.optimizers.SGD()

    def unwritable(self) -> Iterator[Any]:
        """A model that is not built has no variables yet."""
        yield self.library.Sequential([self.library.layers.Dense(2)])


class TestTfKeras(TestKeras):
    """A model of ``tf_keras``: by weight name."""

    library = tf_keras
    in_file = "layers/holder/vars"
    dtypes = TENSORFLOW

    def named(self, name: str) -> str:
        return name

    def failing(self) -> Any:
        ones = np.ones(3, "f4")
        old = np.array([b"old"] * 3, object)
        obj = self.make({"alpha": 0 * ones, "beta": old, "gamma": 0 * ones})
        return obj, {"alpha": ones, "beta": UNENCODABLE, "gamma": ones}
