"""numpy's ``.npz``: a zip archive of ``.npy`` members.

An array is called by its member's name without ``.npy``. Other members are not arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from initreg import Claim, Confidence, OpenOptions, Source, hookimpl
from initreg_formats.shared.zip_member import MAGIC

if TYPE_CHECKING:
    from initreg import Output, Saved, SaveOptions

initreg_endings = (".npz",)


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if not source.head.startswith(MAGIC):
        if source.suffix == ".npz" and source.is_file:
            return Claim(Confidence.NAME, "is named .npz, but is not a zip archive")
        return None
    names = source.members
    if names is None:
        if source.suffix == ".npz" or b".npy" in source.head[:512]:
            return Claim(Confidence.CONTENT, "begins like an .npz, but the archive has no end")
        return None
    names = tuple(name for name in names if not name.endswith("/"))
    arrays = sum(name.endswith(".npy") for name in names)
    if names and arrays == len(names):
        return Claim(Confidence.EXACT, "zip archive whose members are all .npy")
    if arrays:
        return Claim(
            Confidence.CONTENT,
            f"zip archive, {arrays:,} of {len(names):,} members called .npy",
        )
    if source.suffix == ".npz":
        return Claim(Confidence.CONTENT, "zip archive named .npz")
    return None


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_formats.npz import reading

    return reading.open_archive(source, options)


@hookimpl
def initreg_save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    from initreg_formats.npz import writing

    writing.save(arrays, output, options)
