"""What initreg writes into is a source, too: models, variables, sessions. The measure is the output
of the model that gets the values."""

from __future__ import annotations

import importlib
import itertools
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import keras_models
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import initreg
from initreg import InitregWarning, SmartInit, TargetError, UnknownFormat
from tests.targets.test_keras_lookups import KINDS, looks_up
from tests.targets.test_keras_own import X as OWN_X
from tests.targets.test_keras_own import model_of, transposed

pytestmark = pytest.mark.framework
v1 = tf.compat.v1
ENDINGS = (".npz", ".h5", ".safetensors", ".ckpt")
STRICT = {"on_missing": "error", "on_unused": "error"}


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", InitregWarning)
        yield


def inputs_of(model: Any) -> Any:
    shape = [axis or 2 for axis in getattr(model, "input_shape", (2, 3))]
    data = np.random.default_rng(5).random(shape).astype("f4")
    return data.astype("i4") if "int" in str(getattr(model, "input_dtype", "")) else data


def fill(model: Any, seed: int) -> None:
    """Give each variable a value, and let layers compute with it."""
    keras_models.fill(model, seed)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def outputs(model: Any) -> Any:
    return np.asarray(model(inputs_of(model)))


# --- models of Keras ----------------------------------------------------------------------------


@pytest.mark.parametrize("build", keras_models.MODELS)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_model_into_another_one(build: Callable[[], Any], compiled: bool) -> None:
    """Every variable of a model of the same kind gets its value, whatever the names count up to.
    The optimizer goes on with the same state."""
    compiled = compiled and build in (keras_models.sequential, keras_models.nested)
    one, other = keras_models.later(build, compiled=compiled), keras_models.later(build)
    fill(one, 3)
    if compiled:
        keras_models.train(other, 1)
    plan = SmartInit(one, **STRICT).init(other)
    assert np.array_equal(outputs(one), outputs(other))
    assert len(plan.restored) == len(initreg.open(one))
    assert keras_models.bits(one.weights) == keras_models.bits(other.weights)
    if compiled:
        state = (each.optimizer.variables for each in (one, other))
        assert list(itertools.starmap(np.array_equal, zip(*state, strict=True))) == [True] * len(
            one.optimizer.variables
        )


