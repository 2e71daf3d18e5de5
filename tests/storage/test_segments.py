"""Segments: the bytes of a file that are known, and which ranges to ask for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from initreg.storage.segments import Segments, merged

DATA = bytes(range(200))
ranges = st.lists(
    st.tuples(st.integers(0, 199), st.integers(0, 60)).map(lambda r: (r[0], min(200, sum(r)))),
    max_size=12,
)


@given(ranges, st.integers(0, 199), st.integers(0, 80))
def test_what_is_known_is_right(known: list[tuple[int, int]], start: int, length: int) -> None:
    """get() gives the bytes of the file if all of them were added, and None otherwise."""
    segments, added = Segments(), set()
    for begin, end in known:
        segments.add(begin, DATA[begin:end])
        added.update(range(begin, end))
    wanted = range(start, min(start + length, 200))
    found = segments.get(start, len(wanted))
    assert found == (DATA[start : start + len(wanted)] if added.issuperset(wanted) else None)
    assert len(segments) == len(added)


@given(ranges, st.integers(0, 199), st.integers(0, 80))
def test_what_is_missing_is_the_rest(known: list[tuple[int, int]], start: int, length: int) -> None:
    """missing() gives each unknown byte once, and no known one."""
    segments, added = Segments(), set()
    for begin, end in known:
        segments.add(begin, DATA[begin:end])
        added.update(range(begin, end))
    stop = min(start + length, 200)
    found = [n for begin, end in segments.missing(start, stop) for n in range(begin, end)]
    assert found == [n for n in range(start, stop) if n not in added]


@given(ranges, st.integers(0, 30), st.integers(0, 60), st.integers(1, 300))
def test_merged_ranges_cover_the_same(
    given: list[tuple[int, int]], widest: int, spare: int, longest: int
) -> None:
    """Merged ranges are sorted, do not touch what is too far apart, and add at most ``spare``."""
    found = merged(given, widest, spare, longest)
    wanted = {n for start, stop in given for n in range(start, stop)}
    covered = [n for start, stop in found for n in range(start, stop)]
    assert covered == sorted(set(covered))
    assert wanted <= set(covered)
    assert len(set(covered) - wanted) <= spare


def test_the_closest_ranges_are_merged_first() -> None:
    """Few spare bytes go where they save most requests."""
    assert merged([(0, 10), (15, 20), (120, 130), (131, 140)], 100, 6, 1000) == [
        (0, 20),
        (120, 140),
    ]
    assert merged([(0, 10), (15, 20)], 100, 4, 1000) == [(0, 10), (15, 20)]
    assert merged([(0, 10), (15, 20)], 100, 100, 15) == [(0, 10), (15, 20)]
