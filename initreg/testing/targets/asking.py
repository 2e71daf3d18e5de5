"""Does a target describe itself correctly, and does asking change nothing?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pluggy
import pytest

from initreg import InitregError, PluginError, SmartInit, Target, UnknownTarget, hookimpl
from initreg.dtypes import name_of
from initreg.names import normalise
from initreg.plugin import hookspecs
from initreg.plugin.installed import default_registry
from initreg.plugin.registry import Registry
from initreg.plugin.target import Blueprint
from initreg.testing.formats.base import fail, in_words
from initreg.testing.targets.base import (
    EXEMPTIONS,
    NAMES,
    STRANGER,
    TargetBase,
    pattern,
    zeros,
)

# What no plugin may import just because it is asked about an object.
_HEAVY = {"numpy", "tensorflow", "keras", "tf_keras", "torch", "jax"}

# Run in a fresh interpreter, so that nothing but the plugin can have imported anything.
_ASK_IN_SUBPROCESS = """
import sys
from importlib import metadata
from initreg.errors import InitregError
from initreg.plugin.registry import GROUP, Registry
points = [p for p in metadata.entry_points(group=GROUP) if p.name == sys.argv[1]]
registry = Registry(points[:1])
for stranger in (None, "w", b"w", 1, 1.5, [1], (1, 2), object(), int, len):
    try:
        registry.target(stranger)
    except InitregError:
        pass
print("\\n".join(sorted(sys.modules)))
"""


class _Odd:
    """An object whose attributes raise, as lazy objects of other libraries do."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"{name!r} is not ready yet")

    def __len__(self) -> int:
        raise RuntimeError("it has no length yet")

    def __bool__(self) -> bool:
        raise RuntimeError("its truth is not known yet")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("it cannot be compared yet")

    __hash__ = None  # type: ignore[assignment]


def strangers() -> dict[str, Any]:
    """Objects that people hand in by mistake, by the names that ``exempt`` has for them."""
    return {
        "None": None,
        "str": "alpha",
        "bytes": b"alpha",
        "int": 1,
        "dict": {"alpha": 1},
        "list": [1, "alpha", None],
        "tuple": (1, 2),
        "set": {1, 2},
        "array": np.zeros(2),
        "object": object(),
        "class": int,
        "function": strangers,
        "odd object": _Odd(),
    }


class _Rival:
    """A second plugin, which accepts every object."""

    @hookimpl
    def initreg_target(self, obj: object) -> Target:
        return Blueprint("rival", ())


