"""Verify a file: read every byte of every array, and report what is wrong."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from initreg.api.opening_options import OpeningOptions, opening_of, spelt_out, switch
from initreg.api.progressing import Done, shown
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.codecs import has_checksum
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.saved import Progress
from initreg.arrays.streaming import at_hand, position
from initreg.arrays.threads import pool_for, thread_count
from initreg.errors import (
    DamagedFile,
    DuplicateName,
    InitregError,
    NotEnoughMemory,
    RefusedFile,
    SourceNotFound,
    UnknownFormat,
)
from initreg.option_spelling import Spelt, either, join, option, said
from initreg.plugin.installed import default_registry
from initreg.plugin.part_names import refuse_link_out
from initreg.plugin.source import Source
from initreg.specs import ChunkedExtent, Extent, OpaqueExtent, SlicedExtent
from initreg.storage import manifests
from initreg.store_paths import FilePath
from initreg.text.limits import checked_limit
from initreg.text.wording import names_text, plural, printable, shape_text, size_text

if TYPE_CHECKING:
    import numpy as np

_CHUNK = 1 << 20  # elements that are checked at a time
# Errors of opening that say what is wrong with the file, so they are part of the answer. After any
# other error the file could not be checked.
_WRONG = (DamagedFile, DuplicateName, RefusedFile, UnknownFormat)


@dataclass(frozen=True, slots=True)
class Verified:
    """The result for one array.

    Args:
        name: its name.
        shape: its shape.
        dtype: its dtype, a name as in :mod:`initreg.dtypes`.
        has_checksum: whether the format has a checksum for it. It was compared.
        in_manifest: whether the manifest has its digest. It was compared.
        nan: how many values are NaN.
        inf: how many values are infinite.
        problem: what is wrong with it, "" if nothing is.
        is_opaque: whether its bytes alone were read, because numpy does not have its dtype.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    has_checksum: bool = False
    in_manifest: bool = False
    nan: int = 0
    inf: int = 0
    problem: str = ""
    is_opaque: bool = False


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of :func:`verify`.

    Args:
        source: what messages call the source.
        format: the format that opened it, None if it could not be opened.
        manifest: the manifest that it was compared with, None if there was none.
        arrays: the result for each array, with its own problem.
        nbytes: the size of all arrays in memory.
        problems: the problems of the file as a whole.
    """

    source: str
    format: str | None
    manifest: FilePath | None
    arrays: tuple[Verified, ...]
    nbytes: int
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems and not any(array.problem for array in self.arrays)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain dicts, lists and strings."""
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
                    "is_opaque": array.is_opaque,
                }
                for array in self.arrays
            ],
        }

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, limit: int | None = 20) -> str:
        """What was checked and what is wrong, in at most ``limit`` folded lines of names.

        With None, all names are in them.

        Raises:
            RuleError: the limit is not a number of lines.
        """
        limit = checked_limit(limit)
        wrong = [(array.name, array.problem) for array in self.arrays if array.problem]
        count = len(self.problems) + len(wrong)
        if self.format is None:
            lines = [f"{self.source}: cannot be opened"]
        else:
            what = f"{self.format}, {plural(len(self.arrays), 'array')}, {size_text(self.nbytes)}"
            lines = [f"{self.source}: {plural(count, 'problem') if count else 'fine'} ({what})"]
        lines += ["  " + printable(problem) for problem in self.problems]
        lines += ["  " + line for line in names_text(wrong, limit, gap=": ", more=_MORE)]
        if self.format is not None:
            lines += ["  checked  " + line for line in self._checked()]
        return join("\n", lines)

    def _repr_html_(self) -> str:
        """The result as HTML, which a notebook shows. It is red if something is wrong."""
        from initreg.text.markup import LIMIT, names, notebook, text, verdict

        headline, *_ = self.to_text(0).split("\n")
        wrong = [(array.name, array.problem) for array in self.arrays if array.problem]
        parts = [f"<p>{text(problem)}</p>" for problem in self.problems[:LIMIT]]
        parts += [names(wrong, "they are in .arrays")] if wrong else []
        if self.format is not None:
            parts += [f'<p class="faint">checked {text(line)}</p>' for line in self._checked()]
        return notebook(verdict(headline, is_bad=not self.ok), *parts)

    def _checked(self) -> Iterator[str]:
        total = plural(len(self.arrays), "array")
        summed = sum(array.has_checksum for array in self.arrays)
        text = f"the format's checksums of {summed:,} of {total}"
        if not summed and not self.manifest:
            text += ". To have digests, save with " + option("manifest", True)
        yield text
        if self.manifest is not None:
            known = sum(array.in_manifest for array in self.arrays)
            yield f"the digests of {known:,} of {total} in {self.manifest.name}"
        nan, inf = sum(array.nan for array in self.arrays), sum(array.inf for array in self.arrays)
        yield f"all values: {nan:,} NaN, {inf:,} infinite"
        opaque = [array.dtype for array in self.arrays if array.is_opaque]
        if opaque:
            kinds = ", ".join(dict.fromkeys(opaque))
            yield (
                f"the bytes of {plural(len(opaque), 'array')}, and not their values, because numpy "
                f"does not have their dtypes: {printable(kinds)}"
            )


