"""MonitoredTrainingSessions that are really run: saved, started from weights, resumed."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import InitregError, ResumeWarning
from initreg.trainers.tf1 import ModelSaver, init_fn

v1 = tf.compat.v1


class Counter:
    """A count with a state."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


def train(
    steps: int,
    hooks: list[Any],
    start: Any = None,
    size: int = 1,
    each: Callable[[], None] = int,
    with_init_op: bool = True,
) -> tuple[int, float]:
    """Run so many steps, each of which subtracts 0.25 from w, which is 2 at first, after calling
    ``each``. At which step it started, and w in the end."""
    with tf.Graph().as_default():
        step = v1.train.get_or_create_global_step()
        w = v1.get_variable("w", initializer=np.float32(2))
        bulk = v1.get_variable("bulk", [size], initializer=v1.zeros_initializer())
        loss = w + 0 * tf.reduce_sum(bulk)
        op = v1.train.GradientDescentOptimizer(0.25).minimize(loss, step)
        init_op = None if with_init_op else tf.no_op()
        scaffold = v1.train.Scaffold(init_op=init_op, init_fn=start)
        with v1.train.MonitoredTrainingSession(
            scaffold=scaffold,
            hooks=hooks,
            save_checkpoint_steps=None,
            save_checkpoint_secs=None,
            save_summaries_steps=None,
            save_summaries_secs=None,
        ) as session:
            fetch = lambda step_context: step_context.session.run([step, w])  # noqa: E731
            first, _ = session.run_step_fn(fetch)
            for _ in range(steps):
                each()
                session.run(op)
            _, last = session.run_step_fn(fetch)
    return int(first), float(last)


def value(path: Path) -> float:
    """w, read with TensorFlow."""
    return float(tf.train.load_checkpoint(str(path)).get_tensor("w"))


def steps_in(folder: Path) -> list[int]:
    found = [re.fullmatch(r"model-(\d+)\.index", path.name) for path in folder.iterdir()]
    return sorted(int(each[1]) for each in found if each)


def test_from_a_file(tmp_path: Path) -> None:
    """init_fn fills the session. What the file does not have keeps its initial value."""
    path = initreg.save(tmp_path / "base.npz", {"w": np.float32(10)})
    assert train(2, [], init_fn(path, on_missing="ignore")) == (0, 9.5)


def test_from_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """On a first start without a source, the variables get the values of their initialisers, and
    nothing is logged."""
    saver = ModelSaver(tmp_path / "run", every_n_steps=2)
    assert train(2, [saver], init_fn(saver=saver)) == (0, 1.5)
    assert not [record for record in caplog.records if record.name == "initreg"]


def test_without_an_init_op(tmp_path: Path) -> None:
    """If the init_op initialises nothing, init_fn restores and then initialises the rest, when it
    resumes, too, and when there is nothing to restore."""
    saver = ModelSaver(tmp_path / "run", every_n_steps=2)
    begin = init_fn({"w": np.float32(10)}, saver, on_missing="ignore")
    assert train(2, [saver], begin, with_init_op=False) == (0, 9.5)
    saver = ModelSaver(tmp_path / "run", every_n_steps=2)
    assert train(2, [saver], init_fn(saver=saver), with_init_op=False) == (2, 9.0)
    assert train(2, [], init_fn(), with_init_op=False) == (0, 1.5)


def test_saved_every_so_many_steps_and_at_the_end(tmp_path: Path) -> None:
    """TensorFlow reads the values, the state file and the graph."""
    train(5, [ModelSaver(tmp_path, every_n_steps=2)])
    assert steps_in(tmp_path) == [2, 4, 5]
    assert [value(tmp_path / f"model-{n}") for n in (2, 4, 5)] == [1.5, 1.0, 0.75]
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model-5")
    state = v1.train.get_checkpoint_state(str(tmp_path))
    assert [Path(p).name for p in state.all_model_checkpoint_paths] == [
        "model-2",
        "model-4",
        "model-5",
    ]
    (graph,) = tmp_path.glob("graph-*.meta")
    with tf.Graph().as_default(), v1.Session() as session:
        v1.train.import_meta_graph(str(graph)).restore(session, str(tmp_path / "model-4"))
        assert session.run("w/Read/ReadVariableOp:0") == 1.0


def test_the_end_is_not_saved_twice(tmp_path: Path) -> None:
    """If the last step was just saved, its files stay as they are."""
    saver = ModelSaver(tmp_path, every_n_steps=2)
    train(4, [saver])
    assert steps_in(tmp_path) == [2, 4]
    before = {p.name: p.stat().st_ino for p in tmp_path.glob("model-4*")}
    again = ModelSaver(tmp_path, every_n_steps=2)
    assert train(0, [again], init_fn(None, again)) == (4, 1.0)
    assert {p.name: p.stat().st_ino for p in tmp_path.glob("model-4*")} == before


