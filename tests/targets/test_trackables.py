"""Objects that TensorFlow tracks, as targets: checkpoints, loaded SavedModels, optimizers, lists.

Each restore is compared with ``tf.train.Checkpoint.read`` into an object of the same kind."""

from __future__ import annotations

import importlib
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import initreg
from initreg import NothingMatched, SmartInit, TargetError, UnknownTarget, UnusedWarning
from initreg_targets.tf_variables import initreg_target

v1 = tf.compat.v1

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy"  # Keras's own
)


class Dense(tf.Module):  # type: ignore[misc]
    """A layer whose variables have the same names as in every other one."""

    def __init__(self, value: float = 0) -> None:
        super().__init__()
        self.w = tf.Variable(tf.fill([2, 2], value), name="w")
        self.b = tf.Variable(tf.fill([2], value), name="b")


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "Adam": lambda k: k.optimizers.Adam(0.01),
    "SGD with momentum": lambda k: k.optimizers.SGD(0.01, momentum=0.9),
    "RMSprop": lambda k: k.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "Adafactor": lambda k: k.optimizers.Adafactor(0.01),
    "Nadam": lambda k: k.optimizers.Nadam(0.01),
}


def net(library: Any, seed: int, optimizer: Any, shift: int = 0) -> Any:
    """A model with automatic names and an optimizer, all of random values that ``seed`` decides."""
    library.utils.set_random_seed(seed)
    library.backend.clear_session()
    for _ in range(shift):
        library.layers.Dense(1)
    layers = [
        library.layers.Dense(4),
        library.layers.BatchNormalization(),
        library.layers.Dense(4),
        library.layers.Dense(4),
    ]
    inputs = outputs = library.Input((4,))
    for layer in layers:
        outputs = layer(outputs)
    model = library.Model(inputs, outputs)
    model.compile(optimizer, "mse")
    if hasattr(model.optimizer, "build"):
        model.optimizer.build(model.trainable_variables)
    else:
        model.optimizer.apply_gradients((tf.zeros(v.shape), v) for v in model.trainable_variables)
    rng = np.random.default_rng(seed)
    for each in variables(model):
        shape, dtype = np.shape(each), tf.as_dtype(each.dtype).as_numpy_dtype
        each.assign((10 * rng.random(shape)).astype(dtype))
    return model


def variables(model: Any) -> list[Any]:
    found = model.optimizer.variables
    return [*model.weights, *(found() if callable(found) else found)]


