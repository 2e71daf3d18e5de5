"""Whether a source is a TensorFlow Lite model, from the identifier of its flatbuffer."""

from __future__ import annotations

from initreg import Claim, Confidence, Source

IDENTIFIER = b"TFL3"  # at byte 4
SUFFIXES = (".tflite", ".lite")


def claim(source: Source) -> Claim | None:
    """The answer to ``initreg_claim``."""
    if not source.is_file:
        return None
    if has_identifier(source):
        return Claim(Confidence.EXACT, "a flatbuffer with the identifier TFL3")
    if source.suffix in SUFFIXES:
        return Claim(Confidence.NAME, f"is named {source.suffix}")
    return None


def has_identifier(source: Source) -> bool:
    """Whether the bytes are those of a TensorFlow Lite model."""
    return source.head[4:8] == IDENTIFIER
