"""The conformance kit passes what is right, and tells the author of a faulty format what to do."""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import initreg
import initreg.testing.formats
from initreg.testing import FormatContract, same
from initreg.testing.formats.files import lengths, mutations

# One array "w" of float32: four bytes of magic, how many there are, and they themselves. Each fault
# is one method of an otherwise right format.
PLUGIN = """
import os, threading
from initreg import Claim, Confidence, DamagedFile, Extent, hookimpl

class Right:
    def __init__(self):
        self.magic = type(self).__name__[:4].upper().encode()
        self.suffix = "." + type(self).__name__.lower()

    @hookimpl
    def initreg_claim(self, source):
        return self.claim(source)

    @hookimpl
    def initreg_open(self, source, options):
        if not source.head.startswith(self.magic) or len(source.head) < 8:
            raise DamagedFile(f"{source.label}: no magic")
        count = int.from_bytes(source.head[4:8], "little")
        return self.arrays(source, count)

    def claim(self, source):
        if source.head.startswith(self.magic):
            return Claim(Confidence.EXACT, f"begins with {self.magic!r}")

    def arrays(self, source, count):
        return {"w": Extent(source.path, 8, 4 * count, (count,), "float32")}

class Values:
    dtype = "float32"
    def __init__(self, source, count):
        self.source, self.shape = source, (count,)
    def read(self):
        import numpy as np
        data = self.source.read(8, 4 * self.shape[0])
        if len(data) != 4 * self.shape[0]:
            raise DamagedFile(f"{self.source.label}: too short")
        return np.frombuffer(data, np.float32).copy()
    def __array__(self, dtype=None, copy=None):
        return self.read()

class Lazy(Right):
    def arrays(self, source, count):
        return {"w": Values(source, count)}

class Greedy(Right):
    def claim(self, source):
        if source.suffix == ".txt":
            return Claim(Confidence.EXACT, "is a text file, I think")
        return super().claim(source)

class Modest(Right):
    def claim(self, source):
        return None

class Wordless(Right):
    def claim(self, source):
        return super().claim(source) and Claim(Confidence.EXACT, "magic")

class Heavy(Right):
    def claim(self, source):
        import numpy
        return super().claim(source)

class Touchy(Right):
    def claim(self, source):
        if source.suffix == ".touchy" and source.is_file:
            source.head[7]
        return super().claim(source)

class Eager(Right):
    def arrays(self, source, count):
        return {"w": Values(source, count).read()}

class Wrong(Right):
    def arrays(self, source, count):
        found = Values(source, count)
        found.read = lambda: Values(source, count).read() * 2
        return {"w": found}

class Renamer(Right):
    def arrays(self, source, count):
        return {"W": super().arrays(source, count)["w"]}

class Holder(Right):
    held = []
    def arrays(self, source, count):
        self.held.append(os.open(source.path, os.O_RDONLY))
        return super().arrays(source, count)

class Single(Right):
    busy, met = threading.Lock(), threading.Event()
    def arrays(self, source, count):
        found = Values(source, count)
        read = found.read
        def one_at_a_time():
            if not self.busy.acquire(blocking=False):
                self.met.set()
                return read() * 0
            try:
                if threading.active_count() > 1:
                    self.met.wait(30)  # for another one that reads
                return read()
            finally:
                self.met.clear()
                self.busy.release()
        found.read = one_at_a_time
        return {"w": found}

class Trusting(Right):
    def arrays(self, source, count):
        import numpy as np
        np.zeros(count, np.float32)
        return super().arrays(source, count)

class Padding(Right):
    def arrays(self, source, count):
        import numpy as np
        found = Values(source, min(count, 1000))
        def padded():
            data = source.read(8, 4 * found.shape[0])
            return np.frombuffer(data.ljust(4 * found.shape[0], bytes(1)), np.float32).copy()
        found.read = padded
        return {"w": found}

class Careless(Right):
    @hookimpl
    def initreg_open(self, source, options):
        if not source.head.startswith(self.magic):
            return {}
        return super().initreg_open(source, options)

class Blind(Right):
    initreg_finds_parts = True
    def arrays(self, source, count):
        found = super().arrays(source, count)
        more = source.path.with_name(source.path.name + ".more")
        if more.exists():
            found["v"] = Extent(more, 0, 4 * count, (count,), "float32")
        return found

FAULTS = {kind.__name__.lower(): kind() for kind in vars().copy().values()
          if isinstance(kind, type) and issubclass(kind, Right)}
globals().update(FAULTS)
"""