def state(model: Any) -> list[Any]:
    return [np.asarray(each).tolist() for each in variables(model)]


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "model and optimizer": lambda m: tf.train.Checkpoint(model=m, optimizer=m.optimizer),
    "model alone": lambda m: tf.train.Checkpoint(model=m),
    "under other names": lambda m: tf.train.Checkpoint(opt=m.optimizer, net=m),
    "the root": lambda m: tf.train.Checkpoint(m),
    "with a layer of its own": lambda m: tf.train.Checkpoint(a_head=m.layers[-1], net=m),
    "of TensorFlow 1": lambda m: v1.train.Checkpoint(model=m, optimizer=m.optimizer),
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
@pytest.mark.parametrize("name", ["keras", "tf_keras", "tf_keras legacy"])
def test_what_checkpoint_read_restores(
    name: str, holder: Callable[[Any], Any], tmp_path: Path
) -> None:
    """Every bit of the weights, the statistics and the optimizer, and the model's output."""
    library = importlib.import_module(name.split()[0])
    make = (
        tf_keras.optimizers.legacy.Adam if "legacy" in name else lambda: OPTIMIZERS["Adam"](library)
    )
    saved, theirs = net(library, 1, make()), net(library, 2, make())
    path = holder(saved).write(str(tmp_path / "ck"))
    reader = holder(theirs)
    if hasattr(reader, "read"):
        reader.read(path).assert_consumed()
    else:
        reader.restore(path)  # makes a counter of saves, which the file lacks
    x = np.random.default_rng(5).random((3, 4), "f4")
    expected, output = state(theirs), np.asarray(theirs(x))
    ours = net(library, 3, make(), shift=1)  # automatic names are shifted by one
    before = state(ours)
    with warnings.catch_warnings():
        warnings.simplefilter("error", initreg.InitregWarning)
        plan = SmartInit(path).init(holder(ours))
    assert state(ours) == expected != before
    assert np.asarray(ours(x)).tobytes() == output.tobytes()
    assert plan.target.startswith("tf.train.Checkpoint")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=[pytest.mark.slow] if slow else [])
        for kind in OPTIMIZERS
        for name, slow in (("keras", kind != "Adam"), ("tf_keras", False))
    ],
)
def test_every_kind_of_state(name: str, kind: str, tmp_path: Path) -> None:
    """Of several optimizers, in a checkpoint and alone."""
    library = importlib.import_module(name)
    saved, theirs, ours, alone = (net(library, n, OPTIMIZERS[kind](library)) for n in range(4))
    path = tf.train.Checkpoint(model=saved, optimizer=saved.optimizer).write(str(tmp_path / "ck"))
    tf.train.Checkpoint(model=theirs, optimizer=theirs.optimizer).read(path).assert_consumed()
    SmartInit(path).init(tf.train.Checkpoint(model=ours, optimizer=ours.optimizer))
    assert state(ours) == state(theirs)
    weights = [np.asarray(each).tolist() for each in alone.weights]
    with pytest.warns(UnusedWarning):  # the weights
        plan = SmartInit(path).init(alone.optimizer)
    assert state(alone) == weights + state(theirs)[len(weights) :]
    assert plan.target.startswith("optimizer ")


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_an_optimizer_alone(name: str, tmp_path: Path) -> None:
    """From a checkpoint of itself, from the file of its model, and from a dict of its names."""
    library = importlib.import_module(name)
    saved, ours = net(library, 1, "adam"), net(library, 2, "adam")
    weights = len(saved.weights)
    wanted, own = state(saved)[weights:], state(ours)[:weights]
    path = tf.train.Checkpoint(saved.optimizer).write(str(tmp_path / "ck"))
    saved.save_weights(str(tmp_path / "m.weights.h5"))
    target = initreg_target(saved.optimizer)
    assert target is not None
    values = [each.numpy() for each in variables(saved)[weights:]]
    # The rate of tf_keras, which is in checkpoints only, comes after these.
    named = {s.name: a for s, a in zip(target.variables(), values, strict=False)}
    assert len(named) == len(values)
    for source in (path, tmp_path / "m.weights.h5", named):
        other = net(library, 3, "adam")
        own = state(other)[:weights]
        # A .weights.h5 of tf_keras does not say of what class the optimizer is.
        by = "place" if source == tmp_path / "m.weights.h5" else None
        SmartInit(source, on_unused="ignore", by=by).init(other.optimizer)
        assert state(other) == own + wanted, source


def test_two_networks_of_like_layers(tmp_path: Path) -> None:
    """Each gets its own: a checkpoint of a network and of the one that it is compared with."""
    made = [[net(keras, seed, "sgd") for seed in (n, n + 1)] for n in (1, 3, 5)]
    holders = [tf.train.Checkpoint(target=b, online=a) for a, b in made]
    path = holders[0].save(str(tmp_path / "ck"))
    holders[1].read(path).expect_partial()
    with pytest.warns(UnusedWarning, match="save_counter"):
        SmartInit(path).init(holders[2])
    for theirs, ours in zip(made[1], made[2], strict=True):
        assert state(theirs) == state(ours)
    assert state(made[2][0]) != state(made[2][1])


