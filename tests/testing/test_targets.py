"""The kit for targets passes what is right, and tells the author of a faulty target what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import initreg.testing.targets
from initreg.testing import TargetContract
from initreg.testing.targets.base import aligned, alike, layouts, pattern, specials

ROOT = Path(__file__).parents[2]

# Each target writes into the attributes of a class of its own. Each fault is one method of an
# otherwise right target. The first few are right in another way.
PLUGIN = """
import sys, types
from initreg import TargetError, VariableSpec, hookimpl
from initreg.dtypes import name_of

class Right:
    label = "box"

    def __init__(self, box):
        self.box = box

    @classmethod
    def accept(cls, obj, kind):
        return cls(obj) if isinstance(obj, kind) else None

    def variables(self):
        found = []
        for name, array in vars(self.box).items():
            if not hasattr(array, "shape"):
                raise TargetError(f"box: {name!r} is not an array")
            shape = vars(type(self.box)).get("open_shape", array.shape)
            found.append(VariableSpec(name, shape, name_of(array.dtype), self.aliases(name)))
        return found

    def aliases(self, name):
        return ()

    def write(self, arrays):
        for variable, array in arrays:
            self.put(variable.name, array)
            yield variable.name

    def put(self, name, array):
        setattr(self.box, name, array)

class Batch(Right):
    def write(self, arrays):
        yield from super().write(list(arrays))

class Colon(Right):
    def variables(self):
        return [VariableSpec(s.name + ":0", s.shape, s.dtype) for s in super().variables()]
    def put(self, name, array):
        super().put(name.removesuffix(":0"), array)

class Aliased(Right):
    def aliases(self, name):
        return (f"also/{name}",)

class Roomy(Right):
    def room(self, variable, shape, nbytes):
        import numpy as np
        return np.empty(shape, variable.dtype) if variable.name != "gamma" else None

# --- asking ---

class Greedy(Right):
    @classmethod
    def accept(cls, obj, kind):
        return cls(obj) if isinstance(obj, (kind, set)) else None

class Modest(Right):
    @classmethod
    def accept(cls, obj, kind):
        return None

class Touchy(Right):
    @classmethod
    def accept(cls, obj, kind):
        return cls(obj) if getattr(obj, "is_box", isinstance(obj, kind)) else None

class Heavy(Right):
    @classmethod
    def accept(cls, obj, kind):
        import numpy
        return super().accept(obj, kind)

class Contested(Right):
    pass

class Shapeless(Right):
    def variables(self):
        return [VariableSpec(n, a.shape, name_of(a.dtype)) for n, a in vars(self.box).items()]

class Gullible(Right):
    def variables(self):
        import numpy as np
        found = []
        for name, value in vars(self.box).items():
            shape = vars(type(self.box)).get("open_shape", getattr(value, "shape", None))
            dtype = getattr(value, "dtype", np.dtype("f4"))
            found.append(VariableSpec(name, shape, name_of(dtype)))
        return found

class Ragged(Right):
    label = "box\\n"

class Renamer(Right):
    def variables(self):
        return [VariableSpec(s.name.upper(), s.shape, s.dtype) for s in super().variables()]
    def put(self, name, array):
        super().put(name.lower(), array)

class Misaliased(Right):
    def aliases(self, name):
        return ("also/" + {"alpha": "beta", "beta": "gamma"}.get(name, "alpha"),)

class Narrow(Right):
    def variables(self):
        found = super().variables()
        return [VariableSpec(s.name, s.shape, s.dtype.replace("64", "32")) for s in found]

class Numpyish(Right):
    def variables(self):
        import numpy as np
        found = super().variables()
        return [VariableSpec(s.name, s.shape and tuple(
            n if n is None else np.int64(n) for n in s.shape), s.dtype) for s in found]

class Frozen(Right):
    def variables(self):
        return [VariableSpec(s.name, vars(self.box)[s.name].shape, s.dtype)
                for s in super().variables()]

class Unordered(Right):
    def variables(self):
        found = {s.name: s for s in super().variables()}
        return [found[name] for name in set(found)]

class Planner(Right):
    def variables(self):
        found = super().variables()
        for array in vars(self.box).values():
            array[...] = 0
        return found

# --- writing ---

class Cleaner(Right):
    def put(self, name, array):
        import numpy as np
        super().put(name, np.nan_to_num(array) if array.dtype.kind == "f" else array)

class Squeezer(Right):
    def put(self, name, array):
        super().put(name, array.squeeze())

