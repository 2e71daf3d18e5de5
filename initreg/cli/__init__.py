"""The command line: parse, call, print. One module a verb. ``VERBS`` is the table of contents.

Parsing imports only the modules of the verbs, and they import what they need when they run.
Exit codes: 0 fine, 1 the answer is no, 2 it could not be done.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from initreg.cli.flags import message
from initreg.cli.verbs import convert, dump, ls, plan, plugins, probe, resume, verify
from initreg.errors import InitregError, InitregWarning

VERBS = (probe, plugins, ls, plan, verify, convert, dump, resume)


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(
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
    options = parser().parse_args(arguments)
    if options.version:
        import initreg

        print(initreg.__version__)
        return 0
    if not hasattr(options, "run"):
        parser().print_help()
        return 2
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name need not be valid text
    try:
        with _warnings_on_stderr():
            code: int = options.run(options)
        sys.stdout.flush()
        return code
    except InitregError as error:
        if options.json:
            import json

            answer = {"error": type(error).__name__, "message": message(error)}
            print(json.dumps(answer, ensure_ascii=False))
        else:
            print(f"initreg: {message(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `initreg ls model.npz | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


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
