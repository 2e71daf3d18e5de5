"""Which checkpoints of a run are kept: the newest few, and one every so many hours for good."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from initreg.api.sidecars import remove_orphans
from initreg.api.training_states import taken
from initreg.storage.small_files import plain_name
from initreg.store_paths import FilePath

OF_THE_SAVER = "ModelSaver"  # the name of the saver's own state in a sidecar


class Keeping:
    """Decides which checkpoints to keep, with the rule of ``tf.compat.v1.train.Saver``.

    Unlike TensorFlow's, it remembers them over a restart, by ``state_dict``.

    Args:
        max_to_keep: how many of the newest are kept. None or 0 keeps all.
        every_n_hours: an older checkpoint is kept for good if it was saved this long after the last
            one that was kept for good. The first is due this long after the run began. None keeps
            none for good.

    Raises:
        ValueError: ``max_to_keep`` is negative, or ``every_n_hours`` is not positive.

    >>> keeping = Keeping(2, None)
    >>> [keeping.add(name) for name in ("a", "b", "c")]
    [[], [], ['a']]
    """

    def __init__(self, max_to_keep: int | None, every_n_hours: float | None) -> None:
        if max_to_keep is not None and max_to_keep < 0:
            raise ValueError(f"max_to_keep={max_to_keep} is negative")
        if every_n_hours is not None and not every_n_hours > 0:
            raise ValueError(f"keep_checkpoint_every_n_hours={every_n_hours} is not positive")
        self._max_to_keep = max_to_keep or 0
        self._interval = None if every_n_hours is None else every_n_hours * 3600
        self._recent: list[tuple[str, float]] = []
        self._due = time.time() + (self._interval or 0)

    def add(self, name: str, saved_at: float | None = None) -> list[str]:
        """Add a checkpoint that was saved.

        Args:
            name: a plain file name. A name that was added before counts once, as the newest.
            saved_at: seconds since the epoch, by default now.

        Returns:
            The names of the checkpoints to remove now.

        Raises:
            ValueError: the name leads out of the folder.
        """
        added = plain_name(name), time.time() if saved_at is None else float(saved_at)
        self._recent = [*(entry for entry in self._recent if entry[0] != name), added]
        if not self._max_to_keep:
            return []
        older = self._recent[: -self._max_to_keep]
        self._recent = self._recent[-self._max_to_keep :]
        return [name for name, at in older if not self._is_kept_for_good(at)]

    def _is_kept_for_good(self, saved_at: float) -> bool:
        if self._interval is None or saved_at <= self._due:
            return False
        self._due += self._interval
        return True

    @property
    def recent(self) -> list[str]:
        """The newest checkpoints, oldest first, without those that are kept for good."""
        return [name for name, _ in self._recent]

    def state_dict(self) -> dict[str, Any]:
        return {"recent": [list(entry) for entry in self._recent], "due": self._due}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError for a name that leads out of the folder: these files are removed one
        day, and anybody may have written the state."""
        recent = [(plain_name(name), float(at)) for name, at in state["recent"]]
        self._due = float(state["due"])
        self._recent = recent


class KeptCheckpoints:
    """The checkpoints that a saver keeps in a folder. Removes the others.

    The saver writes :meth:`state_for` into the sidecar of each checkpoint, so that a resumed run
    removes the checkpoints of the earlier one when their turn comes.

    Args:
        directory: the folder of the run.
        keeping: the rule.
        remove: removes the files of the checkpoint of a name.
    """

    def __init__(
        self, directory: FilePath, keeping: Keeping, remove: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._keeping = keeping
        self._remove = remove

    @property
    def recent(self) -> list[str]:
        """The names of the newest checkpoints, oldest first."""
        return self._keeping.recent

    def state_for(self, name: str) -> dict[str, Any]:
        """The state to save with a checkpoint that is about to be written."""
        return {"name": name, "saved_at": time.time(), "keeping": self._keeping.state_dict()}

    def saved(self, state: Mapping[str, Any]) -> None:
        """The checkpoint was written. ``state`` is what :meth:`state_for` returned for it."""
        for old in self._keeping.add(state["name"], state["saved_at"]):
            self._remove(old)
        with contextlib.suppress(OSError):
            remove_orphans(self._directory)

    def check(self, states: Mapping[str, Any], label: str) -> None:
        """Raise DamagedFile if :meth:`go_on` would. Nothing is changed, and nothing is removed."""
        if OF_THE_SAVER not in states:
            return
        state = states[OF_THE_SAVER]
        with taken(OF_THE_SAVER, label):
            trial = Keeping(None, None)
            trial.load_state_dict(state["keeping"])
            trial.add(state["name"], state["saved_at"])

    def go_on(self, states: Mapping[str, Any], label: str) -> None:
        """Take over the list from the states of the checkpoint that was restored.

        Raises:
            DamagedFile: the state is invalid. The message begins with ``label``.
        """
        if OF_THE_SAVER not in states:
            return
        state = states[OF_THE_SAVER]
        with taken(OF_THE_SAVER, label):
            self._keeping.load_state_dict(state["keeping"])
            self.saved(state)
