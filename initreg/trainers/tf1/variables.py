"""The values of a TF1 session's variables, as arrays."""

from __future__ import annotations

from collections import Counter
from typing import Any

from initreg.errors import DuplicateName, TargetError

_MOST_WRAPPERS = 16  # in each other


def parameters(session: Any = None) -> dict[str, Any]:
    """The global variables that are TRAINABLE or MODEL variables of the session's graph, by name.

    No op is added to the graph, which may be finalized. The parts of a partitioned variable are
    joined under its name, as ``tf.compat.v1.train.Saver`` saves them.

    Args:
        session: by default the default session. It may be a MonitoredSession.

    Returns:
        Arrays by name, without ``:0``.

    Raises:
        TargetError: there is no session, or its variables cannot be read.
        DuplicateName: two variables have the same name.

    >>> values = parameters(session)  # doctest: +SKIP
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
    with session.graph.as_default():
        slices = [_slice_of(variable) for variable in variables]
    return _joined(variables, slices, values)


def _plain(session: Any) -> Any:
    """The session inside a monitored one, or inside another wrapper such as TensorFlow's debugger.

    So reading is neither counted as a training step, nor debugged.
    """
    import tensorflow as tf

    train = tf.compat.v1.train
    for _ in range(_MOST_WRAPPERS):
        if isinstance(session, (train.MonitoredSession, train.SingularMonitoredSession)):
            session = session.run_step_fn(lambda step_context: step_context.session)
        kept = getattr(session, "__dict__", {})
        inner = kept.get("_sess") or kept.get("sess")
        if inner is None:
            break
        session = inner
    return session


def _slice_of(variable: Any) -> Any:
    """Where a part of a partitioned variable belongs. None if the variable is not a part.

    This is TensorFlow's ``SaveSliceInfoDef``. What has no proto is not a part.
    """
    try:
        proto = variable.to_proto()
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    return proto.save_slice_info_def if proto.HasField("save_slice_info_def") else None


def _joined(variables: list[Any], slices: list[Any], values: list[Any]) -> dict[str, Any]:
    import numpy as np

    found: dict[str, Any] = {}
    partitioned: set[str] = set()
    parts = Counter(part.full_name for part in slices if part is not None)
    left: Counter[str] = Counter()  # elements that no part has, by name
    for variable, part, value in zip(variables, slices, values, strict=True):
        name = variable.name.removesuffix(":0") if part is None else part.full_name
        if name in found and (part is None or name not in partitioned):
            raise DuplicateName(f"TF1 session: two variables are called {name!r}")
        if part is None or parts[name] == 1:  # a slot of a part may be a variable of its own
            found[name] = value
            continue
        if name not in partitioned:
            partitioned.add(name)
            found[name] = np.zeros(list(part.full_shape), value.dtype)
            left[name] = found[name].size
        left[name] -= value.size
        box = tuple(
            slice(start, start + length)
            for start, length in zip(part.var_offset, part.var_shape, strict=True)
        )
        found[name][box] = value
    for name, count in left.items():
        if count:
            raise TargetError(
                f"TF1 session: the parts of variable {name!r} in its collections do not cover its "
                f"shape {found[name].shape}: they have {found[name].size - count:,} of "
                f"{found[name].size:,} elements"
            )
    return found
