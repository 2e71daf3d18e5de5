"""A value that one thread makes and all share, even if code that makes it asks for it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Generic, TypeVar

from initreg.errors import PluginError

T = TypeVar("T")

_POLL = 0.05  # seconds
_POLLS = 40  # for which a wait has to last before it counts as one for this thread
_IMPORTLIB = "<frozen importlib._bootstrap>"
_JOIN = threading.Thread.join.__code__
_WAIT = threading.Condition.wait.__code__


@dataclass(eq=False, slots=True)
class _Making:
    thread: threading.Thread = field(default_factory=threading.current_thread)
    before: list[threading.Thread] = field(default_factory=threading.enumerate)
    ended: threading.Event = field(default_factory=threading.Event)


class Once(Generic[T]):
    """A value that the first thread to ask for it makes, while the others wait.

    Making it runs other people's code, which may ask for the value too: in the same thread, or in a
    thread that it starts and waits for. Such a call would wait for itself, so it raises PluginError
    instead. What ``make`` raises goes to its caller, and the next call makes the value again.

    A fork waits until the value is made. The child would otherwise have locks, those of imports
    for one, whose threads it does not have.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: list[T] = []
        self._making: _Making | None = None
        self._guard = threading.RLock()  # held for moments, and while the process is forked
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._after_fork,
                after_in_child=self._after_fork_in_child,
            )

    def get(self) -> T:
        """The value. Raises PluginError if the call comes from the making of it."""
        while not self._made:
            with self._guard:
                making = self._making
                if making is None and not self._made:
                    self._making = _Making()
            if making is not None:
                _wait_for(making)
            elif not self._made:
                self._make_it()
        return self._made[0]

    def _make_it(self) -> None:
        making = self._making
        assert making is not None
        try:
            self._made.append(self._make())
        finally:
            with self._guard:
                self._making = None
            making.ended.set()

    def _before_fork(self) -> None:
        while True:
            self._guard.acquire()
            making = self._making
            if making is None:
                return
            self._guard.release()
            try:
                _wait_for(making)
            except PluginError:  # the import of a plugin forks
                self._guard.acquire()
                return

    def _after_fork(self) -> None:
        self._guard.release()

    def _after_fork_in_child(self) -> None:
        self._guard = threading.RLock()
        if self._making is not None and self._making.thread is not threading.current_thread():
            self._making = None  # its thread is not in this process


def being_imported(frame: FrameType | None = None) -> set[str]:
    """The modules whose import is under way in the calling thread, or in that of ``frame``."""
    frame = frame or sys._getframe(1)
    found = set()
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if frame.f_code.co_name == "<module>" and isinstance(name, str) and name != "__main__":
            spec = getattr(sys.modules.get(name), "__spec__", None)
            if getattr(spec, "_initializing", False):  # not, say, a doctest of the module
                found.add(name)
        frame = frame.f_back
    return found


def _wait_for(making: _Making) -> None:
    """Wait for the end. Raises PluginError if that waits for this thread."""
    me = threading.current_thread()
    polls = 0
    while True:
        waiting = list(_waits(making.thread))
        # Whom an event, a queue or a future waits for cannot be seen. If the maker does nothing but
        # wait for one, it is taken to wait for this thread, unless this is older than the making.
        suspect = me not in making.before and _is_in_wait(waiting[-1])
        polls = polls + 1 if suspect else 0
        if me in waiting or polls > _POLLS:
            raise PluginError(
                "initreg is called by a plugin that is being imported; make the call in a hook or "
                "a function"
            )
        if making.ended.wait(_POLL):
            return


def _waits(thread: threading.Thread) -> Iterator[threading.Thread]:
    """``thread``, the thread that it waits for, the one that this waits for, and so on."""
    frames = sys._current_frames()
    seen: list[threading.Thread] = []
    following: threading.Thread | None = thread
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        following = _waits_for(frames.get(following.ident or 0), frames)


def _is_in_wait(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    return frame is not None and frame.f_code is _WAIT


def _waits_for(frame: FrameType | None, frames: Mapping[int, FrameType]) -> threading.Thread | None:
    """What the thread of ``frame`` waits for: the end of another, or a module it is importing."""
    module = None
    while frame is not None and frame.f_code.co_filename in (_JOIN.co_filename, _IMPORTLIB):
        if frame.f_code is _JOIN:
            joined = frame.f_locals.get("self")
            return joined if isinstance(joined, threading.Thread) else None
        if module is None and frame.f_code.co_name in ("_find_and_load", "_lock_unlock_module"):
            module = frame.f_locals.get("name")
        frame = frame.f_back
    if module is not None:
        for thread in threading.enumerate():
            at = frames.get(thread.ident or 0)
            if at is not None and module in being_imported(at):
                return thread
    return None
