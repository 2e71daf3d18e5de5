"""Objects that wrap a TF1 session, as targets."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python import debug

from initreg import SmartInit, TargetError, UnknownTarget
from initreg.trainers.tf1.variables import parameters
from initreg_targets.sessions import session_in

with warnings.catch_warnings():
    # It imports pkg_resources, and uses escapes and TensorFlow names of 2019.
    warnings.simplefilter("ignore")
    from tensorpack.tfutils.sesscreate import ReuseSessionCreator
    from tensorpack.train import SimpleTrainer

v1 = tf.compat.v1


@pytest.fixture
def session() -> Iterator[Any]:
    """A session of a variable w of three zeros."""
    with tf.Graph().as_default():
        v1.get_variable("w", initializer=np.zeros(3, "f4"))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            yield session


def trainer(session: Any) -> Any:
    found = SimpleTrainer()
    found.sess = session
    return found


WRAPPERS: dict[str, Callable[[Any, Path], Any]] = {
    "LocalCLIDebugWrapperSession": lambda s, d: debug.LocalCLIDebugWrapperSession(
        s, ui_type="readline"
    ),
    "DumpingDebugWrapperSession": lambda s, d: debug.DumpingDebugWrapperSession(s, str(d / "dump")),
    "one in the other": lambda s, d: debug.DumpingDebugWrapperSession(
        v1.train.MonitoredSession(ReuseSessionCreator(s)), str(d / "dump")
    ),
    "ReuseSessionCreator": lambda s, d: ReuseSessionCreator(s),
    "a trainer of tensorpack": lambda s, d: trainer(s),
    "the session in a monitored one": lambda s, d: (
        v1.train.MonitoredSession(ReuseSessionCreator(s))._sess._sess
    ),
    "a monitored session of a debugged one": lambda s, d: v1.train.MonitoredSession(
        ReuseSessionCreator(debug.DumpingDebugWrapperSession(s, str(d / "dump")))
    ),
    "sess": lambda s, d: SimpleNamespace(sess=s),
    "_sess": lambda s, d: SimpleNamespace(_sess=SimpleNamespace(_sess=s)),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorpack")
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_the_session_inside_is_written(
    wrap: Callable[[Any, Path], Any], session: Any, tmp_path: Path
) -> None:
    """And read, for initreg.varmanip. Neither a hook nor a debugger sees it."""
    wrapped = wrap(session, tmp_path)
    assert session_in(wrapped) is session
    SmartInit({"w": np.ones(3, "f4")}).init(wrapped)
    (w,) = session.graph.get_collection("variables")
    assert session.run(w).tolist() == [1, 1, 1]
    assert parameters(wrapped)["w"].tolist() == [1, 1, 1]
    assert not list(tmp_path.glob("dump/*"))


def test_the_session_of_a_hook(session: Any, tmp_path: Path) -> None:
    """In a hook, run_context.session, and the context itself."""
    seen: list[Any] = []

    class Hook(v1.train.SessionRunHook):  # type: ignore[misc, name-defined]
        def after_create_session(self, session: Any, coord: Any) -> None:
            SmartInit({"w": np.full(3, 2, "f4")}).init(session)

        def after_run(self, run_context: Any, run_values: Any) -> None:
            seen.append(run_values.results.tolist())
            for number, each in enumerate((run_context, run_context.session)):
                SmartInit({"w": np.full(3, number, "f4")}).init(each)
                seen.append(run_context.session.run(w).tolist())

    (w,) = session.graph.get_collection("variables")

    class Reading(Hook):
        def before_run(self, run_context: Any) -> Any:
            return v1.train.SessionRunArgs(w)

    creator = ReuseSessionCreator(debug.DumpingDebugWrapperSession(session, str(tmp_path / "dump")))
    for kind in (creator, ReuseSessionCreator(session)):
        seen.clear()
        monitored = v1.train.MonitoredSession(kind, hooks=[Reading()])
        monitored.run(w)
        assert seen == [[2, 2, 2], [0, 0, 0], [1, 1, 1]]


def test_a_wrapper_of_a_closed_session(tmp_path: Path) -> None:
    """The error says that it is closed."""
    with tf.Graph().as_default():
        v1.get_variable("w", initializer=np.zeros(3, "f4"))
        session = v1.Session()
        monitored = v1.train.MonitoredSession(ReuseSessionCreator(session))
        inner = monitored._sess._sess
        wrapped = debug.DumpingDebugWrapperSession(session, str(tmp_path))
        monitored.close()
    for closed in (inner, wrapped, SimpleNamespace(sess=wrapped), monitored):
        with pytest.raises(TargetError, match="closed"):
            SmartInit({"w": np.ones(3, "f4")}).init(closed)


def test_what_holds_no_session(session: Any) -> None:
    """Classes, empty wrappers, circles and modules are declined, and no code of theirs is run."""

    class Lazy:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(f"{name!r} is not ready yet")

    class Property:
        @property
        def sess(self) -> Any:
            raise RuntimeError("must not be asked")

    circle = SimpleNamespace()
    circle.sess = circle
    for obj in (ReuseSessionCreator, SimpleNamespace(sess=None), circle, Lazy(), Property()):
        assert session_in(obj) is None
        with pytest.raises(UnknownTarget):
            SmartInit({"w": np.ones(3, "f4")}).init(obj)
    module = tf.Module()
    module._sess = session
    assert session_in(module) is None


def test_a_target_that_keeps_a_session(session: Any) -> None:
    """A third party's target that writes through a session is used itself."""

    class Mine:
        label = "mine"

        def __init__(self) -> None:
            self.sess = session
            self.got: list[Any] = []

        def variables(self) -> Any:
            from initreg import VariableSpec

            return [VariableSpec("w", (3,), "float32")]

        def write(self, arrays: Any) -> Any:
            for spec, array in arrays:
                self.got.append(array.tolist())
                yield spec.name

    mine = Mine()
    SmartInit({"w": np.ones(3, "f4")}).init(mine)
    assert mine.got == [[1, 1, 1]]
