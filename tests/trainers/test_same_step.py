"""A save at the step of an older checkpoint: at every moment, one of the two is complete."""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg.api.sidecars import ENDING, read_sidecar
from initreg.trainers.tf1.checkpoints import CheckpointWriter

v1 = tf.compat.v1

_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")


class Watch:
    """Calls a function before each change of a folder: a rename, a removal, a file that is opened.

    It listens to Python's audit events, which stay on for the rest of the process, so there is one
    for all tests. TensorFlow's own files are hidden ones, which do not count.
    """

    def __init__(self) -> None:
        self.look: Callable[[], None] | None = None
        sys.addaudithook(self._heard)

    def _heard(self, event: str, args: tuple[Any, ...]) -> None:
        if self.look is not None and event in _CHANGES:
            look, self.look = self.look, None  # what it does itself is not watched
            try:
                look()
            finally:
                self.look = look


WATCH = Watch()


@contextmanager
def watched(look: Callable[[], None]) -> Iterator[None]:
    WATCH.look = look
    try:
        yield
    finally:
        WATCH.look = None
    look()


class Session:
    """A session of a table and a variable, and a writer of its checkpoints."""

    def __init__(self, folder: Path) -> None:
        v1.train.get_or_create_global_step()
        self.v = v1.get_variable("v", [1000], initializer=v1.zeros_initializer())
        self.value = v1.placeholder(tf.float32, [])
        table = tf.lookup.experimental.MutableHashTable(tf.string, tf.float32, -1.0, name="t")
        made = v1.data.make_initializable_iterator(tf.data.Dataset.range(100))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            position = tf.data.experimental.make_saveable_from_iterator(made)
        v1.add_to_collection(v1.GraphKeys.SAVEABLE_OBJECTS, position)
        self.set = [self.v.assign(tf.fill([1000], self.value)), table.insert(["x"], [self.value])]
        self.all = {"v": self.v, "t": table.lookup(tf.constant("x"))}
        self.next = made.get_next()
        self.writer = CheckpointWriter(folder)
        self.session = v1.Session()
        self.session.run([v1.global_variables_initializer(), made.initializer])

    def save(self, value: float, step: int = 5) -> Path:
        self.session.run(self.set, {self.value: value})
        states = {"mine": {"value": value}}
        path = self.writer.save(self.session, step, epoch=None, states=states)
        assert path is not None
        return path

    def restored(self, path: Path) -> tuple[float, float]:
        """What TensorFlow restores, in a session of its own."""
        with v1.Session(graph=self.v.graph) as session:
            session.run([op for op in self.v.graph.get_operations() if op.type == "MakeIterator"])
            self.writer.saver.restore(session, str(path))
            found = session.run(self.all)
        assert len(set(found["v"].tolist())) == 1
        return float(found["v"][0]), float(found["t"])


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with tf.Graph().as_default():
        made = Session(tmp_path / "run")
        yield made
        made.session.close()


def test_tf1(session: Session, tmp_path: Path) -> None:
    """TensorFlow and initreg read the old one or the new one, with its own states, before every
    single change of the folder. A copy of the folder, as a kill would leave it, is no different,
    and the next save to it leaves the new one alone."""
    folder = session.writer.directory
    path = session.save(1.0)
    seen: list[float] = []

    def look() -> None:
        copy = tmp_path / f"copy{len(seen)}"
        shutil.copytree(folder, copy)
        for place in (folder, copy):
            point = initreg.resume(place, verify=True)
            assert point is not None
            assert point.skipped == ()
            assert (point.path, point.step) == (place / path.name, 5)
            value = initreg.load(point.path)["v"][0]
            assert session.restored(point.path) == (value, value)
            assert point.states["mine"] == {"value": value}
        seen.append(float(value))

    with watched(look):
        session.save(2.0)
    assert seen == sorted(seen)
    assert len(seen) > 6
    assert (seen[0], seen[-1]) == (1.0, 2.0)
    content = json.loads((folder / f"{path.name}{ENDING}").read_text())
    assert "replaces" not in content
    for number, before in enumerate(seen):
        place = tmp_path / f"copy{number}"
        session.writer.directory = session.writer._kept._directory = place
        session.save(3.0)
        assert session.restored(place / path.name) == (3.0, 3.0)
        point = initreg.resume(place, verify=True)
        assert point is not None
        assert point.states["mine"] == {"value": 3.0}, before


def test_the_files_of_the_old_one_are_removed(session: Session) -> None:
    """However often a step is saved, there are the files of one checkpoint, and what is not an
    array, the position of an iterator, is saved, too."""
    for value in (1.0, 2.0, 3.0, 4.0):
        session.session.run(session.next)
        path = session.save(value)
        names = sorted(each.name for each in path.parent.iterdir() if "data" in each.name)
        counts = {int(name[-5:]) for name in names}
        assert len(counts) == 1
        assert len(names) == counts.pop() <= 2
        assert session.restored(path) == (value, value)
        keys = tf.train.load_checkpoint(str(path)).get_variable_to_dtype_map()
        assert "IteratorV2:0_STATE" in keys
    with v1.Session(graph=session.v.graph) as other:
        other.run([op for op in session.v.graph.get_operations() if op.type == "MakeIterator"])
        session.writer.saver.restore(other, str(path))
        assert other.run(session.next) == 4


