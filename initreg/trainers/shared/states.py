"""The states of callbacks and objects: their names in a sidecar, and giving them back."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from initreg.api.sidecars import states_of
from initreg.api.states import give
from initreg.errors import InitregError

logger = logging.getLogger("initreg")


def with_states(objects: Mapping[str, Any] | None) -> dict[str, Any]:
    """The ``objects`` that the user gives a saver, by name.

    Raises:
        InitregError: one has no ``state_dict()`` and ``load_state_dict(state)``. It is raised when
            the saver is made, rather than at the first save.
    """
    found = dict(objects or {})
    states_of(found)
    return found


def check_names(objects: Iterable[str], taken: Iterable[str]) -> None:
    """Raises InitregError if the user named an object as a callback or the saver is named."""
    for name in sorted(set(objects) & set(taken)):
        raise InitregError(f"objects={{{name!r}: ...}}: the name is taken. Choose another")


def log_missing(names: Iterable[str], states: Mapping[str, Any], label: object) -> None:
    """Log the names that have no state in the checkpoint, which is called ``label``."""
    for name in names:
        if name not in states:
            logger.warning("%s has no state of %r, which starts afresh", label, name)


def give_states(objects: Mapping[str, Any], states: Mapping[str, Any], label: object) -> None:
    """Give each object its own state. The log names the objects that have none.

    Raises:
        DamagedFile: a state is not one of its object. The message begins with ``label``.
    """
    log_missing(objects, states, label)
    for name, each in objects.items():
        if name in states:
            give(each, states[name], name, str(label))
