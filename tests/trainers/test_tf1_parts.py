"""Slots of a partitioned variable that have a name each, and the shape of the whole variable.

TensorFlow's ``slot_creator`` makes them if the optimizer is made within a ``variable_scope``. A
Saver saves each as the only slice of an array.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import MismatchError, SmartInit, TargetError
from initreg.trainers.tf1 import ModelSaver, init_fn

v1 = tf.compat.v1
SLOTS = ("net/w/t_0/Momentum", "net/w/t_1/Momentum")


def graph(parts: int = 2, resource: bool = True) -> tuple[Any, Any]:
    """A step of training, and a Saver, in the default graph."""
    with v1.variable_scope("net", use_resource=resource):
        partitioner = v1.fixed_size_partitioner(parts)
        w = v1.get_variable("w", [4, 2], partitioner=partitioner)
        step = v1.train.get_or_create_global_step()
        loss = tf.reduce_sum(tf.concat(list(w), 0) ** 2)
        op = v1.train.MomentumOptimizer(0.125, 0.5).minimize(loss, step)
    return op, v1.train.Saver()


def values(session: Any) -> list[Any]:
    """The values of all global variables, in the order of the graph."""
    return [np.asarray(each) for each in session.run(v1.global_variables())]


def equal(found: list[Any], wanted: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.fixture(params=[True, False], ids=["resource", "ref"])
def trained(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[Any], bool]:
    """A checkpoint of a Saver after three steps, and what its variables were."""
    with tf.Graph().as_default(), v1.Session() as session:
        op, saver = graph(resource=request.param)
        session.run(v1.global_variables_initializer())
        for _ in range(3):
            session.run(op)
        path = saver.save(session, str(tmp_path / "model"))
        return Path(path), values(session), request.param


def test_a_session_gets_them_as_from_a_saver(trained: tuple[Path, list[Any], bool]) -> None:
    """Every variable has the value that it was saved with, and the next step is the same."""
    path, wanted, resource = trained
    after = []
    for restore in ("initreg", "Saver"):
        with tf.Graph().as_default(), v1.Session() as session:
            op, saver = graph(resource=resource)
            if restore == "Saver":
                saver.restore(session, str(path))
            else:
                plan = SmartInit(path, on_missing="error", on_unused="error").init(session)
                assert {row.name: row.shape for row in plan.restored} == {
                    "net/global_step": (),
                    "net/w": (4, 2),
                    **dict.fromkeys(SLOTS, (2, 2)),
                }
            assert equal(values(session), wanted)
            session.run(op)
            after.append(values(session))
    assert equal(*after)


def test_another_partitioning_does_not_fit(trained: tuple[Path, list[Any], bool]) -> None:
    """The variable itself is one array, and its slots are others. TensorFlow refuses this, too."""
    path, _, resource = trained
    with tf.Graph().as_default(), v1.Session() as session:
        _, saver = graph(parts=4, resource=resource)
        with pytest.raises(MismatchError, match="t_0/Momentum"):
            SmartInit(path).init(session)
        with pytest.raises(tf.errors.OpError):
            saver.restore(session, str(path))


def test_a_session_is_a_source_of_them(trained: tuple[Path, list[Any], bool]) -> None:
    """Its arrays are those of the checkpoint, and so is what is saved of it."""
    path, wanted, resource = trained
    with tf.Graph().as_default(), v1.Session() as session:
        _, saver = graph(resource=resource)
        saver.restore(session, str(path))
        found = initreg.load(session)
        saved = initreg.load(initreg.save(path.parent / "all.npz", session))
    for name, array in initreg.load(path).items():
        assert np.array_equal(found[name], array)
        assert np.array_equal(saved[name], array)
    both = np.concatenate([found[name] for name in SLOTS])
    assert np.array_equal(both, np.concatenate(wanted[3:]))


def test_a_metagraph_lists_them_as_the_checkpoint_does(
    trained: tuple[Path, list[Any], bool],
) -> None:
    """So a plan for it says what a session would get."""
    path = trained[0]
    listed = {s.name: s.shape for s in initreg.open(f"{path}.meta").specs()}
    assert listed == {spec.name: spec.shape for spec in initreg.open(path).specs()}


def test_a_training_goes_on(tmp_path: Path) -> None:
    """Two runs of four steps are as one of eight."""

    def run(folder: str, steps: int, start: Any = None) -> list[Any]:
        with tf.Graph().as_default():
            v1.set_random_seed(1)
            op, _ = graph()
            saver = ModelSaver(tmp_path / folder, every_n_steps=2)
            with v1.train.MonitoredTrainingSession(
                scaffold=v1.train.Scaffold(init_fn=init_fn(start, saver)),
                hooks=[saver],
                save_checkpoint_steps=None,
                save_checkpoint_secs=None,
            ) as session:
                for _ in range(steps):
                    session.run(op)
                return session.run_step_fn(lambda step_context: values(step_context.session))

    whole = run("whole", 8)
    run("halves", 4)
    assert equal(run("halves", 4), whole)
    assert whole[-1].shape == (2, 2)


def test_values_of_a_session_are_not_filled_with_zeros(tmp_path: Path) -> None:
    """A slot among the variables of the model keeps its shape. Parts that leave a gap are refused:
    the rest was 0."""
    with tf.Graph().as_default(), v1.Session() as session:
        graph()
        slots = [each for each in v1.global_variables() if "Momentum" in each.name]
        v1.add_to_collection("model_variables", slots[0])
        session.run(v1.global_variables_initializer())
        session.run(slots[0].assign(tf.ones((2, 2))))
        initreg.dump_session_params(tmp_path / "m-1", session)
        found = initreg.load(tmp_path / "m-1")
        assert found[SLOTS[0]].tolist() == [[1, 1], [1, 1]]
        assert found["net/w"].shape == (4, 2)
    with tf.Graph().as_default(), v1.Session() as session:
        graph(parts=4)
        trainable = v1.get_collection_ref("trainable_variables")
        del trainable[1]
        session.run(v1.global_variables_initializer())
        with pytest.raises(TargetError, match="'net/w' in its collections do not cover"):
            initreg.dump_session_params(tmp_path / "n-1", session)
    assert not list(tmp_path.glob("n-1*"))
