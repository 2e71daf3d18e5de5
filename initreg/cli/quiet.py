"""TensorFlow's own log, without its banners.

TensorFlow's C++ code writes a dozen lines to stderr when it is imported and when it looks for
devices. ``TF_CPP_MIN_LOG_LEVEL`` hides most of them, and not those that are written before its log
is set up. So stderr of C++ code goes through a small process that leaves these lines out. It is a
process and not a thread, so that the last words of a program that aborts are still shown. What
Python prints does not go through it.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

LEVEL = "TF_CPP_MIN_LOG_LEVEL"

# What is left out: information and warnings, by the letter that a line of such a log begins with,
# and errors about libraries of GPUs, which most machines do not have.
_FILTER = rb"""
import os, re, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
banner = re.compile(
    rb"[IW]\d{4} \d\d:\d\d:\d+\.\d+ +\d+ \S+\] "
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] "
    rb"|WARNING: All log messages before absl::InitializeLog\(\) is called "
    rb"|To enable the following instructions: "
    rb"|(E\d{4}|\d{4}-).* (failed call to cuInit|Unable to register cu[A-Z]+ factory)"
)
left = b""
while piece := os.read(0, 65536):
    *lines, left = (left + piece).split(b"\n")
    shown = b"".join(line + b"\n" for line in lines if not banner.match(line))
    if shown:
        os.write(2, shown)
if left and not banner.match(left):
    os.write(2, left)
"""


class _Watch:
    """Sees the import of TensorFlow, and hides its banners from then on."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == "tensorflow":
            with contextlib.suppress(ValueError):
                sys.meta_path.remove(self)
            with contextlib.suppress(OSError):  # then the banners are shown
                _filter()
        return None  # others find it


def hide_banners() -> None:
    """Hide TensorFlow's banners in this process, unless the user asks for all of its log.

    The caller sets :data:`LEVEL` to 2 if it is not set.
    """
    if os.environ.get(LEVEL) != "0":
        sys.meta_path.insert(0, _Watch())


def _filter() -> None:
    import logging
    import subprocess

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if sys.stderr is None:
        return
    sys.stderr.flush()
    real = os.dup(2)
    read, write = os.pipe()
    command = [sys.executable, "-I", "-S", "-c", _FILTER.decode()]
    process = subprocess.Popen(command, stdin=read, stdout=subprocess.DEVNULL, stderr=real)
    os.close(read)
    os.dup2(write, 2)
    os.close(write)
    kept = sys.stderr
    sys.stderr = io.TextIOWrapper(
        io.FileIO(real, "wb", closefd=False),
        encoding=kept.encoding,
        errors=kept.errors,
        line_buffering=True,
        write_through=True,
    )

    def end() -> None:
        """Show what is left before the process ends."""
        with contextlib.suppress(OSError):
            os.dup2(real, 2)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)

    atexit.register(end)