@pytest.mark.parametrize("build", keras_models.MODELS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_saved_model_is_restored(build: Callable[[], Any], ending: str, tmp_path: Path) -> None:
    """``save(path, model)`` writes a file that restores the model, without a warning."""
    model = build()
    fill(model, 3)
    expected = outputs(model)
    path = initreg.save(tmp_path / f"m{ending}", model)
    fill(model, 7)
    assert not np.array_equal(outputs(model), expected)
    SmartInit(path, **STRICT).init(model)
    assert np.array_equal(outputs(model), expected)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("module", ["keras", "tf_keras"])
def test_the_state_of_an_optimizer_is_saved(module: str, ending: str, tmp_path: Path) -> None:
    """A training goes on from the file as it would have gone on."""
    K = importlib.import_module(module)
    rng = np.random.default_rng(0)
    x, y = rng.random((32, 3)).astype("f4"), rng.random((32, 2)).astype("f4")
    model = K.Sequential([K.layers.Input((3,)), K.layers.Dense(4), K.layers.Dense(2)])
    model.compile(K.optimizers.Adam(0.05), "mse")
    model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    path = initreg.save(tmp_path / f"m{ending}", model)
    model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    expected = model.predict(x, verbose=0)
    SmartInit(path, **STRICT).init(model)
    model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    assert np.array_equal(model.predict(x, verbose=0), expected)


@pytest.mark.parametrize("module", ["keras", "tf_keras"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["int", "multi_hot", "tf_idf"])
def test_a_vocabulary_is_a_part_of_the_model(module: str, kind: str, mode: str) -> None:
    """What a lookup has learnt goes with the weights, and with the frequencies of its words."""
    K = importlib.import_module(module)
    (one, x), (other, _) = looks_up(K, kind, mode, 4), looks_up(K, kind, mode, 4)
    layer = getattr(other.layers[0], "_lookup_layer", other.layers[0])
    words = ["elm", "fir", "gum"] if kind != "IntegerLookup" else [7, 8, 9]
    frequencies = () if mode != "tf_idf" else ([0.25, 0.5, 0.75],)
    layer.set_vocabulary(np.array(words), *map(np.array, frequencies))
    assert not np.array_equal(other(x), one(x))
    SmartInit(one, **STRICT).init(other)
    assert np.array_equal(other(x), one(x))


def test_learnt_boundaries() -> None:
    """A Discretization of Keras gets the summary of the data that the other one has seen."""
    data = np.random.default_rng(0).normal(size=(64, 1))
    models = []
    for scale in (1, 9):
        layer = keras.layers.Discretization(num_bins=4)
        layer.adapt(data * scale)
        models.append(keras.Sequential([keras.Input((1,)), layer, keras.layers.Embedding(4, 2)]))
    one, other = models
    assert not np.array_equal(one.layers[0](data), other.layers[0](data))
    SmartInit(one, **STRICT).init(other)
    assert np.array_equal(one.layers[0](data), other.layers[0](data))


@pytest.mark.parametrize("module", ["keras", "tf_keras"])
def test_a_layer_that_saves_in_its_own_way(module: str, tmp_path: Path) -> None:
    """What the layer saves beside its variables is read, too, from the model and from a file."""
    K = importlib.import_module(module)
    (one, _), (other, own) = model_of(K, transposed, 0), model_of(K, transposed, 1)
    path = initreg.save(tmp_path / "m.safetensors", one)
    SmartInit(one, **STRICT).init(other)
    np.testing.assert_allclose(other(OWN_X), one(OWN_X), rtol=1e-6)
    own.after_fill(np.random.default_rng(9))
    assert not np.allclose(other(OWN_X), one(OWN_X), rtol=1e-6)
    SmartInit(path, **STRICT).init(other)
    np.testing.assert_allclose(other(OWN_X), one(OWN_X), rtol=1e-6)


def test_adapted_weights() -> None:
    """Weights that are adapted with LoRA come with their factors, as they are."""
    models = []
    for _ in range(2):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
        model.layers[0].enable_lora(2)
        keras_models.fill(model, len(models))
        models.append(model)
    one, other = models
    SmartInit(one, **STRICT).init(other)
    assert np.array_equal(outputs(one), outputs(other))
    assert "lora_kernel_a" in " ".join(initreg.open(one))


def test_the_names_are_those_of_the_target() -> None:
    """The names of the arrays, with their places, are what the target plugin calls them, so that
    a plan of a model onto itself matches every variable under its own name."""
    model = keras_models.later(keras_models.nested)
    plan = SmartInit(model).plan(model)
    assert plan.error() is None
    assert all(row.array == row.name for row in plan)
    with initreg.open(model) as found:
        assert found.format == "keras_model"
        assert found.label == f"Keras model {model.name!r}"
        assert found.parameters == tuple(found)


def test_the_state_of_optimizers_is_not_among_the_parameters() -> None:
    """``parameters`` has the weights, and not what the optimizer keeps."""
    model = keras_models.later(keras_models.sequential, compiled=True)
    with initreg.open(model) as found:
        assert len(found.parameters or ()) == len(model.weights)
        assert len(found) == len(model.weights) + len(model.optimizer.variables)


def test_a_model_that_is_not_built() -> None:
    """It has no variables, and the error says how it gets some."""
    with pytest.raises(TargetError, match="it is not built"):
        initreg.open(keras.Sequential([keras.layers.Dense(2)]))


# --- variables and what holds them ---------------------------------------------------------------


def holders() -> dict[str, Callable[[Any, Any], Any]]:
    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self, a: Any, b: Any) -> None:
            self.a, self.b = a, [b]

    tracked = tf.train.Checkpoint()

    def listed(a: Any, b: Any) -> Any:
        tracked.listed = [a, b]
        return tracked.listed

    def by_name(a: Any, b: Any) -> Any:
        tracked.by_name = {"x": a, "y": b}
        return tracked.by_name

    return {
        "list": lambda a, b: [a, b],
        "tuple": lambda a, b: (a, b),
        "Module": Module,
        "Checkpoint": lambda a, b: tf.train.Checkpoint(a=a, b=b),
        "tracked list": listed,
        "tracked dict": by_name,
        "CheckpointManager": lambda a, b: tf.train.CheckpointManager(
            tf.train.Checkpoint(a=a, b=b), "unused", 1
        ),
    }


@pytest.mark.parametrize("kind", list(holders()))
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_holds_variables(kind: str, ending: str, tmp_path: Path) -> None:
    """Variables, and objects that track some, are saved, and restored by the same names."""
    a = tf.Variable(tf.random.normal((3, 4)), name="a")
    b = tf.Variable(np.float16([1, 2]), name="b")
    obj = holders()[kind](a, b)
    expected = a.numpy(), b.numpy()
    path = initreg.save(tmp_path / f"m{ending}", obj)
    a.assign(a * 0)
    b.assign(b * 0)
    SmartInit(path, **STRICT).init(obj)
    assert np.array_equal(a, expected[0])
    assert np.array_equal(b, expected[1])
    assert initreg.diff(obj, path).is_same


def test_a_dict_of_variables() -> None:
    """A dict gives variables the names that its owner chose, as it does for arrays."""
    a, b = tf.Variable([1.0, 2.0]), keras.Variable(np.ones((2, 2)), name="k")
    found = initreg.load({"x": a, "y": {"z": b}})
    a.assign_add([1.0, 1.0])
    assert {name: array.tolist() for name, array in found.items()} == {
        "x": [1, 2],
        "y/z": [[1, 1], [1, 1]],
    }


def test_a_list_with_something_else_is_a_chain(tmp_path: Path) -> None:
    """A model beside a file is a source of a chain, and the later one wins."""
    model = keras_models.later(keras_models.sequential)
    file = initreg.save(
        tmp_path / "m.npz", {name: a[()] * 0 for name, a in initreg.open(model).items()}
    )
    assert all(not np.any(each) for each in initreg.load([model, file]).values())
    assert any(np.any(each) for each in initreg.load([file, model]).values())
    assert any(np.any(each) for each in initreg.load([file, model.weights]).values())


def test_strangers() -> None:
    """A list of what is no variable is no source, and an iterator is not used up by asking."""
    with pytest.raises(UnknownFormat):
        initreg.open(object())
    each = iter([tf.Variable(1.0)])
    with pytest.raises(UnknownFormat):
        initreg.open(each)
    assert next(each).numpy() == 1


def test_dtypes_and_shapes() -> None:
    """Strings, bfloat16, integers and variables of unknown shape are what they are."""
    given = {
        "s": tf.Variable([["a", "ö"]], name="s"),
        "one": tf.Variable("x", name="one"),
        "h": tf.Variable(tf.constant([1.5, 2.5], tf.bfloat16), name="h"),
        "i": tf.Variable(np.int64(7), name="i"),
        "free": tf.Variable(np.ones((2, 3), "f4"), shape=tf.TensorShape(None), name="free"),
        "empty": tf.Variable(np.ones((0, 3), "f4"), name="empty"),
    }
    found = initreg.load(list(given.values()))
    assert found["s"].tolist() == [[b"a", "ö".encode()]]
    assert found["one"].shape == ()
    assert found["one"].item() == b"x"
    assert (found["h"].dtype.name, found["h"].tolist()) == ("bfloat16", [1.5, 2.5])
    assert (found["i"].dtype, found["i"].item()) == (np.dtype("i8"), 7)
    assert found["free"].shape == (2, 3)
    assert found["empty"].shape == (0, 3)


# --- when they are read -----------------------------------------------------------------------


def test_values_are_read_when_they_are_asked_for_and_belong_to_the_caller() -> None:
    """An open map shows what a variable has now. What was read does not change with it."""
    v = tf.Variable(np.arange(65536, dtype="f4"), name="v")
    with initreg.open([v]) as found:
        before = found["v"].read()
        part = found["v"][10:12]
        v.assign_add(tf.ones(65536))
        assert np.array_equal(before, np.arange(65536))
        assert part.tolist() == [10, 11]
        assert found["v"][10:12].tolist() == [11, 12]
        before += 100
        assert v.numpy()[0] == 1


@pytest.mark.parametrize("module", ["keras", "tf_keras"])
def test_a_training_step_does_not_change_what_was_read(module: str) -> None:
    """Neither the weights nor the state of the optimizer share memory with what was read."""
    K = importlib.import_module(module)
    model = K.Sequential([K.layers.Input((64,)), K.layers.Dense(1024), K.layers.Dense(1)])
    model.compile(K.optimizers.Adam(0.1), "mse")
    x = np.ones((4, 64), "f4")
    model.fit(x, x[:, :1], verbose=0)
    found = initreg.load(model)
    kept = {name: array.copy() for name, array in found.items()}
    model.fit(x, x[:, :1], verbose=0)
    assert all(np.array_equal(found[name], kept[name]) for name in kept)
    assert not initreg.diff(model, found).is_same


def test_variables_of_one_model_are_swapped() -> None:
    """All arrays are read before the first is written, if the source is the target, too."""
    a, b = tf.Variable([1.0, 2.0], name="a"), tf.Variable([3.0, 4.0], name="b")
    SmartInit([a, b], rename={"a": "b", "b": "a"}).init([a, b])
    assert (a.numpy().tolist(), b.numpy().tolist()) == ([3, 4], [1, 2])
    model = keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(3, name=n) for n in "pq")])
    p, q = (layer.get_weights() for layer in model.layers)
    names = {
        f"{one}/{what}": f"{two}/{what}" for one, two in ("pq", "qp") for what in ("kernel", "bias")
    }
    given = [n for n in initreg.open(model) if n in names or n.partition("/")[2] in names]
    swapped = {n: n.replace("p/", "*").replace("q/", "p/").replace("*", "q/") for n in given}
    SmartInit(model, rename=swapped, by="name").init(model)
    for layer, expected in zip(model.layers, (q, p), strict=True):
        assert all(map(np.array_equal, layer.get_weights(), expected))


