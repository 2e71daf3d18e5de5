"""A TF1 session as a target: the graph's own initializers write, and no op is added."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from initreg import (
    DuplicateName,
    MismatchError,
    MissingWarning,
    NothingMatched,
    SmartInit,
    TargetError,
    dtypes,
)
from initreg_targets import session_writing
from initreg_targets.tf_session import initreg_target

v1 = tf.compat.v1

# What TensorFlow has an Assign kernel for; a reference variable of float8 cannot even be made.
NUMBERS = [
    *("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128"),
]
FLOAT8 = ["float8_e4m3fn", "float8_e5m2"]


@pytest.fixture
def graph() -> Iterator[Any]:
    """A graph of its own, as the default one."""
    with tf.Graph().as_default() as graph:
        yield graph


def variable(name: str, value: Any, **options: Any) -> Any:
    return v1.Variable(tf.constant(value), name=name, **options)


def operations(graph: Any) -> tuple[int, int]:
    return len(graph.get_operations()), graph.version


@pytest.mark.parametrize("use_resource", [True, False])
@pytest.mark.parametrize("finalized", [True, False])
def test_writes_without_adding_an_op(graph: Any, use_resource: bool, finalized: bool) -> None:
    """Resource and reference variables are written, initialised before or not, also in a finalized
    graph, and the graph is unchanged."""
    w = variable("fc/W", np.zeros((2, 3), "f4"), use_resource=use_resource)
    b = variable("fc/b", np.zeros(3, "f4"), use_resource=use_resource)
    ready = v1.report_uninitialized_variables()
    if finalized:
        graph.finalize()
    with v1.Session() as session:
        session.run(b.initializer)
        before = operations(graph)
        given = {"fc/W": np.arange(6, dtype="f4").reshape(2, 3), "fc/b": np.ones(3, "f4")}
        plan = SmartInit(given).init(session)
        assert operations(graph) == before
        assert session.run(ready).tolist() == []
        np.testing.assert_array_equal(session.run(w), given["fc/W"])
        np.testing.assert_array_equal(session.run(b), given["fc/b"])
        assert [row.name for row in plan.restored] == ["fc/W", "fc/b"]
        assert plan.target == "TF1 session"


@pytest.mark.parametrize(
    ("dtype", "use_resource"),
    [*((d, r) for d in NUMBERS for r in (True, False)), *((d, True) for d in FLOAT8)],
)
def test_every_dtype_bit_for_bit(graph: Any, dtype: str, use_resource: bool) -> None:
    """Every dtype is restored with the same bits, 0-d and empty arrays too."""
    kind = dtypes.to_numpy(dtype)
    given = {
        "v": (np.arange(6) % 2).reshape(2, 3).astype(kind),
        "scalar": np.ones((), kind),
        "empty": np.ones((0, 3), kind),
    }
    made = {
        name: variable(name, np.zeros_like(array), use_resource=use_resource)
        for name, array in given.items()
    }
    with v1.Session() as session:
        SmartInit(given).init(session)
        for name, array in given.items():
            found = session.run(made[name])
            assert found.dtype == kind
            assert found.shape == array.shape
            assert found.tobytes() == array.tobytes()


@pytest.mark.parametrize("use_resource", [True, False])
def test_strings(graph: Any, use_resource: bool) -> None:
    """Strings arrive as bytes, text in UTF-8."""
    words = variable("words", ["", "", ""], use_resource=use_resource)
    one = variable("one", "", use_resource=use_resource)
    given = np.array(["a", "zwölf", b"\xff\0x"], dtype=object)
    with v1.Session() as session:
        SmartInit({"words": given, "one": "hi"}).init(session)
        assert session.run(words).tolist() == [b"a", "zwölf".encode(), b"\xff\0x"]
        assert session.run(one) == b"hi"


@pytest.mark.parametrize("use_resource", [True, False])
def test_shares_no_memory_with_the_source(graph: Any, use_resource: bool) -> None:
    """Editing the user's array changes no variable, and training changes none of the user's arrays.
    TensorFlow would not copy an array that is aligned to 64 bytes."""
    raw = np.zeros(4 * 1024 + 64, "u1")
    start = -raw.ctypes.data % 64
    given = raw[start : start + 4096].view("f4")
    given[:] = 1
    assert given.ctypes.data % 64 == 0
    v = variable("v", np.zeros(1024, "f4"), use_resource=use_resource)
    add = v1.assign_add(v, tf.ones(1024))
    with v1.Session() as session:
        SmartInit({"v": given}).init(session)
        given[:] = 7
        np.testing.assert_array_equal(session.run(v), np.ones(1024, "f4"))
        session.run(add)
        np.testing.assert_array_equal(session.run(v), np.full(1024, 2, "f4"))
        np.testing.assert_array_equal(given, np.full(1024, 7, "f4"))


def test_variables_that_share_an_initial_value(graph: Any) -> None:
    """Two variables with the same tensor as initial value still each get their own array."""
    initial = tf.zeros(3)
    a = v1.Variable(initial, name="a", use_resource=True)
    b = v1.Variable(initial, name="b", use_resource=False)
    c = v1.Variable(initial * 2, name="c")
    with v1.Session() as session:
        given = {name: np.full(3, i, "f4") for i, name in enumerate("abc", start=1)}
        SmartInit(given).init(session)
        for name, v in zip("abc", (a, b, c), strict=True):
            np.testing.assert_array_equal(session.run(v), given[name])


@pytest.mark.parametrize("use_resource", [True, False])
@pytest.mark.parametrize("plainly", [True, False])
def test_batches(
    graph: Any, use_resource: bool, plainly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All variables are written in any number of runs, limited by number or bytes, with and without
    the graph optimiser."""
    made = [variable(f"v{i}", np.zeros(4, "f4"), use_resource=use_resource) for i in range(25)]
    given = {f"v{i}": np.full(4, i, "f4") for i in range(25)}
    monkeypatch.setattr(session_writing, "_MOST_OPTIMISED", 3)
    monkeypatch.setattr(session_writing, "_MOST_BYTES", 5 * 16)
    runs = []
    with v1.Session() as session:
        make, run = session._make_callable_from_options, session.run

        def counting(options: Any) -> Any:
            if not plainly:
                raise tf.errors.UnimplementedError(None, None, "not in this session")
            call = make(options)
            runs.append(len(options.feed))
            return call

        monkeypatch.setattr(session, "_make_callable_from_options", counting)
        monkeypatch.setattr(
            session, "run", lambda fetches, feeds: (runs.append(len(fetches)), run(fetches, feeds))
        )
        SmartInit(given).init(session)
        assert runs == ([5] * 5 if plainly else [3, 2] * 5)
        monkeypatch.undo()
        found = session.run(made)
    assert [array.tolist() for array in found] == [a.tolist() for a in given.values()]


