"""Resuming a TF1 session restores all that its Saver saves, as ``Saver.restore`` does."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import DamagedFile, InitregError, MismatchError, MissingWarning, TargetError
from initreg.trainers.tf1 import ModelSaver, init_fn

v1 = tf.compat.v1
SaveableObject = v1.train.Saver.__init__.__globals__["BaseSaverBuilder"].SaveableObject
SaveSpec = v1.train.Saver.__init__.__globals__["BaseSaverBuilder"].SaveSpec


@dataclass
class Model:
    """A graph: what a step runs, what shows its state, and what is saved.

    ``var_list`` is for the ModelSaver, and ``scaffold`` for a Saver of the Scaffold.
    """

    step: list[Any]
    state: dict[str, Any]
    var_list: Any = None
    scaffold: Any = None
    begin: list[Any] = field(default_factory=list)  # initialises what no collection knows of


def number(name: str = "w", **options: Any) -> Any:
    return v1.get_variable(name, [], initializer=v1.zeros_initializer(), **options)


def counted() -> Any:
    """The global step as a string, which is another key in each step."""
    return tf.strings.as_string(v1.train.get_global_step())[None]


def mutable_table() -> Model:
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1, name="seen")
    ids = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, [0.0, 0.0], name="ids")
    step = v1.train.get_global_step()
    filled = ids.insert(step[None], [[1.5, 2.5]])
    found = ids.lookup(tf.range(4, dtype=tf.int64))
    words = table.lookup(tf.constant(["0", "1", "2", "3"]))
    state = {"size": table.size(), "words": words, "ids": found}
    return Model([table.insert(counted(), step[None]), filled], state)


def dense_table() -> Model:
    step = v1.train.get_global_step()
    table = tf.lookup.experimental.DenseHashTable(tf.int64, tf.float32, 0.0, -1, -2, name="dense")
    pairs = tf.lookup.experimental.DenseHashTable(
        tf.int64, tf.int64, [7, 7], -1, -2, name="pairs", initial_num_buckets=8
    )
    keys = tf.range(4, dtype=tf.int64)
    state = {"size": table.size(), "found": table.lookup(keys), "pairs": pairs.lookup(keys)}
    return Model([table.insert(step[None], [2.5]), pairs.insert(step[None], [[1, 2]])], state)


def vocabulary() -> Model:
    """A table that is initialised, and not saved, beside one that is."""
    table = tf.lookup.StaticVocabularyTable(
        tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([0, 1], tf.int64)), 1
    )
    w = number()
    one = v1.assign_add(w, tf.cast(table.lookup(tf.constant("b")), tf.float32))
    return Model([one], {"w": w, "b": table.lookup(tf.constant("b"))})


def iterator() -> Model:
    """Its initializer runs after ``init_fn``, as those of tables do."""
    made = v1.data.make_initializable_iterator(tf.data.Dataset.range(100).shuffle(10, seed=1))
    v1.add_to_collection(v1.GraphKeys.TABLE_INITIALIZERS, made.initializer)
    saveable = tf.data.experimental.make_saveable_from_iterator(made)
    v1.add_to_collection(v1.GraphKeys.SAVEABLE_OBJECTS, saveable)
    last = number("last", dtype=tf.int64)
    return Model([last.assign(made.get_next())], {"last": last}, begin=[made.initializer])


class Half(SaveableObject):  # type: ignore[misc, valid-type]
    """Saves the half of a variable that is in no collection, and clears another one before."""

    def __init__(self, variable: Any, log: Any, name: str) -> None:
        self.log = log
        super().__init__(variable, [SaveSpec(variable.value() / 2, "", f"{name}-half")], name)

    def restore(self, restored_tensors: list[Any], restored_shapes: Any) -> Any:
        with tf.control_dependencies([self.log.assign(5.0)]):
            return self.op.assign(restored_tensors[0] * 2)


def saveable() -> Model:
    hidden, log = number("hidden", collections=["mine"]), number("log", collections=["mine"])
    v1.add_to_collection(v1.GraphKeys.SAVEABLE_OBJECTS, Half(hidden, log, "hidden"))
    begin = [hidden.initializer, log.initializer]
    return Model([v1.assign_add(hidden, 3.0)], {"hidden": hidden}, begin=begin)


def var_list_of_names() -> Model:
    """Two variables that are saved under the names of each other, and a partitioned one."""
    a, b = number("a"), number("b", use_resource=False)
    parts = v1.get_variable(
        "parts", [5], partitioner=v1.fixed_size_partitioner(2), initializer=v1.zeros_initializer()
    )
    step = [v1.assign_add(a, 1.0), v1.assign_add(b, 10.0)]
    step += [part.assign_add(tf.range(1.0, part.shape[0] + 1)) for part in parts]
    state = {"a": a, "b": b, "parts": tf.concat(list(parts), 0)}
    names = {"a": b, "b": a, "pieces": list(parts), "global_step": v1.train.get_global_step()}
    return Model(step, state, names)


def var_list_with_objects() -> Model:
    """A list of variables, of which one is local, and of saveables, one of them an iterator."""
    w, other = number(), number("other", collections=[v1.GraphKeys.LOCAL_VARIABLES])
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1, name="seen")
    made = v1.data.make_initializable_iterator(tf.data.Dataset.range(100))
    position = tf.data.experimental.make_saveable_from_iterator(made)
    (of_table,) = v1.get_collection(v1.GraphKeys.SAVEABLE_OBJECTS)
    step = [v1.assign_add(w, tf.cast(made.get_next(), tf.float32)), v1.assign_add(other, 1.0)]
    step += [table.insert(counted(), [1])]
    v1.add_to_collection(v1.GraphKeys.LOCAL_INIT_OP, made.initializer)
    return Model(
        step,
        {"w": w, "other": other, "size": table.size(), "next": w * 1000},
        [w, other, of_table, position, v1.train.get_global_step()],
        begin=[made.initializer],
    )


def of_the_scaffold() -> Model:
    """The Saver of the Scaffold has names of its own, a table, an iterator and shards."""
    model = iterator()
    w = number()
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1, name="seen")
    step = [*model.step, v1.assign_add(w, 1.0), table.insert(counted(), [1])]
    names = {"renamed": w, "last": v1.global_variables()[1], "s": v1.train.get_global_step()}
    for each in v1.get_collection(v1.GraphKeys.SAVEABLE_OBJECTS):
        names[each.name] = each
    saver = v1.train.Saver(names, sharded=True, max_to_keep=1)
    return Model(
        step, {**model.state, "w": w, "size": table.size()}, scaffold=saver, begin=model.begin
    )


KINDS = [
    mutable_table,
    dense_table,
    vocabulary,
    iterator,
    saveable,
    var_list_of_names,
    var_list_with_objects,
    of_the_scaffold,
]


def run(folder: Path, make: Callable[[], Model], steps: int, **options: Any) -> tuple[int, Any]:
    """Train with a ModelSaver that keeps one checkpoint. At which step it started, and with which
    state; with ``steps``, the state in the end."""
    with tf.Graph().as_default() as graph:
        step = v1.train.get_or_create_global_step()
        model = make()
        with tf.control_dependencies(model.step):
            train = v1.assign_add(step, 1)
        saver = ModelSaver(folder, every_n_steps=1, max_to_keep=1, var_list=model.var_list)
        local = v1.train.Scaffold.default_local_init_op()
        scaffold = v1.train.Scaffold(
            init_fn=init_fn(None, saver, **options),
            saver=model.scaffold,
            local_init_op=tf.group(local, *model.begin),
        )
        with v1.train.MonitoredTrainingSession(
            scaffold=scaffold, hooks=[saver], save_checkpoint_steps=None, save_checkpoint_secs=None
        ) as session:
            assert graph.finalized
            fetch = lambda step_context: step_context.session.run([step, model.state])  # noqa: E731
            first, state = session.run_step_fn(fetch)
            for _ in range(steps):
                session.run(train)
            if steps:
                _, state = session.run_step_fn(fetch)
    return int(first), {name: np.asarray(value).tolist() for name, value in state.items()}


def by_saver(path: Path, make: Callable[[], Model]) -> dict[str, Any]:
    """The state after ``Saver.restore``, in the same graph."""
    with tf.Graph().as_default(), v1.Session() as session:
        v1.train.get_or_create_global_step()
        model = make()
        saver = model.scaffold or v1.train.Saver(model.var_list)
        session.run([v1.global_variables_initializer(), v1.local_variables_initializer()])
        session.run([v1.tables_initializer(), model.begin])
        saver.restore(session, str(path))
        state = session.run(model.state)
    return {name: np.asarray(value).tolist() for name, value in state.items()}


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
@pytest.mark.filterwarnings("ignore:.*make_saveable_from_iterator")
def test_as_the_saver_restores(make: Callable[[], Model], tmp_path: Path) -> None:
    """The state of a resumed session is the one that was saved. It is also the one that the Saver
    restores from the same file, and the training ends as one that was never interrupted."""
    _, fresh = run(tmp_path / "fresh", make, 0)
    started, saved = run(tmp_path / "run", make, 3)
    assert started == 0
    assert saved != fresh
    started, resumed = run(tmp_path / "run", make, 0)
    assert (started, resumed) == (3, saved)
    (index,) = (tmp_path / "run").glob("*.index")
    assert by_saver(index.with_suffix(""), make) == saved
    _, whole = run(tmp_path / "whole", make, 5)
    assert run(tmp_path / "run", make, 2) == (3, whole)


def test_other_ops_of_a_saveable(tmp_path: Path) -> None:
    """What a SaveableObject does besides taking its arrays is done, too, before it takes them."""

    def make() -> Model:
        model = saveable()
        (log,) = (each for each in v1.get_collection("mine") if each.op.name == "log")
        return Model(model.step, {**model.state, "log": log}, begin=model.begin)

    run(tmp_path, make, 1)
    assert run(tmp_path, make, 0) == (1, {"hidden": 3.0, "log": 5.0})


def test_a_table_that_came_later(tmp_path: Path) -> None:
    """A table, and an iterator, that the checkpoint does not have are reported as missing, and
    begin anew. All others are restored."""

    def older() -> Model:
        w = number()
        return Model([v1.assign_add(w, 1.0)], {"w": w})

    def newer() -> Model:
        first, second, third = older(), mutable_table(), iterator()
        return Model(
            [*first.step, *second.step, *third.step],
            {**first.state, **second.state, **third.state},
            begin=third.begin,
        )

    run(tmp_path, older, 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started, state = run(tmp_path, newer, 0)
    assert (started, state["w"], state["size"], state["last"]) == (2, 2.0, 0, 0)
    said = "\n".join(str(each.message) for each in caught if each.category is MissingWarning)
    for name in ("seen-keys", "seen-values", "ids-keys", "ids-values", "last"):
        assert name in said
    assert re.search(r"model-2 -> TF1 session: 1 only in the target, .*IteratorV2:0_STATE", said)


def test_a_table_that_is_there_in_part(tmp_path: Path) -> None:
    """Keys without values are an error, and neither the variables nor the tables are changed."""
    run(tmp_path, mutable_table, 1)
    arrays = initreg.load(tmp_path / "model-1")
    del arrays["seen-values"]
    initreg.save(tmp_path / "model-1.index", arrays)
    with pytest.raises(MismatchError, match=r"has 'seen-keys', but not 'seen-values', of 'seen'"):
        run(tmp_path, mutable_table, 0)


def test_a_table_of_other_values(tmp_path: Path) -> None:
    """A table whose values have another shape does not fit. That is found before anything is
    written, and not by the op that fills the table."""

    def make(size: int) -> Callable[[], Model]:
        def model() -> Model:
            w = number()
            table = tf.lookup.experimental.MutableHashTable(
                tf.string, tf.float32, [0.0] * size, name="t"
            )
            fill = table.insert(counted(), [[1.0] * size])
            return Model([v1.assign_add(w, 1.0), fill], {"w": w})

        return model

    run(tmp_path, make(2), 1)
    assert run(tmp_path, make(2), 0) == (1, {"w": 1.0})
    with pytest.raises(MismatchError, match=r"t-values: shape \(1, 2\) does not fit \(None, 3\)"):
        run(tmp_path, make(3), 0)


def session_of(make: Callable[[], Model], folder: Path) -> tuple[Any, Any, Model]:
    """A session that is initialised, its saver, and what is in its graph, which is finalized."""
    v1.train.get_or_create_global_step()
    model = make()
    saver = ModelSaver(folder, every_n_steps=1, var_list=model.var_list)
    saver.begin()
    begin = [v1.global_variables_initializer(), v1.local_variables_initializer(), *model.begin]
    v1.get_default_graph().finalize()
    session = v1.Session()
    session.run(begin)
    return session, saver, model


def test_a_plan_that_fails_writes_nothing(tmp_path: Path) -> None:
    """Neither a variable that fits nor a table is changed when another variable does not fit."""

    def make(size: int) -> Callable[[], Model]:
        def model() -> Model:
            first = mutable_table()
            w = number()
            other = v1.get_variable("z", [size], initializer=v1.zeros_initializer())
            step = [*first.step, v1.assign_add(w, 1.0), other.assign_add([1.0] * size)]
            return Model(step, {**first.state, "w": w, "z": other})

        return model

    run(tmp_path, make(2), 2)
    point = initreg.resume(tmp_path)
    with tf.Graph().as_default():
        session, saver, model = session_of(make(3), tmp_path)
        before = session.run(model.state)
        with pytest.raises(MismatchError, match=r"z: shape \(2,\) does not fit \(3,\)"):
            saver.restore(session, point, None)
        after = session.run(model.state)
        session.close()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_damage_in_a_table(tmp_path: Path) -> None:
    """A flipped bit in the keys of a table is an error that names the file."""
    run(tmp_path, mutable_table, 2)
    (data,) = tmp_path.glob("*.data-*")
    content = bytearray(data.read_bytes())
    content[content.index(np.array([[1.5, 2.5]] * 2, "f4").tobytes())] ^= 1
    data.write_bytes(content)
    with pytest.raises((DamagedFile, initreg.PartialRestoreError), match="model-2"):
        run(tmp_path, mutable_table, 0)


def test_an_op_that_fails(tmp_path: Path) -> None:
    """An error of TensorFlow while it fills an object is one of initreg."""

    class Failing(Half):
        def restore(self, restored_tensors: list[Any], restored_shapes: Any) -> Any:
            return tf.debugging.assert_less(restored_tensors[0], -1.0, message="not like this")

    def make() -> Model:
        hidden, log = number("hidden", collections=["mine"]), number("log", collections=["mine"])
        v1.add_to_collection(v1.GraphKeys.SAVEABLE_OBJECTS, Failing(hidden, log, "hidden"))
        begin = [hidden.initializer, log.initializer]
        return Model([v1.assign_add(hidden, 3.0)], {"hidden": hidden}, begin=begin)

    run(tmp_path, make, 1)
    with pytest.raises((TargetError, initreg.PartialRestoreError), match="not like this"):
        run(tmp_path, make, 0)


def test_variables_that_are_not_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """They are left as they are, as by a Saver, although the checkpoint of a fuller Saver has them.
    The log names them."""

    def make(all_of_them: bool) -> Callable[[], Model]:
        def model() -> Model:
            w, b = number(), number("b")
            var_list = None if all_of_them else [w, v1.train.get_global_step()]
            step = [v1.assign_add(w, 1.0), v1.assign_add(b, 1.0)]
            return Model(step, {"w": w, "b": b}, var_list)

        return model

    run(tmp_path, make(True), 2)
    with caplog.at_level(logging.WARNING, "initreg"), pytest.warns(initreg.UnusedWarning):
        assert run(tmp_path, make(False), 0) == (2, {"w": 2.0, "b": 0.0})
    assert "1 variable not among those that are saved" in caplog.text


def test_a_checkpoint_of_the_saver_of_the_scaffold(tmp_path: Path) -> None:
    """A training that TensorFlow's own hook saved, with a Saver of the Scaffold, goes on."""
    with tf.Graph().as_default():
        step = v1.train.get_or_create_global_step()
        w = number()
        train = tf.group(v1.assign_add(w, 1.0), v1.assign_add(step, 1))
        scaffold = v1.train.Scaffold(saver=v1.train.Saver({"renamed": w, "s": step}))
        with v1.train.MonitoredTrainingSession(
            scaffold=scaffold, checkpoint_dir=str(tmp_path), save_checkpoint_steps=1
        ) as session:
            for _ in range(3):
                session.run(train)

    def make() -> Model:
        w, step = number(), v1.train.get_global_step()
        saver = v1.train.Saver({"renamed": w, "s": step})
        return Model([v1.assign_add(w, 1.0)], {"w": w}, scaffold=saver)

    assert run(tmp_path, make, 0) == (3, {"w": 3.0})
    assert run(tmp_path, make, 1) == (3, {"w": 4.0})
    assert set(initreg.load(tmp_path / "model-4")) == {"renamed", "s"}


