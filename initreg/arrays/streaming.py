"""Many arrays, read ahead of whoever takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from initreg.arrays.map import LazyArray
from initreg.arrays.threads import Job, pool_for, thread_count
from initreg.errors import InitregError
from initreg.specs import Extent

if TYPE_CHECKING:
    import numpy as np

# Bytes that are read ahead. More were not seen to be faster, and take more memory.
AHEAD = 8 << 20
_SMALL = 1 << 20  # up to here an array is read together with its neighbours
_SPAN = 4 << 20  # of neighbours that are read together
_GAP = 1 << 16  # bytes between neighbours that are read and thrown away


def stream(
    arrays: Sequence[LazyArray],
    alignment: int | None = None,
    room: Callable[[int, tuple[int, ...], int], np.ndarray[Any, Any] | None] | None = None,
) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """Read all: the index of each array and the array, in about the order given.

    The order should be that in which they lie in their files. What was read and not yet taken is
    at most :data:`AHEAD` bytes, or one array that is larger; of packed arrays, which a thread
    unpacks each, as much as the largest besides, but not more of them than keep the threads busy.
    ``alignment`` and ``room``, which is called with the array's index too, are as in
    ``Reader.start``. An array that cannot be read raises once all before it have been given.
    """
    sizes = [array.stored.spec.nbytes or 0 for array in arrays]
    packed = max((n for n, a in zip(sizes, arrays, strict=True) if _is_packed(a)), default=0)
    threads = thread_count()
    waiting = deque(_pieces(arrays, sizes))
    started: deque[tuple[_Piece, Job]] = deque()
    ahead = 0
    with pool_for(sum(sizes)) as pool:
        while waiting or started:
            while waiting and (
                not started
                or ahead + waiting[0].nbytes <= AHEAD
                or (len(started) <= threads and ahead + waiting[0].nbytes <= AHEAD + packed)
            ):
                piece = waiting.popleft()
                index = piece.indices[0]
                first = arrays[index]
                try:
                    if first.is_part:
                        job = Job.of(pool.submit(lambda array=first: [array.read_stored()]))
                    else:
                        stored = [arrays[i].stored for i in piece.indices]
                        given = partial(room, index) if room is not None else None
                        job = first.reader.start(stored, pool, alignment, given)
                except InitregError as error:  # in its turn
                    job = Job.failed(error)
                started.append((piece, job))
                ahead += piece.nbytes
            piece, job = _ready(started, in_order=not packed)
            try:
                found = job.finish()
            except InitregError:
                if len(piece.indices) == 1:
                    raise
                for index in piece.indices:  # one by one: those before the one that fails are given
                    yield index, arrays[index].changed(arrays[index].read_stored())
            else:
                del job
                for index in piece.indices:
                    yield index, arrays[index].changed(found.pop(0))
            ahead -= piece.nbytes


def _is_packed(array: LazyArray) -> bool:
    return getattr(array.value, "codec", None) is not None


def position(array: LazyArray) -> tuple[str, int]:
    """Where it lies: file and offset."""
    return str(getattr(array.value, "file", "")), getattr(array.value, "offset", 0)


@dataclass(slots=True, eq=False)
class _Piece:
    """The arrays that are read in one go."""

    indices: list[int]
    nbytes: int


def _pieces(arrays: Sequence[LazyArray], sizes: Sequence[int]) -> Iterator[_Piece]:
    """Small arrays that lie side by side are one piece, any other is one of its own."""
    group = _Piece([], 0)
    begin = end = 0
    for index, (array, size) in enumerate(zip(arrays, sizes, strict=True)):
        value = array.value
        is_small = (
            isinstance(value, Extent)
            and value.codec is None
            and value.length <= _SMALL
            and not array.is_part
        )
        if group.indices:
            last = arrays[group.indices[-1]]
            if not (
                is_small
                and last.value.file == value.file
                and last.stored.owner is array.stored.owner
                and end <= value.offset <= end + _GAP
                and value.offset + value.length - begin <= _SPAN
            ):
                yield group
                group = _Piece([], 0)
        if not is_small:
            yield _Piece([index], size)
            continue
        if not group.indices:
            begin = value.offset
        end = value.offset + value.length
        group.indices.append(index)
        group.nbytes += size
    if group.indices:
        yield group


def _ready(started: deque[tuple[_Piece, Job]], in_order: bool) -> tuple[_Piece, Job]:
    """Take the first, once it is done; or, unless ``in_order``, any that is done before and
    succeeds: whatever raises does so in its turn, not sooner because a thread was faster."""
    while True:
        for at, (_, job) in enumerate(started):
            if job.is_done if at == 0 else job.may_overtake:
                found = started[at]
                del started[at]
                return found
            if in_order:
                break
        pending = [f for _, job in started for f in job.futures if not f.done()]
        wait(pending[:1] if in_order else pending, return_when=FIRST_COMPLETED)
