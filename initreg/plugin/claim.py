"""A format's answer to "is this yours?"."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Confidence(IntEnum):
    """How sure a format is. The highest claim wins; a tie is an error, never a guess."""

    NAME = 1  # the name fits; nothing was read
    CONTENT = 2  # the bytes fit, but others may share them
    EXACT = 3  # nothing else looks like this


@dataclass(frozen=True, slots=True)
class Claim:
    """``Claim(Confidence.EXACT, "zip archive whose members are all .npy")``.

    The reason is shown to people: by ``initreg probe``, and when two formats claim one source.
    """

    confidence: Confidence
    reason: str