def test_modules_with_variables_of_one_name(tmp_path: Path) -> None:
    """A module's own w beside those of its submodules, in lists, dicts and a Keras model."""

    class Net(Dense):
        def __init__(self, value: float) -> None:
            super().__init__(value)
            self.blocks = [Dense(value + 1), Dense(value + 2)]
            self.heads = {"a": Dense(value + 3), "b.c/d": Dense(value + 4)}
            self.model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
            self.w_of = {"w": self.blocks[0].w}  # another path to a variable

    saved, theirs, ours = Net(1), Net(20), Net(40)
    path = tf.train.Checkpoint(net=saved, step=tf.Variable(7)).write(str(tmp_path / "ck"))
    steps = tf.Variable(0), tf.Variable(0)
    tf.train.Checkpoint(net=theirs, step=steps[0]).read(path).assert_consumed()
    SmartInit(path).init(tf.train.Checkpoint(net=ours, step=steps[1]))
    assert steps[1].numpy() == steps[0].numpy() == 7
    for a, b in zip(theirs.variables, ours.variables, strict=True):
        assert a.numpy().tolist() == b.numpy().tolist()
    for a, b in zip(theirs.model.weights, ours.model.weights, strict=True):
        assert a.numpy().tolist() == b.numpy().tolist()


def test_a_part_of_what_was_saved(tmp_path: Path) -> None:
    """A target with fewer references: the same variables by another path."""
    saved, ours = Dense(1), Dense(0)
    path = tf.train.Checkpoint(a=saved.w, net=saved).write(str(tmp_path / "ck"))
    with pytest.warns(UnusedWarning, match="net/b"):
        SmartInit(path).init(tf.train.Checkpoint(a=ours.w))
    assert (ours.w.numpy().max(), ours.b.numpy().max()) == (1, 0)
    path = tf.train.Checkpoint(net=saved).write(str(tmp_path / "ck2"))
    ours = Dense(0)
    SmartInit(path).init(tf.train.Checkpoint(a=ours.w, net=ours))
    assert (ours.w.numpy().max(), ours.b.numpy().max()) == (1, 1)


def test_variables_that_do_not_exist_yet(tmp_path: Path) -> None:
    """TensorFlow would restore them later. Here the plan says how to make them, and nothing of the
    state is restored."""
    saved = net(keras, 1, "adam")
    path = tf.train.Checkpoint(model=saved, optimizer=saved.optimizer).write(str(tmp_path / "ck"))
    fresh = net(keras, 2, "adam")
    fresh.compile("adam", "mse")  # an optimizer without slots
    holder = tf.train.Checkpoint(model=fresh, optimizer=fresh.optimizer)
    plan = SmartInit(path).init(holder)
    (note,) = plan.states
    assert "it is not built" in note.text
    assert "optimizer.build(model.trainable_variables)" in note.text
    assert len(plan.restored) == len(fresh.weights)
    fresh.optimizer.build(fresh.trainable_variables)
    assert not np.any(fresh.optimizer.variables[2].numpy())
    assert int(fresh.optimizer.iterations) == 0
    SmartInit(path).init(tf.train.Checkpoint(model=fresh, optimizer=fresh.optimizer))
    assert state(fresh) == state(saved)
    module = tf.train.Checkpoint(model=tf.Module())
    with pytest.raises(NothingMatched):
        SmartInit(path).init(module)
    assert module.model.variables == ()


Made = tuple[tf.train.Checkpoint, list[tf.Variable], Any]  # a checkpoint, its variables, owners


def checkpoint_of(kind: str, start: int) -> Made:
    """A checkpoint whose variables have values from ``start`` on."""
    found = [tf.Variable(float(start + number), name=f"v{number}") for number in range(5)]
    a, b, c, d, e = found
    checkpoint = tf.train.Checkpoint
    module = tf.Module()
    module.w, module.d = a, {"b:0": b, "b": c, "c:0": [d]}
    before = checkpoint(x=c)
    if kind == "names as keys":
        return checkpoint(vars={v.name: v for v in found}), found, None
    if kind == "some keys end in :0":
        return checkpoint(m=module, l=[e, {"b:0:0": module.w}]), found, None
    if kind == "a root with others":
        return checkpoint(root=module, other=e), found, module
    if kind == "a root that is referenced weakly":
        return checkpoint(weakref.ref(module), other=e), found, module
    if kind == "a child called root":
        made = checkpoint(other=b, d={"e:0": [c, d, e]})
        made.root = checkpoint(x=a)
        return made, found, None
    if kind == "a root, and another one later":
        made = checkpoint(root=checkpoint(x=a), other=b, before=before)
        kept = made.root, made.before
        made.root, made.before, made.later = checkpoint(x=d), checkpoint(x=e), e
        return made, found, kept
    if kind == "a root inside":
        return checkpoint(inner=checkpoint(root=module, other=e)), found, None
    made = checkpoint(m=module, root=checkpoint(step=e))
    return made, found, None


