"""Which checkpoints of a run are kept: the newest few, and one every so many hours for good."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from initreg.storage.small_files import plain_name


class Keeping:
    """The book of a saver, in which what it saved stands, and from which it learns what may go.

    ``max_to_keep``: how many of the newest stay, all of them if it is None or 0.
    ``every_n_hours``: of those that would go, one that was saved so long after the last that
    stayed is kept for good; none if it is None. The first is due so long after the run began.

    The rule is that of ``tf.compat.v1.train.Saver``; here it survives a restart, by ``state_dict``.
    """

    def __init__(self, max_to_keep: int | None, every_n_hours: float | None) -> None:
        if max_to_keep is not None and max_to_keep < 0:
            raise ValueError(f"max_to_keep={max_to_keep} is no number of checkpoints")
        if every_n_hours is not None and not every_n_hours > 0:
            raise ValueError(f"keep_checkpoint_every_n_hours={every_n_hours} is no time")
        self._max_to_keep = max_to_keep or 0
        self._interval = None if every_n_hours is None else every_n_hours * 3600
        self._recent: list[tuple[str, float]] = []
        self._due = time.time() + (self._interval or 0)

    def add(self, name: str, saved_at: float | None = None) -> list[str]:
        """Enter a checkpoint that stands now; returns the names of those that may be removed.

        ``saved_at``: seconds since the epoch, by default now. Raises ValueError for a name that
        leads out of the folder.
        """
        entered = plain_name(name), time.time() if saved_at is None else float(saved_at)
        self._recent = [*(entry for entry in self._recent if entry[0] != name), entered]
        if not self._max_to_keep:
            return []
        gone = self._recent[: -self._max_to_keep]
        self._recent = self._recent[-self._max_to_keep :]
        return [name for name, at in gone if not self._stays(at)]

    def _stays(self, saved_at: float) -> bool:
        if self._interval is None or saved_at <= self._due:
            return False
        self._due += self._interval
        return True

    def __contains__(self, name: object) -> bool:
        """Whether it is one of the newest, and not yet to be removed."""
        return any(name == each for each, _ in self._recent)

    def state_dict(self) -> dict[str, Any]:
        return {"recent": [list(entry) for entry in self._recent], "due": self._due}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError for names that lead out of the folder: what is kept is removed one day,
        and anybody may have written the state."""
        recent = [(plain_name(name), float(at)) for name, at in state["recent"]]
        self._due = float(state["due"])
        self._recent = recent
