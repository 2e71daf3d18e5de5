"""The names of data files: what is missing, and which files beside it may be meant.

Source of the names: ``DataFilename`` in TensorFlow's core/util/tensor_bundle/naming.cc.
"""

from __future__ import annotations

import re
import shlex

from initreg import DamagedFile, InitregError, SourceNotFound
from initreg.format_tools.files import FilePath, listed

DATA = re.compile(r"(.+)\.data-(\d{5,})-of-(\d{5,})")
_SHOWN = 5


def stem_of(name: str) -> str | None:
    """The prefix that a data file of a shortened name belongs to. None for any other name.

    ``m.ckpt.data`` should be ``m.ckpt.data-00000-of-00001``. Programs that download or send files
    also put a counter or an ending behind such names: ``m.ckpt.data-00000-of-00001 (1)``.
    """
    stem, mark, rest = name.rpartition(".data")
    if not mark or not stem or DATA.fullmatch(name) or not re.match(r"$|[-_ .(\d]", rest):
        return None
    return stem


def missing(what: str, prefix: FilePath, gone: list[str], count: int) -> InitregError:
    """The error for data files that do not exist.

    Args:
        what: what messages call the checkpoint.
        prefix: its prefix.
        gone: the names of the files.
        count: how many data files the index counts.
    """
    more = ", ..." if len(gone) > _SHOWN else ""
    said = (
        f"{what}: missing {len(gone)} of the {count} data files: {', '.join(gone[:_SHOWN])}{more}"
    )
    there = _names(prefix.parent)
    counts = {m[3] for m in map(DATA.fullmatch, there) if m is not None and m[1] == prefix.name}
    others = sorted(each for each in counts if int(each) != count)
    if others:
        return DamagedFile(
            f"{said}. But {prefix.parent} has {prefix.name}.data-*-of-{others[0]}, which is of "
            "another save than the index. Copy the index and the data files again, from one save"
        )
    like = [name for name in there if stem_of(name) == prefix.name]
    if like:
        old, new = (shlex.quote(str(prefix.with_name(n))) for n in (like[0], gone[0]))
        return SourceNotFound(
            f"{said}. There is {', '.join(like[:_SHOWN])}, which may be one of them under a "
            f"shortened name. If it is, give it its full name: mv {old} {new}"
        )
    return DamagedFile(f"{said}. Copy them into {prefix.parent}")


def check_named(what: str, prefix: FilePath, named: str, count: int) -> None:
    """Raise InitregError if the user named a data file that is not one of the index."""
    if stem_of(named) == prefix.name:
        raise InitregError(
            f"{what}: {named} is not the name of one of its {count} data files, which all exist. "
            f"Open them by the prefix, {prefix}, or give the file the name that it should have"
        )
    match = DATA.fullmatch(named)
    if match is not None and match[1] == prefix.name and int(match[3]) != count:
        raise DamagedFile(
            f"{what}: the index counts {count} data files, and {named} is of {int(match[3])}. They "
            "are from different saves. Open the prefix, or copy the index and the data files of "
            "one save again"
        )


def _names(folder: FilePath) -> list[str]:
    return sorted(listed(folder))
