"""Does a target write exactly what it is given, in memory that nobody else changes?"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import SmartInit, VariableSpec
from initreg.dtypes import STRING
from initreg.names import normalise
from initreg.testing.formats.base import Array, fail
from initreg.testing.targets.base import (
    HUGE,
    LARGE,
    NAMES,
    TargetBase,
    aligned,
    alike,
    layouts,
    pattern,
    specials,
    zeros,
)

_SHAPES: list[tuple[int, ...]] = [(), (1,), (4,), (0,), (0, 3), (3, 0), (1, 1, 1), (2, 3, 4), LARGE]


class WritingTests(TargetBase):
    """The part of the contract that is about values and memory."""

    def test_every_dtype_is_exact(self) -> None:
        """Arrays of each dtype arrive in every bit, with no axis and with an axis of 0, too."""
        for dtype in self.dtypes:
            shapes = dict(zip(NAMES, [(3, 5), (), (0, 3)], strict=True))
            obj = self._make({name: zeros(shape, dtype) for name, shape in shapes.items()})
            given = {n: pattern(i, shape, dtype) for i, (n, shape) in enumerate(shapes.items())}
            self._init(obj, given)
            self._expect(obj, given, f"of {dtype}, restored,")
            values = specials(dtype) if dtype != STRING else None
            if values is not None:
                obj = self._make({"alpha": np.zeros_like(values)})
                self._init(obj, {"alpha": values})
                self._expect(obj, {"alpha": values}, f"with NaN, -0.0 and infinities of {dtype}")

    def test_every_shape_is_exact(self) -> None:
        """Arrays of unusual shapes arrive as they are."""
        for shape in _SHAPES:
            obj = self._make({"alpha": zeros(shape)})
            self._init(obj, {"alpha": pattern(1, shape)})
            self._expect(obj, {"alpha": pattern(1, shape)}, f"of shape {shape}, restored,")

    def test_every_layout_in_memory_is_exact(self) -> None:
        """How the user's array lies in memory, and in which byte order, does not matter."""
        for case, given, expected in layouts():
            obj = self._make({"alpha": zeros()})
            self._init(obj, {"alpha": given}, cast="float32" if isinstance(given, list) else None)
            self._expect(obj, {"alpha": expected}, f"given {case}")

    def test_what_is_cast_has_the_dtype_of_the_variable(self) -> None:
        """An array of float64, for a variable of float32, is written as float32."""
        obj = self._make({"alpha": zeros()})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self._init(obj, {"alpha": pattern(1).astype(np.float64)})
        if not any(issubclass(each.category, initreg.CastWarning) for each in caught):
            fail("an array of float64 went into a variable of float32 without a CastWarning")
        self._expect(obj, {"alpha": pattern(1)}, "given as float64")

    def test_every_kind_of_source_is_exact(self, tmp_path: Path) -> None:
        """From memory, from files, from a mapped file, and with all read beforehand: large arrays
        and small ones arrive in every bit, a second time as well."""
        shapes = dict(zip(NAMES, [HUGE, (3, 5), HUGE], strict=True))
        cases: list[tuple[str, str, dict[str, Any]]] = [
            ("from a dict", "", {}),
            ("with atomic=True", "", {"atomic": True}),
            ("from an npz file", ".npz", {}),
            ("from a safetensors file", ".safetensors", {}),
            ("with mmap=True", ".safetensors", {"mmap": True}),
        ]
        for number, (case, ending, options) in enumerate(cases):
            obj = self._make({name: zeros(shape) for name, shape in shapes.items()})
            for turn in (1, 2):
                given = {n: pattern(10 * turn + i, s) for i, (n, s) in enumerate(shapes.items())}
                source: Any = self._source(given)
                if ending:
                    source = initreg.save(tmp_path / f"{number}-{turn}{ending}", source)
                try:
                    SmartInit(source, **options).init(obj)
                except Exception as error:
                    fail(
                        f"{case}, time {turn}: raised {type(error).__name__} ({error}). An array "
                        "that write() draws may be read-only: a view of a mapped file"
                    )
                self._expect(obj, given, f"{case}, time {turn},")

    def test_values_stay_when_the_file_is_gone(self, tmp_path: Path) -> None:
        """Once a restore has ended, the object does not depend on the file."""
        given = {name: pattern(i, HUGE) for i, name in enumerate(NAMES)}
        obj = self._make({name: zeros(HUGE) for name in NAMES})
        path = initreg.save(tmp_path / "source.safetensors", self._source(given))
        SmartInit(path).init(obj)
        with open(path, "r+b") as file:
            file.write(bytes(os.path.getsize(path)))
        os.unlink(path)
        gc.collect()
        self._expect(obj, given, "after its file was overwritten and deleted")

    def test_variables_that_no_source_has_stay_as_they_are(self) -> None:
        """A source for some of the variables changes no other one."""
        before = {name: pattern(i) for i, name in enumerate(NAMES)}
        obj = self._make(before)
        self._init(obj, {"beta": pattern(9)})
        self._expect(obj, {**before, "beta": pattern(9)}, "after 'beta' alone was restored")

    def test_the_last_of_several_restores_counts(self) -> None:
        """An object can be restored again and again, and two objects do not disturb each other."""
        first, second = (self._make({name: zeros() for name in NAMES}) for _ in range(2))
        for turn in range(3):
            for each, obj in ((10 * turn, first), (10 * turn + 5, second)):
                self._init(obj, {name: pattern(each + i) for i, name in enumerate(NAMES)})
        self._expect(first, {n: pattern(20 + i) for i, n in enumerate(NAMES)}, "restored 3 times")
        self._expect(second, {n: pattern(25 + i) for i, n in enumerate(NAMES)}, "restored 3 times")

    def test_two_targets_of_one_object_are_as_good_as_one(self) -> None:
        """The hook may be asked twice for one object: both answers write into it."""
        obj = self._make({name: zeros() for name in NAMES})
        first, second = self._target(obj), self._target(obj)
        for target, seed in ((first, 1), (second, 2), (first, 3)):
            given = {name: pattern(seed + 10 * i) for i, name in enumerate(NAMES)}
            specs = self._specs(target)
            list(target.write(iter([(specs[n], a.copy()) for n, a in given.items()])))
            self._expect(obj, given, "written by one of two targets of it")

    # --- memory -----------------------------------------------------------------------------

    def test_editing_the_users_arrays_changes_no_variable(self) -> None:
        """What the user does to an array after the restore is not seen in the object."""
        for shape in (LARGE, (3, 5)):
            obj = self._make({name: zeros(shape) for name in NAMES})
            given = {name: aligned(pattern(i, shape)) for i, name in enumerate(NAMES)}
            self._init(obj, given)
            expected = {name: array.copy() for name, array in given.items()}
            for array in given.values():
                array[...] = 7
            self._expect(obj, expected, "after the user's array was edited")

    def test_training_on_changes_none_of_the_users_arrays(self) -> None:
        """What happens to a variable after the restore is not seen in the array it came from, nor
        in another variable, even if both came from the same array."""
        self._skip_if_exempt("change")
        for shape in (LARGE, (3, 5)):
            obj = self._make({name: zeros(shape) for name in NAMES})
            expected = {name: pattern(1, shape) for name in ("alpha", "beta")}
            expected["gamma"] = pattern(2, shape)
            one, other = aligned(expected["alpha"]), aligned(expected["gamma"])
            given = {"alpha": one, "beta": one, "gamma": other}
            for name in ("alpha", "gamma"):
                self._init(obj, given)
                self._change(obj, name)
                if not (alike(one, expected["alpha"]) and alike(other, expected["gamma"])):
                    fail(f"changing {name!r} changed an array of the user's: copy what you keep")
                others = {n: array for n, array in expected.items() if n != name}
                self._expect(obj, others, f"after {name!r} alone was changed")

    def test_two_objects_share_no_memory(self) -> None:
        """Two objects that were restored from one source go on by themselves."""
        self._skip_if_exempt("change")
        given = {name: aligned(pattern(i, LARGE)) for i, name in enumerate(NAMES)}
        first, second = (self._make({name: zeros(LARGE) for name in NAMES}) for _ in range(2))
        smart_init = SmartInit(self._source(given))
        smart_init.init(first)
        smart_init.init(second)
        self._change(first, "beta")
        expected = {name: pattern(i, LARGE) for i, name in enumerate(NAMES)}
        self._expect(second, expected, "after a variable of another object was changed")

    def test_a_source_may_hold_the_objects_own_arrays(self) -> None:
        """Two variables change places: each is read before the other is written."""
        before = {name: pattern(i) for i, name in enumerate(NAMES)}
        obj = self._make(before)
        own = self.values(obj)
        self._init(obj, {"alpha": own["gamma"], "gamma": own["alpha"]})
        swapped = {"alpha": before["gamma"], "beta": before["beta"], "gamma": before["alpha"]}
        self._expect(obj, swapped, "restored from the object's own arrays, swapped,")

    def test_room_is_memory_of_its_own(self) -> None:
        """``room()``, if there is one, gives an array of that shape and dtype that can be filled,
        and filling it changes no variable before it is drawn."""
        old = {name: pattern(i, LARGE) for i, name in enumerate(NAMES)}
        new = {name: pattern(10 + i, LARGE) for i, name in enumerate(NAMES)}
        obj = self._make(old)
        target = self._target(obj)
        offer = getattr(target, "room", None)
        if offer is None:
            pytest.skip("the target has no room(), so room() is not tested")
        expected = dict(old)

        def pairs() -> Iterator[tuple[VariableSpec, Array]]:
            for name, spec in self._specs(target).items():
                given = new[name].copy()
                room = offer(spec, given.shape, given.nbytes)
                if room is not None:
                    self._check_room(room, given, name)
                    room[...] = given
                    del given
                    self._expect(obj, expected, f"after the room for {name!r} was filled")
                    yield spec, room
                else:
                    yield spec, given

        for called in target.write(pairs()):
            name = next(n for n in NAMES if self._called(n) == normalise(called))
            expected[name] = new[name]
        self._expect(obj, new, "written through room()")

    def _check_room(self, room: Any, like: Array, name: str) -> None:
        if not isinstance(room, np.ndarray):
            fail(f"room() for {name!r} gave a {type(room).__name__}, not an array")
        if room.shape != like.shape or room.dtype != like.dtype:
            fail(f"room() for {name!r} gave {room.shape} {room.dtype}, not that of the variable")
        if not (room.flags.writeable and room.flags.c_contiguous):
            fail(f"room() for {name!r} must be writable and in C order")

    def _change(self, obj: Any, name: str) -> None:
        before = self._values(obj)
        self.change(obj, name)
        if not (self._values(obj)[name] != before[name]).all():
            fail(f"change() left elements of {name!r} as they were: change every one")

    # --- the protocol -----------------------------------------------------------------------

    def test_each_name_is_yielded_once_it_is_written(self) -> None:
        """``write`` yields the name of each variable that it was given, once, and not before the
        variable has its value."""
        for names in (NAMES, NAMES[:2], ()):
            before = {name: pattern(i) for i, name in enumerate(NAMES)}
            obj = self._make(before)
            target = self._target(obj)
            specs = self._specs(target)
            given = {name: pattern(10 + i) for i, name in enumerate(names)}
            called = {self._called(name): name for name in NAMES}
            seen: list[str] = []
            for yielded in target.write(iter([(specs[n], a.copy()) for n, a in given.items()])):
                name = called.get(normalise(yielded), "")
                if name not in given:
                    fail(f"write() was given {list(given)}, and yields {yielded!r}")
                if name in seen:
                    fail(f"write() yields {yielded!r} twice")
                seen.append(name)
                self._expect(obj, {name: given[name]}, "once write() has yielded its name")
            if set(seen) != set(given):
                fail(f"write() was given {list(given)}, and yields only {seen}")
            self._expect(obj, {**before, **given}, f"after {list(given)} were written")
