"""When a restore fails, does the error say which variables were written?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import (
    DamagedFile,
    InitregError,
    MismatchError,
    MissingError,
    NothingMatched,
    PartialRestoreError,
    PluginError,
    SmartInit,
    UnusedError,
)
from initreg.testing.formats.base import Array, fail
from initreg.testing.targets.base import HUGE, NAMES, TargetBase, alike, pattern, zeros


class _Damaged:
    """An array that cannot be read, which shows only when it is."""

    def __init__(self, array: Array) -> None:
        self.shape = array.shape
        self.dtype = array.dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        raise DamagedFile("somewhere: an array is damaged")


class FailingTests(TargetBase):
    """The part of the contract that is about restores that fail."""

    def test_a_plan_that_fails_writes_nothing(self) -> None:
        """An array that does not fit, no name in common, and what the policies forbid."""
        before = {name: pattern(i) for i, name in enumerate(NAMES)}
        new = {name: zeros() for name in NAMES}
        cases: list[tuple[type[InitregError], dict[str, Any], dict[str, Any]]] = [
            (MismatchError, self._source({**new, "gamma": pattern(9, (4, 5))}), {}),
            (MismatchError, self._source({**new, "beta": np.zeros((3, 5), np.complex64)}), {}),
            (NothingMatched, {"another name": zeros()}, {}),
            (MissingError, self._source({"alpha": zeros()}), {"on_missing": "error"}),
            (UnusedError, {**self._source(new), "more": zeros()}, {"on_unused": "error"}),
        ]
        for kind, source, options in cases:
            obj = self._make(before)
            try:
                SmartInit(source, **options).init(obj)
            except kind:
                pass
            except Exception as error:
                fail(f"raised {type(error).__name__} ({error}), not {kind.__name__}")
            else:
                fail(f"init() did not raise {kind.__name__}: are shapes and dtypes reported?")
            self._expect(obj, before, f"after a {kind.__name__}")

    def test_a_source_that_fails_midway_is_reported_truthfully(self) -> None:
        """If one array of a mapping cannot be read, each variable has its new value and is
        reported as written, or has its old value and is reported as not written."""
        for damaged in (NAMES[0], NAMES[-1]):
            obj, given = self._prepared()
            source = self._source({**given, damaged: _Damaged(given[damaged])})
            self._check_failure(obj, given, SmartInit(source))

    def test_a_file_that_is_damaged_midway_is_reported_truthfully(self, tmp_path: Path) -> None:
        """If one array of a file has a wrong checksum, the same holds: nothing of it is seen in a
        variable that was not written."""
        for damaged in (NAMES[0], NAMES[-1]):
            obj, given = self._prepared()
            path = self._damaged(tmp_path / f"{damaged}.npz", given, damaged)
            self._check_failure(obj, given, SmartInit(path))

    def test_atomic_writes_all_or_nothing(self, tmp_path: Path) -> None:
        """With ``atomic=True`` a damaged array is found before the first variable is written."""
        for damaged in (NAMES[0], NAMES[-1]):
            obj, given = self._prepared()
            before = self._values(obj)
            path = self._damaged(tmp_path / f"{damaged}.npz", given, damaged)
            try:
                SmartInit(path, atomic=True).init(obj)
            except DamagedFile:
                pass
            except InitregError as error:
                fail(f"raised {type(error).__name__} ({error}), not DamagedFile")
            else:
                fail("a damaged file was restored without an error")
            self._expect(obj, before, "after a damaged file was refused with atomic=True")

    def test_a_snapshot_puts_old_values_back(self) -> None:
        """If the target has ``snapshot``, the function that it returns undoes a restore, and with
        ``atomic=True`` a write that fails midway has changed nothing."""
        obj, given = self._prepared()
        if not hasattr(self._target(obj), "snapshot"):
            pytest.skip("the target has no snapshot()")
        before = self._values(obj)
        target = self._target(obj)
        specs = self._specs(target)
        put_back = target.snapshot(list(specs.values()))  # type: ignore[attr-defined]
        if put_back is None:
            pytest.skip("the target cannot keep these values")
        self._init(obj, given)
        put_back()
        self._expect(obj, before, "after a restore that was undone")
        prepared = self.failing()
        if prepared is None:
            return
        failing, unfit = prepared
        before = self._values(failing)
        try:
            SmartInit(self._source(unfit), on_missing="ignore", atomic=True).init(failing)
        except InitregError:
            pass
        else:
            fail("init() returned, although a variable could not be written: let errors through")
        self._expect(failing, before, "after a write that failed midway with atomic=True")

    def test_a_write_that_fails_midway_is_reported_truthfully(self) -> None:
        """If a variable cannot be written, which shows only then, the same holds."""
        prepared = self.failing()
        if prepared is None:
            pytest.skip("failing() gives no object, so a failing write is not tested")
        obj, given = prepared
        source = self._source(given)
        self._check_failure(obj, given, SmartInit(source, on_missing="ignore"))

    def test_a_restore_after_a_failed_one_is_complete(self) -> None:
        """What failed leaves nothing behind: the next restore, of the same object, is exact."""
        obj, given = self._prepared()
        try:
            SmartInit(self._source({**given, "beta": _Damaged(given["beta"])})).init(obj)
        except InitregError:
            pass
        else:
            fail("init() returned, although an array could not be read: let errors through")
        self._init(obj, given)
        self._expect(obj, given, "restored after a restore that failed")

    # --- what they use ----------------------------------------------------------------------

    def _prepared(self) -> tuple[Any, dict[str, Array]]:
        """An object, and the arrays that will be given for it."""
        obj = self._make({name: pattern(i, HUGE) for i, name in enumerate(NAMES)})
        return obj, {name: pattern(10 + i, HUGE) for i, name in enumerate(NAMES)}

    def _damaged(self, path: Path, given: Mapping[str, Array], name: str) -> Path:
        """A file of these arrays, in which a byte of one of them is changed."""
        saved = initreg.save(path, self._source(given))
        data = bytearray(saved.read_bytes())
        data[data.index(given[name].tobytes()) + given[name].nbytes // 2] ^= 0xFF
        saved.write_bytes(data)
        return saved

    def _check_failure(self, obj: Any, given: Mapping[str, Array], smart_init: SmartInit) -> None:
        """Restore, which must fail, and compare what the error says with the values."""
        before = self._values(obj)
        unchanged = [name for name in given if alike(before[name], given[name])]
        if unchanged:
            fail(f"failing() must give other values than {unchanged} have: nothing would show")
        written: set[str] = set()
        left = {self._called(name) for name in given}
        try:
            smart_init.init(obj)
        except PluginError as error:
            fail(f"raised PluginError: {error}")
        except PartialRestoreError as error:
            written, left = set(error.written), set(error.not_written)
        except InitregError:
            pass  # nothing was written, then
        except Exception as error:
            fail(f"raised {type(error).__name__} ({error}), not an InitregError")
        else:
            fail("init() returned, although a variable could not be written: let errors through")
        after = self._values(obj)
        for name in given:
            called = self._called(name)
            if called in written and not alike(after[name], given[name]):
                fail(
                    f"{name!r} is reported as written, but does not have its new value. Yield its "
                    "name later"
                )
            if called in left and not alike(after[name], before[name]):
                fail(f"{name!r} is reported as not written, but no longer has its old value")
            if (called in written) == (called in left):
                fail(f"{name!r} must be in error.written or in error.not_written")
