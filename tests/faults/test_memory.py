"""A process that may take too little memory: the file is not called damaged, nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import initreg

STATUS = Path("/proc/self/status")
pytestmark = pytest.mark.skipif(not STATUS.exists(), reason="the size is read as on Linux")

_LIMITED = """
import resource, sys
import numpy as np
import initreg
from initreg import NotEnoughMemory

path, call = sys.argv[1:]
large = np.ones((160 << 20) if call == "init" else 1, "u1")
target = {"large": large, "small": np.ones(3)}
calls = {
    "load": lambda: initreg.load(path),
    "verify": lambda: initreg.verify(path),
    "init": lambda: initreg.SmartInit(path).init(target),
    "rules": lambda: initreg.load(path, cast={"large": "float64"}),
    "convert": lambda: initreg.convert(path, path + ".new.npz"),
}
initreg.open(path)["small"].read()  # what is imported later would need memory, too
initreg.verify(initreg.save(path + ".safetensors", {"a": np.ones(3)}))
[size] = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")]
resource.setrlimit(resource.RLIMIT_AS, (size * 1024 + (40 << 20), resource.RLIM_INFINITY))
try:
    print(calls[call]())
except NotEnoughMemory as error:
    print(error)
assert large.min() == large.max()  # all of it was written, or nothing
print("small", *initreg.open(path)["small"].read())
"""


def limited(path: Path, call: str) -> str:
    """What a process with 40 MB says."""
    command = [sys.executable, "-c", _LIMITED, str(path), call]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["m.npz", "m.h5", "m.safetensors", "m.ckpt"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an array of 160 MiB, and with a small one."""
    arrays = {"large": np.full(160 << 20, 7, "u1"), "small": np.arange(3.0)}
    return initreg.save(tmp_path_factory.mktemp("large") / request.param, arrays)


@pytest.mark.parametrize("call", ["load", "verify", "init", "rules", "convert"])
def test_a_good_file_is_not_called_damaged(path: Path, call: str) -> None:
    """The error names the array and the lack of memory. Small arrays can still be read, and no file
    is left behind."""
    found = limited(path, call)
    assert "array 'large'" in found
    assert "needs more memory than this process may take" in found
    assert "small 0.0 1.0 2.0" in found
    assert not [each for each in path.parent.iterdir() if "new" in each.name]