def test_inside_a_function_nothing_is_read() -> None:
    """While a graph is built, variables have no values. The error says so."""
    v = tf.Variable([1.0])

    @tf.function  # type: ignore[untyped-decorator]
    def read() -> None:
        initreg.load([v])

    with pytest.raises(TargetError, match="nothing can be read"):
        read()


_MEMORY = """
import sys
import numpy as np
import tensorflow as tf
import initreg

def memory(which):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(which)) << 10

v1 = tf.compat.v1
if sys.argv[1] == "session":
    with tf.Graph().as_default() as graph:
        for i in range(16):
            v1.get_variable(f"v{i}", (2048, 2048), initializer=v1.ones_initializer())
        init = v1.global_variables_initializer()
    source = v1.Session(graph=graph)
    source.run(init)
else:
    source = [tf.Variable(tf.ones((2048, 2048)) * i, name=f"v{i}") for i in range(16)]
initreg.save(sys.argv[2], {"a": np.ones(3)})
before = memory("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
initreg.save(sys.argv[2], source)
initreg.stats(source)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is as Linux has it")
@pytest.mark.parametrize("kind", ["session", "variables"])
def test_no_second_copy_of_all_weights(kind: str, tmp_path: Path) -> None:
    """256 MB of weights in 16 variables are saved with a few of them in memory."""
    run = [sys.executable, "-c", _MEMORY, kind, str(tmp_path / "m.safetensors")]
    found = subprocess.run(run, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-3000:]
    assert int(found.stdout) < 160 << 20


# --- sessions ------------------------------------------------------------------------------------


def session(**kinds: bool) -> tuple[Any, dict[str, Any]]:
    """A finalized session of TF1, and its ops."""
    graph = tf.Graph()
    with graph.as_default():
        made = {
            "w": v1.get_variable("w", (3, 4)),
            "ref": v1.get_variable("ref", (4,), use_resource=False),
            "text": v1.get_variable("text", initializer=tf.constant([b"x", b"yy"])),
            "one": v1.get_variable("one", initializer=3.0, use_resource=False),
        }
        parts = v1.get_variable("parts", (6, 2), partitioner=v1.fixed_size_partitioner(3))
        step = v1.train.get_or_create_global_step()
        more = [v1.get_variable(f"late{i}", (2,)) for i in range(2)]
        late = v1.get_variable("late_ref", (2,), use_resource=False)
        rest = [v for v in v1.global_variables() if v not in (*more, late)]
        ops = {
            "init": v1.variables_initializer(rest),
            "late": v1.variables_initializer(more),
            "late_ref": v1.variables_initializer([late]),
            "add": [
                v1.assign_add(made[name], tf.ones_like(made[name])).op for name in ("w", "ref")
            ],
            "all": {**made, "parts": tf.concat(list(parts), 0), "global_step": step},
        }
        ops["all"] |= {f"late{i}": more[i] for i in range(2)} | {"late_ref": late}
    graph.finalize()
    found = v1.Session(graph=graph)
    found.run(ops["init"])
    return found, ops


@pytest.mark.parametrize("ending", [".npz", ".h5", ".ckpt"])  # which have strings
def test_a_session(ending: str, tmp_path: Path) -> None:
    """Every variable of a session is read without an op more, also in parts, and restored into
    another one."""
    one, ops = session()
    one.run([ops["late"], ops["late_ref"]])
    expected = one.run(ops["all"])
    found = initreg.load(one)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(found[name], value), name
    path = initreg.save(tmp_path / f"m{ending}", one)
    other = v1.Session(graph=one.graph)
    other.run([ops["init"], ops["late"], ops["late_ref"]])
    assert not initreg.diff(one, other).is_same
    SmartInit(path, **STRICT).init(other)
    assert initreg.diff(one, other).is_same
    assert initreg.verify(other).ok


def test_what_was_read_of_a_session_does_not_change() -> None:
    """Neither for resource variables nor for reference variables, which are written in place."""
    one, ops = session()
    one.run([ops["late"], ops["late_ref"]])
    found = initreg.load(one)
    kept = {name: array.copy() for name, array in found.items()}
    one.run(ops["add"])
    assert all(np.array_equal(found[name], kept[name]) for name in kept)
    assert np.array_equal(initreg.load(one)["ref"], kept["ref"] + 1)


def test_variables_without_a_value_are_named() -> None:
    """A session that was not initialised is an error, with all names that the graph can tell."""
    one, ops = session()
    with pytest.raises(TargetError, match=r"2 variables late0, late1 without a value.*drop="):
        initreg.load(one)
    one.run(ops["late"])
    with pytest.raises(TargetError, match="variable late_ref without a value"):
        initreg.load(one)
    assert "late_ref" not in initreg.load(one, drop="late_ref")


def test_a_failing_read_writes_nothing(tmp_path: Path) -> None:
    """A save of a session that has no values leaves the file that was there."""
    one, _ = session()
    path = initreg.save(tmp_path / "m.npz", {"a": np.arange(3)})
    before = path.read_bytes()
    with pytest.raises(TargetError, match="without a value"):
        initreg.save(path, one, drop="text")
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["m.npz"]


def test_variables_of_a_session_are_swapped() -> None:
    """A session into itself: all is read before anything is written."""
    one, ops = session()
    one.run([ops["late"], ops["late_ref"]])
    before = initreg.load(one)
    SmartInit(one, rename={"late0": "late1", "late1": "late0"}).init(one)
    after = initreg.load(one)
    assert np.array_equal(after["late0"], before["late1"])
    assert np.array_equal(after["late1"], before["late0"])


def test_a_graph_and_a_closed_session_have_no_values() -> None:
    """Both are errors that say what to give instead."""
    one, _ = session()
    with pytest.raises(TargetError, match="Give the session"):
        initreg.open(one.graph)
    one.close()
    with pytest.raises(TargetError, match="closed"):
        initreg.open(one)


def test_tf_keras_and_keras() -> None:
    """The weights of a model of Keras 2 go into one of Keras 3, which has them at the same
    places."""
    one = tf_keras.Sequential([tf_keras.layers.Input((3,)), tf_keras.layers.Dense(4)])
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    SmartInit(one, **STRICT).init(other)
    assert np.array_equal(outputs(one), outputs(other))
