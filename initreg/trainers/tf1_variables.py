"""The values of a TF1 session's variables, as arrays."""

from __future__ import annotations

from typing import Any

from initreg.errors import DuplicateName, TargetError


def parameters(session: Any = None) -> dict[str, Any]:
    """The global variables that are TRAINABLE or MODEL variables of the session's graph, by name.

    ``session``: by default the default session. No op is added to the graph, which may be
    finalized. The parts of a partitioned variable are put together under its name, as
    tf.compat.v1.train.Saver saves them. Raises TargetError, DuplicateName.
    """
    import tensorflow as tf

    v1 = tf.compat.v1
    session = _plain(session if session is not None else v1.get_default_session())
    if session is None:
        raise TargetError(
            "there is no default session: call this inside 'with session.as_default()', or pass "
            "session="
        )
    graph = session.graph
    present = {id(variable) for variable in graph.get_collection(v1.GraphKeys.GLOBAL_VARIABLES)}
    wanted: dict[int, Any] = {}  # a variable may be in both collections
    for key in (v1.GraphKeys.TRAINABLE_VARIABLES, v1.GraphKeys.MODEL_VARIABLES):
        for variable in graph.get_collection(key):
            if id(variable) in present:
                wanted[id(variable)] = variable
    variables = list(wanted.values())
    try:
        values = session.run(variables)
    except (RuntimeError, TypeError, ValueError, tf.errors.OpError) as error:
        text = " ".join(str(error).split())
        raise TargetError(f"TF1 session: its variables cannot be read: {text[:500]}") from error
    return _whole(variables, values)


def _plain(session: Any) -> Any:
    """The session inside a monitored one, so that reading is no step of its training."""
    if hasattr(session, "run_step_fn"):
        return session.run_step_fn(lambda step_context: step_context.session)
    return session


def _whole(variables: list[Any], values: list[Any]) -> dict[str, Any]:
    import numpy as np

    found: dict[str, Any] = {}
    partitioned: set[str] = set()
    for variable, value in zip(variables, values, strict=True):
        info = getattr(variable, "_save_slice_info", None)
        name = variable.name.removesuffix(":0") if info is None else info.full_name
        if name in found and (info is None or name not in partitioned):
            raise DuplicateName(f"TF1 session: two variables are called {name!r}")
        if info is None:
            found[name] = value
            continue
        if name not in partitioned:
            partitioned.add(name)
            found[name] = np.zeros([int(axis) for axis in info.full_shape], value.dtype)
        box = tuple(
            slice(start, start + length)
            for start, length in zip(info.var_offset, info.var_shape, strict=True)
        )
        found[name][box] = value
    return found