def test_var_list_counts_more_than_the_scaffold(tmp_path: Path) -> None:
    """A ModelSaver with a var_list saves and restores by that, whatever the Scaffold has."""

    def make() -> Model:
        w, step = number(), v1.train.get_global_step()
        names = {"mine": w, "global_step": step}
        return Model([v1.assign_add(w, 1.0)], {"w": w}, names, v1.train.Saver({"other": w}))

    run(tmp_path, make, 2)
    assert set(initreg.load(tmp_path / "model-2")) == {"mine", "global_step"}
    assert run(tmp_path, make, 0) == (2, {"w": 2.0})


def test_a_saver_of_2015(tmp_path: Path) -> None:
    """A Saver of the Scaffold that writes V1 checkpoints is refused, before anything is trained."""

    def make() -> Model:
        w = number()
        saver = v1.train.Saver({"renamed": w}, write_version=v1.train.SaverDef.V1)
        return Model([v1.assign_add(w, 1.0)], {"w": w}, scaffold=saver)

    with pytest.raises(InitregError, match=r"write_version=tf\.compat\.v1\.train\.SaverDef\.V2"):
        run(tmp_path, make, 1)
    assert not list(tmp_path.iterdir())


def test_a_session_without_the_hook(tmp_path: Path) -> None:
    """For evaluation, say, the saver is only given to init_fn. Tables are restored there, too."""
    run(tmp_path, mutable_table, 3)
    with tf.Graph().as_default():
        v1.train.get_or_create_global_step()
        model = mutable_table()
        start = init_fn(None, ModelSaver(tmp_path, every_n_steps=1))
        creator = v1.train.ChiefSessionCreator(v1.train.Scaffold(init_fn=start))
        with v1.train.MonitoredSession(creator) as session:
            assert session.run(model.state["size"]) == 3


def test_one_array_for_two_variables(tmp_path: Path) -> None:
    """As those of MirroredStrategy: each has the value, and trains on without the other."""

    def make() -> Model:
        a, b = number("a"), number("b")

        class Both(SaveableObject):  # type: ignore[misc, valid-type]
            def restore(self, restored_tensors: list[Any], restored_shapes: Any) -> Any:
                return tf.group(*(each.assign(restored_tensors[0]) for each in (a, b)))

        both = Both(a, [SaveSpec(a.value(), "", "both")], "both")
        step = [v1.assign_add(a, 1.0), v1.assign_add(b, 10.0)]
        return Model(step, {"a": a, "b": b}, [both, v1.train.get_global_step()])

    run(tmp_path, make, 2)
    assert run(tmp_path, make, 0) == (2, {"a": 2.0, "b": 2.0})
    assert run(tmp_path, make, 1) == (2, {"a": 3.0, "b": 12.0})
