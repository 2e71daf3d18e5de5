"""A parser that never guesses which option was meant."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from initreg.cli.printing import write
from initreg.errors import printable

_TYPED = "_typed"  # in the namespace: the options that were typed so far


class Parser(argparse.ArgumentParser):
    """Options are typed in full, and an option that takes one value is given once.

    ``argparse`` would take ``--all`` for ``--allow-pickle`` where a verb has no ``--all``, and the
    last of two values in silence.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)
        for name in (None, "store"):
            self.register("action", name, _Once)

    def print_help(self, file: Any = None) -> None:
        """Print the help. Raises OutputFailed if stdout cannot be written."""
        if file is None:
            write(self.format_help().rstrip())
        else:
            super().print_help(file)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and exit with code 2."""
        super().error(printable(message))


class _Once(argparse.Action):
    """Stores one value. A second one for the same option is an error."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if option_string is not None:
            typed = {**getattr(namespace, _TYPED, {})}
            if self.dest in typed:
                raise argparse.ArgumentError(
                    self, f"it is given twice: {typed[self.dest]!r} and {values!r}. Give it once"
                )
            setattr(namespace, _TYPED, {**typed, self.dest: values})
        setattr(namespace, self.dest, values)
