"""The verbs that plugins add to the command line, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from initreg.errors import PluginError
from initreg.plugin.verb_hookspecs import Verb
from initreg.records import record

if TYPE_CHECKING:
    from initreg.plugin.loading import PluginRecord
    from initreg.plugin.registry import Registry

_NAME = r"[a-z][a-z0-9-]*"


@record()
class PluginVerbs:
    """What all plugins together add.

    Attributes:
        verbs: each verb that can be run, by name, with what to call its plugin.
        clashes: why verbs of these names cannot be run, or are not those of a plugin: several have
            the name.
        failed: why plugins add no verb, by what to call them.
    """

    verbs: Mapping[str, tuple[str, Verb]]
    clashes: Mapping[str, str]
    failed: Mapping[str, str]


def plugin_verbs(registry: Registry, own: Collection[str]) -> PluginVerbs:
    """Ask the plugins for their verbs.

    Args:
        registry: the plugins.
        own: the names of the verbs of initreg itself.
    """
    failed: dict[str, str] = {}
    answers = registry.calls.ask_each("initreg_verbs", failed, _checked)
    owners: dict[str, list[tuple[str, Verb]]] = {}
    for plugin, verbs in answers.items():
        for verb in verbs:
            owners.setdefault(verb.name, []).append((label(registry, plugin), verb))
    clashes: dict[str, str] = {}
    found: dict[str, tuple[str, Verb]] = {}
    for name, givers in owners.items():
        labels = [each for each, _ in givers]
        if name in own:
            clashes[name] = (
                f"the verb {name!r} is initreg's own, and that of {_and(labels)} is not used"
            )
        elif len(givers) > 1:
            clashes[name] = (
                f"the verb {name!r} is in {_and(labels)}, and none is used. Uninstall one"
            )
        else:
            found[name] = givers[0]
    named = {label(registry, plugin): reason for plugin, reason in sorted(failed.items())}
    return PluginVerbs(dict(sorted(found.items())), clashes, named)


def label(registry: Registry, plugin: str) -> str:
    """What to call a plugin: its name and its distribution."""
    record = next((r for r in registry.records if r.name == plugin and r.broken is None), None)
    return f"the plugin {plugin!r}{_from(record)}"


def _from(record: PluginRecord | None) -> str:
    if record is None or not record.distribution:
        return ""
    return f" (of {record.distribution} {record.version})"


def _and(labels: list[str]) -> str:
    return " and ".join(labels)


def _checked(answer: Any) -> list[Verb]:
    """The verbs of one plugin. Raises PluginError if they break the contract."""
    if answer is None:
        return []
    if not isinstance(answer, (list, tuple)) or not all(isinstance(v, Verb) for v in answer):
        raise PluginError(f"initreg_verbs returned {answer!r}, not a list of Verb")
    names = [verb.name for verb in answer]
    for verb in answer:
        texts = isinstance(verb.name, str) and isinstance(verb.summary, str)
        if not texts or not re.fullmatch(_NAME, verb.name):
            raise PluginError(
                f"a verb is called {verb.name!r}; give small letters, digits and dashes"
            )
        if names.count(verb.name) > 1:
            raise PluginError(f"it has two verbs {verb.name!r}")
        if not callable(verb.run) or not callable(verb.add_arguments):
            raise PluginError(f"run and add_arguments of the verb {verb.name!r} must be functions")
    return list(answer)
