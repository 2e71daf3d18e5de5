"""Control characters, which a name from a stranger's file may hold, and what is shown of them."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """The text with control characters and odd spaces spelt out, but those in ``keep``: a name must
    not move the cursor, change colours or pass for another line, or for another name."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )
