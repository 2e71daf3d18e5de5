"""What a restore has written so far, and the error that says it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from initreg.api.chain import Step
from initreg.errors import PartialRestoreError
from initreg.names import normalise
from initreg.option_spelling import said
from initreg.plugin.target import PieceSpec
from initreg.text.wording import names_text, plural, printable

logger = logging.getLogger("initreg")


class Done:
    """What a restore has written and run so far, and the error that says so.

    Args:
        expected: the names of the variables that it is to write.
    """

    def __init__(self, expected: Collection[str]) -> None:
        self._expected = expected
        self.written: list[str] = []
        self._ran: list[str] = []  # the labels of the steps
        self._begun = ""  # the variable that is being written in pieces
        self.running: Step | None = None

    @property
    def left(self) -> list[str]:
        """The variables that were not written."""
        return sorted(set(self._expected) - set(self.written))

    @property
    def began(self) -> bool:
        """Whether the target has changed, as far as it is known."""
        return bool(self.written or self._ran or self._begun)

    def noting(self, pairs: Iterable[Any]) -> Iterator[Any]:
        """The pairs, as the target takes them. It notes which variable is written in pieces."""
        for pair in pairs:
            if isinstance(pair[0], PieceSpec) and not pair[0].is_last:
                self._begun = normalise(pair[0].name)
            yield pair
            del pair

    def wrote(self, name: str) -> None:
        if name == self._begun:
            self._begun = ""
        if name in self._expected:
            logger.debug("Restored %s", name)
            self.written.append(name)

    def run(self, step: Step, obj: Any) -> None:
        self.running = step
        step.run(obj)
        self.running = None
        self._ran.append(step.label)

    def error(
        self,
        target: str,
        error: BaseException,
        atomic: bool,
        other: BaseException | None = None,
    ) -> PartialRestoreError:
        """The error for one that came after a part was done.

        Args:
            target: what messages call the target.
            error: the error.
            atomic: whether all was read before.
            other: why the old values could not be put back, if that was tried.
        """
        what = [f"{plural(len(self.written), 'variable')} written"]
        what += [f"{label} was run" for label in self._ran]
        what += [f"a part of {printable(self._begun)}"] if self._begun else []
        names = "; ".join(names_text(((n, "") for n in self.left), more="see error.not_written"))
        advice = "With atomic=True, all is read before anything is written"
        if atomic:  # all was read, and the target did not take it
            advice = "Restore the target anew before it is used"
        if other is not None:
            advice = f"Putting the old values back failed, too: {said(other)}. {advice}"
        reason = said(error)
        if self.running is not None:
            reason = f"{self.running.label} failed: {type(error).__name__}: " + reason
            advice = (
                "What it has written is not known. Parts of initreg are planned as one, and are "
                "checked before anything is written"
            )
        return PartialRestoreError(
            f"{target}: {' and '.join(what)}, then: "
            + reason
            + (f". Not written: {names}" if names else "")
            + f". {advice}",
            self.written,
            self.left,
        )