class Editor(Right):
    def put(self, name, array):
        array.flags.writeable = True
        super().put(name, array)

class Eraser(Right):
    def write(self, arrays):
        for array in vars(self.box).values():
            array[...] = 0
        yield from super().write(arrays)

class Once(Right):
    boxes = []
    def write(self, arrays):
        is_done = any(each is self.box for each in self.boxes)
        self.boxes.append(self.box)
        for variable, array in arrays:
            if not is_done:
                self.put(variable.name, array)
            yield variable.name

class Thrifty(Right):
    def put(self, name, array):
        import numpy as np
        for other in vars(self.box).values():
            if other.shape == array.shape and (other == array).all():
                array = other
        super().put(name, array)

class Interning(Right):
    known = {}
    def put(self, name, array):
        key = name, array.dtype, array.shape, array.tobytes()
        super().put(name, self.known.setdefault(key, array))

class Peeker(Right):
    def put(self, name, array):
        frame = sys._getframe()
        while frame is not None:
            source = getattr(frame.f_locals.get("self"), "source", None)
            given = source.get(name) if isinstance(source, dict) else None
            if getattr(given, "shape", None) == array.shape and given.dtype == array.dtype:
                array = given
            frame = frame.f_back
        super().put(name, array)

class Hasty(Right):
    def write(self, arrays):
        for variable, array in arrays:
            getattr(self.box, variable.name)[...] = array
            yield variable.name

class Inplace(Right):
    def room(self, variable, shape, nbytes):
        return getattr(self.box, variable.name)

class Scratch(Right):
    rooms = {}
    def room(self, variable, shape, nbytes):
        import numpy as np
        return self.rooms.setdefault((variable.dtype, shape), np.empty(shape, variable.dtype))

class Early(Right):
    def write(self, arrays):
        for variable, array in arrays:
            yield variable.name
            self.put(variable.name, array)

class Twice(Right):
    def write(self, arrays):
        for name in super().write(arrays):
            yield name
            yield name

class Silent(Right):
    def write(self, arrays):
        for name in super().write(arrays):
            if name != "beta":
                yield name

# --- failing ---

class Sloppy(Right):
    def put(self, name, array):
        try:
            super().put(name, array)
        except RuntimeError:
            pass

class Swallower(Right):
    def write(self, arrays):
        try:
            yield from super().write(arrays)
        except Exception:
            pass

class Clumsy(Right):
    def put(self, name, array):
        old = getattr(self.box, name)
        if old.size and old.flags.writeable and old.dtype.kind in "fc":
            old[...] = 0
        super().put(name, array)

class Lumped(Right):
    def write(self, arrays):
        yield from list(super().write(arrays))

class Patient(Right):
    def write(self, arrays):
        names, late = [], []
        for variable, array in arrays:
            late.append((variable.name, array))
            yield variable.name
        for name, array in late:
            self.put(name, array)

class Loose(Right):
    def variables(self):
        return [VariableSpec(s.name, None, s.dtype) for s in super().variables()]

class Plugin:
    def __init__(self, target):
        def init(box, **values):
            vars(box).update(values)
        def setattr_(box, name, value):
            if name == "locked":
                raise RuntimeError("it is locked")
            object.__setattr__(box, name, value)
        self.box = type(f"{target.__name__}Box", (), {"__init__": init, "__setattr__": setattr_})
        self.target = target

    @hookimpl
    def initreg_target(self, obj):
        return self.target.accept(obj, self.box)

PLUGINS = {kind.__name__.lower(): Plugin(kind) for kind in vars().copy().values()
           if isinstance(kind, type) and issubclass(kind, Right)}
globals().update(PLUGINS)

class Contester:
    @hookimpl
    def initreg_target(self, obj):
        return Right(obj) if isinstance(obj, PLUGINS["contested"].box) else None

contester = Contester()
"""

CONTRACTS = """
import numpy as np
from faulty_targets import PLUGINS
from initreg.testing import TargetContract

def contract(name):
    box = PLUGINS[name].box

    class Contract(TargetContract):
        target = name
        dtypes = "bool", "int64", "float16", "float32"

        def make(self, values):
            return box(**values)

        def values(self, obj):
            return vars(obj)

        def change(self, obj, name):
            vars(obj)[name] += 1

        def aliases(self, obj):
            return {f"also/{n}": n for n in vars(obj)} if "aliased" in name else {}

        def make_open(self, value, shape):
            return type("Open", (box,), {"open_shape": shape})(alpha=value)

        def unwritable(self):
            yield box(alpha=1.5)

        def strangers(self):
            yield type(self)

        def failing(self):
            names = "alpha", "locked", "gamma"
            return box(**{n: np.full(3, 5.0) for n in names}), {n: np.ones(3) for n in names}

    return Contract

