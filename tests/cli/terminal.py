"""Runs the command line in a terminal of its own, and returns what is on it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PLAIN = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PAGER", "LESS", "TERM")


class Screen(NamedTuple):
    """What a command printed, on stdout and stderr together, and its exit code."""

    text: str
    code: int

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def in_terminal(
    arguments: Sequence[str],
    *,
    columns: int = 80,
    lines: int = 24,
    cwd: Path | None = None,
    typed: bytes = b"",
    **environment: str,
) -> Screen:
    """Run ``python -m initreg`` in a pseudo-terminal.

    Args:
        arguments: those of initreg.
        columns: how wide the terminal is.
        lines: how high it is.
        cwd: the working folder.
        typed: what is typed there.
        environment: variables. Those about terminals are not inherited.
    """
    kept = {name: value for name, value in os.environ.items() if name not in PLAIN}
    kept |= {"TERM": "xterm", **environment}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    command = [sys.executable, "-m", "initreg", *arguments]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=kept
    ) as process:
        os.close(theirs)
        if typed:
            os.write(ours, typed)
        found = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # on Linux, the end of a terminal
                break
            if not piece:
                break
            found += piece
    os.close(ours)
    return Screen(found.decode().replace("\r\n", "\n"), process.returncode)
