"""What the tests of the kit share: samples, copies of them, comparisons, and messages."""

from __future__ import annotations

import contextlib
import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np
import pytest

import initreg
from initreg.dtypes import STRING, name_of
from initreg.errors import InitregError

Array = np.ndarray[Any, Any]

_SPARE = 32 << 20  # bytes that opening any file may take, whatever its size
_RATIO = 1100  # bytes of memory for each byte of the file; deflate's best is 1032

_REMEDY = "Compare what the file says with source.size, and raise DamagedFile"

# What can be switched off, by a reason in ``exempt``.
EXEMPTIONS = {
    "files": "the sources are objects in memory: every test about files",
    "stores": "a library needs a local file",
    "lazy": "the arrays cannot be found without reading them all",
    "truncation": "a shorter file may be a complete file with other arrays",
    "memory": "the memory taken cannot be kept in proportion to the file's size",
}
FOREIGN = "foreign "  # "foreign text" and so on: that file is one of the format's own


@dataclass(frozen=True, slots=True)
class Sample:
    """One source, with every array that reading it gives.

    Keep the files below 100 kB, because they are damaged and opened a few hundred times.

    Args:
        source: a path inside the folder that ``samples`` was given, or an object.
        arrays: the expected result of ``np.asarray`` for each name, in dtype, shape and every bit.
        files: the files that make up the source. By default they are the source itself, the files
            in that folder, or for a prefix the files whose names begin with it and a dot.
        parts: those of the files that hold arrays, if the source has several. None of them may be
            missing, and an index is not one of them. Without it, the tests of parts are skipped.
        metadata: the texts that the source has beside its arrays, or None not to look at them.
        unreadable: the names of other arrays that are listed and cannot be read. Only in the
            samples of ``unreadable``.
    """

    source: Any
    arrays: Mapping[str, Array]
    files: Sequence[Path] = ()
    parts: Sequence[Path] = ()
    metadata: Mapping[str, str] | None = None
    unreadable: Sequence[str] = ()


