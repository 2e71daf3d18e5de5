"""What init says of the state of optimizers, and a check of values that a plan cannot make."""

from __future__ import annotations

import logging
from collections.abc import Callable

from initreg.arrays.lazy_array import LazyArray
from initreg.errors import StateWarning, warn
from initreg.plan.plan import Plan
from initreg.plan.rows import RESTORED, Row
from initreg.plan.text import route_text

logger = logging.getLogger("initreg")


def checked(plan: Plan, array_of: Callable[[Row], LazyArray]) -> Plan:
    """The plan without state that cannot be what its variables are, as its values show.

    If a source does not record which optimizer its state is of, number and shapes alone decide.
    RMSprop's velocities are sums of squares, for instance, and SGD's momenta are not: with a
    negative velocity, the next step would give NaN.

    Args:
        plan: the plan.
        array_of: gives the array of a row.
    """
    for note in plan.states:
        names = set(note.never_negative) if note.is_restored else ()
        rows = [row for row in plan if row.name in names and row.kind in RESTORED]
        for row in rows:
            if row.source == note.source and _has_negative(array_of(row)):
                why = f"{row.array!r} has negative values, and {row.name!r} never has"
                plan = plan.without_state(note, why)
                break
    return plan


def _has_negative(array: LazyArray) -> bool:
    import numpy as np

    return bool((np.asarray(array) < 0).any())


def tell(plan: Plan) -> None:
    """Warn of state that is not restored, or may be wrong. The rest goes to the log."""
    loud = [note for note in plan.states if not note.is_quiet]
    for note in plan.states:
        if note.is_quiet:
            logger.info("%s: %s", route_text(plan), note.text)
    for note in loud:
        warn(f"{route_text(plan)}: " + note.text, StateWarning)
