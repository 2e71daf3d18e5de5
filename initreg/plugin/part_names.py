"""The names of parts, such as ``m-00001-of-00003.gguf``: which belong together, which are missing.

Source of the names: transformers and safetensors write ``model-00001-of-00003.safetensors``,
llama.cpp ``model-00001-of-00003.gguf``, TensorFlow ``model.ckpt.data-00000-of-00003``.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from initreg.errors import DamagedFile, RefusedFile, UnreadableFile, one_line
from initreg.records import record
from initreg.storage.paths import names_in, which_are_there
from initreg.store_paths import FilePath, StorePath

# Separators, and control characters, which no writer of weights puts into a name.
_NOT_IN_NAMES = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]")
_PART = re.compile(r"(.+[-_.])(\d{1,9})-of-(\d{1,9})((?:\.[^/]*)?)", re.S)
_SHOWN = 5
_MOST_ASKED = 2000  # parts that a store is asked for one by one


@record()
class PartName:
    """The name of one part of a set: ``m-00001-of-00003.gguf`` is ``m-``, 1, 3 and ``.gguf``.

    ``number`` and ``count`` are as they are spelt.
    """

    stem: str
    number: str
    count: str
    ending: str

    @classmethod
    def of(cls, name: str) -> PartName | None:
        """The part that a file is by its name. None for the only part of a set, and for a file that
        is not named so."""
        found = _PART.fullmatch(name)
        return cls(*found.groups()) if found is not None and int(found[3]) > 1 else None


@record()
class PartSet:
    """The parts of one set that exist: their names by their numbers."""

    stem: str
    count: str
    ending: str
    names: Mapping[int, str]

    def __str__(self) -> str:
        name = one_line(f"{self.stem}*-of-{self.count}{self.ending}")
        return f"{name} ({len(self.names)} of {self.size} parts)"

    @property
    def size(self) -> int:
        return int(self.count)

    @property
    def numbers(self) -> range:
        """The numbers of all parts. They begin with 1, or with 0 if there is a part 0."""
        first = 0 if 0 in self.names else 1
        return range(first, first + self.size)

    @property
    def strangers(self) -> list[str]:
        """The parts whose numbers are beyond the set."""
        return [name for number, name in self.names.items() if number not in self.numbers]

    @property
    def is_complete(self) -> bool:
        return len(self.names) == self.size and not self.strangers

    def missing(self) -> tuple[int, list[str]]:
        """How many parts are missing, and the names of the first ones."""
        gone = (number for number in self.numbers if number not in self.names)
        names = [self._name(number) for number in itertools.islice(gone, _SHOWN)]
        if names and 0 not in self.names and self.size not in self.names:
            names[-1] += f" (or {self._name(0)}, if the numbers begin with 0)"
        return self.size + len(self.strangers) - len(self.names), names

    def _name(self, number: int) -> str:
        width = len(next(iter(self.names.values()))[len(self.stem) :].partition("-of-")[0])
        return f"{self.stem}{number:0{width}d}-of-{self.count}{self.ending}"

    def complaint(self, what: str, folder: FilePath) -> str:
        """Why the set is not complete, and what to do, as ``what`` is to go on."""
        if self.strangers:
            return (
                f"{what}. {shown(self.strangers, len(self.strangers))} cannot be one of its "
                f"parts, which have the numbers {self.numbers[0]} to {self.numbers[-1]}. Copy all "
                "parts again"
            )
        count, names = self.missing()
        is_or_are = "is" if count == 1 else "are"
        return (
            f"{what}. {count:,} of them {is_or_are} missing: {shown(names, count)}. Download or "
            f"copy the rest into {folder}"
        )


def part_sets(names: Iterable[str]) -> list[PartSet]:
    """The sets of parts among the names of files, hidden files left out."""
    found: dict[tuple[str, str, str], dict[int, str]] = {}
    for name in sorted(names):
        part = PartName.of(name) if not name.startswith(".") else None
        if part is not None:
            key = (part.stem, part.count, part.ending)
            found.setdefault(key, {}).setdefault(int(part.number), name)
    return [PartSet(*key, dict(sorted(parts.items()))) for key, parts in found.items()]


def told(path: FilePath) -> str:
    """What a file is by its name, if it is one part of several, and which others are missing."""
    part = PartName.of(path.name)
    if part is None:
        return ""
    mine, _ = sets_beside(path, part)
    count, names = mine.missing()
    where = f"{count:,} are missing beside it: {shown(names, count)}" if count else "all are there"
    return f"part {int(part.number):,} of {mine.size:,}, of which {where}"


def check(path: FilePath, label: str) -> PartSet | None:
    """The set that a file is one part of by its name. None if it is not.

    Args:
        path: the file.
        label: what messages call it.

    Raises:
        DamagedFile: parts of the set are missing.
    """
    part = PartName.of(path.name)
    if part is None:
        return None
    mine, others = sets_beside(path, part)
    if mine.is_complete:
        return mine
    what = mine.complaint(f"{label}: is one part of {mine.size:,}, by its name", path.parent)
    if others:
        what += f". The folder also has parts of another set: {', '.join(map(str, others))}"
    raise DamagedFile(what)


def sets_beside(path: FilePath, part: PartName) -> tuple[PartSet, list[PartSet]]:
    """The set of a part, and the sets beside it whose names differ by their count only."""
    names = [*_names_beside(path, part), path.name]
    key = (part.stem, part.count, part.ending)
    mine, others = None, []
    for each in part_sets(names):
        if (each.stem, each.count, each.ending) == key:
            mine = each
        elif (each.stem, each.ending) == (part.stem, part.ending):
            others.append(each)
    if mine is None:  # a hidden file
        mine = PartSet(*key, {int(part.number): path.name})
    return mine, others


def _names_beside(path: FilePath, part: PartName) -> Iterable[str]:
    """The names in the folder of a part. If its store cannot list, those of its set are asked for
    one by one."""
    try:
        names = names_in(path.parent)
    except (OSError, UnreadableFile):
        return ()
    if names is not None or int(part.count) > _MOST_ASKED:
        return names or ()
    first = 1 if int(part.number) else 0
    width = len(part.number)
    wanted = [
        f"{part.stem}{number:0{width}d}-of-{part.count}{part.ending}"
        for number in range(int(part.count) + first)
    ]
    return which_are_there(path.parent, wanted)


def shown(names: Collection[str], count: int) -> str:
    return ", ".join(map(one_line, [*names][:_SHOWN])) + (", ..." if count > _SHOWN else "")


# --- files that are found, not named by the user --------------------------------------------------


def check_name(name: str, label: str, whole: str = "") -> None:
    """Raise RefusedFile for the name of a part that is not a plain file name.

    It may begin as ``whole`` does, the name of the index, which is the user's.
    """
    pairs = zip(name, whole, strict=False)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    if name in ("", ".", "..") or _NOT_IN_NAMES.search(name, same):
        raise RefusedFile(
            f"{label}: its part {name!r} is not a plain file name. The parts must lie beside the "
            "index"
        )


def refuse_link_out(path: FilePath, label: str, main: FilePath | None = None) -> None:
    """Refuse a file that is a link out of its folder.

    Args:
        path: the file.
        label: what messages call the source.
        main: the file that the user named, or the index. Parts may also lie where it leads, if it
            is a link itself.

    Raises:
        RefusedFile: the link leads out of the folder.
    """
    if isinstance(path, StorePath):
        return  # a store has no links
    if path.is_symlink() and not _stays_home(path, main):
        raise RefusedFile(
            f"{label}: its part {path.name} is a link out of the folder, to "
            f"{os.path.realpath(path)}. If you trust it, put the file itself there"
        )


def _stays_home(link: Path, main: FilePath | None) -> bool:
    """Whether a link leads into its own folder, or into the ``blobs`` of a Hugging Face cache.

    Every file of a snapshot there is such a link: ``snapshots/REVISION/x -> ../../blobs/y``, and
    ``snapshots/REVISION/unet/x -> ../../../blobs/y``.
    """
    target = Path(os.path.realpath(link))
    folder = Path(os.path.realpath(link.parent))
    if target.is_relative_to(folder):
        return True
    if main is not None and target.parent == Path(os.path.realpath(main)).parent:
        return True
    return any(
        above.parent.name == "snapshots" and target.parent == above.parent.parent / "blobs"
        for above in (folder, *folder.parents)
    )
