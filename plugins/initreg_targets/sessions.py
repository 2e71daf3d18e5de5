"""The ``tf.compat.v1.Session`` in an object that wraps one.

These are monitored sessions, the sessions inside them, those of TensorFlow's debugger, the context
that a hook gets, tensorpack's ``ReuseSessionCreator`` and trainers, and any other object that keeps
a session as ``sess`` or ``_sess``. Neither hooks nor a debugger see what runs in the session
itself.

Sources: TensorFlow's python/training/monitored_session.py and session_run_hook.py,
python/debug/wrappers/framework.py; tensorpack 0.11, tfutils/sesscreate.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Target, TargetError
from initreg_targets.frameworks import find, is_a, is_keras_layer, is_module

_ATTRIBUTES = ("_sess", "sess")
_MOST = 16  # wrappers in each other
_CLOSED = "TF1 session: it is closed, or was asked to stop. Open a new one"


def session_in(obj: object) -> Any | None:
    """The session in ``obj``, or ``obj`` itself; None if there is none.

    Raises:
        TargetError: the session in a wrapper was closed.
    """
    if find("tensorflow", "compat.v1.Session") is None:
        return None
    found: Any = obj
    for _ in range(_MOST):
        if _is_session(found):
            return found
        inner = _inside(found)
        if inner is None:
            return None
        found = inner
    return None


def _is_session(obj: object) -> bool:
    return is_a(obj, "tensorflow", "compat.v1.Session") or is_a(
        obj, "tensorflow", "compat.v1.InteractiveSession"
    )


def _inside(obj: Any) -> Any | None:
    """What ``obj`` keeps as its session; None if it keeps none. No code of a stranger is run."""
    if any(
        is_a(obj, "tensorflow", f"compat.v1.train.{kind}")
        for kind in ("MonitoredSession", "SingularMonitoredSession")
    ):
        return _monitored(obj)
    if is_a(obj, "tensorflow", "compat.v1.train.SessionRunContext"):
        return obj.session
    kind: Any = type(obj)
    if isinstance(obj, (type, Mapping)) or is_module(obj) or is_keras_layer(obj):
        return None
    if any(base.__name__ == "_WrappedSession" for base in kind.__mro__):
        if obj._sess is None:
            raise TargetError(_CLOSED)
        return obj._sess
    try:
        attributes = object.__getattribute__(obj, "__dict__")
    except Exception:
        return None
    if not isinstance(attributes, dict):
        return None
    kept = (attributes.get(name) for name in _ATTRIBUTES)
    found = next((each for each in kept if each is not None), None)
    # A third party's target may keep a session, too. It knows better what to do with it.
    return None if found is None or isinstance(obj, Target) else found


def _monitored(wrapper: Any) -> Any:
    """The session in a monitored one."""
    try:
        return wrapper.run_step_fn(lambda step_context: step_context.session)
    except (RuntimeError, AttributeError) as error:  # in a closed one the session is None
        raise TargetError(_CLOSED) from error
