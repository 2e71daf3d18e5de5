"""Python's garbage collector, out of the way while many objects are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No automatic collection inside, unless other code switches it on.

    The specs and rows of a plan are no garbage and in no cycles, and arrays that are let go of are
    freed all the same; but making 10,000 of each sets off full collections, each of which walks all
    that TensorFlow has made, a million objects: half of the time that a restore of 10,000 small
    variables took. For all threads, since Python knows no other way.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
