"""What opening a file touches: neither the network, nor another file, nor another program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import initreg

# Python tells every open, socket, exec and process of its own; h5py is given an open file.
_WATCHED = """
import json, os, sys
import numpy as np
import initreg, fastcrc, h5py, ml_dtypes
from isal import isal_zlib
"".encode("cp437")
initreg.load({"a": np.ones(1)})
own = [os.path.realpath(p) for p in {sys.prefix, sys.base_prefix, *filter(None, sys.path)}]
import initreg_formats
own += [os.path.dirname(os.path.realpath(m.__file__)) for m in (initreg, initreg_formats)]
own += ["/proc", "/sys", "/dev/null"]
seen = []
def watch(event, args):
    if event == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
        path = os.path.realpath(os.fsdecode(os.fspath(args[0])))
        if not any(path.startswith(each) for each in own):
            seen.append(["open", path, str(args[1])])
    elif event.startswith(("socket.", "subprocess.", "os.exec", "os.system", "os.posix_spawn",
                           "os.fork", "pickle.", "ctypes.dlopen", "urllib.", "shutil.", "os.remove",
                           "os.rename", "os.mkdir")):
        seen.append([event, *map(str, args)])
sys.addaudithook(watch)
for given in sys.argv[1:]:
    try:
        initreg.probe(given)
        initreg.load(given)
        with initreg.open(given, mmap=True) as opened:
            [np.asarray(array) for array in opened.values()]
        initreg.SmartInit(given).plan({"a": np.zeros(3)})
        initreg.verify(given)
    except initreg.InitregError as error:
        pass
    from initreg.cli import main
    for verb in ("probe", "ls", "verify"):
        main([verb, given])
print()
print(json.dumps(seen))
"""


def touched(*paths: Path) -> list[list[str]]:
    command = [sys.executable, "-c", _WATCHED, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_source_is_all_that_is_read(tmp_path: Path) -> None:
    """Files of every format, in a folder each: nothing outside of it is opened, nothing in it is
    written, no socket, no process, no pickle."""
    arrays = {"a": np.ones(3), "b/c": np.zeros((2, 2), "f4")}
    paths = []
    for name in ("m.npz", "m.safetensors", "m.h5", "m.ckpt"):
        (tmp_path / name).mkdir()
        paths.append(initreg.save(tmp_path / name / name, arrays, manifest=True))
    np.save(tmp_path / "pickle.npy", np.array({"a": 1}, object))
    (tmp_path / "m.pt").write_bytes(b"\x80\x02}q\x00.")
    paths += [tmp_path / "pickle.npy", tmp_path / "m.pt", tmp_path / "none.npz", tmp_path]
    assert {path.name for path in paths} >= {"m.npz", "m.ckpt"}
    seen = touched(*paths)
    opened = {path for event, path, *_ in seen if event == "open"}
    assert [each for each in seen if each[0] != "open"] == []
    assert {each[2] for each in seen} <= {"r", "rb", "None"}
    assert all(Path(path).is_relative_to(tmp_path.resolve()) for path in opened)
    assert len(opened) >= 6  # the watch sees what is opened


def test_the_watch_sees_what_it_should(tmp_path: Path) -> None:
    """A pickle that the user allows is seen: the test above can fail."""
    np.save(tmp_path / "zoo.npy", np.array({"a": np.ones(2)}, object))
    code = _WATCHED.replace("initreg.load(given)", "initreg.load(given, allow_pickle=True)")
    command = [sys.executable, "-c", code, str(tmp_path / "zoo.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "pickle.find_class" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("module", ["urllib.request", "http.client", "ssl", "requests"])
def test_nothing_that_could_reach_a_network_is_imported(module: str) -> None:
    """Kernel and formats work without: no telemetry, no downloads, no look for a newer version. The
    client of web servers is imported for a URL that the user gives, and by nothing else."""
    code = (
        "import importlib, pathlib, sys, initreg, initreg_formats\n"
        "seen = 0\n"
        "for package in (initreg, initreg_formats):\n"
        "    top = pathlib.Path(package.__file__).parent\n"
        "    for path in top.rglob('*.py'):\n"
        "        parts = [top.name, *path.relative_to(top).with_suffix('').parts]\n"
        "        is_client = path.parent.name == 'storage' and path.name.startswith('http_')\n"
        "        if not {'trainers', 'testing', '__main__'} & set(parts) and not is_client:\n"
        "            importlib.import_module('.'.join(p for p in parts if p != '__init__'))\n"
        "            seen += 1\n"
        "assert seen > 90, seen\n"
        "assert [name for name in sys.modules if name.startswith('initreg.storage.http_')] == []\n"
        f"print({module!r} in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
