"""What a plugin is, and whether it keeps the contract: imported, looked at, and never trusted."""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from initreg.errors import PluginError

HOME = "initreg"  # the distribution whose plugins win when two have one name
PATIENCE = 20.0  # seconds for the import of a stranger's plugin

# What a stranger's code may raise and must not break the others. SystemExit too: a module that
# calls sys.exit() when it is imported would otherwise end every program that uses initreg.
# Ctrl-C still means what the user means by it.
FAULTS = (Exception, SystemExit)


@dataclass(slots=True)
class PluginRecord:
    """What is known of one plugin. ``broken`` is the reason why it takes no part, or None;
    ``missing`` maps each library that it needs and that is not installed to its remedy."""

    name: str
    distribution: str
    version: str
    module: str
    kinds: tuple[str, ...] = ()  # of "format", "target"
    broken: str | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "module": self.module,
            "kinds": list(self.kinds),
            "broken": self.broken,
            "missing": dict(self.missing),
        }


def loaded(point: metadata.EntryPoint) -> Any:
    """The module or object that an entry point names; raises whatever importing it does.

    One that does not end keeps nobody waiting: a stranger's is imported by a thread, which is given
    up with a PluginError.
    """
    if distribution(point.dist)[0] == HOME:
        return point.load()
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(point.load())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name=f"initreg-import-{point.name}", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if failed:
        raise failed[0]
    if not found:
        raise PluginError(f"its import has not ended for {PATIENCE:g} s, and was given up")
    return found[0]


def kinds(hooks: set[str]) -> tuple[str, ...]:
    kinds = (("format", "initreg_open"), ("target", "initreg_target"))
    return tuple(kind for kind, hook in kinds if hook in hooks)


@functools.lru_cache(256)  # each answer parses the whole description of the distribution
def distribution(dist: metadata.Distribution | None) -> tuple[str, str]:
    """Its name and version, "" if there is none."""
    return ("", "") if dist is None else (dist.name, dist.version)


def missing(plugin: object) -> dict[str, str]:
    """What of ``initreg_requires`` is not installed; raises PluginError if it is no such dict."""
    needs = getattr(plugin, "initreg_requires", {})
    if not isinstance(needs, Mapping) or not all(
        isinstance(text, str) for item in needs.items() for text in item
    ):
        raise PluginError(
            f"initreg_requires is {needs!r}, not a dict of libraries and the commands that "
            "install them"
        )
    return {library: remedy for library, remedy in needs.items() if not is_installed(library)}


def endings(plugin: object) -> tuple[str, ...]:
    """What paths of a format that is saved end in; raises PluginError if it does not say."""
    found = getattr(plugin, "initreg_endings", ())
    if not isinstance(found, tuple) or not all(
        isinstance(ending, str) and len(ending) > 1 and ending[0] == "." for ending in found
    ):
        raise PluginError(f"initreg_endings is {found!r}, not a tuple of endings such as '.npz'")
    return tuple(ending.lower() for ending in found)


def brief(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def is_installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False
