"""A chief and a worker of a TF1 cluster, whose variables are on two parameter servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import initreg
from tests.targets.spread.ports import free_addresses

HERE = Path(__file__).parent

pytestmark = [pytest.mark.framework, pytest.mark.slow]


def run(folder: Path, steps: int, init: str, *store: str) -> dict[str, str]:
    """Run a training up to so many steps. Returns what chief and worker print.

    Another process may take an address between the moment when it was found free and that when the
    server starts. Then no session begins, and the run is tried once more.
    """
    for _ in range(2):
        said = tried(folder, steps, init, *store)
        if any(said.values()):
            break
    return said


def tried(folder: Path, steps: int, init: str, *store: str) -> dict[str, str]:
    found = free_addresses(4)
    cluster = json.dumps({"ps": found[:2], "chief": found[2:3], "worker": found[3:]})
    running = []

    def start(job: str, task: int) -> subprocess.Popen[str]:
        script = str(HERE / "tf1_cluster_run.py")
        place = [cluster, job, str(task), str(folder)]
        process = subprocess.Popen(
            [sys.executable, script, *place, str(steps), init, *store],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
        running.append(process)
        return process

    try:
        for task in range(2):
            start("ps", task)
        chief, worker = start("chief", 0), start("worker", 0)
        said = {"chief": chief.communicate(timeout=200)[0]}
        said["worker"] = worker.communicate(timeout=200)[0]
    finally:
        for each in running:
            each.kill()
            each.wait()
            if each.stdout is not None:
                each.stdout.close()
    return said


@pytest.mark.parametrize("store", [(), ("shelf",)])
def test_chief_and_worker(store: tuple[str, ...], tmp_path: Path) -> None:
    """The chief fills partitioned variables on the servers from the source, or from the newest
    checkpoint of its saver, in a folder or in a store. A worker that looks before that waits."""
    said = run(tmp_path, 10, "nothing", *store)
    assert said["chief"].split() == ["FIRST", "10", "0", "WARNED", "0"]
    assert said["worker"].split() == ["FIRST", "10", "0"]
    point = initreg.resume(tmp_path / "run")
    assert point is not None
    assert point.step == 10
    with initreg.open(point.path) as arrays:
        assert (arrays["w"].read() == 20).all()
    said = run(tmp_path, 16, "nothing", *store)
    assert said["chief"].split() == ["FIRST", "20", "10", "WARNED", "0"]
    assert said["worker"].split() == ["FIRST", "20", "10"]
    assert (initreg.load(tmp_path / "run" / "model-16")["w"] == 26).all()


def test_init_op_before_restore(tmp_path: Path) -> None:
    """An init_op that initialises variables lets a worker begin too early. The chief warns."""
    said = run(tmp_path, 10, "all")
    assert said["chief"].split() == ["FIRST", "10", "0", "WARNED", "1"]
    assert said["worker"].split() == ["FIRST", "1", "0"]
