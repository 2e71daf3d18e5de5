"""Is an array that cannot be read listed, without harm to the others?"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.errors import InitregError
from initreg.testing.formats.base import Base, Sample, check, fail, plain, same, what
from initreg.text.wording import listing_text


class UnreadableTests(Base):
    """The part of the contract that is about arrays that are listed and cannot be read."""

    def unreadable(self, folder: Path) -> Iterable[Sample]:
        """Write sources into ``folder`` in which some arrays cannot be read, and return them, with
        the names of those in ``Sample.unreadable`` and all others in ``Sample.arrays``. None by
        default, for formats that have no such arrays."""
        return ()

    @pytest.fixture
    def half_readable(self, tmp_path: Path) -> list[Sample]:
        found = list(self.unreadable(tmp_path))
        if not found:
            pytest.skip(f"{self.format!r} has no samples with unreadable arrays")
        if not all(sample.unreadable and sample.arrays for sample in found):
            fail("each sample of unreadable() needs an array that can be read and one that cannot")
        return found

    def test_unreadable_arrays_are_listed(self, half_readable: list[Sample]) -> None:
        """They are in the map with the reason, and the listing of ``initreg ls`` shows it."""
        for sample in half_readable:
            with self._open(sample.source) as arrays:
                expected = {*sample.arrays, *sample.unreadable}
                if set(arrays) != expected:
                    fail(
                        f"{what(sample)}: {sorted(arrays)} are listed, but expected are "
                        f"{sorted(expected)}. List an array that cannot be read, too"
                    )
                listed = {spec.name for spec in arrays.specs() if spec.unreadable}
                if listed != set(sample.unreadable):
                    fail(
                        f"{what(sample)}: {sorted(listed)} are listed as unreadable, but expected "
                        f"are {sorted(sample.unreadable)}. Give their values .unreadable, the "
                        "reason in words"
                    )
                text = listing_text(arrays.specs())
                lines = [line for line in text.splitlines() if "cannot be read" in line]
                for name in sample.unreadable:
                    if not any(line.startswith(f"{name} ") for line in lines):
                        fail(
                            f"{what(sample)}: initreg ls does not show that {name!r} is unreadable"
                        )

    def test_the_other_arrays_load(self, half_readable: list[Sample]) -> None:
        """All others are read in every bit, and ``drop`` leaves the unreadable ones out."""
        for sample in half_readable:
            with self._open(sample.source) as arrays:
                check(sample, {name: arrays[name] for name in sample.arrays}, "beside unreadable")
            left_out = [glob.escape(name) for name in sample.unreadable]
            found = initreg.load(sample.source, **{**self.options, "drop": left_out})
            check(sample, found, "of a load that drops what is unreadable")

    def test_restoring_an_unreadable_array_is_one_error(self, half_readable: list[Sample]) -> None:
        """Reading it, and a restore that needs it, is an InitregError that names the file and the
        array. Nothing is written."""
        for sample in half_readable:
            others = {n: a for n, a in sample.arrays.items() if plain(a)}
            with self._open(sample.source) as arrays:
                for name in sample.unreadable:
                    self._must_name(sample, name, np.asarray, arrays[name])
            for name in sample.unreadable:
                target = {n: np.zeros_like(a, order="C") for n, a in others.items()}
                target[name] = np.zeros(1, np.float32)
                before = {n: a.copy() for n, a in target.items()}
                restore = initreg.SmartInit(sample.source, **self.options)
                self._must_name(sample, name, restore.init, target)
                if not all(same(before[n], a) for n, a in target.items()):
                    fail(f"{what(sample)}: a restore that cannot read {name!r} wrote something")

    def _must_name(self, sample: Sample, name: str, action: Any, given: Any) -> None:
        """Fail unless the call raises an InitregError with the names of the file and the array."""
        try:
            action(given)
        except InitregError as error:
            if what(sample) not in str(error) or name not in str(error):
                fail(f"{what(sample)}: the error for {name!r} must name both: {error}")
        except Exception as error:
            fail(f"{what(sample)}: {name!r} raised {type(error).__name__}, not an InitregError")
        else:
            fail(f"{what(sample)}: {name!r} should be unreadable, and was read without an error")