def test_the_best_of_a_name(session: Session) -> None:
    """A checkpoint without a sidecar, as MinSaver writes it, is replaced in the same way."""
    session.session.run(session.set, {session.value: 1.0})
    path = session.writer.save_as(session.session, "best")
    assert path is not None
    seen = []

    def look() -> None:
        seen.append(session.restored(path)[0])

    session.session.run(session.set, {session.value: 2.0})
    with watched(look):
        assert session.writer.save_as(session.session, "best") == path
    assert set(seen) == {1.0, 2.0}
    assert seen == sorted(seen)


def test_an_old_one_of_another_saver(session: Session, tmp_path: Path) -> None:
    """One without a sidecar is not given the states of the one that replaces it."""
    folder = session.writer.directory
    folder.mkdir()
    session.session.run(session.set, {session.value: 1.0})
    session.writer.saver.save(session.session, str(folder / "model"), 5, write_meta_graph=False)
    seen = []

    def look() -> None:
        point = initreg.resume(folder)
        assert point is not None
        value = initreg.load(point.path)["v"][0]
        assert point.states.get("mine", {"value": 1.0}) == {"value": value}
        assert bool(point.states) == (value == 2.0)
        seen.append(value)

    with watched(look):
        session.save(2.0)
    assert set(seen) == {1.0, 2.0}


def test_an_old_one_whose_sidecar_is_damaged(session: Session) -> None:
    """It was not resumed from before, and is not while it is replaced."""
    path = session.save(1.0)
    sidecar = path.with_name(f"{path.name}{ENDING}")
    sidecar.write_text("{")
    found = []

    def look() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", initreg.ResumeWarning)
            point = initreg.resume(path.parent)
        found.append(None if point is None else initreg.load(point.path)["v"][0])

    with watched(look):
        session.save(2.0)
    assert set(found) == {None, 2.0}


def test_a_stranger_in_the_sidecar(session: Session) -> None:
    """What a sidecar says of the one that it replaces is checked like everything else."""
    path = session.save(1.0)
    sidecar = path.with_name(f"{path.name}{ENDING}")
    good = json.loads(sidecar.read_text())
    for replaces in (
        5,
        {},
        {"sidecar": None},
        {"sidecar": None, "unless": []},
        {"sidecar": None, "unless": {"../x": {"size": 1, "crc32c": "0"}}},
        {"sidecar": [], "unless": {"x": {"size": 1, "crc32c": "0"}}},
        {"sidecar": {"initreg": 1}, "unless": {"x": {"size": 1, "crc32c": "0"}}},
        {"sidecar": {**good, "files": {"../x": 1}}, "unless": {"x": {"size": 1, "crc32c": "0"}}},
    ):
        sidecar.write_text(json.dumps({**good, "replaces": replaces}))
        with pytest.raises(initreg.DamagedFile):
            read_sidecar(sidecar)


@pytest.mark.framework
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
def test_keras(library: Any, tmp_path: Path) -> None:
    """A run that is started anew in a folder replaces the checkpoints of the older run. Before
    every change of the folder, the old one or the new one of the last step is complete, with its
    own states and its own best weights."""
    folder = tmp_path / "run"

    def fit(seed: float) -> Any:
        model = library.model()
        model.set_weights([w + seed for w in model.get_weights()])
        early = library.keras.callbacks.EarlyStopping("loss", patience=9, restore_best_weights=True)
        saver = library.trainers.ModelSaver(folder, objects={"seed": Seed(seed)})
        callbacks = [early, saver]
        saver.bind(callbacks)
        model.fit(library.x, library.y, 4, 1, callbacks=callbacks, verbose=0, shuffle=False)
        return model, early

    class Seed:
        def __init__(self, value: float) -> None:
            self.value = value

        def state_dict(self) -> float:
            return self.value

        def load_state_dict(self, state: float) -> None:
            self.value = state

    made = {seed: fit(seed) for seed in (1.0,)}
    seen = []

    def look() -> None:
        copy = tmp_path / f"copy{len(seen)}"
        shutil.copytree(folder, copy)
        for place in (folder, copy):
            point = initreg.resume(place, verify=True)
            assert point is not None
            assert point.skipped == ()
            assert point.path.name == "model-2.weights.h5"
        seen.append((point, point.states["seed"]))

    with watched(look):
        made[2.0] = fit(2.0)
    seeds = [seed for _, seed in seen]
    assert seeds == sorted(seeds)
    assert set(seeds) == {1.0, 2.0}
    for number, (_, seed) in enumerate(seen):
        model, early = library.model(), library.keras.callbacks.EarlyStopping("loss")
        saver = library.trainers.ModelSaver(tmp_path / f"copy{number}", objects={"seed": Seed(0)})
        start = library.trainers.resume(model, [early, saver])
        assert library.weights(model) == library.weights(made[seed][0])
        start.give_states(saver.callbacks)
        np.testing.assert_equal(early.best_weights, made[seed][1].best_weights)
    names = library.files(folder)
    assert [name for name in names if name.endswith(".h5")] == ["model-2.weights.h5"]
    assert len([name for name in names if ".best" in name]) == 1
    assert not [name for name in names if name.startswith(".")]
    assert os.path.getsize(folder / "model-2.weights.h5") > 0
