"""A parser that never guesses which option was meant."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import Any, NoReturn

from initreg.cli.printing import write
from initreg.errors import printable

_TYPED = "_typed"  # in the namespace: the options that were typed so far
_CURRENT = "_current"  # in the namespace: what is typed for one source, after --for
FOR = "for_sources"  # in the namespace: what was typed for each source that --for names


class Parser(argparse.ArgumentParser):
    """Options are typed in full, and an option that takes one value is given once.

    ``argparse`` would take ``--all`` for ``--allow-pickle`` where a verb has no ``--all``, and the
    last of two values in silence.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)
        for name in (None, "store"):
            self.register("action", name, _Once)
        self.register("action", "append", _Append)
        self.register("action", "store_true", _Switch)

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
        namespace = _holder(self, namespace)
        if option_string is not None:
            typed = {**getattr(namespace, _TYPED, {})}
            if self.dest in typed:
                raise argparse.ArgumentError(
                    self, f"it is given twice: {typed[self.dest]!r} and {values!r}. Give it once"
                )
            setattr(namespace, _TYPED, {**typed, self.dest: values})
        setattr(namespace, self.dest, values)


class _Append(argparse._AppendAction):
    def __call__(self, parser: Any, namespace: argparse.Namespace, *others: Any) -> None:
        super().__call__(parser, _holder(self, namespace), *others)


class _Switch(argparse._StoreTrueAction):
    def __call__(self, parser: Any, namespace: argparse.Namespace, *others: Any) -> None:
        super().__call__(parser, _holder(self, namespace), *others)


class For(argparse.Action):
    """``--for SOURCE``: some options that follow are for this source alone, up to the next one.

    Args:
        options: what the namespace calls these options.
    """

    def __init__(self, options: Collection[str], **others: Any) -> None:
        super().__init__(**others)
        self._options = tuple(options)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        found = {**getattr(namespace, FOR, {})}
        current = found.setdefault(values, argparse.Namespace(**dict.fromkeys(self._options)))
        setattr(namespace, FOR, found)
        setattr(namespace, _CURRENT, current)


def _holder(action: argparse.Action, namespace: argparse.Namespace) -> argparse.Namespace:
    """Where the value of an option belongs: to one source, if ``--for`` came before it."""
    current: argparse.Namespace | None = getattr(namespace, _CURRENT, None)
    return current if current is not None and hasattr(current, action.dest) else namespace
