"""The writer of checkpoints with sidecars: the old one stays until the new one is complete."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import DamagedFile
from initreg.trainers.tf1.checkpoints import CheckpointWriter

v1 = tf.compat.v1


class Session:
    """A session of one variable, v, of 100,000 numbers, and a writer of its checkpoints."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.v = v1.get_variable("v", [100_000], initializer=v1.zeros_initializer())
        self.value = v1.placeholder(tf.float32, [])
        self.fill = self.v.assign(tf.fill([100_000], self.value))
        self.writer = CheckpointWriter(folder, **options)
        self.session = v1.Session()

    def save(self, value: float, step: int) -> Path | None:
        self.session.run(self.fill, {self.value: value})
        return self.writer.save(self.session, step, epoch=None, states={})

    def save_as(self, value: float, name: str) -> Path | None:
        self.session.run(self.fill, {self.value: value})
        return self.writer.save_as(self.session, name)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with tf.Graph().as_default():
        made = Session(tmp_path / "run")
        yield made
        made.session.close()


def values(path: Path | None) -> list[float]:
    """The different values in v, read with TensorFlow: one, unless two saves were mixed."""
    return sorted(set(tf.train.load_checkpoint(str(path)).get_tensor("v").tolist()))


def test_a_name_that_is_taken(session: Session) -> None:
    """The new checkpoint replaces the old one, of which no file is left."""
    for value in (1.0, 2.0, 3.0):
        path = session.save_as(value, "best")
        assert values(path) == [value]
    assert sum(p.stat().st_size for p in path.parent.glob("best.data*")) < 500_000  # type: ignore[union-attr]
    for value in (4.0, 5.0):
        assert values(session.save(value, 7)) == [value]


def test_a_name_that_is_taken_and_a_full_disk(
    session: Session, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    """The old checkpoint stays: its files are untouched until the new one is complete."""
    best, one = session.save_as(1.0, "best"), session.save(1.0, 1)
    before = {p.name: p.read_bytes() for p in session.writer.directory.iterdir()}
    with full_disk(200_000):
        assert session.save_as(2.0, "best") is None
        assert session.save(2.0, 1) is None
        assert session.save(2.0, 2) is None
    assert {p.name: p.read_bytes() for p in session.writer.directory.iterdir()} == before
    assert (values(best), values(one)) == ([1.0], [1.0])
    assert values(session.save_as(3.0, "best")) == [3.0]


def test_a_folder_that_was_removed(session: Session) -> None:
    """The next save makes the folder again."""
    one = session.save(1.0, 1)
    assert one is not None
    for path in one.parent.iterdir():
        path.unlink()
    one.parent.rmdir()
    assert values(session.save(2.0, 2)) == [2.0]


def test_no_right_to_write(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the path and the reason."""
    with tf.Graph().as_default(), caplog.at_level(logging.WARNING, "initreg"):
        made = Session(Path("/proc/initreg"))
        assert made.save(1.0, 1) is None
        assert made.writer.export_meta_graph("graph.meta") is None
        made.session.close()
    assert "/proc/initreg/model-1 was not saved, and training goes on: " in caplog.text
    assert "/proc/initreg/graph.meta was not written: " in caplog.text


def test_what_killed_processes_left_is_removed(session: Session) -> None:
    """Their files and TensorFlow's folder are removed once they are an hour old. Newer ones may be
    in use, and stay."""
    folder = session.writer.directory
    long_ago = time.time() - 7200
    for name in (".initreg-00000000-model-1", ".initreg-11111111-model-2"):
        temporary = folder / f"{name}.data-00000-of-00001_temp"
        temporary.mkdir(parents=True)
        (temporary / "part").write_text("")
        (folder / f"{name}.index").write_text("")
    for path in folder.glob(".initreg-0*"):
        os.utime(path, (long_ago, long_ago))
    session.save(1.0, 3)
    assert sorted(p.name for p in folder.glob(".*")) == [
        ".initreg-11111111-model-2.data-00000-of-00001_temp",
        ".initreg-11111111-model-2.index",
    ]


def test_the_list_of_kept_checkpoints_goes_on(tmp_path: Path) -> None:
    """A resumed run removes the checkpoints of the earlier run when their turn comes."""
    for steps in ((1, 2), (3,)):
        with tf.Graph().as_default():
            made = Session(tmp_path, max_to_keep=2)
            point = initreg.resume(tmp_path)
            if point is not None:
                made.writer.go_on(point, {})
            for step in steps:
                made.save(float(step), step)
            made.session.close()
    assert sorted(p.name for p in tmp_path.glob("*.index")) == ["model-2.index", "model-3.index"]
    state = v1.train.get_checkpoint_state(str(tmp_path))
    assert [Path(p).name for p in state.all_model_checkpoint_paths] == ["model-2", "model-3"]
    assert state.model_checkpoint_path == str(tmp_path / "model-3")


@pytest.mark.parametrize("name", ["../other", "*", "mo[d]el-1"])
def test_the_list_of_a_stranger(tmp_path: Path, name: str) -> None:
    """A sidecar whose list of kept checkpoints names other files gets none of them removed."""
    others = ["other.index", "other.data-00000-of-00001", "run/x.data-00000-of-00001"]
    (tmp_path / "run").mkdir()
    for other in others:
        (tmp_path / other).write_bytes(b"precious")
    with tf.Graph().as_default():
        made = Session(tmp_path / "run", max_to_keep=1)
        made.save(1.0, 1)
        point = initreg.resume(tmp_path / "run")
        assert point is not None
        states = json.loads(json.dumps(point.states))
        states["ModelSaver"]["keeping"]["recent"] = [[name, 0.0]]
        point = dataclasses.replace(point, states=states)
        if name.startswith(".."):
            with pytest.raises(DamagedFile, match="'ModelSaver' does not accept the state"):
                made.writer.go_on(point, {})
        else:
            made.writer.go_on(point, {})
        made.save(2.0, 2)
        made.session.close()
    assert all((tmp_path / other).read_bytes() == b"precious" for other in others)
    assert [path.name for path in (tmp_path / "run").glob("*.index")] == ["model-2.index"]


def test_the_state_file_names_the_latest(tmp_path: Path) -> None:
    """Its paths are relative, so that a folder can be moved."""
    with tf.Graph().as_default():
        made = Session(tmp_path / "run", max_to_keep=0, name="weights")
        for step in (1, 2):
            made.save(float(step), step)
        made.session.close()
    (tmp_path / "run").rename(tmp_path / "moved")
    latest = tf.train.latest_checkpoint(str(tmp_path / "moved"))
    assert latest == str(tmp_path / "moved/weights-2")
    assert np.array_equal(values(Path(latest)), [2.0])