class AskingTests(TargetBase):
    """The part of the contract that is about accepting objects and describing them."""

    def test_target_is_installed_and_whole(self) -> None:
        """The plugin is found by its entry point, keeps the contract, and has its libraries."""
        self._point()
        for record in [r for r in default_registry().records if r.name == self.target]:
            if record.broken is not None:
                fail(f"plugin {self.target!r} ({record.module}) is broken: {record.broken}")
            if "target" not in record.kinds:
                fail(f"plugin {self.target!r} has no initreg_target")
            if record.missing:
                fail(f"plugin {self.target!r} lacks {dict(record.missing)}: install it to test")

    def test_exemptions_are_known_and_have_reasons(self) -> None:
        """``exempt`` holds only topics that the kit knows, each with a reason in words."""
        known = {*EXEMPTIONS, *(STRANGER + name for name in strangers())}
        for topic, reason in self.exempt.items():
            if topic not in known:
                fail(f"exempt has {topic!r}; what can be switched off is {sorted(known)}")
            if not in_words(reason):
                fail(f"exempt[{topic!r}] must say why, in words, not {reason!r}")

    def test_asking_is_cheap(self) -> None:
        """Importing the plugin and asking it imports neither numpy nor any framework."""
        requires = getattr(self._point().load(), "initreg_requires", {})
        command = [sys.executable, "-c", _ASK_IN_SUBPROCESS, self.target]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            fail(f"asking in a fresh interpreter failed:\n{run.stderr}")
        heavy = (_HEAVY | set(requires)) & set(run.stdout.split())
        if heavy:
            fail(
                f"asking imports {sorted(heavy)}. An object can only be of a library that is in "
                "sys.modules already: look there, and import the library once you accept"
            )

    def test_strangers_are_declined(self) -> None:
        """For an object that is not its own, the hook returns None and does not raise."""
        for name, obj in self._strangers():
            try:
                found = self._ask(obj)
            except Exception as error:
                fail(
                    f"{name}: initreg_target raised {type(error).__name__} ({error}). It must "
                    "return None for any object that is not its own"
                )
            if found:
                fail(f"{name}: initreg_target accepts it. Return None for what is not yours")

    def test_no_other_target_wants_the_object(self) -> None:
        """Among all installed targets, only this one accepts the object."""
        obj = self._make({name: zeros() for name in NAMES})
        try:
            target = default_registry().target(obj)
        except PluginError as error:
            fail(f"{error}. Accept only the objects that you alone know how to write")
        except UnknownTarget as error:
            fail(f"initreg_target does not accept an object of make(): {error}")
        if not isinstance(target, Target):
            fail(
                f"initreg_target returned a {type(target).__name__}, which is not a Target: it "
                "needs label, variables() and write()"
            )

    def test_two_targets_for_one_object_are_an_error(self) -> None:
        """Where another plugin wants the object too, a PluginError names both."""
        obj = self._make({"alpha": zeros()})
        registry = Registry([self._point()])
        registry.register(_Rival(), "rival")
        try:
            registry.target(obj)
        except PluginError as error:
            if repr(self.target) not in str(error) or "'rival'" not in str(error):
                fail(f"the error does not name {self.target!r} and 'rival': {error}")
        else:
            fail(
                "two plugins accepted one object, and no error was raised. Return a Target or None"
            )
        self._expect(obj, {"alpha": zeros()}, "after two plugins were asked")

    def test_asking_and_planning_write_nothing(self) -> None:
        """The hook, ``variables()`` and ``plan()`` leave every value as it was, and say the same
        when they are asked again."""
        before = {name: pattern(i) for i, name in enumerate(NAMES)}
        obj = self._make(before)
        self._ask(obj)
        self._expect(obj, before, "after initreg_target")
        target = self._target(obj)
        first, second = list(target.variables()), list(target.variables())
        self._expect(obj, before, "after variables()")
        if first != second:
            fail(f"variables() gives\n{first}\nand then\n{second}")
        smart_init = SmartInit(self._source({name: zeros() for name in before}))
        plans = [smart_init.plan(obj).to_dict() for _ in range(2)]
        self._expect(obj, before, "after plan()")
        if plans[0] != plans[1]:
            fail(f"two plans for the same object differ:\n{plans[0]}\n{plans[1]}")

    def test_what_cannot_be_written_is_an_error(self) -> None:
        """Each object of ``unwritable()`` raises an InitregError that says what is wrong."""
        objects = list(self.unwritable())
        if not objects:
            pytest.skip("unwritable() gives no object, so refused writes are not tested")
        for obj in objects:
            kind = type(obj).__name__
            try:
                SmartInit(self._source({"alpha": pattern(1)})).init(obj)
            except Exception as error:
                found = f"{type(error).__name__} ({error})"
                foreign = not isinstance(error, InitregError)
                if foreign or isinstance(error, (PluginError, UnknownTarget)):
                    fail(f"{kind}: raised {found}, not TargetError")
                if not in_words(str(error)):
                    fail(f"{kind}: the error must say why, in words: {error}")
            else:
                fail(f"{kind}: was written without an error")

    def test_label_can_be_printed(self) -> None:
        """The label is one line of printable words, and is what a plan calls the target."""
        obj = self._make({"alpha": zeros()})
        label = self._target(obj).label
        if not isinstance(label, str) or not label.strip() or not label.isprintable():
            fail(f"label is {label!r}: give one line of printable text")
        if len(label) > 200:
            fail(f"label has {len(label)} characters: a plan shows it in a line of text")
        plan = SmartInit(self._source({"alpha": pattern(1)})).plan(obj)
        if plan.target != label or label not in str(plan):
            fail(f"label is {label!r}, and the plan is for {plan.target!r}: it must not change")

    def test_names_are_those_of_the_variables(self) -> None:
        """Each variable is listed once, under its name, with or without ``:0``."""
        obj = self._make({name: zeros() for name in NAMES})
        listed = [spec.name for spec in self._target(obj).variables()]
        found = sorted(normalise(name) for name in listed)
        expected = sorted(self._called(name) for name in NAMES)
        if found != expected:
            fail(
                f"variables() lists {found}, and expected is {expected}. If your library calls the "
                "variables of make() so, say it in named()"
            )

    def test_names_are_matched_as_they_are_spelt_elsewhere(self) -> None:
        """A source may call a variable ``w:0`` or ``w/.ATTRIBUTES/VARIABLE_VALUE``."""
        for suffix in (":0", "/.ATTRIBUTES/VARIABLE_VALUE"):
            obj = self._make({name: zeros() for name in NAMES})
            given = {name: pattern(i) for i, name in enumerate(NAMES)}
            plan = SmartInit({self._called(n) + suffix: a for n, a in given.items()}).init(obj)
            if sorted(row.name for row in plan.restored) != sorted(map(self._called, NAMES)):
                fail(f"a source of names that end in {suffix!r} restores\n{plan}")
            self._expect(obj, given, f"restored from a name that ends in {suffix!r}")

    def test_aliases_are_answered_to(self) -> None:
        """Each alias that a variable reports, and each of ``aliases()``, restores that variable."""
        obj = self._make({name: zeros() for name in NAMES})
        reported = {
            alias: name
            for name, spec in self._specs(self._target(obj)).items()
            for alias in spec.aliases
        }
        expected = dict(self.aliases(obj))
        for alias, name in expected.items():
            if reported.get(alias) != name:
                fail(
                    f"{alias!r} is not an alias of {name!r} in variables(): the aliases are "
                    f"{sorted(a for a, n in reported.items() if n == name)}"
                )
        if reported and not expected:
            fail(
                f"variables() reports the aliases {sorted(reported)}, and aliases() names none of "
                "them, so nothing says that they are those of the framework"
            )
        if not reported:
            pytest.skip("no variable has an alias, so aliases are not tested")
        for alias, name in reported.items():
            obj = self._make({each: zeros() for each in NAMES})
            SmartInit({alias: pattern(1)}, on_missing="ignore").init(obj)
            others = {each: zeros() for each in NAMES if each != name}
            self._expect(obj, {name: pattern(1), **others}, f"restored from {alias!r}")

    def test_shapes_and_dtypes_are_reported(self) -> None:
        """The spec of a variable has its dtype, by the name that ``initreg.dtypes`` gives it, and
        its shape, as a tuple of ints."""
        for dtype in self.dtypes:
            shapes = dict(zip(NAMES, [(3, 5), (), (0, 3)], strict=True))
            obj = self._make({name: zeros(shape, dtype) for name, shape in shapes.items()})
            for name, spec in self._specs(self._target(obj)).items():
                if spec.dtype != dtype:
                    fail(f"{name!r} of {dtype} is reported as {spec.dtype!r}")
                if spec.shape != shapes[name]:
                    fail(f"{name!r} of shape {shapes[name]} is reported as {spec.shape}")
                if not all(type(axis) is int for axis in spec.shape):
                    fail(f"the shape of {name!r} must be of ints: {spec.shape!r}")
            try:
                SmartInit(self._source({"alpha": zeros((3, 5), dtype)})).plan(obj).to_json()
            except TypeError as error:
                fail(f"a plan for {dtype} cannot be written as JSON: {error}")

    def test_open_shapes_are_reported(self) -> None:
        """A variable of any shape, or of any length of an axis, is reported so and takes them."""
        value = pattern(1, (2, 3))
        for shape in (None, (None, 3)):
            obj = self.make_open(value.copy(), shape)
            if obj is None:
                pytest.skip("make_open() gives no object, so open shapes are not tested")
            spec = self._specs(self._target(obj), ["alpha"])["alpha"]
            if spec.shape != shape or spec.dtype != name_of(value.dtype):
                fail(
                    f"a variable of shape {shape} that holds {value.shape} now is reported as "
                    f"{spec.shape} {spec.dtype}: report what it takes, not what it has"
                )
            given = pattern(2, (7, 3))
            self._init(obj, {"alpha": given})
            self._expect(obj, {"alpha": given}, f"of shape {shape}, given {given.shape},")

    def test_order_is_the_same_every_time(self) -> None:
        """Variables come in the order in which the object was given them, or in that of their
        names: not in that of a set, which changes from run to run."""
        self._skip_if_exempt("order")
        names = [f"v{number:02}" for number in range(20)]
        given = names[7:] + names[:7]
        orders = []
        for _ in range(2):
            obj = self._make({name: zeros() for name in given})
            orders.append(list(self._specs_in_order(obj, names)))
        if orders[0] != orders[1]:
            fail(f"two objects made alike list their variables as {orders[0]} and {orders[1]}")
        if orders[0] not in (given, given[::-1], names, names[::-1]):
            fail(
                f"variables made in the order {given} are listed as {orders[0]}. If that is the "
                'order of a set, sort it; if it is your library\'s own, exempt = {"order": "..."}'
            )

    # --- what they use ----------------------------------------------------------------------

    def _ask(self, obj: Any) -> list[Target]:
        """What this plugin alone says to an object, called by pluggy as in a registry."""
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(self._point().load(), self.target)
        found: list[Target] = manager.hook.initreg_target(obj=obj)
        return found

    def _strangers(self) -> Iterator[tuple[str, Any]]:
        for name, obj in strangers().items():
            if STRANGER + name not in self.exempt:
                yield name, obj
        for obj in self.strangers():
            yield f"a {type(obj).__name__} of strangers()", obj

    def _specs_in_order(self, obj: Any, names: list[str]) -> Iterator[str]:
        called = {self._called(name): name for name in names}
        for spec in self._target(obj).variables():
            yield called.get(normalise(spec.name), spec.name)
