"""What a format answers when it is asked whether it reads a source."""

from __future__ import annotations

from enum import IntEnum

from initreg.records import record


class Confidence(IntEnum):
    """How sure a format is. The highest claim wins. A tie is an error, and never a guess."""

    NAME = 1  # the name fits, and nothing was read
    CONTENT = 2  # the bytes fit, but those of other formats may, too
    EXACT = 3  # no other format looks like this


@record()
class Claim:
    """A format claims a source.

    Args:
        confidence: how sure the format is.
        reason: why, in words. ``initreg probe`` shows it, and so does the error if two formats
            claim a source.
        file: for a folder, the name of the file in it that is opened. If several formats claim the
            folder, the error tells the user to give one of these files.

    >>> Claim(Confidence.EXACT, "zip archive whose members are all .npy").confidence.name
    'EXACT'
    """

    confidence: Confidence
    reason: str
    file: str = ""
