"""The files of external data: where they are, and how they are read later.

Source: ``docs/ExternalData.md`` of ONNX. A location is a path of the same folder, or of a folder in
it. Parts of a path that lead elsewhere are refused.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, BinaryIO, NamedTuple

from initreg import DamagedFile, OpenOptions, RefusedFile, Source
from initreg.format_tools.files import FilePath, read_at, stamp_of

_BLOCK = 1 << 20  # bytes


class Place(NamedTuple):
    """A run of bytes in a file."""

    source: Source
    offset: int
    length: int

    @property
    def path(self) -> FilePath:
        assert self.source.path is not None
        return self.source.path


class Files:
    """The model's file and those of its external data, open as long as arrays are read from them.

    Args:
        source: the model's file.
        options: what the user asked for.
    """

    def __init__(self, source: Source, options: OpenOptions) -> None:
        self.source, self._options = source, options
        self._parts: dict[str, Source] = {}
        self._sums: dict[str, str] = {}
        self._open: dict[FilePath, tuple[BinaryIO, Any]] = {}

    @property
    def size(self) -> int:
        """The size of all files together, in bytes."""
        return self.source.size + sum(part.size for part in self._parts.values())

    def place(self, external: dict[str, str], nbytes: int, what: str) -> Place:
        """Where a tensor of external data is. Raises DamagedFile or RefusedFile."""
        location = external.get("location", "")
        if not location:
            raise DamagedFile(f"{what} has external data without a location")
        part = self._part(location)
        offset = _number(external, "offset", 0, what)
        length = _number(external, "length", nbytes, what)
        if length != nbytes:
            raise DamagedFile(
                f"{what} has {length:,} bytes of external data, but its shape and dtype take "
                f"{nbytes:,}. Download or copy the model and its data again"
            )
        if offset + length > part.size:
            raise DamagedFile(
                f"{what} ends at byte {offset + length:,} of {location}, which has {part.size:,}. "
                "It is truncated, or belongs to another model. Download or copy both again"
            )
        place = Place(part, offset, length)
        if "checksum" in external and self._options.verify:
            self._check(place, location, external["checksum"].lower(), what)
        return place

    def read(self, place: Place, what: str) -> bytes:
        """The bytes of a place. pread, because several threads may read at once."""
        file, stamp = self._open[place.path]
        found = read_at(file, place.length, place.offset)
        if len(found) < place.length or stamp_of(file) != stamp:
            raise DamagedFile(
                f"{what}: {place.source.label} was written to after it was opened. Open it again"
            )
        return found

    def open(self, source: Source) -> BinaryIO:
        """The file, which stays open until :meth:`close`."""
        assert source.path is not None
        if source.path in self._open:  # external data in the model's own file
            return self._open[source.path][0]
        file = source.open()
        self._open[source.path] = (file, stamp_of(file))
        return file

    def close(self) -> None:
        for file, _ in self._open.values():
            file.close()

    def _part(self, location: str) -> Source:
        *folders, name = [each for each in location.split("/") if each != "."] or [""]
        location = "/".join((*folders, name))  # "./w.bin" is the same file
        if location not in self._parts:
            if location.startswith("/") or ".." in (*folders, name) or "" in folders:
                raise RefusedFile(
                    f"{self.source.label}: its external data {location!r} leads out of the folder. "
                    "The data must lie beside the model, or in a folder there"
                )
            above = self.source
            for folder in folders:
                assert above.path is not None
                path = (above.path if above.is_dir else above.path.parent) / folder
                if path.is_symlink():
                    raise RefusedFile(
                        f"{self.source.label}: its external data {location!r} lies in {folder}, "
                        "which is a link. If you trust it, put the folder itself there"
                    )
                above = Source(path, of=self.source)
                if not above.is_dir:
                    raise DamagedFile(
                        f"{self.source.label}: its external data {location!r} is missing. "
                        "Download it too"
                    )
            self._parts[location] = above.part(name)
            self.open(self._parts[location])
        return self._parts[location]

    def _check(self, place: Place, location: str, checksum: str, what: str) -> None:
        """Compare the SHA-1 of a whole file, once. Raises DamagedFile."""
        if not re.fullmatch(r"[0-9a-f]{40}", checksum):
            raise DamagedFile(f"{what} has the checksum {checksum[:80]!r}, which is not SHA-1")
        if location not in self._sums:
            found = hashlib.sha1(usedforsecurity=False)
            file, _ = self._open[place.path]
            file.seek(0)
            while block := file.read(_BLOCK):
                found.update(block)
            self._sums[location] = found.hexdigest()
        if self._sums[location] != checksum:
            raise DamagedFile(
                f"{what}: {location} does not match its checksum. Download or copy it again"
            )


def _number(external: dict[str, str], key: str, default: int, what: str) -> int:
    text = external.get(key, "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise DamagedFile(f"{what} has external data with the {key} {text[:80]!r}")
    return int(text)
