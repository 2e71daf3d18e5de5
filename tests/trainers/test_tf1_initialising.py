"""A chief that begins again while the servers still have the values of a training before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from initreg import MismatchError
from initreg.trainers.tf1 import ModelSaver, init_fn

v1 = tf.compat.v1
open_sessions: list[Any] = []  # of killed chiefs: they were never closed


@pytest.fixture(scope="module")
def server() -> Any:
    """A server, which keeps variables when the sessions of a test are gone."""
    return v1.train.Server.create_local_server()


def chief(
    server: Any,
    folder: Path,
    scope: str,
    *,
    steps: int = 0,
    every: int = 1000,
    source: Any = None,
) -> dict[str, list[float]]:
    """Begin a training, run so many steps, and be killed. All values at the beginning."""
    with tf.Graph().as_default():
        with v1.variable_scope(scope):
            step = v1.train.get_or_create_global_step()
            w = v1.get_variable("w", [2])
            head = v1.get_variable("head", [2], initializer=v1.constant_initializer(3))
            parts = v1.get_variable(
                "parts",
                [2],
                initializer=v1.constant_initializer(5),
                partitioner=v1.fixed_size_partitioner(2),
            )
            aside = v1.get_variable("aside", [1], initializer=v1.constant_initializer(7))
        loss = tf.reduce_sum(tf.concat([w, head, *parts, aside], 0))
        train = v1.train.MomentumOptimizer(0.5, 0.5).minimize(loss, step)
        averages = v1.train.ExponentialMovingAverage(0.5)
        with tf.control_dependencies([train]):
            train = averages.apply([w, head])
        saved = [each for each in v1.global_variables() if "aside" not in each.name]
        saver = ModelSaver(folder, every_n_steps=every, var_list=saved)
        start = init_fn(source, saver, on_missing="ignore")
        session = v1.train.MonitoredTrainingSession(
            master=server.target,
            scaffold=v1.train.Scaffold(init_op=tf.no_op(), init_fn=start),
            chief_only_hooks=[saver],
            save_checkpoint_secs=None,
            save_checkpoint_steps=None,
            log_step_count_steps=None,
        )
        open_sessions.append(session)
        values = session.run_step_fn(
            lambda step_context: step_context.session.run(
                {each.op.name: each for each in v1.global_variables()}
            )
        )
        for _ in range(steps):
            session.run(train)
    return {name.removeprefix(f"{scope}/"): np.ravel(v).tolist() for name, v in values.items()}


def test_before_the_first_checkpoint(
    server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything begins as at the first start: the source, and the initial values of the rest,
    those of averages too. The log names what was reset."""
    run = tmp_path / "run"
    source = {"first/w": np.ones(2, "f4")}
    first = chief(server, run, "first", steps=3, source=source)
    assert first["w"] == [1, 1]
    assert first["head/ExponentialMovingAverage"] == first["head"] == [3, 3]
    assert not caplog.records
    assert chief(server, run, "first", steps=1, source=source) == first
    (record,) = caplog.records
    assert "the servers had values of 10 variables from before" in record.getMessage()
    assert chief(server, run, "first", source=source) == first


def test_variables_that_are_not_saved(server: Any, tmp_path: Path) -> None:
    """A chief that resumes from a checkpoint has the initial values of what is not in it."""
    first = chief(server, tmp_path / "run", "resumed", steps=3, every=2)
    again = chief(server, tmp_path / "run", "resumed")
    assert again["global_step"] == [2]
    assert again["head"] == [1.75, 1.75]  # 3 - 0.5 - 0.75
    assert again["parts/part_0"] == again["parts/part_1"] == [3.75]
    assert again["head/Momentum"] == [1.5, 1.5]
    assert again["aside"] == first["aside"] == [7]
    assert again["aside/Momentum"] == [0]


def test_a_restore_that_fails(server: Any, tmp_path: Path) -> None:
    """If the source does not fit, the servers keep what they have."""
    chief(server, tmp_path / "run", "failing", steps=2)
    with pytest.raises(MismatchError, match="does not fit"):
        chief(server, tmp_path / "run", "failing", source={"failing/w": np.ones(7, "f4")})
    with tf.Graph().as_default(), v1.variable_scope("failing"):
        head = v1.get_variable("head", [2])
        with v1.Session(server.target) as session:
            assert session.run(head).tolist() == [1.75, 1.75]


def test_a_session_of_this_process(tmp_path: Path) -> None:
    """Nothing outlives a session that has no server: what the user's own code has initialised
    before stays."""
    with tf.Graph().as_default():
        head = v1.get_variable("head", [2], initializer=v1.constant_initializer(3))
        v1.get_variable("w", [2])
        start = init_fn({"w": np.ones(2, "f4")}, on_missing="ignore")

        def fill(scaffold: Any, session: Any) -> None:
            head.load([8, 9], session)
            start(scaffold, session)

        scaffold = v1.train.Scaffold(init_op=tf.no_op(), init_fn=fill)
        with v1.train.MonitoredSession(v1.train.ChiefSessionCreator(scaffold)) as session:
            assert session.run(head).tolist() == [8, 9]
