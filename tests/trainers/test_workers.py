"""Several processes train one model: one of them writes, and all of them resume from the same
checkpoint or none does."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.targets.spread.ports import free_addresses

HERE = Path(__file__).parent

pytestmark = [pytest.mark.framework, pytest.mark.slow]

Workers = list[subprocess.Popen[str]]


@contextmanager
def started(folder: str, epochs: int, result: Path) -> Iterator[Workers]:
    """Two workers of tf_keras. Keras 3 does not train under a MultiWorkerMirroredStrategy."""
    addresses = free_addresses(2)
    script = [sys.executable, str(HERE / "workers_run.py"), "tf_keras", folder, str(epochs)]
    running = [
        subprocess.Popen(
            [*script, str(result), str(task), *addresses],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"},
        )
        for task in range(2)
    ]
    try:
        yield running
    finally:
        for each in running:
            each.kill()
            each.wait()
            if each.stdout is not None:
                each.stdout.close()


def finished(folder: str, epochs: int, result: Path) -> tuple[list[str], list[list[Any]]]:
    """What the workers print, and the weights and the optimizer of each at the end."""
    with started(folder, epochs, result) as running:
        said = [each.communicate(timeout=240)[0] for each in running]
    files = [Path(f"{result}-{task}.npz") for task in range(2)]
    arrays = []
    for file in filter(Path.exists, files):
        with np.load(file) as found:
            arrays.append([found[name] for name in found.files])
    return said, arrays


def same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) > 0 and all(map(np.array_equal, one, other))


def goes_on(one: list[Any], other: list[Any]) -> bool:
    """Whether the weights are those of an uninterrupted training. The moving statistics of each
    worker are its own, and a checkpoint has their mean, so that they are rounded once more."""
    assert len(one) == len(other) > 0
    weights = [number for number in range(len(one)) if number not in (4, 5)]
    statistics = [np.allclose(one[number], other[number], rtol=1e-5) for number in (4, 5)]
    return same([one[n] for n in weights], [other[n] for n in weights]) and all(statistics)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The weights and the optimizer after four epochs without an interruption."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    said, arrays = finished(str(folder / "run"), 4, folder / "result")
    assert all("DONE" in each for each in said), said
    assert same(*arrays)
    return arrays[0]


def test_one_writes_and_all_resume(tmp_path: Path, uninterrupted: list[Any]) -> None:
    """Each worker resumes from what the first one wrote, and the others write nothing."""
    finished(str(tmp_path / "worker-TASK"), 2, tmp_path / "first")
    assert os.listdir(tmp_path / "worker-0")
    assert not (tmp_path / "worker-1").exists()
    names = sorted(os.listdir(tmp_path / "worker-0"))
    steps = (4, 8)
    assert names == sorted(
        ["min-loss.json", "min-loss.weights.h5"]
        + [f"model-{step}.weights.h5{end}" for step in steps for end in ("", ".resume.json")]
    )
    said, arrays = finished(str(tmp_path / "worker-0"), 4, tmp_path / "second")
    assert all("STARTING 2\n" in each and "DONE" in each for each in said), said
    assert same(*arrays)
    assert goes_on(arrays[0], uninterrupted)


def test_workers_that_find_different_checkpoints(tmp_path: Path) -> None:
    """If one worker has not the newest checkpoint, no worker begins to train, and the error of each
    says what every worker has found."""
    finished(str(tmp_path / "run"), 2, tmp_path / "first")
    for task in range(2):
        shutil.copytree(tmp_path / "run", tmp_path / f"copy-{task}")
    for name in ("model-8.weights.h5", "model-8.weights.h5.resume.json"):
        os.unlink(tmp_path / "copy-1" / name)
    said, _ = finished(str(tmp_path / "copy-TASK"), 4, tmp_path / "second")
    pattern = (
        r"REFUSED InitregError: the workers would resume from different checkpoints, .*"
        r"worker 0: epoch 2, step 8, crc32c [0-9a-f]{8}; worker 1: epoch 1, step 4, "
    )
    for each in said:
        assert re.search(pattern, each), said
        assert "STARTING" not in each
    shutil.rmtree(tmp_path / "copy-1")
    said, _ = finished(str(tmp_path / "copy-TASK"), 4, tmp_path / "third")
    assert all("worker 1: none" in each and "STARTING" not in each for each in said), said


def kill_one(workers: Workers, epoch: int, victim: int) -> None:
    """Kill one worker while the epoch is saved. The others cannot go on without it."""
    out = workers[0].stdout
    assert out is not None
    for line in out:
        if line.startswith(f"EPOCH {epoch}"):
            break
    workers[victim].send_signal(signal.SIGKILL)
    workers[victim].wait()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker(tmp_path: Path, uninterrupted: list[Any], victim: int) -> None:
    """Whichever worker is killed, the training that is started again ends with the same weights."""
    with started(str(tmp_path / "run"), 4, tmp_path / "first") as running:
        kill_one(running, 3, victim)
    said, arrays = finished(str(tmp_path / "run"), 4, tmp_path / "second")
    assert all(re.search(r"STARTING [123]\n", each) and "DONE" in each for each in said), said
    assert goes_on(arrays[0], uninterrupted)
    assert same(*arrays)
    left = [name for name in os.listdir(tmp_path / "run") if name.startswith("model-")]
    assert sorted(left) == sorted(
        f"model-{step}.weights.h5{end}" for step in (12, 16) for end in ("", ".resume.json")
    )


@pytest.mark.kills
def test_workers_killed_again_and_again(tmp_path: Path, uninterrupted: list[Any]) -> None:
    """A training whose workers are killed many times ends with the same weights."""
    rng = random.Random(1)
    kills = max(int(os.environ.get("INITREG_KILLS", "8")) // 8, 2)
    for number in range(kills):
        with started(str(tmp_path / "run"), 4, tmp_path / f"part-{number}") as running:
            kill_one(running, rng.randint(1, 4), rng.randint(0, 1))
    _, arrays = finished(str(tmp_path / "run"), 4, tmp_path / "end")
    assert goes_on(arrays[0], uninterrupted)
