"""Forks while other threads import anything for initreg.

initreg imports what it needs when it is used, plugins too. A child that is forked during such an
import has no thread that could end it, and would wait for ever for the lock of the module. So the
fork waits for the import. If it does not end, the child drops what was half imported.
"""

from __future__ import annotations

import os
import sys
import time
from importlib import _bootstrap
from types import FrameType, ModuleType

_PATIENCE = 20.0  # seconds, for the import of a large library
_OURS = __name__.partition(".")[0]  # in whose calls all plugins run
_IMPORTING = "importlib._bootstrap"
_given_up: set[int] = set()  # threads that a fork waited for in vain


def register() -> None:
    """Let forks wait. What is registered last is called first.

    The modules ``logging`` and ``concurrent.futures`` take locks before a fork. An import that
    needs one of these would not end, if the fork waited for it afterwards.
    """
    os.register_at_fork(before=_wait)


def _wait() -> None:
    end = time.monotonic() + _PATIENCE
    while awaited := _awaited():
        if time.monotonic() > end:
            _given_up.update(awaited)
            break
        time.sleep(0.001)


def _awaited() -> list[int]:
    """The other threads that import for initreg. [] if this one imports: they may wait for it."""
    own = sys._getframe()
    found = []
    for thread, top in sys._current_frames().items():
        modules = _modules(top)
        if _IMPORTING in modules:
            if top is own:
                return []
            if _OURS in modules[modules.index(_IMPORTING) :] and thread not in _given_up:
                found.append(thread)
    return found


def _modules(frame: FrameType | None) -> list[str]:
    """Where each frame of a thread is, the innermost first. For initreg and its parts, its name."""
    found = []
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        found.append(_OURS if name.partition(".")[0] == _OURS else name)
        frame = frame.f_back
    return found


def _drop_half_imported() -> None:
    if not _given_up or _IMPORTING in _modules(sys._getframe()):
        return
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType):
            spec = object.__getattribute__(module, "__dict__").get("__spec__")
            if getattr(spec, "_initializing", False):
                del sys.modules[name]
    locks = getattr(_bootstrap, "_module_locks", None)  # CPython's; each is made when it is needed
    if isinstance(locks, dict):
        locks.clear()


os.register_at_fork(after_in_child=_drop_half_imported)
register()