def test_saved_every_so_many_seconds(tmp_path: Path) -> None:
    """With a very small every_n_secs, each step is saved."""
    train(3, [ModelSaver(tmp_path, every_n_secs=1e-9)])
    assert steps_in(tmp_path) == [1, 2, 3]


def test_resumed(tmp_path: Path) -> None:
    """Step, variables and objects go on. The source is only for a first start."""
    base = {"w": np.float32(10)}
    for start, steps, end in ((0, 3, 9.25), (3, 3, 8.5)):
        counter = Counter()
        saver = ModelSaver(tmp_path, every_n_steps=2, objects={"counter": counter})

        def count(counter: Counter = counter) -> None:
            counter.count += 1

        begin = init_fn(base, saver, on_missing="ignore")
        assert train(steps, [saver], begin, each=count) == (start, end)
        assert counter.count == start + steps
    assert steps_in(tmp_path) == [2, 3, 5, 6]  # two steps after where it began


def test_the_newest_so_many_are_kept(tmp_path: Path) -> None:
    """The checkpoints of the earlier run count, too. Sidecars are removed with them."""
    for _ in range(2):
        saver = ModelSaver(tmp_path, every_n_steps=1, max_to_keep=2)
        train(3, [saver], init_fn(None, saver))
    assert steps_in(tmp_path) == [5, 6]
    assert sorted(p.name for p in tmp_path.glob("*.resume.json")) == [
        "model-5.resume.json",
        "model-6.resume.json",
    ]
    assert len(list(tmp_path.glob("*.data-*"))) == 2
    state = v1.train.get_checkpoint_state(str(tmp_path))
    assert [Path(p).name for p in state.all_model_checkpoint_paths] == ["model-5", "model-6"]


def test_an_incomplete_checkpoint_is_skipped(tmp_path: Path) -> None:
    """The one before it is taken, with a warning that points at the user's line, though it is
    TensorFlow that calls init_fn."""
    train(4, [ModelSaver(tmp_path, every_n_steps=2)])
    (data,) = tmp_path.glob("model-4.data*")
    data.write_bytes(data.read_bytes()[:-1])
    saver = ModelSaver(tmp_path, every_n_steps=2)
    said = r"1 incomplete checkpoint skipped, continuing from .*model-2"
    with pytest.warns(ResumeWarning, match=said) as caught:
        assert train(2, [saver], init_fn(None, saver)) == (2, 1.0)
    assert [each.filename for each in caught if each.category is ResumeWarning] == [__file__]
    assert value(tmp_path / "model-4") == 1.0  # the new one has taken its place
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        point = initreg.resume(tmp_path, verify=True)
    assert point is not None
    assert point.step == 4


def test_a_flipped_bit_is_found_when_asked(tmp_path: Path) -> None:
    """verify=True reads all bytes of a checkpoint before it is taken."""
    train(4, [ModelSaver(tmp_path, every_n_steps=2)])
    (data,) = tmp_path.glob("model-4.data*")
    content = bytearray(data.read_bytes())
    content[0] ^= 1
    data.write_bytes(content)
    saver = ModelSaver(tmp_path, every_n_steps=2)
    with pytest.warns(ResumeWarning, match="model-2"):
        assert train(0, [saver], init_fn(None, saver, verify=True)) == (2, 1.5)


