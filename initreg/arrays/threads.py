"""Threads that do the work of reading, and the jobs that they are given."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from initreg import forking
from initreg.records import fresh, record

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    import numpy as np

_ALONE = 1 << 20  # bytes up to which threads cost more than they save
_MOST_THREADS = 4  # in measurements, more did not fill memory faster


class Pool(Protocol):
    """What runs functions: threads, or the caller itself."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]: ...


class _Here:
    """A pool without threads, which runs each function when it is submitted."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        future = _future()
        try:
            future.set_result(call(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def pool_for(nbytes: int, at_once: int = 0) -> Iterator[Pool]:
    """A pool to read with. It has threads only if that is worthwhile, and they end with the block.

    If the system gives no thread, as in a container that may have no more, there are none, and if
    it gives fewer, there are fewer.

    Args:
        nbytes: how many bytes are going to be read.
        at_once: how many requests at once are of use, if the bytes are in a store.
    """
    if nbytes <= _ALONE and at_once < 2:
        yield _Here()
        return
    pool = _executor()(max(at_once, thread_count()), "initreg")
    try:
        pool.submit(int)  # starts the first thread
        is_started = True
    except RuntimeError:
        is_started = False
    if not is_started:
        yield _Here()
        return
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@functools.cache
def _executor() -> type[ThreadPoolExecutor]:
    """The class of pools. Whoever only lists a file does not pay for its import."""
    from concurrent.futures import ThreadPoolExecutor

    forking.register()  # again, see there

    class Threads(ThreadPoolExecutor):
        def _adjust_thread_count(self) -> None:
            try:
                super()._adjust_thread_count()
            except RuntimeError:  # those that there are do this, too: it is in their queue
                if not self._threads:
                    raise

    return Threads


def _future() -> Future[Any]:
    from concurrent.futures import Future

    return Future()


def thread_count() -> int:
    """How many threads to use. Two even on one core: one reads while the other unpacks."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return max(2, min(_MOST_THREADS, cores))


@record(frozen=False, eq=False)
class Job:
    """Reads that were started.

    Args:
        finish: waits for the reads and returns the arrays, or raises.
        futures: what to wait for before ``finish``.
    """

    finish: Callable[[], list[np.ndarray[Any, Any]]]
    futures: list[Future[Any]] = fresh(factory=list)

    @classmethod
    def of(cls, future: Future[Any]) -> Job:
        """A job of one future, whose result is the list of arrays."""
        return cls(future.result, [future])

    @classmethod
    def failed(cls, error: Exception) -> Job:
        """A job whose ``finish`` raises this error."""
        future = _future()
        future.set_exception(error)
        return cls.of(future)

    @property
    def is_done(self) -> bool:
        """Whether ``finish`` would not wait."""
        return all(future.done() for future in self.futures)

    @property
    def may_overtake(self) -> bool:
        """Whether the job is known to succeed before it is finished.

        That is not known for a job of several futures, whose checksum is compared at the end.
        """
        return len(self.futures) == 1 and self.is_done and self.futures[0].exception() is None
