"""The registry of the installed plugins. The first call that needs it makes it."""

from __future__ import annotations

import os
import threading
from typing import Any

import pluggy

from initreg.errors import PluginError
from initreg.plugin import loading
from initreg.plugin.entry_points import entry_points
from initreg.plugin.probing import Probe
from initreg.plugin.registry import GROUP, Registry
from initreg.plugin.source import Source

_lock = threading.Lock()
_made: list[Registry] = []


def default_registry() -> Registry:
    """The registry of the installed plugins. The first call loads them; other threads wait.

    Raises:
        PluginError: the call comes from the import of a plugin, and would wait for itself.
    """
    if not _made:
        _refuse_own_import()
        with _lock:
            if not _made:
                with loading.here():
                    _made.append(Registry())
    return _made[0]


def plugin_manager() -> pluggy.PluginManager:
    """The pluggy manager of the installed plugins. Use it to monitor and trace calls, and to add
    wrappers.

    >>> initreg.plugin_manager().add_hookcall_monitoring(before, after)  # doctest: +SKIP
    """
    return default_registry().manager


def probe(source: Any) -> Probe:
    """Ask every installed format whether it claims ``source``.

    Args:
        source: a path, a mapping, or another object.

    Returns:
        A :class:`Probe`: the winner, all claims, who declined, and which plugins are broken.

    Raises:
        SourceNotFound, UnreadableFile, RefusedFile: the file cannot be read.

    >>> initreg.probe("model.npz").winner  # doctest: +SKIP
    'npz'
    """
    return default_registry().probe(Source(source))


def _refuse_own_import() -> None:
    """Raise PluginError if the call comes from the import of a plugin, whoever imports it.

    A thread that such an import starts is not recognised. It waits like any other thread. If the
    import waits for that thread, the import is given up.
    """
    if loading.is_here():
        raise PluginError(
            "initreg is called by a plugin that is being imported; make the call in a hook or a "
            "function"
        )
    if busy := loading.being_imported():
        for point in entry_points(GROUP):
            if point.module in busy:
                raise PluginError(
                    f"plugin {point.name!r} calls initreg while it is imported; make the call in a "
                    "hook or a function"
                )


def _after_fork_in_child() -> None:
    """Load the plugins again if another thread of the parent was about to. Its imports ended, see
    :mod:`initreg.forking`."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
