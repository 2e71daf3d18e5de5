"""``resume`` and the state file ``checkpoint``: checkpoints of any name, and never an older one
without a word."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import PluginError, ResumeWarning, StateFile
from initreg.api.resuming import find
from initreg.plugin import training
from initreg.plugin.registry import Registry

v1 = tf.compat.v1


def write(folder: Path, name: str, at: float, value: float = 0.0) -> Path:
    """A checkpoint without a sidecar, written at a time."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    initreg.save(path, {"x": np.float32(value)}, format="tf_checkpoint")
    for each in path.parent.glob(f"{path.name}.*"):
        os.utime(each, (at, at))
    return path


def saved(folder: Path, name: str, at: float, step: int) -> Path:
    """A checkpoint with a sidecar that says when it was saved."""
    path = folder / name
    sidecar = initreg.save_states(path, epoch=step, step=step)
    text = re.sub(r'"saved_at": [\d.]+', f'"saved_at": {float(at)}', sidecar.read_text())
    sidecar.write_text(text)
    return write(folder, name, at)


def state(folder: Path, latest: str, *others: str, at: float) -> None:
    lines = [f'model_checkpoint_path: "{latest}"']
    lines += [f'all_model_checkpoint_paths: "{each}"' for each in (*others, latest)]
    (folder / "checkpoint").write_text("\n".join(lines) + "\n")
    os.utime(folder / "checkpoint", (at, at))


def taken(folder: Path, **options: Any) -> Any:
    """What is resumed from, relative to the folder. A warning is an error."""
    point = initreg.resume(folder, **options)
    return None if point is None else os.path.relpath(point.path, folder)


def told(folder: Path) -> tuple[Any, str]:
    """What is resumed from, and the one warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = taken(folder)
    (warning,) = caught
    assert warning.category is ResumeWarning
    return path, str(warning.message)


@pytest.mark.parametrize("name", ["foo-latest", "best/weights", "a/b/c d", "ckpt", "modél"])
def test_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    """A checkpoint that the state file names counts, in a folder below, too. TensorFlow finds the
    same one."""
    path = write(tmp_path, name, 10.0, value=3.0)
    assert taken(tmp_path) is None
    state(tmp_path, name, at=20.0)
    assert taken(tmp_path, verify=True) == name
    assert tf.train.latest_checkpoint(str(tmp_path)) == str(path)
    assert initreg.load(initreg.resume(tmp_path).path)["x"] == 3.0  # type: ignore[union-attr]


def test_the_saver_of_tensorflow(tmp_path: Path) -> None:
    """What Saver and CheckpointManager write, in folders that were moved since, is found."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.get_variable("x", initializer=np.float32(1))
        session.run(x.initializer)
        saver = v1.train.Saver()
        for name in ("first", "second", "last"):
            saver.save(session, str(tmp_path / "run" / name), write_meta_graph=False)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert taken(tmp_path / "moved") == "last"
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(x=tf.Variable(1.0)), str(tmp_path / "two"), 2, checkpoint_name="w"
    )
    for _ in range(3):
        manager.save()
    assert taken(tmp_path / "two") == "w-3"


def test_the_sidecar_of_a_named_one(tmp_path: Path) -> None:
    """It has its epoch and its states, also in a folder below."""
    (tmp_path / "best").mkdir()
    saved(tmp_path / "best", "weights", 10.0, step=7)
    state(tmp_path, "best/weights", at=20.0)
    point = initreg.resume(tmp_path)
    assert point is not None
    assert (point.path, point.epoch, point.step) == (tmp_path / "best/weights", 7, 7)


def test_the_next_one_of_the_list(tmp_path: Path) -> None:
    """If the latest one is not complete, the one before it in the list is taken, and that is
    said."""
    for number, name in enumerate(("one", "two", "three")):
        write(tmp_path, name, 10.0 + number)
    state(tmp_path, "three", "one", "two", at=20.0)
    data = tmp_path / "three.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    path, said = told(tmp_path)
    assert path == "two"
    assert "1 incomplete checkpoint skipped" in said
    assert "three.data-00000-of-00001" in said


