"""initreg.api.resuming: a run goes on from the newest checkpoint that is whole, with its states."""

from __future__ import annotations

import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import InitregError, ResumePoint, ResumeWarning, SourceNotFound
from initreg.api.resuming import find
from initreg.api.sidecars import ENDING, remove_orphans, sidecar_of, sidecar_text

v1 = tf.compat.v1


class Counter:
    """An object with a state."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


def save(folder: Path, step: int, ending: str = ".npz", at: float | None = None) -> Path:
    """A checkpoint with its sidecar, as a saver writes it; ``at``: when."""
    path = folder / f"model-{step}{ending}"
    counter = Counter()
    counter.count = step
    initreg.save_states(path, epoch=step // 10, step=step, objects={"counter": counter})
    if at is not None:
        sidecar = sidecar_of(path)
        sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"saved_at": at}))
    format = None if ending else "tf_checkpoint"
    initreg.save(path, {"x": np.full(1000, step, "f4")}, format=format)
    return path


def save_with_tensorflow(folder: Path, step: int) -> Path:
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("x", initializer=np.full(1000, step, "f4"))
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver()
        return Path(saver.save(session, str(folder / "model"), step, write_meta_graph=False))


def resumed(folder: Path, **options: Any) -> ResumePoint:
    """The point, of a folder where nothing is wrong."""
    point = initreg.resume(folder, **options)
    assert point is not None
    return point


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".h5", ""])
def test_the_newest_with_all_that_belongs_to_it(tmp_path: Path, ending: str, verify: bool) -> None:
    """Path, epoch, step and states, of any format."""
    for step in (10, 20, 30):
        save(tmp_path, step, ending, at=float(step))
    point = resumed(tmp_path, verify=verify)
    assert point.path == tmp_path / f"model-30{ending}"
    assert (point.epoch, point.step, point.skipped) == (3, 30, ())
    assert initreg.load(point.path)["x"][0] == 30
    counter = Counter()
    assert point.load_states({"counter": counter, "other": Counter()}) == ["other"]
    assert counter.count == 30


def test_the_newest_is_what_was_saved_last(tmp_path: Path) -> None:
    """Not the highest step: a run that was begun anew counts from 0. Nor does it matter when files
    were copied."""
    save(tmp_path, 500, at=1000.0)
    save(tmp_path, 20, at=2000.0)
    for name in os.listdir(tmp_path):
        os.utime(tmp_path / name, (0, 5000 if "500" in name else 4000))
    assert resumed(tmp_path).step == 20


def test_nothing_to_resume(tmp_path: Path) -> None:
    """An empty folder is a first start; a missing one is an error."""
    assert initreg.resume(tmp_path) is None
    (tmp_path / "notes.txt").write_text("x")
    np.savez(tmp_path / "pretrained.npz", x=np.ones(3))
    assert initreg.resume(tmp_path) is None
    with pytest.raises(SourceNotFound, match="no such folder to resume from"):
        initreg.resume(tmp_path / "nowhere")


def test_checkpoints_that_another_saver_wrote(tmp_path: Path) -> None:
    """By their names: the step is known, the epoch is not, and what is not numbered is not one."""
    path = save_with_tensorflow(tmp_path, 40)
    initreg.save(tmp_path / "min-error", {"x": np.ones(1)}, format="tf_checkpoint")
    point = resumed(tmp_path, verify=True)
    assert point == ResumePoint(path, None, 40, {}, ())


def damaged(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut":
        del content[-100:]
    elif how == "flipped":
        content[content.index(np.full(1000, 30, "f4").tobytes()) + 1234] ^= 16
    else:
        content[:] = bytes(len(content))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("ending", "part"),
    [(".npz", ""), (".safetensors", ""), ("", ".index"), ("", ".data-00000-of-00001")],
)
@pytest.mark.parametrize("how", ["cut", "zeroed", "flipped", "gone"])
def test_what_is_torn_is_passed_over_and_said(
    tmp_path: Path, ending: str, part: str, how: str
) -> None:
    """The one before it is taken; a flipped bit is found with verify, in formats with checksums."""
    if how == "flipped" and (part == ".index" or ending == ".safetensors"):
        pytest.skip("there is no such byte in an index; safetensors has no checksums")
    save(tmp_path, 20, ending, at=20.0)
    path = save(tmp_path, 30, ending, at=30.0)
    torn = path.with_name(path.name + part)
    if how == "gone":
        torn.unlink()
    else:
        damaged(torn, how)
    gone = how == "gone" and part != ".data-00000-of-00001"  # as if it had never been
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        point = initreg.resume(tmp_path, verify=True)
    assert point is not None
    assert point.step == 20
    assert [w.category for w in caught] == ([] if gone else [ResumeWarning])
    if not gone:
        assert str(caught[0].message).startswith(
            f"{tmp_path}: 1 incomplete checkpoint skipped, continuing from {tmp_path / 'model-20'}"
        )
        assert [skipped for skipped, _ in point.skipped] == [path]
        assert "model-30" in point.skipped[0][1]


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    """A sidecar that is a pipe, or that names one as a part of its checkpoint, is passed over."""
    save(tmp_path, 20, ".npz", at=20.0)
    path = save(tmp_path, 30, ".npz", at=30.0)
    sidecar_of(path).unlink()
    os.mkfifo(sidecar_of(path))
    path = save(tmp_path, 40, ".npz", at=40.0)
    os.mkfifo(tmp_path / "pipe")
    content = json.loads(sidecar_of(path).read_text())
    content["files"] = {"pipe": {"size": 0, "crc32c": "00000000"}}
    sidecar_of(path).write_text(json.dumps(content))
    point, skipped = find(tmp_path, verify=True)
    assert point is not None
    assert point.step == 20
    assert {path.name: why.rpartition(": ")[2] for path, why in skipped} == {
        "model-40.npz": "is not a regular file",
        "model-30.npz": "this is not a regular file",
    }


def test_all_are_torn(tmp_path: Path) -> None:
    """None, and a warning that names each."""
    for step in (10, 20):
        damaged(save(tmp_path, step, at=float(step)), "cut")
    with pytest.warns(ResumeWarning, match="2 incomplete checkpoints skipped, there is nothing"):
        assert initreg.resume(tmp_path) is None
    assert [path.name for path, _ in find(tmp_path)[1]] == ["model-20.npz", "model-10.npz"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        "null",
        '{"initreg": 2}',
        "[" * 100_000,
        '{"initreg": 1, "saved_at": "x", "epoch": 1, "step": 1, "files": {}, "states": {}}',
        '{"initreg": 1, "saved_at": 9e9, "epoch": "1", "step": 1, "files": {}, "states": {}}',
        '{"initreg": 1, "saved_at": 9e9, "epoch": 1, "step": 1, "files": [], "states": {}}',
        '{"initreg": 1, "saved_at": 9e9, "epoch": 1, "step": 1, "files": {}, "states": {"x": {"__bytes__": "%"}}}',  # noqa: E501
        '{"initreg": 1, "saved_at": 9e9, "epoch": 1, "step": 1, "files": {"../x": {"size": 1, "crc32c": "0"}}, "states": {}}',  # noqa: E501
        '{"initreg": 1, "saved_at": 9e9, "epoch": 1, "step": 1, "files": {"x": {"size": 1}}, "states": {}}',  # noqa: E501
    ],
    ids=lambda text: text[:60],
)  # fmt: skip
def test_a_sidecar_that_is_none(tmp_path: Path, content: str) -> None:
    """Its checkpoint is passed over: without its states a run would not go on as it was."""
    save(tmp_path, 10, at=10.0)
    path = save(tmp_path, 20)
    sidecar_of(path).write_text(content)
    with pytest.warns(ResumeWarning, match="1 incomplete checkpoint skipped"):
        point = initreg.resume(tmp_path)
    assert point is not None
    assert point.step == 10


def test_a_sidecar_without_its_checkpoint(tmp_path: Path) -> None:
    """The save was cut short between the two: it is as if it had not begun."""
    save(tmp_path, 10)
    initreg.save_states(tmp_path / "model-20.npz", epoch=2, step=20)
    assert resumed(tmp_path).step == 10


@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_sizes_and_checksums_that_the_sidecar_keeps(tmp_path: Path, how: str) -> None:
    """For formats that have none: the size always, the checksum when it is asked for."""
    save(tmp_path, 20, at=1.0)
    path = tmp_path / "model-30.safetensors"
    initreg.save(path, {"x": np.full(1000, 30, "f4")})
    text = sidecar_text(path.name, epoch=3, step=30, states={}, files={path.name: path})
    sidecar_of(path).write_text(text)
    assert resumed(tmp_path, verify=True).step == 30
    if how == "gone":
        path.rename(tmp_path / "model-30.safetensors.index")
    else:
        damaged(path, how)
    if how == "flipped":
        assert resumed(tmp_path).step == 30
    says = {"cut": "has ", "flipped": "fails its crc32c", "gone": "No such file"}[how]
    with pytest.warns(ResumeWarning, match=rf"model-30\.safetensors: {says}"):
        point = initreg.resume(tmp_path, verify=True)
    assert point is not None
    assert point.step == 20


def test_an_object_without_a_state(tmp_path: Path) -> None:
    """It is named, and nothing is written."""
    with pytest.raises(
        InitregError, match=r"'rate', a float, cannot be saved: it needs state_dict"
    ):
        initreg.save_states(tmp_path / "m.npz", objects={"rate": 0.1})
    assert os.listdir(tmp_path) == []


def test_orphans(tmp_path: Path) -> None:
    """The sidecars of checkpoints that are gone go too, a day later: another loop may still be
    writing the checkpoint of a younger one."""
    save(tmp_path, 10)
    save(tmp_path, 20, "")
    for name in ("old", "kept", "young"):
        initreg.save_states(tmp_path / name)
    for path in tmp_path.glob(f"*{ENDING}"):
        if path.name != f"young{ENDING}":
            os.utime(path, (time.time() - 90_000,) * 2)
    remove_orphans(tmp_path, keep=["kept"])
    assert sorted(name for name in os.listdir(tmp_path) if name.endswith(ENDING)) == [
        "kept.resume.json", "model-10.npz.resume.json", "model-20.resume.json", "young.resume.json",
    ]  # fmt: skip


def test_a_point_as_json(tmp_path: Path) -> None:
    """What 'initreg resume --json' prints."""
    path = save(tmp_path, 20)
    assert json.loads(json.dumps(resumed(tmp_path).to_dict())) == {
        "path": str(path),
        "epoch": 2,
        "step": 20,
        "states": {"counter": {"count": 20}},
        "skipped": [],
    }


def test_a_save_that_was_killed_is_no_candidate(tmp_path: Path) -> None:
    """Its hidden files, though whole, have no name yet."""
    save_with_tensorflow(tmp_path, 1)
    for path in list(tmp_path.glob("model-1.*")):
        copy = tmp_path / f".initreg-0000-{path.name.replace('model-1', 'model-2')}"
        copy.write_bytes(path.read_bytes())
    assert resumed(tmp_path).path == tmp_path / "model-1"
