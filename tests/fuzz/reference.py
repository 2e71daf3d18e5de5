"""What h5py reads from a file, in a process of its own, because HDF5 may crash or hang on it.

``Reference().read(path)`` gives the arrays by path. ``reference.py`` is that process: it takes a
path on each line, and answers with a pickle.
"""

from __future__ import annotations

import io
import pickle
import resource
import select
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

_PATIENCE = 1.0  # seconds for one file
_MEMORY = 2 << 30
_LARGEST = 64 << 20  # bytes of an array; larger ones are not compared


class Reference:
    """h5py, in a process that is started again when it dies."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, if it does not run, and wait until h5py is imported there."""
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            assert self._child.stdout is not None
            self._child.stdout.read(1)

    def read(self, path: Path) -> dict[str, Any] | None:
        """The arrays that h5py reads; None if it died or hung."""
        self.start()
        child = self._child
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(f"{path}\n".encode())
            child.stdin.flush()
            if select.select([child.stdout], [], [], _PATIENCE)[0]:
                size = struct.unpack("<Q", child.stdout.read(8))[0]
                found: dict[str, Any] = pickle.loads(child.stdout.read(size))
                return found
        except (OSError, struct.error, EOFError, pickle.UnpicklingError):
            pass
        self.close()
        return None

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def differences(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """The first array that has other values than the reference; ``""`` if there is none."""
    for name, array in found.items():
        other = expected.get(name)
        if other is None:
            continue
        if array.dtype.name == "bfloat16":
            array = array.astype("f4") if other.dtype.kind == "f" else array.view("V2")
        if array.shape != other.shape or not same(array, other):
            return f"{name!r}: {array!r:.200} where h5py reads {other!r:.200}"
    return ""


def same(array: Any, other: Any) -> bool:
    """Whether two arrays have the same values, apart from the order of bytes."""
    if array.dtype.names and array.dtype.names == other.dtype.names:
        return all(same(array[name], other[name]) for name in array.dtype.names)
    if array.dtype.kind in "OSV" or other.dtype.kind in "OSV":
        return array.tobytes() == other.tobytes() or repr(array.tolist()) == repr(other.tolist())
    native = other.astype(other.dtype.newbyteorder("="))
    return bool(array.dtype == native.dtype) and array.tobytes() == native.tobytes()


def _read(path: str) -> dict[str, Any]:
    import h5py
    import numpy as np

    source: Any = path
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read("model.weights.h5"))
    found: dict[str, Any] = {}
    with h5py.File(source, "r") as file:

        def note(name: str, each: Any) -> None:
            try:
                is_array = isinstance(each, h5py.Dataset) and each.shape is not None
                if is_array and each.size * max(1, each.dtype.itemsize) < _LARGEST:
                    found[name] = np.asarray(each[()])
            except Exception:  # what h5py does not read is not compared
                return

        file.visititems(note)
    return found


def _main() -> None:
    import h5py  # noqa: F401  # before the clock of the first file runs

    sys.stdout.buffer.write(b"\n")
    sys.stdout.flush()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for line in sys.stdin:
        try:
            found = _read(line.rstrip("\n"))
        except Exception:
            found = {}
        try:
            answer = pickle.dumps(found)
        except Exception:
            answer = pickle.dumps({})
        sys.stdout.buffer.write(struct.pack("<Q", len(answer)) + answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
