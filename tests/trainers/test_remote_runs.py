"""Runs whose folder is in a store: what is saved there, what is resumed, and what fails."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import initreg
from initreg import InitregError, ResumeWarning, UnwritableFile
from tests.storage.web_server import serving

pytestmark = [
    pytest.mark.framework,
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",  # Keras
    ),
]
_numbers = itertools.count()


@pytest.fixture
def run() -> Iterator[str]:
    """The URL of a folder in fsspec's memory, which does not exist yet."""
    fs = fsspec.filesystem("memory")
    name = f"run-{next(_numbers)}"
    yield f"memory://{name}"
    if fs.exists(name):
        fs.rm(name, recursive=True)


def names(url: str) -> list[str]:
    fs = fsspec.filesystem("memory")
    found = fs.find(url.removeprefix("memory://"))
    return sorted(path.rpartition("/")[2] for path in found)


def test_a_run_is_saved_and_resumed(library: Any, run: str, tmp_path: Path) -> None:
    """A run in a store goes on as one on the disk does, and keeps as many checkpoints."""
    reference = library.model()
    library.fit(reference, [library.trainers.ModelSaver(tmp_path)], 5)
    first = library.model()
    library.fit(first, [library.trainers.ModelSaver(run, max_to_keep=2)], 3)
    kept = [f"model-{n}.weights.h5{end}" for n in (4, 6) for end in ("", ".resume.json")]
    assert names(run) == kept
    point = initreg.resume(run, verify=True)
    assert point is not None
    assert (str(point.path), point.epoch, point.step, point.skipped) == (
        f"{run}/model-6.weights.h5",
        3,
        6,
        (),
    )
    second = library.model()
    saver = library.trainers.ModelSaver(run, max_to_keep=2)
    start = library.trainers.resume(second, [saver])
    assert start.epoch == 3
    assert library.state(second) == library.state(first)
    start, _ = library.fit(second, [saver], 5)
    assert start.epoch == 3
    assert library.state(second) == library.state(reference)
    assert names(run)[0] == "model-10.weights.h5"
    assert len(names(run)) == 4


def test_an_incomplete_upload_is_passed_over(library: Any, run: str) -> None:
    """A run goes on from the newest checkpoint whose files are all there and have their sizes."""
    library.fit(library.model(), [library.trainers.ModelSaver(run)], 3)
    fs = fsspec.filesystem("memory")
    folder = run.removeprefix("memory://")
    fs.rm(f"{folder}/model-6.weights.h5")
    data = fs.cat(f"{folder}/model-4.weights.h5")
    fs.pipe(f"{folder}/model-4.weights.h5", data[:-1])
    with pytest.warns(ResumeWarning, match=f"continuing from {run}/model-2.weights.h5"):
        point = initreg.resume(run)
    assert point is not None
    assert point.step == 2


def test_an_upload_that_fails(
    library: Any, run: str, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Training goes on, the log says what was not saved, and the previous checkpoint stays."""
    saver = library.trainers.ModelSaver(run, max_to_keep=1)
    model = library.model()
    library.fit(model, [saver], 1)
    kept = names(run)
    fs = type(fsspec.filesystem("memory"))
    monkeypatch.setattr("initreg.storage.store_files._FIRST_PAUSE", 0.001)

    def full(*_: Any, **__: Any) -> None:
        raise OSError("the bucket is full")

    monkeypatch.setattr(fs, "put_file", full)
    with caplog.at_level(logging.WARNING, "initreg"):
        library.fit(model, [saver], 2)
    assert "was not saved, and training goes on" in caplog.text
    assert "the bucket is full" in caplog.text
    assert names(run) == kept
    point = initreg.resume(run, verify=True)
    assert point is not None
    assert point.epoch == 1


def test_a_run_that_is_started_anew(library: Any, run: str) -> None:
    """A checkpoint of the same name is replaced, and its sidecar is that of the new one."""
    for _ in range(2):
        model = library.model()
        library.fit(model, [library.trainers.ModelSaver(run)], 1)
    assert names(run) == ["model-2.weights.h5", "model-2.weights.h5.resume.json"]
    point = initreg.resume(run, verify=True)
    assert point is not None
    second = library.model()
    library.trainers.resume(second, [library.trainers.ModelSaver(run)])
    assert library.state(second) == library.state(model)


def test_the_best_weights(library: Any, run: str) -> None:
    """MinSaver writes to a store, and what an EarlyStopping holds is restored from it."""
    model = library.model()
    early = library.keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    callbacks = [early, library.trainers.MinSaver(run, "loss"), library.trainers.ModelSaver(run)]
    library.fit(model, callbacks, 2)
    assert {"min-loss.json", "min-loss.weights.h5", "model-4.best.npz"} <= set(names(run))
    assert initreg.load(f"{run}/min-loss.weights.h5").keys() == (
        initreg.load(f"{run}/model-4.weights.h5").keys()
    )
    second = library.keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    others = [second, library.trainers.MinSaver(run, "loss"), library.trainers.ModelSaver(run)]
    start, _ = library.fit(library.model(), others, 2)
    assert start.epoch == 2
    for ours, theirs in zip(second.best_weights, early.best_weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_missing_folder(run: str) -> None:
    """initreg.resume says that there is none. The resume of a trainer begins a first run."""
    with pytest.raises(initreg.SourceNotFound, match="no such folder to resume from"):
        initreg.resume(run)


def test_over_http(library: Any, tmp_path: Path) -> None:
    """A run that a web server shows is found, if the server lists its folders."""
    library.fit(library.model(), [library.trainers.ModelSaver(tmp_path / "run")], 2)
    with serving(tmp_path) as web:
        web.lists = True
        for url in (f"{web.url}run", f"{web.url}run/"):
            point = initreg.resume(url, verify=True)
            assert point is not None
            assert (point.epoch, point.step) == (2, 4)
            found = initreg.load(point.path)
            local = initreg.load(tmp_path / "run" / "model-4.weights.h5")
            assert found.keys() == local.keys()
            assert all(np.array_equal(found[name], local[name]) for name in local)
        web.lists = False
        with pytest.raises(InitregError, match=r"cannot list|no such folder"):
            initreg.resume(f"{web.url}run/")


def test_checkpoints_of_tensorflow(run: str) -> None:
    """The state file, and the names of checkpoints without sidecars, count in a store, too."""
    fs = fsspec.filesystem("memory")
    for step in (5, 10, 15):
        initreg.save(f"{run}/model-{step}.ckpt", {"w": np.full(3, step)})
        for path in fs.find(run.removeprefix("memory://")):
            if ".ckpt" in path:
                fs.mv(path, path.replace(".ckpt", ""))
    state = b'model_checkpoint_path: "model-10"\nall_model_checkpoint_paths: "model-10"\n'
    fs.pipe(f"{run.removeprefix('memory://')}/checkpoint", state)
    with pytest.warns(ResumeWarning, match="checkpoint names 'model-10'"):
        point = initreg.resume(run)
    assert point is not None
    assert point.step == 10
    assert initreg.load(point.path)["w"][0] == 10


def test_a_store_that_can_only_be_read(library: Any) -> None:
    """A saver says at once, and not after the first epoch, that a web server takes nothing."""
    for kind in (library.trainers.ModelSaver, library.trainers.MinSaver):
        with pytest.raises(UnwritableFile, match="such a store cannot be written to"):
            kind("http://127.0.0.1:9/run")
