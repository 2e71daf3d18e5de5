"""An index and its parts: the files beside the index that it names.

Used by the formats that keep one model in several files. Only files beside the index are opened.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from initreg import DamagedFile, RefusedFile, Source
from initreg_formats.shared.strict_json import parse_object

LONGEST_INDEX = 100_000_000  # bytes
# Separators, and control characters, which no writer of weights puts into a name.
_NOT_IN_NAMES = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]")


def weight_map(index: Source) -> dict[str, Any]:
    """The ``weight_map`` of a JSON index: from what is stored to the name of its part.

    The values are not checked. Raises DamagedFile if the index is too long, is not JSON, or has no
    such object.
    """
    what = index.label
    if index.size > LONGEST_INDEX:
        raise DamagedFile(
            f"{what}: this index has {index.size:,} bytes, and at most {LONGEST_INDEX:,} are read"
        )
    found = parse_object(index.read(0, index.size), what).get("weight_map")
    if not isinstance(found, dict):
        raise DamagedFile(f"{what}: this index has no weight_map. Download or copy it again")
    return found


def part_of(index: Path, name: str, what: str) -> Source:
    """The part that an index names: a file in the folder of the index.

    Args:
        index: the path of the index.
        name: the part's name, as the index spells it.
        what: what messages call the index.

    Raises:
        RefusedFile: the name leads to another folder.
        DamagedFile: the part is missing.
    """
    if name in ("", ".", "..") or _NOT_IN_NAMES.search(name):
        raise RefusedFile(
            f"{what}: its part {name!r} is not a plain file name. The parts must lie beside the "
            "index"
        )
    folder = index.parent
    path = folder.absolute() / name  # absolute, so that a leading ~ means nothing
    refuse_link_out(path, what, index)
    part = Source(path)
    if not part.exists:
        raise DamagedFile(
            f"{what}: part {name} is missing. It should lie beside the index, in {folder}. "
            "Download it too"
        )
    if not part.is_file:
        raise DamagedFile(f"{what}: its part {name} is not a file. Download it again")
    return part


def refuse_link_out(path: Path, what: str, main: Path | None = None) -> None:
    """Refuse a part that is a link out of its folder.

    Args:
        path: the part.
        what: what messages call the source.
        main: the file that the user named, or the index. Parts may also lie where it leads, if it
            is a link itself.

    Raises:
        RefusedFile: the link leads out of the folder.
    """
    if path.is_symlink() and not _stays_home(path, main):
        raise RefusedFile(
            f"{what}: its part {path.name} is a link out of the folder, to "
            f"{os.path.realpath(path)}. If you trust it, put the file itself there"
        )


def _stays_home(link: Path, main: Path | None) -> bool:
    """Whether a link leads into its own folder, or into the ``blobs`` of a Hugging Face cache.

    Every file of a snapshot there is such a link: ``snapshots/REVISION/x -> ../../blobs/y``.
    """
    target = Path(os.path.realpath(link)).parent
    folder = Path(os.path.realpath(link.parent))
    if target == folder or (main is not None and target == Path(os.path.realpath(main)).parent):
        return True
    return folder.parent.name == "snapshots" and target == folder.parent.parent / "blobs"
