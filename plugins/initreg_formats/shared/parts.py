"""An index and its parts: the files beside the index that it names.

Used by the formats that keep one model in several files. Only files beside the index are opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from initreg import DamagedFile, DuplicateName, InitregError, Source, part_sets
from initreg_formats.shared.strict_json import parse_object

LONGEST_INDEX = 100_000_000  # bytes
_SHOWN = 5
_NOT_PLAIN = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]|^\.*$")


def weight_map(index: Source) -> dict[str, Any]:
    """The ``weight_map`` of a JSON index: from what is stored to the name of its part.

    The values are not checked. Raises DamagedFile as :func:`content_of` does.
    """
    return content_of(index)[1]


def content_of(index: Source) -> tuple[dict[str, Any], dict[str, Any]]:
    """All of a JSON index, and its ``weight_map``.

    Raises DamagedFile if the index is too long, is not JSON, or has no such object.
    """
    what = index.label
    if index.size > LONGEST_INDEX:
        raise DamagedFile(
            f"{what}: this index has {index.size:,} bytes, and at most {LONGEST_INDEX:,} are read"
        )
    content = parse_object(index.read(0, index.size), what)
    found = content.get("weight_map")
    if not isinstance(found, dict):
        raise DamagedFile(f"{what}: this index has no weight_map. Download or copy it again")
    return content, found


def parts_of(index: Source, names: Iterable[str]) -> list[Source]:
    """The parts that an index names: files in the folder of the index.

    Args:
        index: the index.
        names: the names of the parts, as the index spells them.

    Raises:
        RefusedFile: a name leads to another folder.
        DamagedFile: parts are missing, or are what a failed download left. If the folder has parts
            that the index does not name, then the index is of another save, and the advice differs.
    """
    assert index.path is not None
    names = list(names)
    folder = index.path.parent
    gone = [name for name in names if not os.path.lexists(folder / name)]
    for name in gone:
        if _NOT_PLAIN.search(name):
            index.part(name)  # which refuses the name
    if gone:
        raise DamagedFile(f"{index.label}: {_missing(gone, names, folder)}")
    return [index.part(name) for name in names]


def _missing(gone: list[str], names: list[str], folder: Path) -> str:
    """Which parts are missing, and what to do."""
    shown = ", ".join(gone[:_SHOWN]) + (", ..." if len(gone) > _SHOWN else "")
    what = (
        "part " + shown + " is" if len(gone) == 1 else f"{len(gone):,} parts are missing: {shown}"
    )
    what += " missing" if len(gone) == 1 else ""
    others = _strangers(names, folder)
    if others:
        return (
            f"{what}. But the folder has {others}, which this index does not name: the index is "
            "from another save. Download or copy the index again, with the parts of its own save"
        )
    return f"{what}. It should lie beside the index, in {folder}. Download it too"


def _strangers(names: list[str], folder: Path) -> str:
    """The sets in the folder whose names are like those of the index, and that it does not name."""
    try:
        there = os.listdir(folder)
    except OSError:
        return ""
    named = part_sets(names)
    alike = {(each.stem, each.ending) for each in named}
    known = {(each.stem, each.ending, each.count) for each in named}
    found = [
        each
        for each in part_sets(there)
        if (each.stem, each.ending) in alike and (each.stem, each.ending, each.count) not in known
    ]
    return ", ".join(map(str, found))


def index_of(part: Source, name: str) -> Source | None:
    """The index beside a part, if there is one, which then has to name it.

    Args:
        part: the part.
        name: how the index is called.

    Raises:
        InitregError: the index does not name the part.
    """
    assert part.path is not None
    if not os.path.lexists(part.path.with_name(name)):
        return None
    index = part.part(name)
    named = {
        each
        for value in weight_map(index).values()
        for each in (value if isinstance(value, list) else [value])
        if isinstance(each, str)
    }
    if part.path.name in named:
        return index
    shown = ", ".join(sorted(named)[:_SHOWN]) + (", ..." if len(named) > _SHOWN else "")
    raise InitregError(
        f"{part.label}: the index beside it, {name}, names other parts: {shown}. So it is from "
        f"another save. Open the index for that one. For this one, remove the index, or put the "
        "part and the others of its save into another folder"
    )


def together(parts: Iterable[tuple[Source, Mapping[str, Any]]]) -> dict[str, Any]:
    """The arrays of several parts. Raises DuplicateName if two parts have one of the same name."""
    arrays: dict[str, Any] = {}
    owners: dict[str, Source] = {}
    for part, found in parts:
        for name, value in found.items():
            if name in arrays:
                raise DuplicateName(
                    f"{part.label}: array {name!r} is also in {owners[name].label}. The parts come "
                    "from different saves. Download or copy all of them again"
                )
            arrays[name], owners[name] = value, part
    return arrays
