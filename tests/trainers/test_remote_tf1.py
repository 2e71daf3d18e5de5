"""TF1 sessions and tensorpack whose runs are in a store: saved there, resumed, killed."""

from __future__ import annotations

import datetime
import itertools
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import tensorflow as tf
from fsspec.implementations.memory import MemoryFileSystem

import initreg
from initreg import InitregError, UnwritableFile
from initreg.trainers.tf1 import ModelSaver, init_fn
from initreg.trainers.tf1.checkpoints import CheckpointWriter
from tests.storage.web_server import serving

with warnings.catch_warnings():
    # It imports pkg_resources, and uses escapes and TensorFlow names of 2019.
    warnings.simplefilter("ignore")
    import tensorpack as tp
    from tensorpack.callbacks import Callback
    from tensorpack.dataflow import FakeData
    from tensorpack.utils import logger as tensorpack_logger

    from initreg.trainers import tensorpack as ours

v1 = tf.compat.v1

pytestmark = [
    pytest.mark.framework,
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning:tensorpack",
        "ignore::DeprecationWarning:distutils",
    ),
]


class Killed(BaseException):
    """The process is killed: nothing that it does afterwards reaches the store."""


class Mortal(MemoryFileSystem):  # type: ignore[misc]
    """A store whose client is killed in the middle of a change.

    Attributes:
        left: how many changes succeed before that. None if it is not killed.
        changes: what was changed.
    """

    protocol = "mortal"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]
    left: int | None = None
    is_dead = False
    changes: list[str] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("mortal://").strip("/")

    def _change(self, what: str) -> bool:
        """Whether this change is cut short."""
        kind = type(self)
        if kind.is_dead:
            raise Killed
        kind.changes.append(what)
        if kind.left is not None:
            kind.left -= 1
            kind.is_dead = kind.left < 0
        return kind.is_dead

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        dies = self._change(f"put {rpath}")
        data = Path(lpath).read_bytes()
        self.pipe_file(rpath, data[: len(data) // 2] if dies else data)
        if dies:
            raise Killed

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if self._change(f"mv {path2}"):
            raise Killed
        super().mv(path1, path2, **options)

    def rm_file(self, path: str) -> None:
        if self._change(f"rm {path}"):
            raise Killed
        super()._rm(path)


fsspec.register_implementation("mortal", Mortal, clobber=True)
_numbers = itertools.count()


@pytest.fixture
def run() -> Iterator[str]:
    """The URL of a folder in fsspec's memory, which does not exist yet."""
    fs = fsspec.filesystem("memory")
    name = f"tf1-run-{next(_numbers)}"
    yield f"memory://{name}"
    if fs.exists(name):
        fs.rm(name, recursive=True)


@pytest.fixture
def mortal() -> Iterator[type[Mortal]]:
    """A store that can be killed."""
    fsspec.filesystem("mortal")
    revive(None)
    yield Mortal
    revive(None)


def revive(store: dict[str, Any] | None) -> None:
    """Start anew with a store of this content."""
    Mortal.left, Mortal.is_dead = None, False
    Mortal.changes.clear()
    Mortal.store.clear()
    Mortal.store.update(store or {})


def names(url: str) -> list[str]:
    protocol, _, folder = url.partition("://")
    found = fsspec.filesystem(protocol).find(folder)
    return sorted(path.rpartition("/")[2] for path in found)


def checkpoints_in(url: str) -> list[str]:
    """The files of checkpoints, without the graph and the state file."""
    return [name for name in names(url) if name.startswith("model-")]


def of_step(*steps: int) -> list[str]:
    ends = (".data-00000-of-00001", ".index", ".resume.json")
    return sorted(f"model-{step}{end}" for step in steps for end in ends)


def train(
    steps: int, hooks: list[Any], start: Any = None, table: bool = False
) -> tuple[int, float, Any]:
    """Run so many steps, each of which subtracts 0.25 from w, which is 2 at first. At which step it
    started, w in the end, and what an iterator gives next, if there is a ``table``."""
    with tf.Graph().as_default():
        step = v1.train.get_or_create_global_step()
        w = v1.get_variable("w", initializer=np.float32(2))
        op = v1.train.GradientDescentOptimizer(0.25).minimize(w, step)
        fetched = [step, w]
        if table:
            iterator = v1.data.make_one_shot_iterator(tf.data.Dataset.range(1000))
            saveable = tf.data.experimental.make_saveable_from_iterator(iterator)
            v1.add_to_collection(v1.GraphKeys.SAVEABLE_OBJECTS, saveable)
            following = iterator.get_next()
            op = tf.group(op, following)
        scaffold = v1.train.Scaffold(init_fn=start)
        with v1.train.MonitoredTrainingSession(
            scaffold=scaffold,
            hooks=hooks,
            save_checkpoint_steps=None,
            save_checkpoint_secs=None,
            save_summaries_steps=None,
            save_summaries_secs=None,
        ) as session:
            fetch = lambda step_context: step_context.session.run(fetched)  # noqa: E731
            first, _ = session.run_step_fn(fetch)
            for _ in range(steps):
                session.run(op)
            _, last = session.run_step_fn(fetch)
            count = None
            if table:
                count = session.run_step_fn(
                    lambda step_context: step_context.session.run(following)
                )
    return int(first), float(last), count


def test_saved_and_resumed(run: str) -> None:
    """A session is saved to a store as to a folder, and goes on from there."""
    train(5, [ModelSaver(run, every_n_steps=1, max_to_keep=2)])
    assert checkpoints_in(run) == of_step(4, 5)
    fs = fsspec.filesystem("memory")
    state = fs.cat(f"{run.removeprefix('memory://')}/checkpoint").decode()
    assert state.startswith('model_checkpoint_path: "model-5"\n')
    point = initreg.resume(run, verify=True)
    assert point is not None
    assert (str(point.path), point.step, point.skipped) == (f"{run}/model-5", 5, ())
    assert initreg.load(point.path)["w"] == 0.75
    saver = ModelSaver(run, every_n_steps=1, max_to_keep=2)
    assert train(2, [saver], init_fn(saver=saver)) == (5, 0.25, None)
    assert checkpoints_in(run) == of_step(6, 7)
    assert [name for name in names(run) if name.endswith(".meta")]


def test_what_is_uploaded_is_what_tensorflow_wrote(run: str, tmp_path: Path) -> None:
    """TensorFlow restores the files after they were downloaded."""
    train(3, [ModelSaver(run, every_n_steps=3)])
    fsspec.filesystem("memory").get(run.removeprefix("memory://"), str(tmp_path), recursive=True)
    path = next(tmp_path.rglob("model-3.index"))
    assert tf.train.latest_checkpoint(str(path.parent)) == str(path.with_suffix(""))
    assert tf.train.load_checkpoint(str(path.with_suffix(""))).get_tensor("w") == 1.25


def test_nothing_is_left_on_the_disk(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The temporary files of saves and restores are removed, those of an iterator too."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    train(3, [ModelSaver(run, every_n_steps=1)], table=True)
    saver = ModelSaver(run, every_n_steps=1)
    train(1, [saver], init_fn(saver=saver), table=True)
    assert list(tmp_path.iterdir()) == []


def test_an_iterator_goes_on(run: str) -> None:
    """What is not an array, and which TensorFlow reads itself, is restored from a store, too."""
    assert train(3, [ModelSaver(run, every_n_steps=3)], table=True) == (0, 1.25, 3)
    saver = ModelSaver(run, every_n_steps=3)
    assert train(2, [saver], init_fn(saver=saver), table=True) == (3, 0.75, 5)


def test_a_checkpoint_of_the_same_name(run: str) -> None:
    """A run that is started anew replaces the checkpoints and sidecars of the earlier one."""
    for number in (1, 2):
        train(3, [ModelSaver(run, every_n_steps=1, objects={"run": Number(number)})])
    assert [name for name in names(run) if name.endswith(".index")] == [
        "model-1.index",
        "model-2.index",
        "model-3.index",
    ]
    point = initreg.resume(run, verify=True)
    assert point is not None
    assert (point.step, point.states["run"], point.skipped) == (3, {"number": 2}, ())
    assert initreg.load(f"{run}/model-2")["w"] == 1.5


def test_a_sharded_saver(run: str) -> None:
    """What a sharded Saver of the Scaffold writes is uploaded, replaced and restored, with a
    partitioned variable in it."""

    def once(steps: int, first: float, saver: ModelSaver, start: Any) -> list[float]:
        with tf.Graph().as_default():
            step = v1.train.get_or_create_global_step()
            partitioner = v1.fixed_size_partitioner(2)
            with tf.device("/cpu:0"):
                w = v1.get_variable("w", initializer=tf.fill([4], first), partitioner=partitioner)
            train = tf.group(
                *(part.assign_add(tf.ones_like(part)) for part in w), step.assign_add(1)
            )
            scaffold = v1.train.Scaffold(init_fn=start, saver=v1.train.Saver(sharded=True))
            with v1.train.MonitoredTrainingSession(
                scaffold=scaffold,
                hooks=[saver],
                save_checkpoint_steps=None,
                save_checkpoint_secs=None,
            ) as session:
                for _ in range(steps):
                    session.run(train)
                found = session.run_step_fn(lambda step_context: step_context.session.run(list(w)))
        return list(map(float, np.concatenate(found)))

    for first in (10.0, 20.0):  # the second replaces the first
        saver = ModelSaver(run, every_n_steps=1)
        assert once(
            2, first, saver, init_fn({"w": np.full(4, first, "f4")}, on_missing="ignore")
        ) == ([first + 2] * 4)
        point = initreg.resume(run, verify=True)
        assert point is not None
        assert (point.step, point.skipped) == (2, ())
        assert initreg.load(point.path)["w"].tolist() == [first + 2] * 4
    saver = ModelSaver(run, every_n_steps=1)
    assert once(1, 0.0, saver, init_fn(saver=saver)) == [23] * 4


class Number:
    """A number with a state."""

    def __init__(self, number: int) -> None:
        self.number = number

    def state_dict(self) -> dict[str, int]:
        return {"number": self.number}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.number = state["number"]


def test_the_order_of_an_upload(mortal: type[Mortal]) -> None:
    """Sidecar, data, index, and only then are the old checkpoint and its index removed."""
    train(2, [ModelSaver("mortal://run", every_n_steps=1, max_to_keep=1)])
    done = [each for each in mortal.changes if "model-2" in each or each.startswith("rm")]
    done = [each for each in done if "/.initreg-" not in each]
    assert done == [
        "mv /run/model-2.resume.json",
        "mv /run/model-2.data-00000-of-00001",
        "mv /run/model-2.index",
        "rm /run/model-1.index",
        "rm /run/model-1.resume.json",
        "rm /run/model-1.data-00000-of-00001",
    ]


def test_killed_at_any_change(mortal: type[Mortal]) -> None:
    """Wherever a training is killed, it goes on from the last checkpoint that was complete, and
    ends in the same value. At first there is a run of the same steps and of other values."""
    older = {"w": np.float32(100)}
    train(3, [ModelSaver("mortal://run", every_n_steps=1)], init_fn(older, on_missing="ignore"))
    before = dict(mortal.store)
    mortal.changes.clear()
    train(3, [ModelSaver("mortal://run", every_n_steps=1, max_to_keep=1)])
    complete = list(mortal.changes)
    saved = [n for n, each in enumerate(complete) if re.match(r"mv /run/model-\d+\.index", each)]
    assert len(saved) == 3
    for at in range(len(complete)):
        revive(before)
        mortal.left = at
        with pytest.raises(Killed):
            train(3, [ModelSaver("mortal://run", every_n_steps=1, max_to_keep=1)])
        mortal.left, mortal.is_dead = None, False
        done = sum(each < at for each in saved)
        point = initreg.resume("mortal://run", verify=True)
        assert point is not None, at
        assert point.skipped == (), complete[at]
        found = float(initreg.load(point.path)["w"])
        assert (point.step, found) == ((done, 2 - done / 4) if done else (3, 99.25)), complete[at]
        if done:
            saver = ModelSaver("mortal://run", every_n_steps=1, max_to_keep=1)
            assert train(4 - done, [saver], init_fn(saver=saver))[:2] == (done, 1.0)
            assert initreg.load("mortal://run/model-4")["w"] == 1.0


def test_leftovers_of_a_kill_are_removed(mortal: type[Mortal]) -> None:
    """Hidden files and data without an index, which no save will need, go after a day."""
    mortal.left = 4  # graph, and the sidecar: the data is cut short under a hidden name
    with pytest.raises(Killed):
        train(1, [ModelSaver("mortal://run", every_n_steps=1)])
    mortal.left, mortal.is_dead = None, False
    hidden = [name for name in names("mortal://run") if name.startswith(".initreg-")]
    assert len(hidden) == 1
    fs = fsspec.filesystem("mortal")
    fs.pipe_file("/run/model-9.data-00000-of-00001", b"data")
    fs.pipe_file("/run/other.data-00000-of-00001", b"of somebody else")
    train(2, [ModelSaver("mortal://run", every_n_steps=2)])
    assert {*hidden, "model-9.data-00000-of-00001"} <= set(names("mortal://run"))
    for path in (f"/run/{hidden[0]}", "/run/model-9.data-00000-of-00001"):
        mortal.store[path].created -= datetime.timedelta(days=2)
    train(2, [ModelSaver("mortal://run", every_n_steps=2)])
    left = names("mortal://run")
    assert {hidden[0], "model-9.data-00000-of-00001"}.isdisjoint(left)
    assert {"model-2.index", "other.data-00000-of-00001"} <= set(left)


def test_an_upload_that_fails(
    run: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Training goes on, the log says what was not saved, and the previous checkpoint stays."""
    train(1, [ModelSaver(run, every_n_steps=1, max_to_keep=1)])
    kept = names(run)
    monkeypatch.setattr("initreg.storage.store_files._FIRST_PAUSE", 0.001)

    def full(*_: Any, **__: Any) -> None:
        raise OSError("the bucket is full")

    saver = ModelSaver(run, every_n_steps=1, max_to_keep=1)
    monkeypatch.setattr(MemoryFileSystem, "put_file", full)
    with caplog.at_level(logging.WARNING, "initreg"):
        assert train(2, [saver], init_fn(saver=saver))[:2] == (1, 1.25)
    assert f"{run}/model-2 was not saved, and training goes on" in caplog.text
    assert "the bucket is full" in caplog.text
    assert names(run) == kept
    point = initreg.resume(run, verify=True)
    assert point is not None
    assert point.step == 1


def test_a_store_that_does_not_say_what_it_has(
    run: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Then nothing is replaced: a file that is taken for missing could be one that is needed."""
    train(1, [ModelSaver(run, every_n_steps=1)])
    fs = fsspec.filesystem("memory")
    before = {path: fs.cat(path) for path in fs.glob(f"{run.removeprefix('memory://')}/model-*")}
    monkeypatch.setattr("initreg.storage.store_files._FIRST_PAUSE", 0.001)
    plain = MemoryFileSystem.info

    def slow_down(self: Any, path: str, **options: Any) -> Any:
        if path.endswith(".index"):
            raise OSError("slow down")
        return plain(self, path, **options)

    saver = ModelSaver(run, every_n_steps=1)
    monkeypatch.setattr(MemoryFileSystem, "info", slow_down)
    with caplog.at_level(logging.WARNING, "initreg"):
        train(1, [saver])
    assert "slow down" in caplog.text
    found = {path: data for path, data in before.items() if fs.cat(path) == data}
    assert found == before


def test_a_session_of_another_machine(run: str, tmp_path: Path) -> None:
    """If TensorFlow's files are not here, the save fails and says what to do."""
    for where in (run, str(tmp_path / "run")):
        with tf.Graph().as_default(), v1.Session() as session:
            v1.get_variable("w", initializer=np.float32(2))
            session.run(v1.global_variables_initializer())
            writer = CheckpointWriter(where)
            saver_def = writer.saver.as_saver_def()
            # Its op writes nothing here, as that of another machine.
            saver_def.save_tensor_name = v1.identity(saver_def.filename_tensor_name).name
            writer.saver = v1.train.Saver(saver_def=saver_def)
            with pytest.raises(UnwritableFile, match="both machines share, or set TMPDIR to one"):
                writer._add(session, ".initreg-01234567-m", tmp_path / "m", {})
            assert writer.save_as(session, "m") is None
    assert initreg.save(f"{run}/m.npz", {"w": np.ones(3)})  # so that there is a folder
    assert names(run) == ["m.npz"]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_folders_that_cannot_be_saved_to(tmp_path: Path) -> None:
    """A store that can only be read, and options for a folder on the disk, are errors at once."""
    with pytest.raises(UnwritableFile, match="such a store cannot be written to"):
        ModelSaver("http://127.0.0.1:9/run", every_n_steps=1)
    with pytest.raises(InitregError, match=r"storage_options.*these are for URLs"):
        ModelSaver(tmp_path, every_n_steps=1, storage_options={"key": "user"})
    with pytest.raises(InitregError, match=r"storage_options.*these are for URLs"):
        ours.ModelSaver(checkpoint_dir=tmp_path, storage_options={"key": "user"})


def test_a_upath(run: str) -> None:
    """A UPath is a folder as its URL is."""
    from upath import UPath

    train(1, [ModelSaver(UPath(run), every_n_steps=1)])
    assert checkpoints_in(run) == of_step(1)


def test_from_a_web_server(tmp_path: Path) -> None:
    """A session starts from a checkpoint that a web server has."""
    train(3, [ModelSaver(tmp_path, every_n_steps=3)])
    with serving(tmp_path) as web:
        assert train(1, [], init_fn(f"{web.url}model-3", on_missing="ignore"))[:2] == (3, 1.0)


# --- tensorpack ---------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """tensorpack's log folder. A process has only one."""
    folder = tmp_path / "log"
    tensorpack_logger.set_logger_dir(str(folder), action="k")
    yield folder
    handler = tensorpack_logger._FILE_HANDLER
    handler.close()
    tensorpack_logger._logger.removeHandler(handler)
    tensorpack_logger._FILE_HANDLER = None
    tensorpack_logger.LOG_DIR = None


class Model(tp.ModelDesc):  # type: ignore[misc]
    def inputs(self) -> Any:
        return [tf.TensorSpec([1], tf.float32, "x")]

    def build_graph(self, x: Any) -> Any:
        w = v1.get_variable("w", initializer=np.float32(2))
        return tf.identity(w + 0 * tf.reduce_sum(x), name="cost")

    def optimizer(self) -> Any:
        return v1.train.GradientDescentOptimizer(0.25)


class Score(Callback):  # type: ignore[misc]
    """A statistic that is best after the second epoch."""

    def _trigger(self) -> None:
        self.trainer.monitors.put_scalar("score", abs(self.epoch_num - 2))


class Finish(Callback):  # type: ignore[misc]
    """Keeps w as it is in the end."""

    def _after_train(self) -> None:
        self.value = float(self.trainer.sess.run("w/Read/ReadVariableOp:0"))


def fit(config: type[Any], callbacks: list[Any], epochs: int, **options: Any) -> tuple[int, float]:
    """Train with tensorpack, two steps an epoch. The first epoch, and w in the end."""
    finish = Finish()
    made = config(
        model=Model(),
        data=tp.FeedInput(FakeData([[1]], size=100)),
        callbacks=[Score(), *callbacks, finish],
        monitors=[],
        extra_callbacks=[],
        steps_per_epoch=2,
        max_epoch=epochs,
        **options,
    )
    with tf.Graph().as_default():
        tp.launch_train_with_config(made, tp.SimpleTrainer())
    return made.starting_epoch, finish.value


def test_tensorpack_saves_and_resumes(run: str, log: Path) -> None:
    """ModelSaver saves to a store, and AutoResumeTrainConfig goes on from there."""
    first = [ours.ModelSaver(max_to_keep=1, checkpoint_dir=run)]
    assert fit(tp.TrainConfig, first, 2) == (1, 1.0)
    assert checkpoints_in(run) == of_step(4)
    assert first[0].checkpoint_dir == run
    second = [ours.ModelSaver(max_to_keep=1, checkpoint_dir=run)]
    assert fit(ours.AutoResumeTrainConfig, second, 3) == (3, 0.5)
    assert checkpoints_in(run) == of_step(6)
    assert [path.name for path in log.iterdir() if path.name.startswith("model-")] == []


def test_the_best_model_of_tensorpack(run: str, log: Path) -> None:
    """MinSaver and MaxSaver save to a store, and keep what they know over a restart."""
    make = lambda: [  # noqa: E731
        ours.MinSaver("score", checkpoint_dir=run),
        ours.MaxSaver("score", checkpoint_dir=run),
        ours.ModelSaver(checkpoint_dir=run),
    ]
    fit(tp.TrainConfig, make(), 2)
    again = make()
    assert fit(ours.AutoResumeTrainConfig, again, 3)[0] == 3
    assert [each.best for each in again[:2]] == [(4, 0.0), (2, 1.0)]
    assert initreg.load(f"{run}/min-score")["w"] == 1.0
    assert initreg.load(f"{run}/max-score")["w"] == 1.5
    assert not any(name.startswith(("min-", "max-")) and "resume" in name for name in names(run))


def test_session_inits_of_tensorpack(run: str, log: Path) -> None:
    """SaverRestore and SmartInit start a training from a checkpoint in a store."""
    fit(tp.TrainConfig, [ours.ModelSaver(checkpoint_dir=run)], 1)
    point = initreg.resume(run)
    assert point is not None
    for source in (f"{run}/model-2", point.path):
        init = ours.SaverRestore(source)
        assert init.path == f"{run}/model-2"
        assert fit(tp.TrainConfig, [], 1, session_init=init)[1] == 1.0
        assert fit(tp.TrainConfig, [], 1, session_init=ours.SmartInit(source))[1] == 1.0
