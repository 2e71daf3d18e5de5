"""The command line: parse, call, print. One module a verb. ``VERBS`` is the table of contents.

Parsing imports only the modules of the verbs, and they import what they need when they run.
Exit codes: 0 fine, 1 the answer is no, 2 it could not be done.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from initreg.cli.flags import message
from initreg.cli.parser import Parser
from initreg.cli.printing import OutputFailed, show_json, write
from initreg.cli.verbs import (
    convert,
    diff,
    dump,
    ls,
    map,
    merge,
    plan,
    plugins,
    probe,
    resume,
    stats,
    verify,
)
from initreg.errors import InitregError, InitregWarning

VERBS = (probe, plugins, ls, stats, diff, plan, map, verify, convert, merge, dump, resume)


def parser() -> Parser:
    """The parser of the whole command line."""
    top = Parser(
        prog="initreg",
        description="Initialise TensorFlow variables from weights that somebody else saved.",
        epilog="Exit codes: 0 fine, 1 the answer is no, 2 it could not be done.",
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    verbs = top.add_subparsers(metavar="VERB", title="verbs")
    for module in VERBS:
        name = module.__name__.rsplit(".", 1)[-1]
        # Not the docstring of the module, which `python -OO` removes.
        verb = verbs.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        verb.add_argument("--json", action="store_true", help="print the result as JSON")
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: the arguments, by default those of the process.

    Returns:
        The exit code.
    """
    _hold_standard_files()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name need not be valid text
    options = None
    try:
        options = parser().parse_args(arguments)
        with _warnings_on_stderr():
            return _run(options)
    except InitregError as error:
        return _failed(error, as_json=getattr(options, "json", False))
    except KeyboardInterrupt:
        return 130


def _hold_standard_files() -> None:
    """Open the files 0, 1 and 2 if they are closed, as after ``>&-`` in a shell.

    Otherwise a file of weights that is written would get such a number, and what a library prints
    would land in it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which gets the lowest number that is free


def _run(options: Any) -> int:
    if options.version:
        import initreg

        write(initreg.__version__)
        return 0
    if not hasattr(options, "run"):
        write(parser().format_help().rstrip())
        return 2
    code: int = options.run(options)
    return code


def _failed(error: InitregError, *, as_json: bool) -> int:
    """Say what failed, where it can be said."""
    try:
        if as_json and not isinstance(error, OutputFailed):
            show_json({"error": type(error).__name__, "message": message(error)})
            return 2
    except OutputFailed as failed:
        error = failed
    if isinstance(error, OutputFailed):
        with contextlib.suppress(OSError):  # else Python flushes stdout once more, and says so
            if sys.stdout is not None:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error.__cause__, BrokenPipeError):
            return 2  # `initreg ls model.npz | head`, whose reader has seen enough
    with contextlib.suppress(OSError):  # of stderr, which leaves nothing to say it to
        print(f"initreg: {message(error)}", file=sys.stderr, flush=True)
    return 2


@contextlib.contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Print initreg's warnings as one message each. There is no line of the user to show."""
    with warnings.catch_warnings():
        others: Callable[..., None] = warnings.showwarning

        def show(warning: Warning | str, *others_need: Any) -> None:
            if isinstance(warning, InitregWarning):
                print(f"initreg: warning: {message(warning)}", file=sys.stderr)
            else:
                others(warning, *others_need)

        warnings.showwarning = show  # type: ignore[assignment]
        yield
