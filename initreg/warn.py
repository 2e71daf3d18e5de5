"""Warnings that point to the user's line, not to one of ours."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from initreg.errors import InitregWarning

_HERE = os.fspath(Path(__file__).parent)


def warn(message: str, category: type[InitregWarning]) -> None:
    """``warnings.warn``, as if the first caller outside of initreg had called it."""
    warnings.warn(message, category, stacklevel=_outside())


def _outside() -> int:
    """The stacklevel, seen from our caller, of the first frame that is not initreg's."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    return level
