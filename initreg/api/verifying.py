"""Whether a file is what it was, and fit to be used: every byte of every array is read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from initreg.api.opening import OpeningOptions, opening_of, spelt_out
from initreg.arrays.map import ArrayMap, LazyArray
from initreg.arrays.streaming import position
from initreg.arrays.threads import thread_count
from initreg.errors import (
    DamagedFile,
    DuplicateName,
    InitregError,
    RefusedFile,
    SourceNotFound,
    UnknownFormat,
)
from initreg.plugin.source import Source
from initreg.specs import Extent, SlicedExtent
from initreg.storage import manifests
from initreg.text import names_text, plural, printable, shape_text, size_text

if TYPE_CHECKING:
    import numpy as np

_CHUNK = 1 << 20  # elements that are looked at in one go
# What opening may find wrong with the file itself: an answer. Anything else keeps from having one.
_WRONG = (DamagedFile, DuplicateName, RefusedFile, UnknownFormat)


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found out about one array.

    ``has_checksum``: whether the format has one for it, which was compared; ``in_manifest``:
    whether a manifest has its digest, which was compared. ``nan`` and ``inf`` count the values that
    are none and those that are infinite. ``problem``: why it is not as it should be, or "".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    has_checksum: bool = False
    in_manifest: bool = False
    nan: int = 0
    inf: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """The answer of :func:`verify`. ``format``: what opened it, None if it could not be opened.
    ``manifest``: the one that it was compared with, if there was any. ``nbytes``: of all arrays in
    memory. ``problems``: of the file as a whole; those of ``arrays`` are with them."""

    source: str
    format: str | None
    manifest: Path | None
    arrays: tuple[Verified, ...]
    nbytes: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem at all."""
        return not self.problems and not any(array.problem for array in self.arrays)

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "ok": self.ok,
            "format": self.format,
            "manifest": None if self.manifest is None else str(self.manifest),
            "nbytes": self.nbytes,
            "problems": list(self.problems),
            "arrays": [
                {
                    "name": array.name,
                    "shape": list(array.shape),
                    "dtype": array.dtype,
                    "has_checksum": array.has_checksum,
                    "in_manifest": array.in_manifest,
                    "nan": array.nan,
                    "inf": array.inf,
                    "problem": array.problem or None,
                }
                for array in self.arrays
            ],
        }

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, limit: int | None = 20) -> str:
        """What was checked and what is wrong, in at most ``limit`` folded lines of names."""
        wrong = [(array.name, array.problem) for array in self.arrays if array.problem]
        count = len(self.problems) + len(wrong)
        if self.format is None:
            lines = [f"{self.source}: cannot be opened"]
        else:
            what = f"{self.format}, {plural(len(self.arrays), 'array')}, {size_text(self.nbytes)}"
            lines = [f"{self.source}: {plural(count, 'problem') if count else 'fine'} ({what})"]
        lines += [f"  {printable(problem)}" for problem in self.problems]
        lines += [f"  {line}" for line in names_text(wrong, limit, gap=": ", more=_MORE)]
        if self.format is not None:
            lines += [f"  checked  {line}" for line in self._checked()]
        return "\n".join(lines)

    def _checked(self) -> Iterator[str]:
        total = plural(len(self.arrays), "array")
        summed = sum(array.has_checksum for array in self.arrays)
        none = "" if summed or self.manifest else ": save with manifest=True to have some"
        yield f"the format's checksums of {summed:,} of {total}{none}"
        if self.manifest is not None:
            known = sum(array.in_manifest for array in self.arrays)
            yield f"the digests of {known:,} of {total} in {self.manifest.name}"
        nan, inf = sum(array.nan for array in self.arrays), sum(array.inf for array in self.arrays)
        yield f"all values: {nan:,} NaN, {inf:,} infinite"


_MORE = "they are in .arrays, and --json prints them all"


@spelt_out(OpeningOptions)
def verify(
    source: Any,
    *,
    manifest: str | os.PathLike[str] | None = None,
    finite: bool = True,
    **options: Unpack[OpeningOptions],
) -> Verification:
    """Read all of a source, and say whether it is what it was: returns a :class:`Verification`.

    What the format itself can tell is checked: that every part is there, and the checksums that it
    carries. So are the digests of the source's manifest, which ``save(..., manifest=True)`` wrote
    beside it, or of ``manifest``, which must be there then. Values that are NaN or infinite are
    counted, and are a problem unless ``finite=False``. The other options are those of
    :func:`initreg.open`. One array at a time for each thread is in memory.

    What is wrong with the file is in the answer. What keeps from having one is raised, unless the
    manifest has one: SourceNotFound, UnreadableFile, AmbiguousSource, MissingLibrary.

    A manifest that came with the file shows what happened to both by accident. To know that nobody
    changed the file on purpose, get the manifest from where you trust it, and name it.

    >>> initreg.verify("model.safetensors").ok  # doctest: +SKIP
    """
    opening = opening_of(options, "verify", OpeningOptions)
    label = Source(source).label
    given = None if manifest is None else Path(os.path.expanduser(os.fspath(manifest)))
    if given is not None and not given.exists():
        raise SourceNotFound(f"{given}: no such manifest")
    try:
        opened = opening.open(source)
    except InitregError as error:
        found = given or _manifest_of(source, ())
        changed = _files_problems(found)[1] if found is not None else []
        if not changed and not isinstance(error, _WRONG):
            raise
        said = (_without(str(error), label), *changed)
        return Verification(label, None, found, (), 0, said)
    with opened:
        return _verification(opened, source, given, finite)