class Base:
    """The samples of one format, and how to open and damage them."""

    format: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    exempt: ClassVar[Mapping[str, str]] = {}
    flips: ClassVar[int] = 100

    def samples(self, folder: Path) -> Iterable[Sample]:
        """Write a few small sources into ``folder``, preferably with the library that defines the
        format, and return them with the arrays that they hold: every dtype, 0-d and empty arrays,
        names that are not ASCII, in one sample or in several."""
        raise NotImplementedError(f"{type(self).__name__}: write samples(self, folder)")

    @pytest.fixture
    def made(self, tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
        """The samples. They are written once for a class. A test that changes a file copies it."""
        cls = type(self)
        if "_made" not in cls.__dict__:
            folder = tmp_path_factory.mktemp(f"{self.format}-samples")
            cls._made = (folder, list(self.samples(folder)))
        if not cls._made[1]:
            fail("samples() gave no sample. Write at least one")
        return cls._made[1]

    _made: ClassVar[tuple[Path, list[Sample]]]

    def _skip_if_exempt(self, topic: str) -> None:
        """Skip the test if the author gave a reason. The report shows the reason."""
        if topic in self.exempt:
            pytest.skip(f"{self.format!r} is exempt from {topic!r}: {self.exempt[topic]}")

    def _open(self, source: Any, **options: Any) -> initreg.ArrayMap:
        return initreg.open(source, **{**self.options, **options})

    def _copies(self, made: list[Sample], into: Path) -> Iterator[tuple[Sample, list[Path]]]:
        """Each sample in a folder of its own below ``into``, with its files."""
        folder = type(self)._made[0]
        for number, sample in enumerate(made):
            if not is_path(sample):
                continue
            copy = into / str(number)
            shutil.copytree(folder, copy)
            try:
                source = copy / Path(sample.source).relative_to(folder)
                files = [copy / Path(file).relative_to(folder) for file in sample.files]
                parts = [copy / Path(part).relative_to(folder) for part in sample.parts]
            except ValueError:
                fail(f"sample {sample.source} must lie inside the folder that samples() gets")
            files = files or _files_of(source)
            if not files:
                fail(f"sample {sample.source} has no file. Give Sample(..., files=[...])")
            yield replace(sample, source=source, files=files, parts=parts), files

    def _complaint(self, sample: Sample, exact: bool) -> str:
        """What is wrong with how a damaged ``sample`` opens, "" if nothing is: an InitregError, or
        arrays that are what they were announced as and, if ``exact``, the sample's own."""
        try:
            if self.format in initreg.probe(sample.source).failed:
                return "initreg_claim raised; it must return a Claim or None for any file"
        except InitregError:
            pass  # nobody claims it any more
        damaged = False
        try:
            with self._open(sample.source, format=self.format) as arrays:
                for name, lazy in arrays.items():
                    shape, dtype = lazy.shape, lazy.dtype
                    try:
                        array = np.asarray(lazy)
                    except InitregError:
                        damaged = True
                        continue
                    if array.shape != shape or name_of(array.dtype) != name_of(dtype):
                        said, found = f"{shape} {dtype}", f"{array.shape} {array.dtype}"
                        return f"array {name!r}, announced as {said}, reads as {found}. {_REMEDY}"
                    if exact and not (name in sample.arrays and same(array, sample.arrays[name])):
                        return f"array {name!r} was read, and is wrong. {_REMEDY}"
                if exact and not damaged and set(arrays) != set(sample.arrays):
                    return (
                        f"the arrays {sorted(set(sample.arrays) - set(arrays))} are gone. {_REMEDY}"
                    )
        except InitregError:
            pass
        except Exception as error:
            return f"raised {type(error).__name__} ({error}), not an InitregError"
        return ""

    def _read_all(self, source: Any, **options: Any) -> dict[str, Array]:
        with self._open(source, **options) as arrays:
            return {name: np.asarray(array) for name, array in arrays.items()}

    @contextlib.contextmanager
    def _bounded(self, files: Sequence[Path], case: str) -> Iterator[None]:
        """Fail if more memory is allocated than a file of that size can justify."""
        if "memory" in self.exempt:
            yield
            return
        limit = _SPARE + _RATIO * sum(file.stat().st_size for file in files)
        started = not tracemalloc.is_tracing()
        if started:
            tracemalloc.start()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        try:
            yield
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            if started:
                tracemalloc.stop()
        if peak > limit:
            fail(
                f"{case}: opening it took {peak:,} bytes of memory. Compare what the header asks "
                "for with source.size before you allocate"
            )


def same(a: Array, b: Array) -> bool:
    """Whether two arrays are equal in dtype, shape and every bit. NaN equals itself."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.hasobject:
        return bool(a.tolist() == b.tolist())
    return a.tobytes() == b.tobytes()


def check(sample: Sample, found: Mapping[str, Any], when: str) -> None:
    """Fail unless ``found`` has every array of ``sample``, in every bit."""
    for name, expected in sample.arrays.items():
        if name not in found:
            fail(f"{what(sample)}: there is no array {name!r} {when}")
        array = np.asarray(found[name])
        if not same(array, expected):
            fail(f"{what(sample)}: {name!r} {when} is\n{array!r}\nbut expected is\n{expected!r}")


def pairs(
    sample: Sample, arrays: initreg.ArrayMap
) -> Iterator[tuple[str, initreg.LazyArray, Array]]:
    """Each array of ``sample``: its name, the array of the open map, and the expected array."""
    for name, expected in sample.arrays.items():
        if name not in arrays:
            fail(f"{what(sample)}: there is no array {name!r}; there are {sorted(arrays)}")
        yield name, arrays[name], expected


def fail(text: str) -> NoReturn:
    """Fail the test without a traceback, because its author did not write the test."""
    pytest.fail(text, pytrace=False)


def must_raise(case: str, action: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    """Fail unless the call raises an InitregError."""
    try:
        action(*args, **kwargs)
    except InitregError:
        return
    except Exception as error:
        fail(f"{case}: raised {type(error).__name__} ({error}), not an InitregError")
    fail(f"{case}: was read without an error. Raise DamagedFile")


def in_words(reason: Any) -> bool:
    return isinstance(reason, str) and len(reason.split()) >= 2


def plain(array: Array) -> bool:
    """Whether the array is of numbers, and so may go into a variable."""
    return array.dtype.names is None and name_of(array.dtype) not in (STRING, "object")


def is_path(sample: Sample) -> bool:
    return isinstance(sample.source, (str, os.PathLike))


def what(sample: Sample) -> str:
    """What to call a sample in a message."""
    if is_path(sample):
        return Path(sample.source).name
    return f"the sample of {type(sample.source).__name__}"


def suffix_of(sample: Sample) -> str:
    """The suffix of a sample that is a file, "" for a folder or a prefix."""
    is_file = is_path(sample) and Path(sample.source).is_file()
    return Path(sample.source).suffix if is_file else ""


def _files_of(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if source.is_dir():
        return sorted(path for path in source.rglob("*") if path.is_file())
    return sorted(source.parent.glob(f"{source.name}.*"))
