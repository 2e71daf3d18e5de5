"""A pager, for what does not fit a terminal: that of ``PAGER``, or ``less``.

``less`` is run as git runs it: with ``LESS=FRX``, if ``LESS`` is not set, it ends at once if all
fits the screen, shows colours, and leaves the screen as it is.
"""

from __future__ import annotations

import contextlib
import os
import sys

from initreg.cli.colours import is_terminal
from initreg.cli.printing import write


def write_paged(text: str, use_pager: bool = True) -> None:
    """Print a text as it is, through a pager if it is longer than the terminal.

    Args:
        text: the text. What is in it must be printable.
        use_pager: False writes it to stdout.

    Raises:
        OutputFailed: stdout cannot be written.
    """
    command = _command() if use_pager and is_terminal(sys.stdout) else None
    if command is None or _fits(text):
        write(text)
        return
    import subprocess

    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    environment = {"LESS": "FRX", "LV": "-c", **os.environ}
    try:
        pager = subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, env=environment)
    except OSError:  # there is no shell
        write(text)
        return
    assert pager.stdin is not None
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):  # its reader has seen enough
        pager.stdin.write((text + "\n").encode(encoding, "backslashreplace"))
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        pager.stdin.close()
    code = None
    while code is None:
        with contextlib.suppress(KeyboardInterrupt):  # which is the pager's while it runs
            code = pager.wait()
    if code in (126, 127):  # the shell has not found it, and nothing was shown
        write(text)


def _command() -> str | None:
    """What the user's pager is called. None if there is none."""
    given = os.environ.get("PAGER")
    if given is not None:
        return given.strip() if given.strip() not in ("", "cat") else None
    import shutil

    return "less" if shutil.which("less") else None


def _fits(text: str) -> bool:
    """Whether a text fits the terminal, with a line for the prompt."""
    import shutil

    size = shutil.get_terminal_size()
    lines = text.split("\n")
    if len(lines) >= size.lines:
        return False
    return sum(max(1, -(-len(line) // size.columns)) for line in lines) < size.lines