for _name in PLUGINS:
    globals()[f"Test{_name}"] = contract(_name)

class TestAbsent(contract("right")):
    target = "absent"

class TestExempt(contract("right")):
    exempt = {"typo": "as the author would have it", "change": ""}

class TestExcused(contract("unordered")):
    exempt = {"order": "they come from a set, and nobody minds"}

class TestMistaken(contract("right")):
    def values(self, obj):
        return {name: array * 2 for name, array in vars(obj).items()}
"""

# The tests of what an error says of each variable.
TRUTH = (
    "a_source_that_fails_midway_is_reported_truthfully",
    "a_file_that_is_damaged_midway_is_reported_truthfully",
    "a_write_that_fails_midway_is_reported_truthfully",
)
RETURNED = "init() returned, although"
OLD = "'alpha' is reported as not written, but no longer has its old value"
NEW = "'alpha' is reported as written, but does not have its new value. Yield its name later"

# For each class, the tests that fail, each with a part of what it says, or several, one of which it
# says.
EXPECTED: dict[str, dict[str, str | tuple[str, ...]]] = {
    **{right: {} for right in ("right", "batch", "colon", "aliased", "roomy", "excused")},
    # asking
    "greedy": {"strangers_are_declined": "set: initreg_target accepts it. Return None for what is"},
    "modest": {
        "no_other_target_wants_the_object": "initreg_target does not accept an object of make()",
        "two_targets_for_one_object_are_an_error": "two plugins accepted one object, and no error",
    },
    "touchy": {"strangers_are_declined": "odd object: initreg_target raised RuntimeError ('is_box"},
    "heavy": {"asking_is_cheap": "asking imports ['numpy']. An object can only be of a library"},
    "contested": {
        "no_other_target_wants_the_object": "2 targets accept a faulty_targets.ContestedBox"
    },
    "shapeless": {
        "open_shapes_are_reported": "of shape None that holds (2, 3) now is reported as (2, 3)",
    },
    "gullible": {"what_cannot_be_written_is_an_error": "Box: was written without an error"},
    "ragged": {"label_can_be_printed": "label is 'box\\n': give one line of printable text"},
    "renamer": {"names_are_those_of_the_variables": "variables() lists ['ALPHA', 'BETA', 'GAMMA']"},
    "misaliased": {"aliases_are_answered_to": "'also/alpha' is not an alias of 'alpha'"},
    "narrow": {"shapes_and_dtypes_are_reported": "'alpha' of int64 is reported as 'int32'"},
    "numpyish": {"shapes_and_dtypes_are_reported": "the shape of 'alpha' must be of ints: (np."},
    "frozen": {"open_shapes_are_reported": "report what it takes, not what it has"},
    "loose": {
        "a_plan_that_fails_writes_nothing": "init() did not raise MismatchError: are shapes and",
        "shapes_and_dtypes_are_reported": "'alpha' of shape (3, 5) is reported as None",
        "open_shapes_are_reported": "of shape (None, 3) that holds (2, 3) now is reported as None",
    },
    "unordered": {"order_is_the_same_every_time": "If that is the order of a set, sort it"},
    "planner": {
        "asking_and_planning_write_nothing": "'alpha' after variables() is",
        "a_plan_that_fails_writes_nothing": "'alpha' after a MismatchError is",
    },
    # writing
    "cleaner": {"every_dtype_is_exact": "'alpha' with NaN, -0.0 and infinities of float16 is"},
    "squeezer": {"every_shape_is_exact": "'alpha' of shape (1,), restored, is"},
    "editor": {"every_kind_of_source_is_exact": "with mmap=True, time 1: raised TargetError"},
    "eraser": {
        "variables_that_no_source_has_stay_as_they_are": "'alpha' after 'beta' alone was restored",
        "each_name_is_yielded_once_it_is_written": "'gamma' after ['alpha', 'beta'] were written",
        TRUTH[0]: OLD,
    },
    "once": {
        "the_last_of_several_restores_counts": "'alpha' restored 3 times is",
        "two_targets_of_one_object_are_as_good_as_one": "'alpha' written by one of two targets",
        "a_restore_after_a_failed_one_is_complete": "restored after a restore that failed is",
    },
    "thrifty": {
        "training_on_changes_none_of_the_users_arrays": "'beta' after 'alpha' alone was changed is"
    },
    "interning": {
        "training_on_changes_none_of_the_users_arrays": "'alpha' after 'gamma' alone was changed",
        "two_objects_share_no_memory": "'beta' after a variable of another object was changed is",
    },
    "peeker": {
        "editing_the_users_arrays_changes_no_variable": "after the user's array was edited is",
        "training_on_changes_none_of_the_users_arrays": "changing 'alpha' changed an array of",
        "two_objects_share_no_memory": "'beta' after a variable of another object was changed is",
    },
    "hasty": {
        "a_source_may_hold_the_objects_own_arrays": "'gamma' restored from the object's own arrays",
        "open_shapes_are_reported": "could not broadcast input array from shape (7,3)",
        TRUTH[2]: RETURNED,
    },
    "inplace": {
        "room_is_memory_of_its_own": "'alpha' after the room for 'alpha' was filled is",
        "atomic_writes_all_or_nothing": "'alpha' after a damaged file was refused with atomic=True",
        TRUTH[1]: OLD,
    },
    "scratch": {
        "room_is_memory_of_its_own": "'alpha' after the room for 'beta' was filled is",
        # Which one it is depends on the threads that read ahead.
        "values_stay_when_the_file_is_gone": (
            "'alpha' after its file was overwritten and deleted",
            "'beta' after its file was overwritten and deleted",
        ),
    },
    "early": {
        "each_name_is_yielded_once_it_is_written": "'alpha' once write() has yielded its name is",
        TRUTH[
            2
        ]: "'locked' is reported as written, but does not have its new value. Yield its name later",
    },
    "twice": {"each_name_is_yielded_once_it_is_written": "write() yields 'alpha' twice"},
    "silent": {
        "each_name_is_yielded_once_it_is_written": "and yields only ['alpha', 'gamma']",
        TRUTH[0]: OLD.replace("alpha", "beta"),
        TRUTH[1]: OLD.replace("alpha", "beta"),
    },
    # failing
    "sloppy": {TRUTH[2]: RETURNED},
    "swallower": dict.fromkeys(TRUTH[:2], "box: the target stopped before it had written"),
    "clumsy": {
        "a_source_may_hold_the_objects_own_arrays": "'gamma' restored from the object's own arrays",
        TRUTH[2]: OLD.replace("alpha", "locked"),
    },
    "lumped": dict.fromkeys(TRUTH, OLD),
    "patient": {
        "each_name_is_yielded_once_it_is_written": "'alpha' once write() has yielded its name is",
        TRUTH[0]: NEW,
        TRUTH[1]: NEW,
        TRUTH[2]: NEW.replace("alpha", "locked"),
    },
    # the author's class is wrong
    "absent": {
        "target_is_installed_and_whole": "Install yours ('pip install -e .') with [project."
    },
    "exempt": {"exemptions_are_known_and_have_reasons": "exempt has 'typo'; what can be switched"},
    "mistaken": {"a_plan_that_fails_writes_nothing": "make() and values() disagree about 'alpha'"},
}
# With these, other tests fail, too.
BROAD = {
    *("modest", "contested", "renamer", "narrow", "planner", "eraser", "once", "scratch", "peeker"),
    *("absent", "mistaken"),
    "silent",  # initreg takes it for one that stopped early, so every restore with it is an error
}


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """``{class: {test: message}}`` of a real run of the kit over all the faulty targets."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "faulty_targets.py").write_text(PLUGIN)
    (folder / "test_faulty.py").write_text(CONTRACTS)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    names = [name.lower() for name in re.findall(r"^class (\w+)\(Right\)", PLUGIN, re.MULTILINE)]
    install(folder, "faulty_targets", {n: f"faulty_targets:{n}" for n in ["right", *names]})
    with open(folder / "faulty_targets-1.0.dist-info" / "entry_points.txt", "a") as file:
        file.write("contester = faulty_targets:contester\n")
    report = folder / "report.xml"
    run = run_pytest(folder, f"--junitxml={report}")
    assert run.returncode == 1, run.stdout + run.stderr
    found: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).iter("testcase"):
        name = case.attrib["classname"].rsplit(".", 1)[-1].removeprefix("Test").lower()
        tests = found.setdefault(name, {})
        for problem in [*case.findall("failure"), *case.findall("error")]:
            tests[case.attrib["name"].removeprefix("test_")] = problem.attrib["message"]
    return found