_MORE = either("they are in .arrays and .problems", "--all shows them all")


@spelt_out(OpeningOptions)
def verify(
    source: Any,
    *,
    manifest: str | os.PathLike[str] | None = None,
    finite: bool = True,
    progress: Progress | bool | None = None,
    **options: Unpack[OpeningOptions],
) -> Verification:
    """Read all of a source, and report whether it is as it was saved.

    Every part of the file must be there, and the checksums of the format must match. So must the
    digests of the manifest, if there is one. Each thread has one array in memory at a time.

    A manifest that came with the file shows only accidental changes. To know that nobody changed
    the file on purpose, get the manifest from a place that you trust, and pass it.

    Args:
        source: any source that :func:`initreg.open` takes.
        manifest: the manifest, which must exist. By default it is the one beside the source, which
            ``save(..., manifest=True)`` wrote, if there is one.
        finite: whether values that are NaN or infinite are a problem. They are counted anyway.
        progress: as for :func:`initreg.load`.
        options: ``format``, ``allow_pickle``, ``native`` and ``max_inflation``, as for
            :class:`initreg.SmartInit`.

    Returns:
        A :class:`Verification`. Everything that is wrong with the file is in it.

    Raises:
        SourceNotFound, UnreadableFile, AmbiguousSource, MissingLibrary: the source cannot be
            checked, and the manifest shows no problem either. A manifest that was passed and does
            not exist is a SourceNotFound, too.

    >>> initreg.verify("model.safetensors").ok  # doctest: +SKIP
    """
    opening = opening_of(options, "verify", OpeningOptions)
    finite = switch(finite, "finite")
    opening.check_options([source])
    if opening.format is not None and opening.format not in default_registry().formats():
        opening.open(source)  # raises: the question is wrong, and not the file
    named = None if isinstance(source, ArrayMap) else opening.source(source)
    label = source.label if named is None else named.label
    given = None
    if manifest is not None:
        asked = opening.source(manifest)
        if not asked.exists:
            raise SourceNotFound(f"{asked.label}: no such manifest")
        given = asked.path
    try:
        opened = opening.open(source)
    except InitregError as error:
        found = given or _manifest_of(named, ())
        changed = _files_problems(found)[1] if found is not None else []
        if not changed and not isinstance(error, _WRONG):
            raise
        problem = _without(printable(said(error)), label)
        return Verification(label, None, found, (), 0, (problem, *changed))
    with opened:
        with shown(progress) as report:
            return _verification(opened, named, given, finite, report)


def _verification(
    opened: ArrayMap,
    named: Source | None,
    given: FilePath | None,
    finite: bool,
    report: Progress | None,
) -> Verification:
    arrays = sorted(opened.values(), key=position)
    path = given or _manifest_of(named, {f for a in arrays for f in _files_of(a)})
    problems: list[str] = []
    digests: Mapping[str, manifests.ArrayDigest] = {}
    if path is not None:
        digests, problems = _files_problems(path)
    absent = [name for name in digests if name not in opened]
    problems += [
        f"{line}: in the manifest, but not in the file"
        for line in names_text([(name, "") for name in absent], more=_MORE)
    ]
    done = Done(report, arrays)
    checked = {}
    for found in _all(arrays, digests if path is not None else None, finite):
        checked[found.name] = found
        done.add(opened[found.name])
    nbytes = sum(spec.nbytes or 0 for spec in opened.specs())
    ordered = tuple(checked[name] for name in opened)
    return Verification(opened.label, opened.format, path, ordered, nbytes, tuple(problems))