@pytest.mark.parametrize(
    "kind",
    [
        "names as keys",
        "some keys end in :0",
        "a root with others",
        "a root that is referenced weakly",
        "a child called root",
        "a root, and another one later",
        "a root inside",
        "a root that is a checkpoint",
    ],
)
def test_names_in_a_checkpoint(kind: str, tmp_path: Path) -> None:
    """Whatever keys and attributes are called, what Checkpoint.read restores is restored."""
    saved, _, _kept = checkpoint_of(kind, 1)
    path = saved.write(str(tmp_path / "ck"))
    reader, theirs, _kept_too = checkpoint_of(kind, 11)
    reader.read(path).assert_consumed()
    target, ours, _kept_as_well = checkpoint_of(kind, 11)
    with warnings.catch_warnings():
        warnings.simplefilter("error", initreg.InitregWarning)
        plan = SmartInit(path).init(target)
    expected = [float(v.numpy()) for v in theirs]
    assert [float(v.numpy()) for v in ours] == expected
    assert len(plan.restored) == sum(value < 10 for value in expected) > 2
    # and into the same variables from a living one
    again, values, _kept_again = checkpoint_of(kind, 11)
    SmartInit(saved).init(again)
    assert [float(v.numpy()) for v in values] == expected


def test_a_checkpoint_manager(tmp_path: Path) -> None:
    """What it manages is restored, from a path that it wrote."""
    saved, ours = Dense(3), Dense(0)
    first = tf.train.CheckpointManager(tf.train.Checkpoint(m=saved), str(tmp_path), 2)
    path = first.save()
    second = tf.train.CheckpointManager(tf.train.Checkpoint(m=ours), str(tmp_path), 2)
    with pytest.warns(UnusedWarning, match="save_counter"):  # it has not been made yet
        SmartInit(path).init(second)
    assert (ours.w.numpy().max(), ours.b.numpy().max()) == (3, 3)
    counter = second.checkpoint.save_counter
    assert counter.numpy() == 0
    SmartInit(path).init(second)
    assert counter.numpy() == 1


def test_a_checkpoint_of_variables_of_a_graph() -> None:
    """The error says to pass the session."""
    with tf.Graph().as_default():
        holder = tf.train.Checkpoint(v=v1.Variable(0.0, use_resource=True))
    with pytest.raises(TargetError, match="Pass the session"):
        SmartInit({"v": np.float32(1)}).init(holder)


# --- loaded SavedModels -------------------------------------------------------------------------


class Served(tf.Module):  # type: ignore[misc]
    def __init__(self, value: float) -> None:
        super().__init__()
        self.layers = [Dense(value), Dense(value + 1)]
        self.scale = tf.Variable(value, name="scale")

    @tf.function(input_signature=[tf.TensorSpec([None, 2])])  # type: ignore[untyped-decorator]
    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = x @ layer.w + layer.b
        return x * self.scale


