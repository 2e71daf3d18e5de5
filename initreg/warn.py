"""Warnings that point to the user's line, not to one of ours."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from initreg.errors import InitregWarning

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
