"""Does a missing, damaged or unreadable file give an InitregError, and nothing else?"""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest

from initreg.errors import SourceNotFound
from initreg.testing.formats.base import Base, Sample, fail, must_raise, suffix_of
from initreg.testing.formats.files import lengths, mutations, without_root


class DamageTests(Base):
    """The part of the contract that is about damaged files."""

    def test_missing_file_is_source_not_found(self, made: list[Sample], tmp_path: Path) -> None:
        """A path that does not exist raises SourceNotFound, which is a FileNotFoundError."""
        self._skip_if_exempt("files")
        for suffix in sorted({suffix_of(sample) for sample in made}):
            for choice in ({}, {"format": self.format}):
                with pytest.raises(SourceNotFound):
                    self._open(tmp_path / f"nothing{suffix}", **choice)

    def test_truncated_files_are_noticed(self, made: list[Sample], tmp_path: Path) -> None:
        """A file that is cut off anywhere gives an InitregError, or arrays that are complete."""
        self._skip_if_exempt("files")
        exact = "truncation" not in self.exempt
        for sample, files in self._copies(made, tmp_path):
            for file in files:
                whole = file.read_bytes()
                for length in lengths(len(whole)):
                    file.write_bytes(whole[:length])
                    with self._bounded(files, f"{file.name} cut to {length} bytes"):
                        complaint = self._complaint(sample, exact)
                    if complaint:
                        fail(f"{file.name}, cut to {length} of {len(whole)} bytes: {complaint}")
                file.write_bytes(whole)

    def test_changed_bytes_do_no_harm(self, made: list[Sample], tmp_path: Path) -> None:
        """A file with random changes gives an InitregError, or arrays as announced."""
        self._skip_if_exempt("files")
        for sample, files in self._copies(made, tmp_path):
            for file in files:
                whole = file.read_bytes()
                for changed, what in mutations(whole, self.flips, random.Random(0)):
                    file.write_bytes(changed)
                    with self._bounded(files, f"{file.name} with {what}"):
                        complaint = self._complaint(sample, exact=False)
                    if complaint:
                        fail(f"{file.name} with {what}: {complaint}")
                file.write_bytes(whole)

    def test_unreadable_file_is_an_error(self, made: list[Sample]) -> None:
        """A file without permission to read gives an InitregError, not a PermissionError."""
        self._skip_if_exempt("files")
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            for sample, files in self._copies(made, Path(folder)):
                self._read_all(sample.source)  # so that late imports have happened
                for file in files:
                    mode = file.stat().st_mode
                    file.chmod(0)
                    with without_root():
                        must_raise(f"{file.name}, chmod 000", self._read_all, sample.source)
                    file.chmod(mode)