def test_a_full_disk(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    full_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Training goes on, the old files stay, nothing is left over, and the log says why."""
    train(2, [ModelSaver(tmp_path, every_n_steps=2)], size=100_000)
    saver = ModelSaver(tmp_path, every_n_steps=2)
    with full_disk(200_000), caplog.at_level(logging.WARNING, "initreg"):
        assert train(4, [saver], init_fn(None, saver), size=100_000) == (2, 0.5)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3  # at 4, at 6 and, as that was in vain, at the end
    assert all(
        re.fullmatch(
            rf"{re.escape(str(tmp_path))}/model-\d was not saved, and training goes on: .*"
            "File too large",
            text,
        )
        for text in said
    )
    assert steps_in(tmp_path) == [2]
    assert not list(tmp_path.glob(".*"))
    assert value(tmp_path / "model-2") == 1.5


def test_a_folder_that_is_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Training goes on, and the log says what was not saved."""
    (tmp_path / "run").write_text("")
    with caplog.at_level(logging.WARNING, "initreg"):
        assert train(2, [ModelSaver(tmp_path / "run", every_n_steps=2)]) == (0, 1.5)
    assert "model-2 was not saved, and training goes on: " in caplog.text


def test_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is relative to where the saver was made, wherever the program changes to."""
    monkeypatch.chdir(tmp_path)
    saver = ModelSaver("run", every_n_steps=2)
    (tmp_path / "elsewhere").mkdir()
    train(2, [saver], each=lambda: monkeypatch.chdir(tmp_path / "elsewhere"))
    assert steps_in(tmp_path / "run") == [2]


def test_a_session_that_is_lost(tmp_path: Path) -> None:
    """After an AbortedError MonitoredTrainingSession makes another session, which goes on from the
    last save. There are five steps in all, and five are counted."""
    counter, lost = Counter(), []
    saver = ModelSaver(tmp_path, every_n_steps=2, objects={"counter": counter})

    class Lose(v1.train.SessionRunHook):  # type: ignore[misc, name-defined]
        def after_run(self, run_context: Any, run_values: Any) -> None:
            counter.count += 1
            if counter.count == 3 and not lost:
                lost.append(True)
                raise tf.errors.AbortedError(None, None, "preempted")

    first, w = train(5, [Lose(), saver], init_fn(None, saver))
    assert lost
    assert (first, w, counter.count) == (0, 2 - 0.25 * 5, 5)


def test_no_global_step(tmp_path: Path) -> None:
    """The error says how to make one."""
    with tf.Graph().as_default():
        v1.get_variable("w", [])
        with pytest.raises(InitregError, match=r"get_or_create_global_step\(\)"):
            ModelSaver(tmp_path, every_n_steps=1).begin()


@pytest.mark.parametrize("given", [{}, {"every_n_steps": 1, "every_n_secs": 1.0}])
def test_when_to_save(tmp_path: Path, given: dict[str, Any]) -> None:
    """Steps or seconds, not both or neither."""
    with pytest.raises(ValueError, match="either every_n_steps or every_n_secs"):
        ModelSaver(tmp_path, **given)


def test_an_object_without_a_state(tmp_path: Path) -> None:
    """It is refused before anything is trained."""
    with pytest.raises(InitregError, match=r"'x', a list, cannot be saved: it needs state_dict"):
        ModelSaver(tmp_path, every_n_steps=1, objects={"x": []})


def test_an_object_that_came_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log says that the checkpoint has no state of it, and that it starts afresh."""
    train(2, [ModelSaver(tmp_path, every_n_steps=2)])
    counter = Counter()
    saver = ModelSaver(tmp_path, every_n_steps=2, objects={"counter": counter})
    with caplog.at_level(logging.WARNING, "initreg"):
        train(0, [saver], init_fn(None, saver))
    assert "model-2 has no state of 'counter', which starts afresh" in caplog.text


def test_variables_of_ones_choice(tmp_path: Path) -> None:
    """var_list: the variables to save, by the names under which they are saved."""
    with tf.Graph().as_default():
        step = v1.train.get_or_create_global_step()
        w = v1.get_variable("w", initializer=np.float32(2))
        v1.get_variable("other", [])
        saver = ModelSaver(tmp_path, every_n_steps=1, var_list={"renamed": w, "global_step": step})
        with v1.train.MonitoredTrainingSession(
            hooks=[saver], save_checkpoint_steps=None, save_checkpoint_secs=None
        ):
            pass
    assert set(initreg.load(tmp_path / "model-0")) == {"renamed", "global_step"}


def test_partitioned_variables(tmp_path: Path) -> None:
    """They are saved as one array. Each part gets its slice when the run is resumed."""

    def run(assigned: float | None) -> list[float]:
        with tf.Graph().as_default():
            v1.train.get_or_create_global_step()
            partitioner = v1.fixed_size_partitioner(2)
            parts = list(v1.get_variable("parts", [6], partitioner=partitioner))
            assign = [part.assign(tf.fill(part.shape, assigned or 0.0)) for part in parts]
            saver = ModelSaver(tmp_path, every_n_steps=1)
            with v1.train.MonitoredTrainingSession(
                scaffold=v1.train.Scaffold(init_fn=init_fn(None, saver)),
                hooks=[saver],
                save_checkpoint_steps=None,
                save_checkpoint_secs=None,
            ) as session:
                fetches = parts if assigned is None else assign
                found = session.run_step_fn(lambda step_context: step_context.session.run(fetches))
        return list(np.concatenate(found))

    assert run(3.0) == run(None) == [3.0] * 6
    assert initreg.load(tmp_path / "model-0")["parts"].tolist() == [3.0] * 6
