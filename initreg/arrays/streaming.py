"""Reading many arrays, ahead of the caller that uses them."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.store_reads import requests_at_once
from initreg.arrays.threads import Job, pool_for, thread_count
from initreg.errors import InitregError
from initreg.specs import Extent
from initreg.store_paths import FilePath, StorePath

if TYPE_CHECKING:
    import numpy as np

# Bytes that are read ahead. With 8 MiB one array of 9 MB is alone, and then threads wait for its
# last chunk. A restore of 436 MB took 157 ms with 8 MiB, 145 with 16, 139 with 24, 138 with 32.
AHEAD = 24 << 20
TOGETHER = 8 << 20  # bytes that a plugin reads together
_AHEAD_IN_STORE = 64 << 20  # the same in a store, where an answer takes its time to come
_SMALL = 1 << 20  # bytes up to which an array is read together with its neighbours
_SPAN = 4 << 20  # bytes of neighbours that are read in one go
_GAP = 1 << 16  # bytes between neighbours that are read and not used


def stream(
    arrays: Sequence[LazyArray],
    alignment: int | None = None,
    room: Callable[[int, tuple[int, ...], int], np.ndarray[Any, Any] | None] | None = None,
    in_order: bool = False,
) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    """Read arrays ahead of the caller.

    At most :data:`AHEAD` bytes, or more of a store, are read and not yet taken, or one array that
    is larger. One packed array takes one thread. So that all threads are busy, packed arrays may
    take as many bytes more as the largest of them has.

    Args:
        arrays: the arrays, best in the order in which they are in their files.
        alignment: as for ``Reader.start``.
        room: as for ``Reader.start``, but it also takes the index of the array.
        in_order: whether they have to come in exactly the given order.

    Yields:
        The index of each array, and its values, in about the given order. The largest packed array
        is begun first if it has more than :data:`AHEAD` bytes, and may come first.

    Raises:
        InitregError: an array cannot be read. All arrays that were begun before it were yielded.
    """
    sizes = [array.stored.spec.nbytes or 0 for array in arrays]
    packed = max((n for n, a in zip(sizes, arrays, strict=True) if _is_packed(a)), default=0)
    at_once = max((requests_at_once(array.value) for array in arrays), default=0)
    threads = max(at_once, thread_count())
    most = _AHEAD_IN_STORE if at_once > 1 else AHEAD
    waiting = deque(_pieces(arrays, sizes))
    if packed > AHEAD and not in_order:  # so that one thread is not left to unpack it at the end
        largest = next(piece for piece in waiting if piece.nbytes == packed)
        waiting.remove(largest)
        waiting.appendleft(largest)
    started: deque[tuple[_Piece, Job]] = deque()
    ahead = 0
    with pool_for(sum(sizes), at_once) as pool:
        while waiting or started:
            while waiting and (
                not started
                or ahead + waiting[0].nbytes <= most
                or (len(started) <= threads and ahead + waiting[0].nbytes <= most + packed)
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
                except InitregError as error:  # it is raised when it is this array's turn
                    job = Job.failed(error)
                started.append((piece, job))
                ahead += piece.nbytes
            piece, job = _ready(started, in_order=in_order or not packed)
            try:
                found = job.finish()
            except InitregError:
                if len(piece.indices) == 1:
                    raise
                for index in piece.indices:  # one by one, to yield those before the one that fails
                    yield index, arrays[index].changed(arrays[index].read_stored())
            else:
                del job
                found.reverse()  # one that is taken from the front moves all of the others
                for index in piece.indices:
                    yield index, arrays[index].changed(found.pop())
            ahead -= piece.nbytes


def at_hand(arrays: Sequence[LazyArray]) -> Iterator[LazyArray]:
    """Each array, for whoever reads them piece by piece, in order.

    Those that a plugin reads together are read, up to :data:`TOGETHER` bytes of them, and are then
    in memory until the next ones are.
    """
    sizes = [array.stored.spec.nbytes or 0 for array in arrays]
    for piece in _pieces(arrays, sizes):
        few = [arrays[index] for index in piece.indices]
        if _together(few[0]) is None or few[0].is_part:
            yield from few
            continue
        with pool_for(0) as pool:
            found = few[0].reader.start([each.stored for each in few], pool).finish()
        found.reverse()
        for array in few:
            yield LazyArray(array.spec, array.changed(found.pop()), array.owner)


def _is_packed(array: LazyArray) -> bool:
    value = array.value
    return getattr(value, "codec", None) is not None or bool(getattr(value, "codecs", ()))


def position(array: LazyArray) -> tuple[str, int]:
    """Where an array is stored: file and offset."""
    return str(getattr(array.value, "file", "")), getattr(array.value, "offset", 0)


@dataclass(slots=True, eq=False)
class _Piece:
    """Arrays that are read in one go: their indices, and their size in memory."""

    indices: list[int]
    nbytes: int


def _pieces(arrays: Sequence[LazyArray], sizes: Sequence[int]) -> Iterator[_Piece]:
    """Split arrays into pieces. Small arrays that lie side by side are in one piece."""
    group = _Piece([], 0)
    begin = end = 0
    others = _Others(arrays)
    for index, (array, size) in enumerate(zip(arrays, sizes, strict=True)):
        value = array.value
        together = None if array.is_part else _together(array)
        if together is not None:
            last = arrays[group.indices[-1]] if group.indices else array
            is_next = _together(last) is together and last.stored.owner is array.stored.owner
            if group.indices and not (is_next and group.nbytes + size <= TOGETHER):
                yield group
                group = _Piece([], 0)
            group.indices.append(index)
            group.nbytes += size
            continue
        is_small = (
            isinstance(value, Extent)
            # A packed array takes one thread of its own, unless the request is what takes time.
            and (value.codec is None or isinstance(value.file, StorePath))
            and max(value.length, size) <= _SMALL
            and not array.is_part
        )
        if group.indices:
            last = arrays[group.indices[-1]]
            if not (
                is_small
                and isinstance(last.value, Extent)
                and last.value.file == value.file
                and last.stored.owner is array.stored.owner
                and end <= value.offset <= end + _GAP
                and not others.lie_in(value.file, end, value.offset)
                and value.offset + value.length - begin <= _SPAN
                and group.nbytes + size <= _SPAN
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


def _together(array: LazyArray) -> Any:
    """What reads the value of an array together with others, if a plugin says so."""
    return getattr(array.value, "together", None)


class _Others:
    """The arrays of the same files in a store that are not wanted. They are never sent, however
    small they are. On a disk that would cost more than it saves.

    Args:
        arrays: those that are wanted.
    """

    def __init__(self, arrays: Sequence[LazyArray]) -> None:
        self._places: dict[FilePath, list[tuple[int, int]]] = {}
        stored = [array.stored for array in arrays if requests_at_once(array.value)]
        wanted = {id(array.value) for array in stored}
        for owner in {id(array.owner): array.owner for array in stored}.values():
            for other in owner.values():
                value = other.value
                if isinstance(value, Extent) and id(value) not in wanted:
                    place = (value.offset, value.offset + value.length)
                    self._places.setdefault(value.file, []).append(place)
        for places in self._places.values():
            places.sort()

    def lie_in(self, file: FilePath, start: int, stop: int) -> bool:
        """Whether one of them lies between two positions of a file."""
        places = self._places.get(file) if self._places else None
        if not places:
            return False
        at = bisect.bisect_left(places, (start, 0))
        return at < len(places) and places[at][0] < stop


def _ready(started: deque[tuple[_Piece, Job]], in_order: bool) -> tuple[_Piece, Job]:
    """Remove the next piece from ``started`` when it is done.

    Unless ``in_order`` is set, a piece that is done earlier may come before the first one, but only
    if it succeeded: errors are raised in order, however fast the threads are.
    """
    if in_order:
        return started.popleft()  # whoever finishes it waits
    while True:
        for at, (_, job) in enumerate(started):
            if job.is_done if at == 0 else job.may_overtake:
                found = started[at]
                del started[at]
                return found
        from concurrent.futures import FIRST_COMPLETED, wait

        pending = [f for _, job in started for f in job.futures if not f.done()]
        wait(pending, return_when=FIRST_COMPLETED)
