"""The demo, as a newcomer sees it: make demo runs demo/run.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.framework

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """One run of the demo, from a folder that is not the project's."""
    return subprocess.run(
        [sys.executable, str(ROOT / "demo" / "run.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path_factory.mktemp("elsewhere"),
        timeout=300,
        check=False,
    )


def test_it_succeeds_without_a_word_on_stderr(demo: subprocess.CompletedProcess[str]) -> None:
    """Exit code 0, and no deprecation or driver noise from anybody's library."""
    assert (demo.returncode, demo.stderr) == (0, "")


def test_ten_classes_are_guessed_before_and_known_after(
    demo: subprocess.CompletedProcess[str],
) -> None:
    """In the session and in Keras: about one digit in ten is right before, the same > 90% after."""
    found = re.findall(r"599 unseen digits: ([\d.]+)% before, ([\d.]+)% after", demo.stdout)
    assert len(found) == 2
    before, after = zip(*((float(b), float(a)) for b, a in found), strict=True)
    assert max(before) < 35
    assert min(after) > 90
    assert after[0] == after[1]


def test_the_session_has_the_step_of_the_file(demo: subprocess.CompletedProcess[str]) -> None:
    """global_step, an integer, is restored into the session beside the weights."""
    with np.load(ROOT / "demo" / "weights" / "digits.npz") as weights:
        assert f"global_step: {int(weights['global_step'])}\n" in demo.stdout


def test_another_head_is_taken_from_the_overrides(demo: subprocess.CompletedProcess[str]) -> None:
    """Two classes: half is right before, > 90% after, and the plan names what was overridden."""
    (found,) = re.findall(r"even from odd: ([\d.]+)% before, ([\d.]+)% after", demo.stdout)
    assert float(found[0]) < 75
    assert float(found[1]) > 90
    assert "2 overridden by a later source" in demo.stdout
    assert "head/kernel  (32, 2) float32  [dict of 2]" in demo.stdout


def test_every_plan_and_the_warning_are_shown(demo: subprocess.CompletedProcess[str]) -> None:
    """Each restore prints its plan; the one array that Keras has no variable for is warned of."""
    assert "TF1 session: 7 of 7 variables restored" in demo.stdout
    assert "Keras model 'digits': 6 of 6 variables restored" in demo.stdout
    assert "Keras model 'parity': 6 of 6 variables restored" in demo.stdout
    assert demo.stdout.count("UnusedWarning: ") == 1