def test_a_loaded_module(tmp_path: Path) -> None:
    """By place from a checkpoint and from another SavedModel, by name from a dict and an npz."""
    tf.saved_model.save(Served(1.0), str(tmp_path / "one"))
    tf.saved_model.save(Served(2.0), str(tmp_path / "two"))
    two = Served(2.0)
    path = tf.train.Checkpoint(two).write(str(tmp_path / "ck"))
    x = np.ones((1, 2), "f4")
    wanted = two(x).numpy().tolist()
    target = initreg_target(tf.saved_model.load(str(tmp_path / "two")))
    assert target is not None
    assert target.label == "loaded SavedModel"
    names = [spec.name for spec in target.variables()]
    assert sorted(names) == ["layers/0/b", "layers/0/w", "layers/1/b", "layers/1/w", "scale"]
    values = {
        "layers/0/b": two.layers[0].b,
        "layers/0/w": two.layers[0].w,
        "layers/1/b": two.layers[1].b,
        "layers/1/w": two.layers[1].w,
        "scale": two.scale,
    }
    arrays = {name: v.numpy() for name, v in values.items()}
    npz = initreg.save(tmp_path / "a.npz", arrays)
    for source in (path, tmp_path / "two", npz, arrays):
        loaded = tf.saved_model.load(str(tmp_path / "one"))
        assert loaded(x).numpy().tolist() != wanted
        SmartInit(source).init(loaded)
        assert loaded(x).numpy().tolist() == wanted, source


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_a_loaded_keras_model(name: str, tmp_path: Path) -> None:
    """An exported model computes what the model that the file came from computes."""
    library = importlib.import_module(name)
    one, two = net(library, 1, "adam"), net(library, 2, "adam")
    one.export(str(tmp_path / "one"))
    two.export(str(tmp_path / "two"))
    x = np.random.default_rng(0).random((3, 4), "f4")
    loaded = tf.saved_model.load(str(tmp_path / "one"))
    plan = SmartInit(tmp_path / "two", on_unused="ignore").init(loaded)
    assert not plan.missing("warn")
    np.testing.assert_allclose(loaded.serve(x), two(x), rtol=1e-5)


def test_a_loaded_model_of_tensorflow_1(tmp_path: Path) -> None:
    """By the names of its graph."""

    def save(value: float, folder: Path) -> None:
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None])
            w = v1.get_variable("scope/w", initializer=np.float32(value))
            session.run(w.initializer)
            v1.saved_model.simple_save(session, str(folder), {"x": x}, {"y": x * w})

    save(1, tmp_path / "one")
    save(5, tmp_path / "two")
    for source in (tmp_path / "two", {"scope/w": np.float32(5)}):
        loaded = tf.saved_model.load(str(tmp_path / "one"))
        SmartInit(source).init(loaded)
        found = loaded.signatures["serving_default"](tf.constant([2.0]))
        assert found["y"].numpy().tolist() == [10]


# --- tracked lists and dicts --------------------------------------------------------------------


def test_tracked_lists_and_dicts(tmp_path: Path) -> None:
    """A list or a dict of modules or variables that an object tracks."""
    saved = tf.Module()
    saved.layers = [Dense(1), Dense(2)]
    saved.heads = {"a": Dense(3), "b": tf.Variable(4.0, name="b")}
    for attribute in ("layers", "heads"):
        module = tf.Module()
        module.layers = [Dense(0), Dense(0)]
        module.heads = {"a": Dense(0), "b": tf.Variable(0.0, name="b")}
        path = tf.train.Checkpoint(getattr(saved, attribute)).write(str(tmp_path / attribute))
        SmartInit(path).init(getattr(module, attribute))
        for a, b in zip(saved.variables, module.variables, strict=True):
            is_restored = any(b is v for v in initreg_target(getattr(module, attribute))._variables)
            assert b.numpy().tolist() == (a.numpy() if is_restored else 0 * a.numpy()).tolist()


def test_tracked_arrays_are_arrays() -> None:
    """A dict of arrays that an object tracks is a dict of arrays."""
    module = tf.Module()
    module.held = {"w": np.zeros(2, "f4")}
    SmartInit({"w": np.ones(2, "f4")}).init(module.held)
    assert module.held["w"].tolist() == [1, 1]


def test_what_tracks_no_variables_is_unknown() -> None:
    """The error says what may be given."""
    with pytest.raises(
        UnknownTarget, match=r"Give a Keras model or layer, a dict of numpy arrays,"
    ):
        SmartInit({"v": np.float32(1)}).init(object())