def _verification(opened: ArrayMap, source: Any, given: Path | None, finite: bool) -> Verification:
    arrays = sorted(opened.values(), key=position)
    path = given or _manifest_of(source, sorted({f for a in arrays for f in _files_of(a)}))
    problems: list[str] = []
    digests: Mapping[str, manifests.ArrayDigest] = {}
    if path is not None:
        digests, problems = _files_problems(path)
    absent = [name for name in digests if name not in opened]
    problems += [
        f"{line}: in the manifest, but not in the file"
        for line in names_text([(name, "") for name in absent], more=_MORE)
    ]
    checked = {
        found.name: found for found in _all(arrays, digests if path is not None else None, finite)
    }
    nbytes = sum(spec.nbytes or 0 for spec in opened.specs())
    ordered = tuple(checked[name] for name in opened)
    return Verification(opened.label, opened.format, path, ordered, nbytes, tuple(problems))


def _without(message: str, label: str) -> str:
    """An error that names what the answer names already, without that."""
    return message.removeprefix(label).lstrip(": ")


# --- the manifest -------------------------------------------------------------------------------


def _manifest_of(source: Any, files: Any) -> Path | None:
    path = Source(source).path if not isinstance(source, ArrayMap) else None
    return None if path is None else manifests.find(path, files)


def _files_of(array: LazyArray) -> Iterator[Path]:
    value = array.value
    extents = [extent for _, extent in value.slices] if isinstance(value, SlicedExtent) else [value]
    for extent in extents:
        if isinstance(extent, Extent):
            yield extent.file


def _files_problems(path: Path) -> tuple[Mapping[str, manifests.ArrayDigest], list[str]]:
    """The digests of arrays in a manifest, and what of its files is not as it says."""
    try:
        known = manifests.read(path)
    except InitregError as error:
        return {}, [str(error)]
    problems = []
    for name, expected in known.files.items():
        try:
            found = manifests.digest_of_file(path.with_name(name))
        except FileNotFoundError:
            problems.append(f"{name}: in the manifest, but there is no such file")
        except OSError as error:
            problems.append(f"{name}: in the manifest, but cannot be read: {error.strerror}")
        else:
            if found.nbytes != expected.nbytes:
                problems.append(
                    f"{name}: has {found.nbytes:,} bytes, in the manifest {expected.nbytes:,}"
                )
            elif found != expected:
                problems.append(f"{name}: its SHA-256 is not the manifest's: its bytes changed")
    return known.arrays, problems


# --- arrays -------------------------------------------------------------------------------------


def _all(
    arrays: list[LazyArray], digests: Mapping[str, manifests.ArrayDigest] | None, finite: bool
) -> Iterator[Verified]:
    """Each array, checked by one of several threads; what is no extent, whose library may not be
    made for that, by this one."""
    running: deque[Future[Verified]] = deque()
    with ThreadPoolExecutor(threads := thread_count(), "initreg-verify") as pool:
        for array in arrays:
            if isinstance(array.value, (Extent, SlicedExtent)):
                running.append(pool.submit(_checked, array, digests, finite))
            else:
                yield _checked(array, digests, finite)
            if len(running) > threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _checked(
    array: LazyArray, digests: Mapping[str, manifests.ArrayDigest] | None, finite: bool
) -> Verified:
    spec = array.spec
    summed = array.stored.owner.has_checksum or _has_checksum(array.value)
    expected = (digests or {}).get(array.name)
    label = array.stored.owner.label
    nan = inf = 0
    problem = ""
    if digests is not None and expected is None:
        problem = "is in no manifest"
    elif expected is not None and (expected.shape, expected.dtype) != (spec.shape, spec.dtype):
        problem = (
            f"{shape_text(spec.shape)} {spec.dtype}, in the manifest "
            f"{shape_text(expected.shape)} {expected.dtype}"
        )
    try:
        values = array.read()
        nan, inf = _not_finite(values)
        is_comparable = expected is not None and not problem
        found = manifests.digest_of_array(values) if is_comparable else ""
        if is_comparable and expected is not None and found != expected.sha256:
            problem = "its SHA-256 is not the manifest's: its values changed"
    except InitregError as error:
        problem = _without(_without(str(error), label), f"array {array.name!r}")
    except (MemoryError, TypeError, ValueError) as error:
        problem = f"cannot be read: {type(error).__name__}: {error}"
    if finite and not problem and (nan or inf):
        total = plural(values.size, "value")
        problem = f"{nan:,} NaN and {inf:,} infinite of {total}"
    return Verified(
        spec.name, spec.shape, spec.dtype, summed, expected is not None, nan, inf, problem
    )


def _has_checksum(value: Any) -> bool:
    if isinstance(value, SlicedExtent):
        return bool(value.slices) and all(e.checksum is not None for _, e in value.slices)
    if isinstance(value, Extent):
        return value.checksum is not None
    return getattr(value, "has_checksum", False) is True


def _not_finite(values: np.ndarray[Any, Any]) -> tuple[int, int]:
    """How many values are NaN and how many infinite, those in the fields of structures too."""
    import numpy as np

    if values.dtype.names:
        counts = [_not_finite(values[name]) for name in values.dtype.names]
        return sum(nan for nan, _ in counts), sum(inf for _, inf in counts)
    if values.dtype.kind in "OSUTbiumM":
        return 0, 0
    nan = inf = 0
    flat = values.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        try:
            odd = chunk[~np.isfinite(chunk)]
        except TypeError:  # raw bytes, or a dtype of ml_dtypes that has neither
            return 0, 0
        if odd.size:
            none = int(np.isnan(odd).sum())
            nan, inf = nan + none, inf + odd.size - none
    return nan, inf