@pytest.mark.parametrize("what", ["index", "everything"])
def test_a_named_one_that_is_gone(tmp_path: Path, what: str) -> None:
    """The one before it is taken, with a warning: it is older than what the state file says."""
    write(tmp_path, "model-10", 10.0)
    write(tmp_path, "model-20", 20.0)
    state(tmp_path, "model-20", "model-10", at=21.0)
    for path in tmp_path.glob("model-20.index" if what == "index" else "model-20.*"):
        path.unlink()
    path, said = told(tmp_path)
    assert path == "model-10"
    assert "model-20" in said
    write(tmp_path, "model-30", 30.0)  # saved after that
    assert taken(tmp_path) == "model-30"


def test_saved_after_the_state_file(tmp_path: Path) -> None:
    """A saver was killed between the two. The newest one is taken, and there is nothing to say."""
    write(tmp_path, "model-10", 10.0)
    state(tmp_path, "model-10", at=11.0)
    write(tmp_path, "model-20", 20.0)
    assert taken(tmp_path) == "model-20"
    saved(tmp_path, "m.npz", 30.0, step=1)
    initreg.save(tmp_path / "m.npz", {"x": 1.0})
    assert taken(tmp_path) == "m.npz"


@pytest.mark.parametrize("make", [write, saved])
def test_an_older_one_is_named(tmp_path: Path, make: Any) -> None:
    """The state file was written after both, so that one is taken. The warning names the newer."""
    extra = {"step": 20} if make is saved else {}
    make(tmp_path, "model-20", 20.0, **extra)
    make(tmp_path, "model-30", 30.0, **({"step": 30} if make is saved else {}))
    state(tmp_path, "model-20", at=40.0)
    path, said = told(tmp_path)
    assert path == "model-20"
    assert said.startswith(
        f"{tmp_path}: 1 newer checkpoint skipped, continuing from {tmp_path / 'model-20'}"
    )
    assert f"model-30: was saved later, but {tmp_path / 'checkpoint'} names 'model-20'" in said
    point, skipped = find(tmp_path)
    assert point is not None
    assert [path for path, _ in skipped] == [path for path, _ in point.skipped]
    assert [path for path, _ in skipped] == [tmp_path / "model-30"]


def test_a_folder_that_was_copied(tmp_path: Path) -> None:
    """The times of the files are those of the copying. The state file knows the order, and sidecars
    know it, too."""
    folder = tmp_path / "run"
    for step in (10, 20, 30):
        write(folder, f"model-{step}", float(step))
    state(folder, "model-30", "model-10", "model-20", at=31.0)
    for number, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        os.utime(path, (100.0 + number, 100.0 + number))
    os.utime(folder / "checkpoint", (99.0, 99.0))
    assert taken(folder) == "model-30"
    write(folder, "model-5", 200.0)  # kept for good, and so not in the list
    path, said = told(folder)
    assert path == "model-30"
    assert "model-5: was saved later" in said
    shutil.rmtree(folder)
    folder.mkdir()
    for step in (10, 20):
        saved(folder, f"model-{step}", float(step), step=step)
    state(folder, "model-20", "model-10", at=5.0)
    for number, path in enumerate(sorted(folder.glob("model*"), reverse=True)):
        os.utime(path, (100.0 + number, 100.0 + number))
    assert taken(folder) == "model-20"


@pytest.mark.parametrize("stated", ["../other/w", "{}/other/w", "link/w"])
def test_nothing_out_of_the_folder(tmp_path: Path, stated: str) -> None:
    """A state file cannot lead out, not even through a link: that one is skipped, and said."""
    folder = tmp_path / "run"
    write(tmp_path / "other", "w", 10.0)
    write(folder, "model-1", 10.0)
    (folder / "link").symlink_to(tmp_path / "other")
    state(folder, stated.format(tmp_path), "../other/w", at=20.0)
    path, said = told(folder)
    assert path == "model-1"
    assert "points out of its folder" in said


