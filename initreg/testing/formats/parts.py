"""Is one part of several ever taken for the whole, or another file for the one that was listed?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.errors import InitregError, RefusedFile
from initreg.plugin.hookspecs import hookimpl
from initreg.plugin.installed import default_registry
from initreg.testing.formats.base import Base, Sample, fail, same, what

_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 160398822\n"
)
_PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body></body></html>\n"
_REMEDY = "Open every file that your format finds by itself with source.part(name)"


class PartsTests(Base):
    """The part of the contract that is about several files, and about which file it was.

    The tests of parts run for samples that have :attr:`Sample.parts`.
    """

    def test_failed_downloads_are_recognised(self, made: list[Sample], tmp_path: Path) -> None:
        """A git-lfs pointer or a web page in the place of a file gives an error that says so."""
        self._skip_if_exempt("files")
        for sample, _ in self._copies(made, tmp_path):
            source = Path(sample.source)
            for file in [*sample.parts, *([source] if source.is_file() else [])]:
                whole = file.read_bytes()
                for content, word in ((_POINTER, "git lfs pull"), (_PAGE, "web page")):
                    file.write_bytes(content)
                    said = self._error(sample.source, f"{file.name} is a stand-in")
                    if word not in said:
                        fail(
                            f"{what(sample)}: {file.name} holds {content[:20]!r}..., and the error "
                            f"does not say what that is ({word!r}): {said}. {_REMEDY}"
                        )
                file.write_bytes(whole)

    def test_missing_part_is_named(self, made: list[Sample], tmp_path: Path) -> None:
        """Without one of its parts the source gives an error that names the part."""
        for sample, part in self._parts(made, tmp_path):
            whole = part.read_bytes()
            part.unlink()
            for source in (Path(sample.source), *sample.parts):
                if source == part:
                    continue
                said = self._error(source, f"{part.name} is missing")
                if part.name not in said:
                    fail(
                        f"{what(sample)}: {part.name} is missing, and the error does not name it: "
                        f"{said}. {_REMEDY}"
                    )
            part.write_bytes(whole)

    def test_one_part_is_not_the_whole(self, made: list[Sample], tmp_path: Path) -> None:
        """Opening one part by its path gives all arrays of the set, or an error."""
        for sample, part in self._parts(made, tmp_path):
            try:
                found = self._read_all(part, format=self.format)
            except InitregError:
                continue
            if set(found) != set(sample.arrays):
                fail(
                    f"{part.name} alone gives {sorted(found)}, and the set has "
                    f"{sorted(sample.arrays)}. Raise DamagedFile, or open all parts: "
                    "source.set_of_parts()"
                )

    def test_links_out_of_the_folder_are_refused(self, made: list[Sample], tmp_path: Path) -> None:
        """A part that is a link to another folder gives RefusedFile. Within the folder it works."""
        for sample, part in self._parts(made, tmp_path / "in"):
            if part == Path(sample.source):
                continue  # the user named it
            for folder in (tmp_path / "out", part.parent.parent):
                outside = folder / f"out-{part.name}"
                folder.mkdir(exist_ok=True)
                os.replace(part, outside)
                part.symlink_to(outside)
                try:
                    self._read_all(sample.source)
                except RefusedFile:
                    pass
                except InitregError as error:
                    fail(f"{part.name} is a link out of its folder: {error}. Raise RefusedFile")
                else:
                    fail(f"{part.name} is a link out of its folder, and was followed. {_REMEDY}")
                os.replace(outside, part)
            inside = part.with_name(f".{part.name}")
            os.replace(part, inside)
            part.symlink_to(inside.name)
            if not self._is_exact(sample):
                fail(f"{part.name} is a link to a file beside it, and was not read. {_REMEDY}")
            part.unlink()
            os.replace(inside, part)

    def test_replaced_while_listed(self, made: list[Sample], tmp_path: Path) -> None:
        """A file that is replaced after it was listed, by one of the same size and time, gives an
        error or the arrays of the old file."""
        self._skip_if_exempt("files")
        manager = default_registry().manager
        for sample, files in self._copies(made, tmp_path):
            for file in files:
                replacing = _Replacing(file)
                manager.register(replacing)
                try:
                    with self._open(sample.source, verify=False) as arrays:
                        found = [(name, _value(lazy)) for name, lazy in arrays.items()]
                except InitregError:
                    found = []
                finally:
                    manager.unregister(replacing)
                    replacing.undo()
                for name, array in found:
                    if array is not None and not same(array, sample.arrays[name]):
                        fail(
                            f"{what(sample)}: {file.name} was replaced while it was listed, and "
                            f"{name!r} was read from the new file. Read it with source.open() or "
                            "source.read(). For a further file, make Source(path, of=source)"
                        )

    def _parts(self, made: list[Sample], into: Path) -> Iterator[tuple[Sample, Path]]:
        """Each part of each sample that has parts."""
        if not any(sample.parts for sample in made):
            pytest.skip(f"{self.format!r}: no sample has parts")
        for sample, _ in self._copies(made, into):
            for part in sample.parts:
                yield sample, part

    def _is_exact(self, sample: Sample) -> bool:
        found = self._read_all(sample.source)
        return set(found) == set(sample.arrays) and all(
            same(found[name], array) for name, array in sample.arrays.items()
        )

    def _error(self, source: Any, case: str) -> str:
        """The message of the error that reading the source gives."""
        try:
            self._read_all(source)
        except InitregError as error:
            return str(error)
        except Exception as error:
            fail(f"{case}: raised {type(error).__name__} ({error}), not an InitregError")
        return fail(f"{case}: {source} was read without an error. {_REMEDY}")


class _Replacing:
    """A wrapper that replaces a file at the end of ``initreg_open``."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._old = file.with_name(f"{file.name}.old")

    @hookimpl(wrapper=True)
    def initreg_open(self, source: Any, options: Any) -> Any:
        opened = yield
        if not self._old.exists():
            status = self._file.stat()
            content = np.frombuffer(self._file.read_bytes(), np.uint8) ^ np.uint8(255)
            os.replace(self._file, self._old)
            self._file.write_bytes(content.tobytes())
            os.utime(self._file, ns=(status.st_atime_ns, status.st_mtime_ns))
        return opened

    def undo(self) -> None:
        if self._old.exists():
            os.replace(self._old, self._file)


def _value(lazy: initreg.LazyArray) -> Any:
    """The value of an array, None if it cannot be read."""
    try:
        return np.asarray(lazy)
    except InitregError:
        return None