CONTRACTS = """
import numpy as np
import pytest
from faulty import FAULTS
from initreg.testing import FormatContract, Sample

def contract(name):
    class Contract(FormatContract):
        format = name
        flips = 20
        def samples(self, folder):
            w = np.linspace(1, 2, 50, dtype=np.float32)
            path = folder / f"sample.{name}"
            path.write_bytes(FAULTS[name].magic + len(w).to_bytes(4, "little") + w.tobytes())
            if name != "blind":
                yield Sample(path, {"w": w})
                return
            more = folder / "sample.blind.more"
            more.write_bytes((w + 1).tobytes())
            yield Sample(path, {"w": w, "v": w + 1}, [path, more], [more])
    return Contract

for _name in FAULTS:
    globals()[f"Test{_name}"] = contract(_name)

class TestAbsent(contract("right")):
    format = "absent"

class TestExempt(contract("right")):
    exempt = {"typo": "as the author would have it", "lazy": ""}

class TestExcused(contract("eager")):
    exempt = {"lazy": "the arrays are found by reading them"}
"""

# For each class, the tests that fail, each with a part of what it says.
EXPECTED: dict[str, dict[str, str]] = {
    "right": {},
    "lazy": {},
    "greedy": {"foreign_files_are_left_alone": "text (text.txt) is claimed with EXACT: is a text"},
    "modest": {"samples_are_claimed": "sample.modest is not claimed: make initreg_claim recognise"},
    "wordless": {"samples_are_claimed": "the claim's reason must say why in words: 'magic'"},
    "heavy": {"claiming_is_cheap": "claiming imports ['numpy']: import them inside initreg_open"},
    "touchy": {"truncated_files_are_noticed": "cut to 0 of 208 bytes: initreg_claim raised"},
    "eager": {"opening_is_lazy": "initreg_open read every array. Return Extents, or objects"},
    "wrong": {"values_are_exact": "sample.wrong: 'w' reads as\narray([2."},
    "renamer": {"names_shapes_and_dtypes": "not expected: ['W']; expected, but not listed: ['w']"},
    "holder": {
        "closing_lets_the_file_go": "still open: give your mapping a close()",
        "stores_are_read": "sample.holder: in a store: kit://sample.holder: only a local file can",
    },
    "single": {"threads_read_at_once": "'w' read by 8 threads at once is\narray([0."},
    "trusting": {"changed_bytes_do_no_harm": "bytes of memory. Compare what the header asks for"},
    "padding": {
        "truncated_files_are_noticed": "cut to 8 of 208 bytes: array 'w' was read, and is wrong"
    },
    "careless": {
        "truncated_files_are_noticed": "cut to 0 of 208 bytes: the arrays ['w'] are gone",
        "foreign_files_under_its_suffix_are_errors": "npy.careless: was read without an error",
    },
    "blind": {
        "missing_part_is_named": "sample.blind was read without an error. Open every file that",
        "links_out_of_the_folder_are_refused": "sample.blind.more is a link out of its folder",
        "replaced_while_listed": "sample.blind.more was replaced while it was listed, and 'v' was",
    },
    "absent": {
        "format_is_installed_and_whole": "Install yours ('pip install -e .') with [project.entry-",
        "samples_are_claimed": "is not claimed",
    },
    "exempt": {"exemptions_are_known_and_have_reasons": "exempt has 'typo'; what can be switched"},
    "excused": {},
}
BROAD = {"modest", "wrong", "renamer"}  # nearly everything else fails with them, too


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """``{class: {test: message}}`` of a real run of the kit over all the faulty formats."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "faulty.py").write_text(PLUGIN)
    (folder / "test_faulty.py").write_text(CONTRACTS)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    names = [name.lower() for name in re.findall(r"class (\w+)\((?:Right|Lazy)\)", PLUGIN)]
    info = folder / "faulty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    points = "".join(f"{name} = faulty:{name}\n" for name in ["right", *names])
    (info / "entry_points.txt").write_text(f"[initreg]\n{points}")
    report = folder / "report.xml"
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    found: dict[str, dict[str, str]] = {}
    for case in ET.parse(report).iter("testcase"):
        name = case.attrib["classname"].rsplit(".", 1)[-1].removeprefix("Test").lower()
        tests = found.setdefault(name, {})
        for problem in [*case.findall("failure"), *case.findall("error")]:
            tests[case.attrib["name"].removeprefix("test_")] = problem.attrib["message"]
    return found


@pytest.mark.slow
def test_each_fault_fails_its_test_and_says_what_to_do(failures: dict[str, dict[str, str]]) -> None:
    """A faulty format fails the test that is about its fault, and no other; a right one, none."""
    assert set(failures) == set(EXPECTED)
    for kind, expected in EXPECTED.items():
        found = failures[kind]
        assert set(found) >= set(expected), kind
        assert kind in BROAD or set(found) == set(expected), kind
        for test, text in expected.items():
            assert text in found[test], kind


def test_example_in_the_docstring_passes(tmp_path: Path) -> None:
    """The example of ``initreg.testing``, run as it stands."""
    text = initreg.testing.formats.__doc__ or ""
    example = textwrap.dedent(text.split(".. code-block:: python\n", 1)[1])
    (tmp_path / "test_example.py").write_text(example)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.fullmatch(r"\d\d passed, 20 skipped in .*", run.stdout.splitlines()[-1]), run.stdout


def test_each_test_of_the_kit_says_what_holds() -> None:
    """The kit's tests are read by people who did not write them: each has a docstring."""
    tests = [name for name in dir(FormatContract) if name.startswith("test_")]
    assert len(tests) >= 20
    assert [name for name in tests if not getattr(FormatContract, name).__doc__] == []


