"""The hook for verbs of the command line. Any plugin may implement it, and none has to.

A verb parses, calls, and prints. :mod:`initreg.verb_tools` has what the verbs of initreg use: the
options of opening and the rules, and printing in which no name can move the cursor::

    from initreg import Verb, hookimpl

    def run(options):
        print(f"Hello, {options.name}")

    def add_arguments(parser):
        parser.add_argument("name", metavar="NAME", help="whom to greet")

    @hookimpl
    def initreg_verbs():
        return [Verb("hello", "Greet somebody.", add_arguments, run, [("initreg hello you", "")])]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from initreg.plugin.hookspecs import hookspec
from initreg.records import record

if TYPE_CHECKING:
    import argparse


@record()
class Verb:
    """A verb of the command line.

    Attributes:
        name: what is typed: small letters, digits and dashes.
        summary: what it does, in one line that ends in a full stop.
        add_arguments: adds its arguments to a parser, which has ``--json`` and ``--help`` already.
        run: runs it, with what was typed. It returns the exit code: 0 or None if all is well, 1 if
            the answer is no. An :class:`initreg.InitregError` is printed, and gives 2.
        examples: commands for its help, each with what it does.
    """

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]
    examples: Sequence[tuple[str, str]] = ()


@hookspec(firstresult=True)
def initreg_verbs() -> Sequence[Verb]:  # type: ignore[empty-body]
    """Return the verbs that you add to the command line.

    It is called for the help, and if somebody types a verb that is not one of initreg's own. Import
    what a verb needs in its ``run``. A verb may not have the name of another one: that is an error,
    which names both plugins.
    """
