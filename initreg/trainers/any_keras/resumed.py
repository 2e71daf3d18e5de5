"""Where ``fit`` goes on: what ``resume(model, callbacks)`` returns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from initreg.api.resuming import ResumePoint
from initreg.api.training_states import taken
from initreg.errors import MismatchError
from initreg.trainers.any_keras import callback_states
from initreg.trainers.any_keras.files import read_best


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where ``fit`` goes on.

    Attributes:
        epoch: how many epochs are done.
        point: the checkpoint that was restored, None on a first start.
        stopped: whether a callback had ended the training.

    >>> Resumed(3).initial_epoch
    3
    """

    epoch: int = 0
    point: ResumePoint | None = None
    stopped: bool = False

    @property
    def initial_epoch(self) -> int:
        """What ``fit`` takes: ``epoch``, or, if training was stopped, a number that no training
        reaches. To train on in spite of that, pass ``epoch``."""
        return sys.maxsize if self.stopped else self.epoch

    def check_best(self, named: Mapping[str, Any], weights: Sequence[Any]) -> None:
        """Check that the best weights that an EarlyStopping held are like the model's.

        Raises:
            MismatchError: they are of another model.
            InitregError: they cannot be read.
        """
        assert self.point is not None
        shapes = [tuple(each.shape) for each in weights]
        for name, each in named.items():
            if callback_states.holds_weights(each, self.point.states.get(name)):
                found = [array.shape for array in read_best(self.point.path).get(name, [])]
                if found != shapes:
                    raise MismatchError(
                        f"{self.point.path}: the best weights of {name!r} are of another model: "
                        f"{len(found)} arrays, and the model has {len(shapes)}, or their shapes "
                        "differ. Build the model as it was"
                    )

    def give_states(self, named: Mapping[str, Any]) -> None:
        """Give callbacks and objects, by name, the states that the checkpoint has of them.

        Raises:
            DamagedFile: a state is not one of its callback or object.
        """
        assert self.point is not None
        best = None
        for name, each in named.items():
            if name not in self.point.states:
                continue
            state = self.point.states[name]
            weights = []
            if callback_states.holds_weights(each, state):
                best = read_best(self.point.path) if best is None else best
                weights = best.get(name, [])
            with taken(name, str(self.point.path)):
                callback_states.give_state(each, state, weights)