@pytest.mark.parametrize("use_resource", [True, False])
def test_the_graph_optimiser_is_not_run(
    graph: Any, use_resource: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This TensorFlow has the op that keeps the optimiser away: nothing runs the usual way, in a
    finalized graph, whichever output of an op is fed."""
    first, second = tf.split(tf.zeros(6), 2)
    made = [
        v1.get_variable("a", initializer=second, use_resource=use_resource),
        v1.get_variable("b", initializer=first, use_resource=use_resource),
    ]
    graph.finalize()
    with v1.Session() as session:
        run = session.run
        monkeypatch.setattr(session, "run", lambda *_: pytest.fail("the graph was optimised"))
        SmartInit({"a": np.full(3, 1, "f4"), "b": np.full(3, 2, "f4")}).init(session)
        monkeypatch.undo()
        assert [run(each).tolist() for each in made] == [[1, 1, 1], [2, 2, 2]]


def test_a_partitioned_variable_is_one_variable(graph: Any, tmp_path: Path) -> None:
    """Parts are shown and filled under their common name, as in a Saver."""
    with v1.variable_scope("", partitioner=v1.fixed_size_partitioner(3, axis=0), use_resource=True):
        rows = v1.get_variable("emb", (7, 4), tf.float32)
    with v1.variable_scope("", partitioner=v1.fixed_size_partitioner(2, axis=1)):
        columns = v1.get_variable("scope/col", (2, 5), tf.float32)
    whole = {
        "emb": np.arange(28, dtype="f4").reshape(7, 4),
        "scope/col": np.arange(10, dtype="f4").reshape(2, 5),
    }
    read = {"emb": tf.concat(list(rows), 0), "scope/col": tf.concat(list(columns), 1)}
    saver = v1.train.Saver()
    with v1.Session() as session:
        target = initreg_target(session)
        assert target is not None
        assert [(s.name, s.shape) for s in target.variables()] == [
            ("emb", (7, 4)),
            ("scope/col", (2, 5)),
        ]
        SmartInit(whole).init(session)
        for name, tensor in read.items():
            np.testing.assert_array_equal(session.run(tensor), whole[name])
        saver.save(session, str(tmp_path / "model"))
        session.run(v1.global_variables_initializer())
    with v1.Session() as session:  # and what a Saver wrote of it comes back
        SmartInit(str(tmp_path / "model")).init(session)
        for name, tensor in read.items():
            np.testing.assert_array_equal(session.run(tensor), whole[name])


@pytest.mark.parametrize("use_resource", [True, False])
def test_unknown_shapes(graph: Any, use_resource: bool) -> None:
    """A variable of unknown shape takes what its initial value's placeholder takes."""
    anything = v1.Variable(
        v1.placeholder("float32"), validate_shape=False, name="any", use_resource=use_resource
    )
    some = v1.Variable(
        v1.placeholder("float32", [None, 3]),
        validate_shape=False,
        name="some",
        use_resource=use_resource,
    )
    fixed = v1.Variable(tf.zeros(3), validate_shape=False, name="fixed", use_resource=use_resource)
    with v1.Session() as session:
        target = initreg_target(session)
        assert target is not None
        assert {s.name: s.shape for s in target.variables()} == {
            "any": None,
            "some": (None, 3),
            "fixed": (3,),
        }
        given = {"any": np.ones((2, 2), "f4"), "some": np.ones((5, 3), "f4")}
        SmartInit({**given, "fixed": np.ones(3, "f4")}).init(session)
        np.testing.assert_array_equal(session.run(anything.read_value()), given["any"])
        np.testing.assert_array_equal(session.run(some.read_value()), given["some"])
        np.testing.assert_array_equal(session.run(fixed.read_value()), np.ones(3, "f4"))
        with pytest.raises(MismatchError, match="fixed"):
            SmartInit({**given, "fixed": np.ones(4, "f4")}).init(session)


def test_another_op_serves_where_the_initial_value_cannot_be_fed(graph: Any) -> None:
    """If the graph forbids feeding, a Saver's op is used. Without one it is an error that names the
    variables, and nothing is written."""
    v = variable("v", np.zeros(3, "f4"))
    free = variable("free", np.zeros(3, "f4"))
    graph.prevent_feeding(v.initializer.inputs[1])
    with v1.Session() as session:
        session.run([v.initializer, free.initializer])
        with pytest.raises(TargetError, match=r"1 variables? cannot be written .*: v:0"):
            SmartInit({"v": np.ones(3, "f4"), "free": np.ones(3, "f4")}).init(session)
        assert session.run(free).tolist() == [0, 0, 0]
        v1.train.Saver()
        SmartInit({"v": np.ones(3, "f4"), "free": np.ones(3, "f4")}).init(session)
        assert session.run([v, free])[0].tolist() == [1, 1, 1]


def test_a_variable_twice_in_the_collection(graph: Any) -> None:
    """A variable that is in the collection twice, also as two objects, is one variable."""
    v = variable("v", np.zeros(3, "f4"))
    graph.add_to_collection(v1.GraphKeys.GLOBAL_VARIABLES, v)
    graph.add_to_collection(v1.GraphKeys.GLOBAL_VARIABLES, v1.Variable.from_proto(v.to_proto()))
    with v1.Session() as session:
        plan = SmartInit({"v": np.ones(3, "f4")}).init(session)
        assert len(plan) == 1
        assert session.run(v).tolist() == [1, 1, 1]


def test_only_global_variables(graph: Any) -> None:
    """Local variables are not restored."""
    v = variable("v", np.zeros(3, "f4"))
    variable("local", np.zeros(3, "f4"), collections=[v1.GraphKeys.LOCAL_VARIABLES])
    with v1.Session() as session:
        target = initreg_target(session)
        assert target is not None
        assert [s.name for s in target.variables()] == ["v"]
        SmartInit({"v": np.ones(3, "f4")}).init(session)
        assert session.run(v).tolist() == [1, 1, 1]


def test_the_sessions_own_graph_counts_not_the_default(graph: Any) -> None:
    """A session of another graph is written while a different graph is the default one."""
    v = variable("v", np.zeros(3, "f4"))
    session = v1.Session()
    with tf.Graph().as_default() as other:
        SmartInit({"v": np.ones(3, "f4")}).init(session)
        assert other.get_operations() == []
    assert session.run(v).tolist() == [1, 1, 1]
    session.close()


def test_an_imported_meta_graph(tmp_path: Path) -> None:
    """The variables of an imported graph are written, too."""
    with tf.Graph().as_default():
        variable("a/v", np.zeros(3, "f4"), use_resource=True)
        variable("a/r", np.zeros(2, "f4"), use_resource=False)
        v1.train.export_meta_graph(str(tmp_path / "graph.meta"))
    with tf.Graph().as_default():
        v1.train.import_meta_graph(str(tmp_path / "graph.meta"))
        with v1.Session() as session:
            SmartInit({"a/v": np.ones(3, "f4"), "a/r": np.full(2, 4, "f4")}).init(session)
            assert session.run("a/v/Read/ReadVariableOp:0").tolist() == [1, 1, 1]
            assert session.run("a/r:0").tolist() == [4, 4]


def test_an_interactive_session(graph: Any) -> None:
    """An InteractiveSession is a target, too."""
    v = variable("v", np.zeros(3, "f4"))
    session = v1.InteractiveSession()
    SmartInit({"v": np.ones(3, "f4")}).init(session)
    assert v.eval().tolist() == [1, 1, 1]
    session.close()


@pytest.mark.parametrize("kind", ["MonitoredSession", "SingularMonitoredSession"])
def test_a_monitored_session(graph: Any, kind: str) -> None:
    """A monitored session is written without its hooks. A closed one is an error."""
    v = variable("v", np.zeros(3, "f4"))
    runs: list[Any] = []

    class Hook(v1.train.SessionRunHook):  # type: ignore[misc]
        def before_run(self, run_context: Any) -> None:
            runs.append(run_context.original_args)

    with getattr(v1.train, kind)(hooks=[Hook()]) as session:
        SmartInit({"v": np.ones(3, "f4")}).init(session)
        assert runs == []
        assert session.run(v).tolist() == [1, 1, 1]
    with pytest.raises(TargetError, match="closed"):
        SmartInit({"v": np.ones(3, "f4")}).init(session)


def test_a_closed_session(graph: Any) -> None:
    """A closed session is an error that says so."""
    variable("v", np.zeros(3, "f4"))
    session = v1.Session()
    session.close()
    with pytest.raises(TargetError, match="closed"):
        SmartInit({"v": np.ones(3, "f4")}).init(session)


def test_an_empty_graph(graph: Any) -> None:
    """A graph without variables matches nothing, and that is an error."""
    with v1.Session() as session, pytest.raises(NothingMatched):
        SmartInit({"v": np.ones(3, "f4")}).init(session)


def test_a_failed_plan_writes_nothing(graph: Any) -> None:
    """One array that does not fit leaves all variables as they were."""
    a = variable("a", np.zeros(3, "f4"))
    variable("b", np.zeros(3, "f4"))
    with v1.Session() as session:
        session.run(a.initializer)
        with pytest.raises(MismatchError):
            SmartInit({"a": np.ones(3, "f4"), "b": np.ones(4, "f4")}).init(session)
        assert session.run(a).tolist() == [0, 0, 0]


def test_what_no_source_has_keeps_its_value(graph: Any) -> None:
    """Other variables are neither written nor initialised."""
    a, b = variable("a", np.zeros(3, "f4")), variable("b", np.full(3, 5, "f4"))
    c = variable("c", np.zeros(3, "f4"))
    initialized = v1.is_variable_initialized(c)
    with v1.Session() as session:
        session.run(b.initializer)
        with pytest.warns(MissingWarning):
            SmartInit({"a": np.ones(3, "f4")}).init(session)
        assert session.run(a).tolist() == [1, 1, 1]
        assert session.run(b).tolist() == [5, 5, 5]
        assert not session.run(initialized)


def test_a_part_named_like_another_variable(graph: Any) -> None:
    """A partitioned variable and another one of the same name are an error."""
    with v1.variable_scope("", partitioner=v1.fixed_size_partitioner(2)):
        v1.get_variable("v", (4,), tf.float32)
    variable("v", np.zeros(4, "f4"))
    with v1.Session() as session, pytest.raises(DuplicateName, match="'v'"):
        SmartInit({"v": np.ones(4, "f4")}).init(session)


def test_thousands_of_variables(graph: Any) -> None:
    """Two thousand variables come from one file, each its own array."""
    made = [
        v1.Variable(v1.placeholder("float32", [2]), name=f"block_{i}/w", use_resource=True)
        for i in range(2000)
    ]
    given = {f"block_{i}/w": np.array([i, -i], "f4") for i in range(2000)}
    with v1.Session() as session:
        SmartInit(given).init(session)
        found = session.run(made)
    np.testing.assert_array_equal(np.stack(found), np.stack(list(given.values())))


def test_declines_without_importing_tensorflow() -> None:
    """Asking whether an object is a session imports neither TensorFlow nor Keras."""
    code = (
        "import sys\n"
        "from initreg.plugin.installed import default_registry\n"
        "from initreg import UnknownTarget\n"
        "for obj in (object(), [object()], 'x', 3):\n"
        "    try: default_registry().target(obj)\n"
        "    except UnknownTarget: pass\n"
        "default_registry().target({})\n"
        "print([m for m in ('tensorflow', 'keras', 'tf_keras') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