def install(folder: Path, name: str, points: dict[str, str]) -> None:
    """Make a folder on the path a distribution with these entry points."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{point} = {where}\n" for point, where in points.items())
    (info / "entry_points.txt").write_text(f"[initreg]\n{lines}")


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest in a process of its own, with what is in the folder installed."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_each_fault_fails_its_test_and_says_what_to_do(failures: dict[str, dict[str, str]]) -> None:
    """A faulty target fails the tests that are about its fault, and no other; a right one, none."""
    assert set(failures) == set(EXPECTED)
    for kind, expected in EXPECTED.items():
        found = failures[kind]
        assert set(found) >= set(expected), (kind, found)
        assert kind in BROAD or set(found) == set(expected), (kind, sorted(found))
        for test, text in expected.items():
            texts = (text,) if isinstance(text, str) else text
            assert any(each in found[test] for each in texts), (kind, test, found[test])


@pytest.mark.slow
def test_each_test_of_the_kit_fails_for_some_fault(failures: dict[str, dict[str, str]]) -> None:
    """No test of the kit passes whatever the target does."""
    tests = {name.removeprefix("test_") for name in dir(TargetContract) if name.startswith("test_")}
    assert tests == {name for found in failures.values() for name in found}


def test_each_test_of_the_kit_says_what_holds() -> None:
    """The kit's tests are read by people who did not write them: each has a docstring."""
    tests = [name for name in dir(TargetContract) if name.startswith("test_")]
    assert len(tests) >= 30
    assert [name for name in tests if not getattr(TargetContract, name).__doc__] == []


