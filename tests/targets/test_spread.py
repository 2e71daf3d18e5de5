"""Variables on several devices and processes get what TensorFlow's own restore gives them.

Each program of ``spread/`` restores every variable twice, with initreg and with
``tf.train.Checkpoint.read`` (in sessions with a ``Saver``), and compares each copy and each shard.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.targets.spread.ports import free_addresses

HERE = Path(__file__).parent / "spread"

pytestmark = pytest.mark.framework


def started(program: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / program), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def check(process: subprocess.Popen[str], at_least: int, timeout: float = 240) -> None:
    """The program compared so many cases, and none was wrong."""
    output, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, output[-3000:] + errors[-3000:]
    found = re.search(r"(\d+) cases, (\d+) wrong", output)
    assert found is not None, output[-3000:] + errors[-3000:]
    assert int(found[2]) == 0, output[-6000:]
    assert int(found[1]) >= at_least


@pytest.mark.slow
def test_strategies_of_one_process(tmp_path: Path) -> None:
    """Mirrored, CentralStorage and OneDevice, with every synchronization and aggregation, inside
    and outside of their scope, from a dict, a checkpoint and safetensors."""
    check(started("strategies.py", tmp_path), 800)


@pytest.mark.slow
def test_parameter_servers(tmp_path: Path) -> None:
    """Sharded variables go by their own names. They are restored from partitions of another number,
    from files that are packed or damaged, and in models of tf_keras with their optimizers."""
    check(started("servers.py", tmp_path), 40)


def test_a_mesh_of_devices(tmp_path: Path) -> None:
    """A DVariable is written box by box in every layout of a mesh of 2x2 devices."""
    check(started("mesh.py", tmp_path), 28)


@pytest.mark.slow
def test_sessions(tmp_path: Path) -> None:
    """All copies in a graph that a strategy made are written. Feeds to a server are split, and a
    variable that is larger than a message is written in slices, or refused."""
    check(started("graphs.py", tmp_path), 130)


@pytest.mark.heavy
def test_variables_of_more_than_two_gigabytes(tmp_path: Path) -> None:
    """They reach a server in another process, where TensorFlow's own feed ends this process: as a
    resource and as a reference variable, in partitions, and as several of together so much."""
    check(started("large.py", tmp_path, 2500), 4, timeout=1500)


@pytest.mark.slow
def test_two_workers(tmp_path: Path) -> None:
    """Two processes of a MultiWorkerMirroredStrategy restore without waiting for each other, and
    with every synchronization and aggregation."""
    addresses = free_addresses(2)
    workers = [started("workers.py", tmp_path, task, *addresses) for task in range(2)]
    for each in workers:
        check(each, 49)


@pytest.mark.slow
def test_the_memory_of_a_coordinator(tmp_path: Path) -> None:
    """A variable of 512 MB on servers that are processes of their own is restored, and the
    coordinator holds some pieces of it."""
    process = started("memory.py", tmp_path, 512)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    grown = dict(line.split() for line in output.splitlines())
    assert grown.keys() == {"sharded", "single"}
    assert max(map(int, grown.values())) < 320  # TensorFlow takes three times the variable
