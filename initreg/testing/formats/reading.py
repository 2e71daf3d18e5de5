"""Does every way to read a source give what was saved?"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.dtypes import name_of
from initreg.errors import InitregError
from initreg.testing.formats.base import Base, Sample, check, fail, pairs, plain, same, what
from initreg.testing.formats.files import held_files

_THREADS = 8
_LETTING_GO = 2.0  # seconds in which a library may close its files after close()


class ReadingTests(Base):
    """The part of the contract that is about reading complete sources."""

    def test_names_shapes_and_dtypes(self, made: list[Sample]) -> None:
        """Before anything is read, the map lists every array with its shape and dtype."""
        for sample in made:
            with self._open(sample.source) as arrays:
                listed, expected = set(arrays), set(sample.arrays)
                if listed != expected:
                    fail(
                        f"{what(sample)}: listed, but not expected: {sorted(listed - expected)}; "
                        f"expected, but not listed: {sorted(expected - listed)}"
                    )
                for name, array in sample.arrays.items():
                    found = arrays[name]
                    if found.shape != array.shape or name_of(found.dtype) != name_of(array.dtype):
                        fail(
                            f"{what(sample)}: {name!r} is announced as {found.shape} "
                            f"{found.dtype}; expected is {array.shape} {array.dtype}"
                        )

    def test_metadata(self, made: list[Sample]) -> None:
        """The metadata is a mapping of str to str, and that of the sample."""
        for sample in made:
            with self._open(sample.source) as arrays:
                try:
                    found = dict(arrays.metadata)
                except InitregError as error:
                    fail(f"{what(sample)}: {error}")
                if sample.metadata is not None and found != sample.metadata:
                    fail(f"{what(sample)}: its metadata is {found}, not {dict(sample.metadata)}")

    def test_values_are_exact(self, made: list[Sample]) -> None:
        """Every way to read an array gives its values in every bit, native and in C order."""
        for sample in made:
            with self._open(sample.source) as arrays:
                for name, lazy, expected in pairs(sample, arrays):
                    where = f"{what(sample)}: {name!r}"
                    whole = lazy.read()
                    if not same(whole, expected):
                        fail(f"{where} reads as\n{whole!r}\nbut expected is\n{expected!r}")
                    if not (whole.flags.c_contiguous and whole.dtype.isnative):
                        fail(f"{where}: read() must give C order and native bytes")
                    if not (same(np.asarray(lazy), expected) and same(lazy[...], expected)):
                        fail(f"{where}: np.asarray(m[name]), m[name][...] and read() differ")
                    if expected.ndim and not same(lazy[1:3], expected[1:3]):
                        fail(f"{where}: m[name][1:3] is not that slice")

    def test_arrays_share_no_memory(self, made: list[Sample]) -> None:
        """An array that was read may be changed. The next read gives the values of the source."""
        for sample in made:
            with self._open(sample.source) as arrays:
                for name, lazy, _ in pairs(sample, arrays):
                    first = lazy.read()
                    if first.dtype.hasobject or not first.size:
                        continue
                    before = first.copy()
                    if not first.flags.writeable:
                        fail(f"{what(sample)}: {name!r} reads as a read-only array")
                    first.reshape(-1).view(np.uint8)[...] ^= 0xFF
                    if not same(lazy.read(), before):
                        fail(f"{what(sample)}: {name!r} is shared with what was read earlier")

    def test_opening_is_lazy(self, made: list[Sample], tmp_path: Path) -> None:
        """Opening reads only names and shapes, so that later changes to the bytes are seen."""
        self._skip_if_exempt("files")
        self._skip_if_exempt("lazy")
        for sample, files in self._copies(made, tmp_path):
            if not any(a.tobytes().strip(b"\0") for a in sample.arrays.values() if plain(a)):
                continue  # nothing but zeros, which overwriting would not change
            with self._open(sample.source) as arrays:
                for file in files:
                    with open(file, "r+b") as raw:
                        raw.write(bytes(file.stat().st_size))
                for _, lazy, expected in pairs(sample, arrays):
                    try:
                        if not same(np.asarray(lazy), expected):
                            break
                    except InitregError:
                        break
                else:
                    fail(
                        f"{what(sample)}: initreg_open read every array. Return Extents, or "
                        "objects that read in __array__"
                    )

    def test_map_is_a_read_only_mapping(self, made: list[Sample]) -> None:
        """The map has a length, iterates over its names, and takes no assignment."""
        for sample in made:
            with self._open(sample.source) as arrays:
                names = list(arrays)
                if len(names) != len(arrays) or names != list(arrays):
                    fail(f"{what(sample)}: iterating twice gives different names")
                if hasattr(arrays, "__setitem__") or hasattr(arrays, "__delitem__"):
                    fail(f"{what(sample)}: the map must be read-only")
                with pytest.raises(KeyError):
                    arrays["no array has this name"]

    def test_closing_lets_the_file_go(self, made: list[Sample], tmp_path: Path) -> None:
        """After close, arrays that were read stay valid, reading raises, and no file is open."""
        for sample in made:
            arrays = self._open(sample.source)
            read = {name: np.asarray(array) for name, array in arrays.items()}
            arrays.close()
            arrays.close()
            check(sample, read, "once the map is closed")
            for name in read:
                with pytest.raises(InitregError):
                    arrays[name].read()
        for sample, files in self._copies(made, tmp_path):
            with self._open(sample.source) as arrays:
                for lazy in arrays.values():
                    lazy.read()
            own = {os.path.realpath(file) for file in files}
            until = time.monotonic() + _LETTING_GO
            while (held := held_files() & own) and time.monotonic() < until:
                time.sleep(0.01)  # a library may close them in a thread of its own
            if held:
                fail(f"{what(sample)}: {sorted(held)} still open: give your mapping a close()")

    def test_two_opens_are_independent(self, made: list[Sample]) -> None:
        """Closing one map leaves another map of the same source readable."""
        for sample in made:
            first, second = self._open(sample.source), self._open(sample.source)
            with second:
                first.close()
                check(sample, second, "once another map of the source is closed")

    def test_threads_read_at_once(self, made: list[Sample]) -> None:
        """Eight threads that read one map at the same time all get the right values."""
        for sample in made:
            barrier = Barrier(_THREADS)
            with self._open(sample.source) as arrays:

                def read(turn: int, barrier: Barrier = barrier, arrays: Any = arrays) -> Any:
                    names = sorted(arrays)
                    names = names[turn % len(names) :] + names[: turn % len(names)] if names else []
                    barrier.wait()
                    return {name: np.asarray(arrays[name]) for name in names}

                with ThreadPoolExecutor(_THREADS) as pool:
                    for result in pool.map(read, range(_THREADS)):
                        check(sample, result, "read by 8 threads at once")

    def test_smart_init_restores_exactly(self, made: list[Sample]) -> None:
        """SmartInit into a dict of zeros fills every array that is not of strings or records."""
        for sample in made:
            target = {n: np.zeros_like(a, order="C") for n, a in sample.arrays.items() if plain(a)}
            if not target:
                continue
            with self._open(sample.source) as arrays:
                # A source with strings goes through a dict, so that none of it is left unused.
                whole = len(target) == len(sample.arrays)
                chosen = sample.source if whole else {name: arrays[name] for name in target}
                plan = initreg.SmartInit(chosen, **self.options).init(target)
            if len(plan.restored) != len(target):
                fail(f"{what(sample)}: {len(plan.restored)} of {len(target)} were restored")
            for name, array in target.items():
                if not same(array, sample.arrays[name]):
                    fail(f"{what(sample)}: SmartInit restored {name!r} as\n{array!r}")

    def test_path_may_be_a_str_with_any_characters(
        self, made: list[Sample], tmp_path: Path
    ) -> None:
        """A path with blanks, '%', '#' and letters beyond ASCII, given as str, works."""
        self._skip_if_exempt("files")
        for sample, _ in self._copies(made, tmp_path / "größe 100% #1 模型"):
            check(sample, self._read_all(str(sample.source)), f"of {sample.source}")
