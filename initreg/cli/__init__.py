"""The command line: parse, call, print. One module a verb; ``VERBS`` is the table of contents.

Parsing imports no more than the verbs' own modules, which import what they need when they run.
Exit codes: 0 fine, 1 the answer is no, 2 it could not be done.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from initreg.cli import convert, dump, ls, plan, plugins, probe, resume, verify
from initreg.errors import InitregError

VERBS = (probe, plugins, ls, plan, verify, convert, dump, resume)
# What errors say of keywords, as it is typed here.
_TYPED = {
    "allow_pickle=True": "--allow-pickle",
    "inference=True": "--inference",
    "max_inflation=": "--max-inflation ",
    ' meta="': ' --meta "',
}


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="initreg",
        description="Initialise TensorFlow variables from weights that somebody else saved.",
        epilog="Exit codes: 0 fine, 1 the answer is no, 2 it could not be done.",
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    verbs = top.add_subparsers(metavar="VERB", title="verbs")
    for module in VERBS:
        name = module.__name__.rsplit(".", 1)[-1]
        summary = (module.__doc__ or "").strip().splitlines()[0]
        verb = verbs.add_parser(name, help=summary, description=module.__doc__)
        verb.add_argument("--json", action="store_true", help="print JSON, for machines")
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return its exit code."""
    options = parser().parse_args(arguments)
    if options.version:
        import initreg

        print(initreg.__version__)
        return 0
    if not hasattr(options, "run"):
        parser().print_help()
        return 2
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # a file's name may be no text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except InitregError as error:
        if options.json:
            import json

            kind = type(error).__name__
            print(json.dumps({"error": kind, "message": str(error)}, ensure_ascii=False))
        else:
            text = str(error)
            for keyword, typed in _TYPED.items():
                text = text.replace(keyword, typed)
            print(f"initreg: {text}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `initreg ls model.npz | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
