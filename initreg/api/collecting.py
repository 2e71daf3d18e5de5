"""Garbage collection, which waits while many objects are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """No automatic garbage collection inside, unless other code switches it on.

    A plan creates 10,000 specs and rows at once, which are not garbage, and so does the listing of
    a file. That starts full collections, and each of them walks through the million objects of
    TensorFlow. It took half of the time of a restore of 10,000 small variables. Arrays are freed
    without it, because they are in no cycles. It is off for all threads, because Python offers
    nothing else.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