def test_a_state_file_that_is_a_link_out(tmp_path: Path) -> None:
    """A state file that is itself a link out of the folder is not followed, and that is said."""
    folder = tmp_path / "run"
    write(folder, "model-1", 10.0)
    write(folder, "model-2", 20.0)
    state(tmp_path / "run", "model-1", at=30.0)
    assert told(folder)[0] == "model-1"
    os.rename(folder / "checkpoint", tmp_path / "elsewhere")
    (folder / "checkpoint").symlink_to(tmp_path / "elsewhere")
    path, said = told(folder)
    assert path == "model-2"
    assert "its part checkpoint is a link out of the folder" in said


@pytest.mark.parametrize(
    ("is_link", "says"), [(True, "is a link out of the folder"), (False, "a git-lfs pointer")]
)
def test_a_sidecar_that_is_something_else(tmp_path: Path, is_link: bool, says: str) -> None:
    """A sidecar that is a link out of the folder, or was not downloaded, is not read: the one
    before is taken, with the reason."""
    folder = tmp_path / "run"
    folder.mkdir()
    saved(folder, "model-1", 10.0, step=1)
    saved(folder, "model-2", 20.0, step=2)
    sidecar = folder / "model-2.resume.json"
    os.rename(sidecar, tmp_path / "elsewhere.json")
    if is_link:
        sidecar.symlink_to(tmp_path / "elsewhere.json")
    else:
        sidecar.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    path, said = told(folder)
    assert path == "model-1"
    assert "model-2" in said
    assert says in said


def test_files_that_are_not_state_files(tmp_path: Path) -> None:
    """A folder, a pipe, binary data, a file without a path: all are as if they were not there."""
    write(tmp_path, "model-1", 10.0)
    place = tmp_path / "checkpoint"
    place.mkdir()
    assert taken(tmp_path) == "model-1"
    place.rmdir()
    os.mkfifo(place)
    assert taken(tmp_path) == "model-1"
    place.unlink()
    for content in (
        b"\0\1\2",
        b"",
        b'model_checkpoint_path: ""',
        b'all_model_checkpoint_paths: "x"',
    ):
        place.write_bytes(content)
        assert taken(tmp_path) == "model-1"


def test_a_list_without_an_end(tmp_path: Path) -> None:
    """A stranger's list of 30,000 checkpoints does not take long, as only some are looked for."""
    write(tmp_path, "model-1", 10.0)
    state(tmp_path, "model-1", *(f"m{number}" for number in range(30_000)), at=20.0)
    assert taken(tmp_path) == "model-1"


class Plugin:
    """A plugin with one hook."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    @initreg.hookimpl
    def initreg_checkpoints(self, names: Any) -> Any:
        class Found(dict):  # type: ignore[type-arg]
            pass

        found = Found({name: name for name in names if name.endswith(".run")})
        found.state = self.answer(names.folder) if callable(self.answer) else self.answer  # type: ignore[attr-defined]
        return found


def test_a_state_file_of_another_library(tmp_path: Path) -> None:
    """A plugin gets the folder, and says which checkpoint is the latest there."""
    registry = Registry(())
    (tmp_path / "LATEST").write_text("b.run")
    answer = StateFile("LATEST", {"a.run": "a.run", "b.run": "b.run"}, "b.run")
    given = []
    registry.register(Plugin(lambda folder: given.append(folder) or answer), "mine")
    found = training.checkpoints_and_states(registry, {"a.run", "b.run", "LATEST"}, tmp_path)
    assert found == ({"a.run": "a.run", "b.run": "b.run"}, [answer])
    assert given == [tmp_path]


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x"])
def test_a_plugin_that_leads_out(tmp_path: Path, path: str) -> None:
    """It is an error, and so is another kind of answer."""
    registry = Registry(())
    registry.register(Plugin(StateFile("LATEST", {path: path}, path)), "mine")
    with pytest.raises(PluginError, match=rf"names '{path}', which is not in the folder"):
        training.checkpoints_and_states(registry, {"LATEST"}, tmp_path)
    registry = Registry(())
    registry.register(Plugin("latest"), "mine")
    with pytest.raises(PluginError, match="its state is a str, not a StateFile"):
        training.checkpoints_and_states(registry, {"LATEST"}, tmp_path)
