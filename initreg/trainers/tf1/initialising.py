"""The variables that a restore leaves out: they are initialised after it, if no init_op does that.

In a cluster the variables are on servers, which outlive the chief. So they may have values of a
training whose chief was killed, or lost its session.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from initreg.errors import InitregWarning, warn
from initreg.plan.plan import Plan
from initreg.text.wording import names_text, plural
from initreg.trainers.tf1.saved import ancestors, variable_name

logger = logging.getLogger("initreg")
v1 = tf.compat.v1


def check_workers(scaffold: Any, session: Any) -> None:
    """Warn if workers of a cluster may begin before the restore.

    A worker asks every half minute whether all variables are initialised
    (``SessionManager.wait_for_session``), which they are between ``init_op`` and ``init_fn``.
    """
    if getattr(scaffold, "init_op", None) is None or _initialises_nothing(scaffold):
        return
    tasks = {each.name.rpartition("/device:")[0] for each in session.list_devices()}
    workers = sorted(each for each in tasks if not each.startswith("/job:ps/"))
    if len(workers) > 1:
        warn(
            f"this cluster has {len(workers)} workers ({', '.join(workers)}), and the scaffold's "
            "init_op has initialised the variables before they are restored: a worker that looks "
            "meanwhile begins with the initial values. Give each Scaffold init_op=tf.no_op(), and "
            "init_fn initialises what it does not restore",
            InitregWarning,
        )


def restored_by(plan: Plan) -> set[str]:
    """The names of the variables that a plan for a session restores."""
    return {row.name for row in plan.restored}


def initialise_rest(scaffold: Any, session: Any, restored: Iterable[str]) -> None:
    """Initialise what is not initialised yet, variables and resources, after the others.

    The workers of a cluster wait for the last one. ``ready_for_local_init_op`` says which these
    are, and the graph may be finalized. On servers it also initialises the variables that have
    values of an earlier session, unless they were restored or there is an ``init_op`` for them: a
    training that begins, or goes on from a checkpoint, has nothing of another one.

    Args:
        scaffold: the scaffold.
        session: its session.
        restored: the names of the variables that were restored, see
            :func:`initreg.trainers.tf1.saved.variable_name`.
    """
    ready = getattr(scaffold, "ready_for_local_init_op", None)
    if ready is None or ready.dtype != tf.string:  # one of the user's that gives no names
        return
    names = {name.decode() for name in session.run(ready).ravel()}
    graph = session.graph
    variables = graph.get_collection(v1.GraphKeys.GLOBAL_VARIABLES)
    rest = [each for each in variables if each.op.name in names]
    if getattr(session, "sess_str", "") and _initialises_nothing(scaffold):
        kept = set(restored)
        older = [v for v in variables if v.op.name not in names and variable_name(v) not in kept]
        if older:
            afresh = sorted(set(map(variable_name, older)))
            logger.warning(
                "the servers had values of %s from before, which were not restored and start "
                "afresh: %s",
                plural(len(afresh), "variable"),
                "; ".join(names_text((each, "") for each in afresh)),
            )
        rest += older
    shared = graph.get_collection("resources")  # as Scaffold's own init_op does
    created = [each.create for each in shared if each.handle.name in names]
    for ops in _in_turn(rest, variables):
        session.run([*ops, *created])
        created = []
    if created:
        session.run(created)
    if names:
        session.run(list(graph.get_collection("saved_model_initializers")))


def _initialises_nothing(scaffold: Any) -> bool:
    init = getattr(scaffold, "init_op", None)
    return init is not None and init.type == "NoOp" and not init.control_inputs


def _in_turn(chosen: Iterable[Any], variables: Iterable[Any]) -> list[list[Any]]:
    """The initializers of variables, in as few runs as possible: those of averages, whose initial
    values are computed from other variables, after those of the others.

    Args:
        chosen: the variables to initialise.
        variables: all of the graph. Each was made after those that its initial value needs.
    """
    wanted = {each.op.name for each in chosen}
    turn: dict[str, int] = {}
    found: list[list[Any]] = []
    for variable in variables:
        name = variable.op.name
        if name in turn or name not in wanted:
            continue
        above = (turn[op.name] for op in ancestors(variable.initializer) if op.name in turn)
        turn[name] = 1 + max(above, default=-1)
        found += [[] for _ in range(turn[name] + 1 - len(found))]
        found[turn[name]].append(variable.initializer)
    return found
