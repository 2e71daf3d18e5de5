"""Every exception and every warning that initreg raises, one class per kind.

Each error is an :class:`InitregError`, so ``except InitregError`` is always enough. Those that
also mean something to Python at large are that as well: a missing file is a
:class:`FileNotFoundError`, a missing library an :class:`ImportError`.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def printable(text: str, keep: str = "") -> str:
    """The text with control characters and odd spaces spelt out, but those in ``keep``: a name must
    not move the cursor, change colours or pass for another line, or for another name."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


class InitregError(Exception):
    """The base of every error that initreg raises on purpose."""

    def __str__(self) -> str:
        # Not super(): OSError would print the errno, too. Some errors list names in lines.
        return printable(Exception.__str__(self), keep="\n")


# --- the source -------------------------------------------------------------------------------


class SourceNotFound(InitregError, FileNotFoundError):
    """The path names nothing: no file, no folder, and no prefix of a checkpoint."""


class UnreadableFile(InitregError, OSError):
    """The file is there, but the system does not let it be read."""


class UnwritableFile(InitregError, OSError):
    """A file cannot be written: no such folder, no permission, a full disk. The old one stands."""


class UnknownFormat(InitregError):
    """No installed format claims the source, or the format asked for is not installed."""


class AmbiguousSource(InitregError):
    """Two formats claim the source with the same confidence; ``format=`` decides."""


class DamagedFile(InitregError):
    """The file is of a known format, but truncated, corrupt or inconsistent with itself."""


class RefusedFile(InitregError):
    """The file could be opened, but doing so is unsafe: a pickle, a link out of the file, or packed
    so well that it could fill the memory."""

    @classmethod
    def check_inflation(cls, what: str, size: int, unpacked: int, allowed: float) -> None:
        """Raise if ``what`` unpacks from ``size`` bytes to more than ``allowed`` times as many, and
        to more than 64 MB, which any file may take."""
        if unpacked > max(size * allowed, 64 << 20):
            times = -(-unpacked // max(1, size))
            raise cls(
                f"{what} unpacks from {size:,} bytes to {unpacked:,}, {times:,} times as many, and "
                f"at most {allowed:,g} times are allowed: a small file could fill the memory. If "
                f"you trust it (an array of zeros packs so well), pass max_inflation={times}"
            )


# --- plugins ----------------------------------------------------------------------------------


class MissingLibrary(InitregError, ImportError):
    """A plugin needs a library that is not installed.

    Parameters: ``plugin`` as in ``"format 'h5'"``; ``library``, its import name; ``remedy``, the
    command that installs it.
    """

    def __init__(self, plugin: str, library: str, remedy: str) -> None:
        super().__init__(f"{plugin} needs {library}: {remedy}")
        self.plugin = plugin
        self.library = library
        self.remedy = remedy


class PluginError(InitregError):
    """A plugin broke the contract of ``hookspecs.py``."""


# --- names and matching -----------------------------------------------------------------------


class DuplicateName(InitregError):
    """Two arrays of one source, or two variables of one target, have the same name."""


class UnknownTarget(InitregError):
    """No installed target knows how to write into the object."""


class TargetError(InitregError):
    """The target cannot be written: a read-only array, a closed session, an unbuilt model."""


class PlanError(InitregError):
    """The plan cannot be carried out, and nothing was written. ``plan`` holds all of it."""

    def __init__(self, message: str, plan: Any = None) -> None:
        super().__init__(message)
        self.plan = plan


class MismatchError(PlanError):
    """Arrays that do not fit the variables of their names; the message lists all of them."""


class NothingMatched(PlanError):
    """No name of the source is a name of the target."""


class MissingError(PlanError):
    """Variables that no source supplies, where ``on_missing="error"`` allows none."""


class UnusedError(PlanError):
    """Arrays that the target has no variable for, where ``on_unused="error"`` allows none."""


class RuleError(InitregError, ValueError):
    """A rule that touches nothing, makes two names one, cannot be applied to its array, or is none.

    Also an option of :class:`initreg.SmartInit` with a value that it does not have.
    """


class PartialRestoreError(InitregError):
    """Reading or writing failed after some variables had already been written.

    ``written`` and ``not_written`` are the names of the target's variables.
    """

    def __init__(self, message: str, written: Sequence[str], not_written: Sequence[str]) -> None:
        super().__init__(message)
        self.written = tuple(written)
        self.not_written = tuple(not_written)


# --- warnings ---------------------------------------------------------------------------------


class InitregWarning(UserWarning):
    """The base of every warning that initreg gives."""

    def __str__(self) -> str:
        return printable(super().__str__(), keep="\n")


class MissingWarning(InitregWarning):
    """Variables of the target that no source supplies: they keep their values."""


class UnusedWarning(InitregWarning):
    """Arrays of a source that the target has no variable for."""


class ReshapeWarning(InitregWarning):
    """Arrays whose axes of length 1 are added or dropped to fit their variables."""


class CastWarning(InitregWarning):
    """Arrays that are cast to the dtype of their variables."""


class MismatchWarning(InitregWarning):
    """Arrays that do not fit and were passed over, as ``ignore_mismatch=True`` asks."""


class ResumeWarning(InitregWarning):
    """Checkpoints that are not whole, and were passed over for an older one; or a save that failed
    while training goes on."""


class UnmetWarning(InitregWarning):
    """Patterns of ``expect_missing``, ``expect_unused`` or ``ignore`` that nothing met."""


# --- giving warnings --------------------------------------------------------------------------

_HERE = os.path.join(os.fspath(Path(__file__).parent), "")


def warn(message: str, category: type[InitregWarning]) -> None:
    """``warnings.warn``, as if who called initreg had called it."""
    warnings.warn(message, category, stacklevel=_outside())


def _outside() -> int:
    """The stacklevel, seen from our caller, of the frame that called into initreg first.

    Between it and the warning there may be frames of a plugin, which is called and calls back.
    """
    frame, level, found = sys._getframe(1), 1, 1
    while frame.f_back is not None:
        if frame.f_code.co_filename.startswith(_HERE):
            found = level + 1
        frame, level = frame.f_back, level + 1
    return found
