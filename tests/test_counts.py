"""What is done for each name takes no more steps than it did.

Steps are counted, and nothing is timed: see :mod:`counting` in tests/benchmarks.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
try:
    import counting
finally:
    del sys.path[0]

# Instructions of bytecode for each of 1,000 names, as multiples of those of the plainest code that
# compares two dicts. `python tests/benchmarks/counting.py` prints them. If a change is worth more,
# put what it prints here. A count that is half as large belongs here, too.
LIMITS = {
    "plan a dict": 40,
    "plan a dict, half of the names": 35,
    "plan a dict, no name, with hints": 262,
    "init a dict": 80,
    "open .safetensors": 21,
    "init from .safetensors": 80,
    "open .npz": 52,
    "init from .npz": 113,
    "open .ckpt": 35,
    "init from .ckpt": 96,
    "open .h5": 149,
    "init from .h5": 207,
}
MORE = (
    1.4  # times as many are an error. The counts are of Python 3.11; 3.12 executes a quarter more
)


@pytest.fixture(scope="module")
def counted() -> dict[int, dict[str, float]]:
    """The counts for two numbers of names."""
    return {n: counting.counts(n) for n in (500, 1_000)}


@pytest.mark.parametrize("what", LIMITS)
def test_a_name_takes_no_more_steps(what: str, counted: dict[int, dict[str, float]]) -> None:
    """The steps for each name are about as many as they were when they were last written down."""
    count = counted[1_000][what]
    assert count <= MORE * LIMITS[what], f"{count:.0f} steps, and {LIMITS[what]} were written down"


@pytest.mark.parametrize("what", LIMITS)
def test_steps_grow_with_the_number_of_names(
    what: str, counted: dict[int, dict[str, float]]
) -> None:
    """Twice as many names take at most twice as many steps, and a tenth for logarithms."""
    assert counted[1_000][what] <= 1.1 * counted[500][what]


def test_every_workload_is_limited(counted: dict[int, dict[str, float]]) -> None:
    """Each workload has a limit, and each limit has a workload."""
    assert counted[500].keys() == LIMITS.keys()