def _without(message: str, label: str) -> str:
    """The message of an error without the name that it begins with."""
    left = message.removeprefix(label).lstrip(": ")
    return message.after(len(message) - len(left)) if isinstance(message, Spelt) else left


# --- the manifest -------------------------------------------------------------------------------


def _manifest_of(named: Source | None, files: Iterable[FilePath]) -> FilePath | None:
    if named is None or named.path is None:
        return None
    found = manifests.find(named.path, sorted(files, key=str))
    if isinstance(found, Path) and isinstance(named.path, Path):  # a store has no links
        refuse_link_out(found, named.label, named.path)
    return found


def _files_of(array: LazyArray) -> Iterator[FilePath]:
    for value in array.read_from:
        sliced = isinstance(value, SlicedExtent)
        for extent in [extent for _, extent in value.slices] if sliced else [value]:
            if isinstance(extent, (Extent, ChunkedExtent, OpaqueExtent)):
                yield extent.file


def _files_problems(path: FilePath) -> tuple[Mapping[str, manifests.ArrayDigest], list[str]]:
    """The digests of arrays in a manifest, and the problems of the files that it lists."""
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
    """Each array, checked by one of several threads.

    Arrays that a library reads are checked by the calling thread, because the library may not
    support threads.
    """
    running: deque[Future[Verified]] = deque()
    threads = thread_count()
    with pool_for(sum(each.spec.nbytes or 0 for each in arrays)) as pool:
        for array in at_hand(arrays):
            if isinstance(array.value, (ChunkedExtent, Extent, OpaqueExtent, SlicedExtent)):
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
    summed = array.stored.owner.has_checksum or all(map(_has_checksum, array.read_from))
    expected = (digests or {}).get(array.name)
    label = array.stored.owner.label
    nan = inf = 0
    problem = ""
    if digests is not None and expected is None:
        problem = "is not in the manifest"
    elif expected is not None and (expected.shape, expected.dtype) != (spec.shape, spec.dtype):
        problem = (
            f"{shape_text(spec.shape)} {spec.dtype}, in the manifest "
            f"{shape_text(expected.shape)} {expected.dtype}"
        )
    is_opaque = spec.opaque is not None
    try:
        values = (array.as_bytes() if is_opaque else array).read()
        nan, inf = _not_finite(values)
        is_comparable = expected is not None and not problem
        found = manifests.digest_of_array(values) if is_comparable else ""
        if is_comparable and expected is not None and found != expected.sha256:
            problem = "its SHA-256 is not the manifest's: its values changed"
    except NotEnoughMemory:  # which is not the fault of the file
        raise
    except MemoryError as error:
        raise NotEnoughMemory.of(f"{label}: array {array.name!r}") from error
    except InitregError as error:
        problem = _without(_without(printable(said(error)), label), f"array {array.name!r}")
    except (TypeError, ValueError) as error:
        problem = f"cannot be read: {type(error).__name__}: {error}"
    if finite and not problem and (nan or inf):
        total = plural(values.size, "value")
        problem = f"{nan:,} NaN and {inf:,} infinite of {total}"
    return Verified(
        spec.name,
        spec.shape,
        spec.dtype,
        summed,
        expected is not None,
        nan,
        inf,
        problem,
        is_opaque,
    )


def _has_checksum(value: Any) -> bool:
    if isinstance(value, SlicedExtent):
        return bool(value.slices) and all(e.checksum is not None for _, e in value.slices)
    if isinstance(value, Extent):
        return value.checksum is not None
    if isinstance(value, ChunkedExtent):
        return bool(value.chunks) and all(has_checksum(value.codecs, c) for c in value.chunks)
    return getattr(value, "has_checksum", False) is True


def _not_finite(values: np.ndarray[Any, Any]) -> tuple[int, int]:
    """How many values are NaN and how many are infinite, including those in structures."""
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
        except TypeError:  # raw bytes, or a dtype of ml_dtypes without NaN and infinity
            return 0, 0
        if odd.size:
            none = int(np.isnan(odd).sum())
            nan, inf = nan + none, inf + odd.size - none
    return nan, inf
