"""Work that is done by threads, and what it gives once it is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

_ALONE = 1 << 20  # bytes up to which threads cost more than they save
_MOST_THREADS = 4  # more were not seen to fill memory faster


class Pool(Protocol):
    """What does the work."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]: ...


class _Here:
    """A pool without threads: everything is done at once."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def pool_for(nbytes: int) -> Iterator[Pool]:
    """Threads to read that many bytes with, none for a few; they end with the block."""
    if nbytes <= _ALONE:
        yield _Here()
        return
    pool = ThreadPoolExecutor(thread_count(), "initreg")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def thread_count() -> int:
    """Two even on one core: one reads while the other unpacks."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return max(2, min(_MOST_THREADS, cores))


@dataclass(slots=True, eq=False)
class Job:
    """What was started: ``futures`` to wait for, then ``finish`` gives the arrays, or raises."""

    finish: Callable[[], list[np.ndarray[Any, Any]]]
    futures: list[Future[Any]] = field(default_factory=list)

    @classmethod
    def of(cls, future: Future[Any]) -> Job:
        return cls(future.result, [future])

    @classmethod
    def failed(cls, error: Exception) -> Job:
        """One whose ``finish`` raises."""
        future: Future[Any] = Future()
        future.set_exception(error)
        return cls.of(future)

    @property
    def is_done(self) -> bool:
        return all(future.done() for future in self.futures)

    @property
    def may_overtake(self) -> bool:
        """Whether it is known to succeed before it is finished. Of several futures that is not
        known: a sum of all is compared at the end."""
        return len(self.futures) == 1 and self.is_done and self.futures[0].exception() is None
