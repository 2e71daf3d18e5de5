"""Verbs that plugins add. Plugins are loaded only if such a verb may have been typed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from initreg.cli.parser import Parser
from initreg.errors import InitregError, PluginError, brief, is_fault, printable

if TYPE_CHECKING:
    from initreg.plugin.verb_hookspecs import Verb
    from initreg.plugin.verbs import PluginVerbs

# Verbs of initreg itself that are about all verbs.
_ABOUT_VERBS = ("help", "plugins", "completion")


def added_verbs(
    typed: Sequence[str], own: Collection[str], *, is_asked: bool = True
) -> PluginVerbs:
    """The verbs of plugins, if they can matter for what was typed.

    Args:
        typed: the arguments of the process.
        own: the names of initreg's own verbs.
        is_asked: whether to say why a verb is missing.

    Raises:
        PluginError: several plugins have the verb that was typed.
    """
    from initreg.plugin.verbs import PluginVerbs, plugin_verbs

    verb = next((word for word in typed if not word.startswith("-")), None)
    if (verb in own and verb not in _ABOUT_VERBS) or "--version" in typed:
        return PluginVerbs({}, {}, {})
    from initreg.plugin.installed import default_registry

    registry = default_registry()
    found = plugin_verbs(registry, own)
    if not is_asked:
        return found
    if verb is not None and verb in found.clashes and verb not in own:
        raise PluginError(found.clashes[verb])
    if verb is not None and verb not in own and verb not in found.verbs:
        show_faults(found)
        for record in registry.records:
            if record.broken is not None:
                _warn(f"the plugin {record.name!r} is broken: {record.broken}")
    return found


def faults_of(added: PluginVerbs) -> list[str]:
    """What is wrong with the verbs of plugins, a line for each."""
    lines = [f"{label} adds no verbs: {reason}" for label, reason in added.failed.items()]
    return [*lines, *added.clashes.values()]


def show_faults(added: PluginVerbs) -> None:
    """Print on stderr what is wrong with the verbs of plugins."""
    for line in faults_of(added):
        _warn(line)


def _warn(text: str) -> None:
    print(f"initreg: warning: {printable(text)}", file=sys.stderr)


def guarded(label: str, verb: Verb) -> Verb:
    """A verb whose faults are one clear error.

    Args:
        label: what to call its plugin.
        verb: the verb.
    """

    def run(options: argparse.Namespace) -> int | None:
        try:
            return verb.run(options)
        except (InitregError, SystemExit):
            raise
        except BaseException as error:
            if not is_fault(error) or sys.flags.dev_mode:
                raise
            raise PluginError(
                f"{label}: the verb {verb.name!r} failed: {brief(error)}. 'python -X dev -m "
                f"initreg {verb.name} ...' shows where"
            ) from error

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        try:
            verb.add_arguments(parser)
        except BaseException as error:
            if not is_fault(error):
                raise
            assert isinstance(parser, Parser)
            parser.fault = (
                f"{label}: the verb {verb.name!r} cannot add its arguments: {brief(error)}"
            )

    from initreg.records import replace

    return replace(verb, add_arguments=add_arguments, run=run)
