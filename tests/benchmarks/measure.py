"""Ours against a peer, in one process: alternating, after a warm-up, medians and ratios."""

from __future__ import annotations

import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Row:
    """One line of the table. Times are seconds; ``goal_seconds`` is a bound of ours, ``goal_ratio``
    of the ratio ours/peer, which ``faster`` says the other way round; None where there is none.
    Memory is in MB; ``goal_mb`` is a bound of the peak."""

    what: str
    n: int
    ours: float
    least: float
    most: float
    peer: str
    theirs: float
    peak_mb: float
    goal_seconds: float | None = None
    goal_ratio: float | None = None
    faster: float | None = None
    peer_least: float | None = None
    peer_most: float | None = None
    peer_peak_mb: float | None = None
    after_mb: float | None = None
    peer_after_mb: float | None = None
    trained_mb: float | None = None
    peer_trained_mb: float | None = None
    megabytes: float | None = None
    goal_mb: float | None = None

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    @property
    def met(self) -> bool | None:
        if self.goal_mb is not None:
            return self.peak_mb <= self.goal_mb
        if self.goal_seconds is not None:
            return self.ours <= self.goal_seconds
        return None if self.goal_ratio is None else self.ratio <= self.goal_ratio

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(
    what: str,
    n: int,
    ours: Callable[[], Any],
    peer: str,
    theirs: Callable[[], Any],
    *,
    times: int = 7,
    goal_seconds: float | None = None,
    goal_ratio: float | None = None,
) -> Row:
    """Run both in turn. What they return is let go of before the next is timed, and the garbage
    collector runs as it does for a user. The peak is measured in one more run, which takes several
    times as long, and so only if there are several times. Each row is printed when it is measured:
    what was measured before a stop can be read."""
    found: dict[str, list[float]] = {"ours": [], "theirs": []}
    for i in range(times + 1):
        for name, call in (("ours", ours), ("theirs", theirs)):
            gc.collect()
            start = time.perf_counter()
            result = call()
            seconds = time.perf_counter() - start
            del result
            if i:  # the first touches the memory
                found[name].append(seconds)
    peak = 0.0
    if times > 1:
        tracemalloc.start()
        result = ours()
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        del result
    mine = found["ours"]
    row = Row(
        what,
        n,
        statistics.median(mine),
        min(mine),
        max(mine),
        peer,
        statistics.median(found["theirs"]),
        peak,
        goal_seconds,
        goal_ratio,
    )
    print(f"{what}, {n:,}: {row.ours:.4g} s, {peer} {row.theirs:.4g} s", file=sys.stderr)
    return row
