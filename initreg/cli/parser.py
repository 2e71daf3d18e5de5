"""A parser that never guesses which option was meant, and whose errors are about the verb."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

from initreg.cli.helping import Described, help_text, usage_text
from initreg.cli.printing import write
from initreg.errors import PluginError

_HAVE = ("has", "have")
_TYPED = "_typed"  # in the namespace: the options that were typed so far
_CURRENT = "_current"  # in the namespace: what is typed for one source, after --for
FOR = "for_sources"  # in the namespace: what was typed for each source that --for names


class BadUsage(SystemExit):
    """What was typed is no call of a verb. The exit code is 2.

    Args:
        message: what is wrong.
        more: the usage of the verb, and where its options are shown.
    """

    def __init__(self, message: str, more: str) -> None:
        super().__init__(2)
        self.message = message
        self.more = more


class Parser(Described):
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
        self.fault = ""  # why this verb of a plugin cannot be run
        self._is_parsing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse the arguments. What is left over is an error of the verb that was typed.

        Options may be typed between the arguments of a verb: ``plan a.npz --drop x b.npz``.
        """
        if self.fault:
            raise PluginError(self.fault)
        self.usage = usage_text(self)  # argparse changes what it asks for here while it parses
        if self._is_parsing:  # argparse calls this method for options, and again for the rest
            return super().parse_known_args(args, namespace)
        if self.has_verbs:
            found, extras = super().parse_known_args(args, namespace)
        else:
            self._is_parsing = True
            try:
                found, extras = self.parse_known_intermixed_args(args, namespace)
            finally:
                self._is_parsing = False
        if extras:
            self.error(self._unknown(extras))
        return found, extras

    def _unknown(self, extras: Sequence[str]) -> str:
        """What is wrong with arguments that nothing takes."""
        from initreg.text.near import did_you_mean

        flags = [each.partition("=")[0] for each in extras if each.startswith("-") and each != "-"]
        if not flags:
            return f"too many arguments: {' '.join(extras)}"
        flag = flags[0]
        if self.has_verbs:
            return f"there is no option {flag} before the verb. Options of a verb come after it"
        others = [n for n, verb in self.verbs.items() if flag in verb._option_string_actions]
        if others:
            return f"there is no option {flag}. {_listed(others)} {_HAVE[len(others) > 1]} it"
        own = [each[2:] for each in self._option_string_actions if each.startswith("--")]
        near = did_you_mean(flag.lstrip("-"), own, lambda name: f"--{name}")
        return f"there is no option {flag}" + (near and f".{near}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is not among the choices, and say which it may have been."""
        if action.choices is None or value in action.choices:
            return
        from initreg.text.near import did_you_mean

        choices = [str(choice) for choice in action.choices]
        near = did_you_mean(str(value), choices)
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"there is no verb {value!r}" + (near and f".{near}"))
        raise argparse.ArgumentError(
            action, f"invalid choice: {value!r}.{near} Choose from {', '.join(choices)}"
        )

    def format_usage(self) -> str:
        """The usage in one line."""
        return f"usage: {usage_text(self)}\n"

    def format_help(self) -> str:
        """The help, with what is rare left out."""
        return help_text(self) + "\n"

    def print_help(self, file: Any = None) -> None:
        """Print the help. Raises OutputFailed if stdout cannot be written."""
        if file is None:
            write(self.format_help().rstrip())
        else:
            super().print_help(file)

    def error(self, message: str) -> NoReturn:
        """Raise BadUsage, which says what is wrong with the arguments."""
        more = f"'{self.prog} --help' shows {'the verbs' if self.has_verbs else 'its options'}"
        raise BadUsage(f"{self.prog}: {message}", f"{self.format_usage()}{more}")


def _listed(verbs: Sequence[str]) -> str:
    shown = list(verbs[:4]) + (["others"] if len(verbs) > 4 else [])
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]


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
