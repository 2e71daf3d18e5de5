"""The command line: parse, call, print. One module a verb. ``VERBS`` is the table of contents.

The verb that is typed is imported and gets a parser. The others do only where they are asked for:
in the help of all verbs, say. Each verb imports what it needs when it runs.
Exit codes: 0 fine, 1 the answer is no, 2 it could not be done. As for the signals, a shell says 130
after Ctrl-C, and 141 after a closed pipe.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from initreg.cli.added_verbs import added_verbs, guarded, show_faults
from initreg.cli.flags import message
from initreg.cli.parser import BadUsage, Parser
from initreg.cli.printing import OutputFailed, show_json, write
from initreg.cli.quiet import LEVEL, hide_banners
from initreg.errors import InitregError, InitregWarning, printable

if TYPE_CHECKING:
    from types import ModuleType

    from initreg.plugin.verb_hookspecs import Verb

VERBS = (
    *("probe", "plugins", "new-plugin", "ls", "show", "stats", "diff", "report", "plan", "map"),
    *("verify", "convert", "merge", "dump", "resume", "completion", "help"),
)


def verb_module(name: str) -> ModuleType:
    """The module of one of initreg's own verbs."""
    return importlib.import_module(f"initreg.cli.verbs.{name.replace('-', '_')}")


def parser(
    added: Mapping[str, tuple[str, Verb]] | None = None, typed: Sequence[str] = ()
) -> Parser:
    """The parser of the whole command line, or of what was typed alone.

    Args:
        added: the verbs of plugins by name, each with what to call its plugin.
        typed: the arguments. If they begin with a verb, it has a parser. The others get theirs when
            somebody asks for :attr:`Parser.verbs`.
    """
    given = added or {}
    asked = typed[0] if typed and typed[0] in (*VERBS, *given) else None
    top = Parser(
        prog="initreg",
        description="Initialise TensorFlow variables from weights that somebody else saved, and "
        "look at them, compare and convert them.",
        epilog="Exit codes: 0 fine, 1 the answer is no, 2 it could not be done.",
    )
    top.has_verbs = True
    top.add_argument("--version", action="store_true", help="print the version and exit")
    verbs = top.add_subparsers(metavar="VERB", title="verbs")
    parsers: dict[str, Parser] = {}

    def add(name: str, verb: Any, summary: str, examples: Sequence[tuple[str, str]]) -> None:
        # Not the docstring of the module, which `python -OO` removes.
        own = parsers[name] = verbs.add_parser(name, help=summary, description=summary)
        own.add_argument("--json", action="store_true", help="print the result as JSON")
        verb.add_arguments(own)
        own.set_defaults(run=verb.run, top=top)
        own.examples = examples

    for name in VERBS:
        if asked in (name, None):
            module = verb_module(name)
            add(name, module, module.SUMMARY, getattr(module, "EXAMPLES", ()))
    for name, (label, unguarded) in given.items():
        if asked in (name, None):
            verb = guarded(label, unguarded)
            add(name, verb, verb.summary, verb.examples)
    find_verbs = functools.cache(lambda: parsers if asked is None else parser(added).verbs)
    for each in (top, *parsers.values()):
        each.find_verbs = find_verbs
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: the arguments, by default those of the process.

    Returns:
        The exit code.
    """
    _hold_standard_files()
    if arguments is None:
        os.environ.setdefault(LEVEL, "2")
        hide_banners()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file name need not be valid text
    typed = sys.argv[1:] if arguments is None else list(arguments)
    options = None
    try:
        if typed[:1] == ["__complete"]:
            return _complete(typed[1:])
        added = added_verbs(typed, VERBS)
        options = parser(added.verbs, typed).parse_args(typed)
        options.added = added
        with _warnings_on_stderr():
            return _run(options)
    except BadUsage as fault:
        _say_usage(fault, as_json=_asks_for_json(typed))
        raise
    except InitregError as error:
        return _failed(error, as_json=getattr(options, "json", False))
    except KeyboardInterrupt:
        return _interrupted(is_process=arguments is None)


def _complete(words: Sequence[str]) -> int:
    """Answer the script of a shell, which has asked what can be typed next."""
    from initreg.cli.completing import complete, unquoted

    shell, *typed = words or [""]
    typed = unquoted(typed) if shell == "bash" else typed
    added = added_verbs(typed[:-1], VERBS, is_asked=False)
    for line in complete(parser(added.verbs), typed):
        write(line)
    return 0


def _interrupted(*, is_process: bool) -> int:
    """End by the signal of Ctrl-C, as other programs do: the exit code of a shell is 130.

    A shell goes on with the next round of a loop after a program that returns 130 by itself.
    """
    import signal

    if is_process:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
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
        write(parser(options.added.verbs).format_help().rstrip())
        show_faults(options.added)
        return 2
    code: int | None = options.run(options)
    return code or 0


def _asks_for_json(typed: Sequence[str]) -> bool:
    """Whether ``--json`` is an option of what was typed, which has not been parsed."""
    is_verb = bool(typed) and not typed[0].startswith("-")
    return is_verb and "--json" in itertools.takewhile("--".__ne__, typed)


def _say_usage(fault: BadUsage, *, as_json: bool) -> None:
    """Say what is wrong with the arguments."""
    if as_json:
        try:
            show_json({"error": "BadUsage", "message": fault.message})
        except OutputFailed as error:
            _failed(error, as_json=False)
    else:
        with contextlib.suppress(OSError):
            text = printable(f"{fault.message}\n{fault.more}", keep="\n")
            print(text, file=sys.stderr, flush=True)


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
            return 141  # as after SIGPIPE: `initreg ls model.npz | head` has seen enough
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