def test_same_compares_bits() -> None:
    """NaN is itself, 0.0 is not -0.0, and dtype and shape count."""
    nan = np.array([np.nan])
    assert same(nan, nan.copy())
    assert not same(np.array([0.0]), np.array([-0.0]))
    assert not same(np.zeros(2, np.int32), np.zeros(2, np.uint32))
    assert not same(np.zeros((2, 1)), np.zeros((1, 2)))
    assert same(np.array(["a", b"b"], object), np.array(["a", b"b"], object))
    assert not same(np.array(["a"], object), np.array(["b"], object))


def test_lengths_are_shorter_than_the_file() -> None:
    """Both ends and between, without repetition; an empty file cannot be cut."""
    assert lengths(0) == []
    assert lengths(3) == [0, 1, 2]
    found = lengths(10_000)
    assert found == sorted(set(found))
    assert {0, 1, 8, 9_999, 9_978, 5_000} <= set(found)
    assert max(b - a for a, b in itertools.pairwise(found)) < 1_000


def test_mutations_are_the_same_each_time_and_say_what_they_did() -> None:
    """Same seed, same bytes; of the same length; and a message that finds them again."""
    whole = bytes(range(256)) * 8
    first = list(mutations(whole, 50, random.Random(0)))
    assert first == list(mutations(whole, 50, random.Random(0)))
    assert len(first) == 50
    for changed, text in first:
        assert len(changed) == len(whole)
        for at, value in re.findall(r"byte (\d+) as (0x\w\w)", text):
            assert changed[int(at)] == int(value, 16) or text.count(f"byte {at} ") > 1
    assert list(mutations(b"", 50, random.Random(0))) == []