def test_example_in_the_docstring_passes(tmp_path: Path) -> None:
    """The example of ``initreg.testing.targets``, run as it stands."""
    text = initreg.testing.targets.__doc__ or ""
    example = textwrap.dedent(text.split(".. code-block:: python\n", 1)[1])
    (tmp_path / "test_example.py").write_text(example)
    run = run_pytest(tmp_path, "-W", "error")
    assert re.fullmatch(r"3\d passed, \d skipped in .*", run.stdout.splitlines()[-1]), run.stdout


def test_the_guides_target_passes(tmp_path: Path) -> None:
    """The target of docs/writing-a-plugin.md passes the kit as the guide shows it, and every test
    of the kit is of use to it but those for what it does not have."""
    guide = (ROOT / "docs" / "writing-a-plugin.md").read_text("utf-8")
    for path in ("src/initreg_rawz/namespace.py", "tests/test_namespace.py"):
        (block,) = re.findall(rf"^```python\n# {path}\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
        (tmp_path / Path(path).name).write_text(block, "utf-8")
    install(tmp_path, "guide", {"namespace": "namespace"})
    run = run_pytest(tmp_path, "-W", "error")
    assert run.returncode == 0, run.stdout
    assert re.search(r"^3\d passed, \d skipped in", run.stdout, re.MULTILINE), run.stdout


def test_the_values_of_the_kit_are_what_they_say() -> None:
    """Two seeds differ in every element of float32. Special values are -0.0, the smallest numbers,
    both infinities and NaNs. What is aligned is aligned, and each layout has its value."""
    assert (pattern(1) != pattern(2)).all()
    assert pattern(1, (2,), "string").tolist() == ["größe-1-0".encode(), "größe-1-1".encode()]
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        values = specials(dtype)
        assert values is not None
        with np.errstate(invalid="ignore"):  # the cast of a signalling NaN
            found = values.astype(np.float64)
        assert np.signbit(found[0])
        assert found[0] == 0
        assert found[1] == -found[2] > 0
        assert found[3:5].tolist() == [np.inf, -np.inf]
        assert np.isnan(found[5:]).all()
    assert specials("int32") is None
    assert aligned(pattern(1)).ctypes.data % 64 == 0
    cases = list(layouts())
    assert len(cases) == 8
    for case, given, expected in cases:
        assert np.array_equal(np.asarray(given), expected), case


def test_alike_compares_bits() -> None:
    """NaN is itself, 0.0 is not -0.0, dtype and shape count; byte order and kind of text do not."""
    nan = np.array([np.nan])
    assert alike(nan, nan.copy())
    assert not alike(np.array([0.0]), np.array([-0.0]))
    assert not alike(np.zeros(2, np.int32), np.zeros(2, np.uint32))
    assert not alike(np.zeros((2, 1)), np.zeros((1, 2)))
    assert alike(np.arange(3.0).astype(">f8"), np.arange(3.0))
    assert alike(np.array(["ö"]), np.array(["ö".encode()], object))
    assert not alike(np.array(["o"]), np.array(["ö"], object))
    assert not alike(np.zeros(1), np.array([b"0"], object))
