"""Sets of parts: which one a folder or a pattern means, and opening all parts of one."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from initreg.arrays.array_map import listed
from initreg.errors import AmbiguousSource, DamagedFile, DuplicateName
from initreg.plugin.part_names import part_sets, shown
from initreg.plugin.source import Source
from initreg.store_paths import FilePath

_PATTERN = re.compile(r"[*?\[]")


def entry(source: Source) -> Source | None:
    """The first part of the set that a folder or a pattern means. None if it means none.

    A pattern is a path that does not exist, with ``*``, ``?`` or ``[...]`` in its name.

    Raises:
        AmbiguousSource: there are several sets.
        DamagedFile: parts of the set are missing.
    """
    if source.path is None:
        return None
    if source.is_dir:
        folder, names = source, list(source.names)
    elif not source.exists and _PATTERN.search(source.path.name):
        folder = Source(source.path.parent, of=source)
        names = fnmatch.filter(folder.names, source.path.name)
    else:
        return None
    sets = part_sets(names)
    if not sets:
        return None
    if not source.is_dir and sum(len(each.names) for each in sets) < len(names):
        raise AmbiguousSource(
            f"{source.label}: matches {len(names):,} files, of which not all are parts of a set: "
            f"{shown(names, len(names))}. Give one of them, or several as a list"
        )
    if len(sets) > 1:
        found = [*map(str, sets)]
        raise AmbiguousSource(
            f"{source.label}: holds several sets of files: {shown(found, len(found))}. Give one "
            "file of the set that you mean"
        )
    assert folder.path is not None
    if source.is_dir and not sets[0].is_complete:
        raise DamagedFile(sets[0].complaint(f"{source.label}: holds {sets[0]}", folder.path))
    return folder.part(next(iter(sets[0].names.values())))


class Parts(dict[str, Any]):
    """The arrays of all parts of a set, each opened by a format that opens one file.

    Attributes:
        files: the paths of the parts.
        has_checksum: whether that holds for all parts.
        parameters: those of all parts, if each part says which they are.
        metadata: that of each part.
        not_arrays: what else the parts hold.
        reordered: the arrays of all parts that are in another order, by their names or globs.
    """

    def __init__(self, files: Iterable[FilePath]) -> None:
        super().__init__()
        self.files = tuple(files)
        self.has_checksum = False
        self._opened: list[Mapping[str, Any]] = []

    def add(self, part: Source, arrays: Mapping[str, Any]) -> None:
        """Add the arrays of one part. Raises DuplicateName if another part has one of them."""
        self._opened.append(arrays)
        for name, value in listed(arrays):
            if name in self:
                raise DuplicateName(
                    f"{part.label}: array {name!r} is also in another part of the set. The parts "
                    "come from different saves. Download or copy all of them again"
                )
            self[name] = value
        self.has_checksum = all(getattr(a, "has_checksum", False) is True for a in self._opened)

    @property
    def parameters(self) -> tuple[str, ...] | None:
        found = [getattr(each, "parameters", None) for each in self._opened]
        if not all(isinstance(each, tuple) for each in found):
            return None
        return tuple(itertools.chain.from_iterable(each for each in found if each is not None))

    @property
    def metadata(self) -> tuple[Any, ...]:
        found = [getattr(each, "metadata", ()) for each in self._opened]
        return tuple(
            itertools.chain.from_iterable(
                each if isinstance(each, tuple) else (each,) for each in found
            )
        )

    @property
    def not_arrays(self) -> tuple[str, ...]:
        found = (getattr(each, "not_arrays", ()) for each in self._opened)
        return tuple(itertools.chain.from_iterable(found))

    @property
    def reordered(self) -> dict[str, Any]:
        """One part may say it of all."""
        found: dict[str, Any] = {}
        for each in self._opened:
            found |= getattr(each, "reordered", None) or {}
        return found

    def close(self) -> None:
        for each in self._opened:
            close = getattr(each, "close", None)
            if callable(close):
                close()


def open_all(
    parts: tuple[Source, ...], opened: Callable[[Source], Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Open each part of a set, and put their arrays together.

    Args:
        parts: the parts.
        opened: opens one of them.
    """
    found = Parts(part.path for part in parts if part.path is not None)
    try:
        for part in parts:
            found.add(part, opened(part))
    except BaseException:
        found.close()
        raise
    return found
