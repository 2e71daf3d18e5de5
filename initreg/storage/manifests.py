"""Manifests: JSON files with the digests of a save, for formats that have no checksums.

``model.safetensors.manifest.json`` is in the same folder as ``model.safetensors``::

    {"initreg_manifest": 1,
     "files": {"model.safetensors": {"nbytes": 1234, "sha256": "..."}},
     "arrays": {"fc/W": {"shape": [3, 4], "dtype": "float32", "sha256": "..."}}}

The digest of a file is that of its bytes. The digest of an array is that of its elements in C
order and little-endian, so that it does not depend on the format. A string is hashed as its
length, in 8 bytes, and its bytes. Text is encoded in UTF-8.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from initreg.errors import DamagedFile, InitregError
from initreg.records import record
from initreg.storage import small_files
from initreg.storage.paths import is_there
from initreg.store_paths import FilePath

if TYPE_CHECKING:
    import numpy as np

ENDING = ".manifest.json"
_VERSION = 1
_BEGINS = b'{"initreg_manifest"'  # the first bytes of each manifest that is written here
_LARGEST = 256 << 20  # bytes of a manifest; a million arrays take less
_MOST = 1000  # how many manifests of a folder are read
_CHUNK = 4 << 20


@record()
class FileDigest:
    """A file in a manifest: its size in bytes and its SHA-256 in hexadecimal digits."""

    nbytes: int
    sha256: str


@record()
class ArrayDigest:
    """An array in a manifest. ``dtype`` is a name as in :mod:`initreg.dtypes`."""

    shape: tuple[int, ...]
    dtype: str
    sha256: str


@record()
class Manifest:
    """What one save wrote.

    Args:
        files: the files by name, all in one folder.
        arrays: the arrays by name.
    """

    files: Mapping[str, FileDigest]
    arrays: Mapping[str, ArrayDigest]

    def to_text(self) -> str:
        """The manifest as it is written to its file."""
        content = {
            "initreg_manifest": _VERSION,
            "files": {
                name: {"nbytes": file.nbytes, "sha256": file.sha256}
                for name, file in self.files.items()
            },
            "arrays": {
                name: {"shape": list(array.shape), "dtype": array.dtype, "sha256": array.sha256}
                for name, array in self.arrays.items()
            },
        }
        return json.dumps(content) + "\n"


def digest_of_array(array: np.ndarray[Any, Any]) -> str:
    """The SHA-256 of an array, as the module describes it."""
    import numpy as np

    found = hashlib.sha256()
    if array.dtype.kind in "OSUT":
        for element in array.reshape(-1).tolist():
            data = (
                element
                if isinstance(element, bytes)
                else str(element).encode(errors="surrogatepass")
            )
            found.update(len(data).to_bytes(8, "little"))
            found.update(data)
    elif array.size:
        plain = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        found.update(plain.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def digest_of_file(path: FilePath) -> FileDigest:
    """The size and SHA-256 of a file.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    found = hashlib.sha256()
    size = 0
    with small_files.opened(path) as file:
        buffer = bytearray(_CHUNK)
        while count := file.readinto(buffer):  # type: ignore[attr-defined]
            found.update(memoryview(buffer)[:count])
            size += count
    return FileDigest(size, found.hexdigest())


# --- reading ------------------------------------------------------------------------------------


def read(path: FilePath) -> Manifest:
    """Read a manifest.

    Raises:
        DamagedFile: it is not a manifest of this version.
        UnreadableFile: the system cannot read it.
    """
    data = small_files.content(path, _LARGEST, "a manifest", is_json=True)
    try:
        content = json.loads(data)
        if content["initreg_manifest"] != _VERSION:
            raise ValueError(f"its version is {content['initreg_manifest']!r}, not {_VERSION}")
        files = {
            small_files.plain_name(name): FileDigest(_length(each["nbytes"]), _sum(each["sha256"]))
            for name, each in content["files"].items()
        }
        arrays = {
            name: ArrayDigest(
                tuple(map(_length, each["shape"])), str(each["dtype"]), _sum(each["sha256"])
            )
            for name, each in content["arrays"].items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise DamagedFile(f"{path}: this is not a manifest of initreg: {why}") from error
    return Manifest(files, arrays)


def _length(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"{number!r} is not a length")
    return number


def _sum(text: Any) -> str:
    if not isinstance(text, str) or len(text) != 64:
        raise ValueError(f"{text!r} is not a SHA-256")
    return text


def find(path: FilePath, files: Iterable[FilePath] = ()) -> FilePath | None:
    """The manifest of a source.

    It is the one named after the source, or else one in the same folder that lists it.

    Args:
        path: the source.
        files: the files of its arrays, whose manifests count as well.

    Returns:
        The path of the manifest, or None if there is no manifest.
    """
    for named in (path, small_files.real(path)):
        if not named.name:  # the root folder
            continue
        beside = named.with_name(named.name + ENDING)
        if is_there(beside):
            return beside
    names: dict[FilePath, set[str]] = {}
    for file in (path, small_files.real(path), *files):
        names.setdefault(file.parent, set()).add(file.name)
    for folder, wanted in names.items():
        try:
            found = [each for each in sorted(small_files.listed(folder)) if each.endswith(ENDING)]
        except OSError:
            continue
        for name in [name for name in found if not name.startswith(".")][:_MOST]:
            try:
                if not wanted.isdisjoint(read(folder / name).files):
                    return folder / name
            except InitregError:  # it belongs to something else
                continue
    return None


def is_manifest(path: FilePath) -> bool:
    """Whether initreg wrote this file, so that it may be removed."""
    try:
        with small_files.opened(path) as file:
            return file.read(len(_BEGINS)) == _BEGINS
    except OSError:
        return False
