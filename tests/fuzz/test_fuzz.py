"""Mutated weight files: each is opened right, or is one InitregError that names it, in a child of
limited memory that neither dies nor hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # its modules are also run by themselves

import run  # noqa: E402
from seeds_of import SEEDS  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.framework,  # TensorFlow and Keras write the seeds
    pytest.mark.skipif(
        not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux does it"
    ),
]
INPUTS = 200  # of each seed; `make fuzz` tries more


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz") / "seeds"
    script = str(HERE / "seeds.py")
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, script, str(folder)], check=True, env=environment)
    return folder


@pytest.mark.parametrize("seed", SEEDS)
def test_mutated_files(seeds: Path, seed: str) -> None:
    """The first inputs of each seed, the same each time."""
    tried, failures = run.try_inputs(seed, seeds, 0, INPUTS, time.monotonic() + 300)
    assert failures == []
    assert tried == INPUTS


@pytest.mark.parametrize("kept", sorted(run.FOUND.iterdir()), ids=lambda path: path.name)
def test_inputs_that_failed_once(seeds: Path, kept: Path) -> None:
    """What ``make fuzz`` found and was mended stays so."""
    assert run.try_kept(kept.name.rpartition("-")[0], seeds, kept) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("raise KeyError('x')", "KeyError"),
        ("raise initreg.InitregError('x')", "does not name the file"),
        ("return np.ones(40 << 20, 'u1').repeat(2) * 2", "MemoryError|bytes were asked for"),
        ("import time; time.sleep(60)", "hangs for 5 s"),
        ("os.abort()", "exit code -6"),
        ("return {'fc/W': np.zeros((4, 8), 'f4')}", "a wrong array: 'fc/W'"),
    ],
)
def test_the_harness_sees_each_fault(
    seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, says: str
) -> None:
    """What it is to find, done on purpose, in a copy of it."""
    for name in ("child.py", "mutate.py", "lookup3.py", "reference.py", "seeds_of.py"):
        text = (HERE / name).read_text()
        if name == "child.py":
            begin = "    failure = None\n    with initreg.open(path, format=format, mmap=mmap)"
            assert begin in text
            fault = f"    if 'seeds' not in str(path):\n        {change}\n"
            text = text.replace(begin, fault + begin)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(run, "HERE", tmp_path)
    _, failures = run.try_inputs(
        "npz", seeds, 0, 20 if "wrong" in says else 1, time.monotonic() + 60
    )
    assert failures
    assert any(word in failures[0]["what"] for word in says.split("|"))
