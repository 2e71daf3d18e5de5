"""What the verbs print on stdout: text or JSON, in which no name can move the cursor."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from initreg.errors import InitregError, UnwritableFile, printable


class OutputFailed(UnwritableFile):
    """stdout cannot be written: its disk is full, or its reader has closed the pipe."""


def show(text: str) -> None:
    """Print lines of text. Control characters and unusual spaces are escaped.

    Raises:
        OutputFailed: stdout cannot be written.
    """
    write(printable(text, keep="\n"))


def show_json(answer: Any) -> None:
    """Print an answer as JSON, on any locale.

    What cannot be printed, or not in the encoding of stdout, is written as ``\\u`` and four digits,
    which JSON reads as the same character.

    Raises:
        OutputFailed: as for :func:`show`.
    """
    write(json_text(answer, getattr(sys.stdout, "encoding", None) or "ascii"))


def json_text(answer: Any, encoding: str) -> str:
    """An answer as JSON that an encoding can hold.

    >>> json_text({"a": "\\x9b"}, "utf-8").splitlines()[1]
    '  "a": "\\\\u009b"'
    """
    import json

    try:
        text = json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(answer), indent=2, ensure_ascii=False, allow_nan=False)
    if text.replace("\n", "").isprintable() and _fits(text, encoding):
        return text
    # Only in its strings can JSON have other characters than those, so each can be escaped there.
    return "".join(
        c if c == "\n" or (c.isprintable() and _fits(c, encoding)) else _escaped(c) for c in text
    )


def _finite(answer: Any) -> Any:
    """An answer with texts in place of NaN and infinities, which JSON does not have."""
    if isinstance(answer, dict):
        return {key: _finite(value) for key, value in answer.items()}
    if isinstance(answer, (list, tuple)):
        return [_finite(each) for each in answer]
    import math

    if isinstance(answer, float) and not math.isfinite(answer):
        return str(answer)
    return answer


def _escaped(character: str) -> str:
    """A character as JSON spells it. Source: RFC 8259, section 7."""
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def write(text: str) -> None:
    """Print a text as it is, and flush it.

    Raises:
        OutputFailed: as for :func:`show`.
    """
    with _output():
        print(text)


def write_pieces(pieces: Iterable[str]) -> None:
    """Print a text that comes in pieces, as it is. Raises OutputFailed as :func:`show` does."""
    for piece in pieces:  # what fails while a piece is made is no fault of stdout
        with _output(flush=False):
            print(piece, end="")
    with _output():
        pass


def write_bytes(write_to: Callable[[BinaryIO], None]) -> None:
    """Let a function write bytes to stdout. Raises OutputFailed as :func:`show` does."""
    with _output():
        if sys.stdout is not None:
            write_to(sys.stdout.buffer)


@contextlib.contextmanager
def _output(flush: bool = True) -> Iterator[None]:
    """Flush stdout at the end. An OSError is that of stdout."""
    try:
        yield
        if flush and sys.stdout is not None:  # as there is none in a service
            sys.stdout.flush()
    except InitregError:
        raise
    except OSError as error:
        raise OutputFailed(
            f"the output cannot be written to stdout: {error.strerror or error}"
        ) from error
