"""The kit's tests of saving pass what is right, and say what to do about what is faulty."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

# A JSON header after eight bytes of magic and length, then the arrays. Each fault is one method of
# an otherwise right format.
PLUGIN = """
import json, math, os
from initreg import Claim, Confidence, DamagedFile, Extent, InitregError, hookimpl
from initreg.dtypes import itemsize

class Right:
    def __init__(self):
        self.magic = type(self).__name__[:4].upper().encode().ljust(4, b"-")
        self.initreg_endings = (f".{type(self).__name__.lower()}",)

    @hookimpl
    def initreg_claim(self, source):
        if source.head.startswith(self.magic):
            return Claim(Confidence.EXACT, f"begins with {self.magic!r}")

    @hookimpl
    def initreg_open(self, source, options):
        length = int.from_bytes(source.head[4:8], "little")
        try:
            header = json.loads(source.read(8, length))
            arrays, at = {}, 8 + length
            for name, (dtype, shape) in header.items():
                size = math.prod(shape) * itemsize(dtype)
                arrays[name] = Extent(source.path, at, size, tuple(shape), dtype)
                at += size
        except (ValueError, TypeError, AttributeError) as error:
            raise DamagedFile(f"{source.label}: its header is no JSON: {error}") from error
        if not source.head.startswith(self.magic) or at != source.size:
            raise DamagedFile(f"{source.label}: not what its header says")
        return arrays

    @hookimpl
    def initreg_save(self, arrays, output, options):
        self.save(arrays, output, options)

    def name(self, name):
        return name

    def dtype(self, array):
        return array.spec.dtype

    def path(self, output):
        return output.file()

    def save(self, arrays, output, options):
        header = {self.name(n): [self.dtype(a), a.shape] for n, a in arrays.items()}
        text = json.dumps(header).encode()
        values = {self.name(n): a.astype(header[self.name(n)][0]) for n, a in arrays.stream()}
        with open(self.path(output), "wb") as file:
            file.write(self.magic + len(text).to_bytes(4, "little") + text)
            for name in header:
                file.write(values[name].tobytes())

class Modest(Right):
    def save(self, arrays, output, options):
        for name, array in arrays.items():
            if array.spec.dtype != "float32" or array.ndim != 2 or not name.isalnum():
                raise InitregError(f"{output.label}: no place for array {name!r}")
        super().save(arrays, output, options)

class Narrow(Right):
    def dtype(self, array):
        return {"int64": "int32"}.get(array.spec.dtype, array.spec.dtype)

class Forgetful(Right):
    initreg_keeps_metadata = True

class Blind(Right):
    def dtype(self, array):
        return "uint8" if array.spec.opaque is not None else array.spec.dtype
    def save(self, arrays, output, options):
        stream = arrays.stream
        arrays.stream = lambda *names: stream(*names, opaque=True)
        super().save(arrays, output, options)

class Lower(Right):
    def name(self, name):
        return name.lower()

class Fragile(Right):
    def save(self, arrays, output, options):
        for array in arrays.values():
            array.shape[0]
        super().save(arrays, output, options)

class Wordless(Right):
    def save(self, arrays, output, options):
        if options.compress:
            raise InitregError("this does not work")
        super().save(arrays, output, options)

class Hasty(Right):
    def path(self, output):
        return output.path
    def save(self, arrays, output, options):
        output.path.write_bytes(b"")
        super().save(arrays, output, options)

class Litter(Right):
    def save(self, arrays, output, options):
        count = len(os.listdir(output.folder))
        super().save(arrays, output, options)
        output.file(f"{output.path.name}.{count}")

class Exposed(Right):
    def save(self, arrays, output, options):
        path = output.file()
        os.chmod(path, 0o777)
        self.path = lambda output: path
        super().save(arrays, output, options)

class Mistaken(Right):
    def save(self, arrays, output, options):
        super().save(arrays, output, options)
        output.result = output.path.with_name("elsewhere")

FAULTS = {kind.__name__.lower(): kind() for kind in vars().copy().values()
          if isinstance(kind, type) and issubclass(kind, Right)}
globals().update(FAULTS)
"""

CONTRACTS = """
import json
import numpy as np
from faulty_savers import FAULTS
from initreg.testing import FormatContract, Sample

def contract(name):
    class Contract(FormatContract):
        format = name
        flips = 20
        def samples(self, folder):
            w = np.linspace(1, 2, 50, dtype=np.float32).reshape(5, 10)
            text = json.dumps({"w": ["float32", [5, 10]]}).encode()
            path = folder / f"sample.{name}"
            magic = FAULTS[name].magic
            path.write_bytes(magic + len(text).to_bytes(4, "little") + text + w.tobytes())
            yield Sample(path, {"w": w})
    return Contract

for _name in FAULTS:
    globals()[f"Test{_name}"] = contract(_name)
"""

# For each class, the tests that fail, each with a part of what it says.
EXPECTED: dict[str, dict[str, str]] = {
    "right": {},
    "modest": {},
    "narrow": {
        "every_dtype_is_exact_or_refused": "'kind/of/w' was int64, and reads as int32",
    },
    "forgetful": {"metadata_is_kept_or_refused": "and read is {}"},
    "blind": {"what_numpy_lacks_is_copied_or_refused": "Look at array.spec.dtype"},
    "lower": {"every_name_is_kept_or_refused": "saved were ['W', 'w'], and there are ['w']"},
    "fragile": {"every_shape_is_exact_or_refused": "0-d: saving raised PluginError"},
    "wordless": {"options_are_honoured_or_refused": "does not say that it is about 'compress'"},
    "hasty": {"nothing_is_visible_before_the_end": "Write to output.file(), and nowhere else"},
    "litter": {"saving_again_replaces_all": "output.obsolete() removes one"},
    "exposed": {"modes_of_files": "has mode 777, not 640: use output.file()"},
    "mistaken": {"saved_file_is_claimed": "elsewhere: no such file or checkpoint"},
}
BROAD = {"hasty", "mistaken"}  # other tests fail with them, too


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """``{class: {test: message}}`` of a real run of the kit over all the faulty formats."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "faulty_savers.py").write_text(PLUGIN)
    (folder / "test_faulty.py").write_text(CONTRACTS)
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    info = folder / "faulty_savers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty_savers\nVersion: 1.0\n")
    names = ["right", *(n.lower() for n in re.findall(r"class (\w+)\(Right\)", PLUGIN))]
    points = "".join(f"{name} = faulty_savers:{name}\n" for name in names)
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
    """A format that saves wrongly fails the test that is about its fault; a right one, none."""
    assert set(failures) == set(EXPECTED)
    for kind, expected in EXPECTED.items():
        found = failures[kind]
        assert set(found) >= set(expected), (kind, found)
        assert kind in BROAD or set(found) == set(expected), (kind, found)
        for test, text in expected.items():
            assert text in found[test], (kind, found)
