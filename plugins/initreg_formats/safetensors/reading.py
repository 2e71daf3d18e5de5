"""Reading one safetensors file: where each array lies, from the header."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from initreg import DamagedFile, Extent, Source
from initreg_formats.safetensors.claiming import LONGEST_HEADER
from initreg_formats.safetensors.dtypes import DTYPES
from initreg_formats.shared.strict_json import parse_object
from initreg_formats.shared.unreadable import OpaqueDtype, Unreadable

_MOST_AXES = 64  # numpy's limit
_MOST_BYTES = 1 << 62
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}


def open_file(source: Source) -> dict[str, Any]:
    """Every array by name. Raises DamagedFile."""
    what = source.label
    if source.size < 8:
        raise DamagedFile(
            f"{what}: has {source.size} bytes, too few for a safetensors file. Download or copy it "
            "again"
        )
    size = int.from_bytes(source.head[:8], "little")
    if size > LONGEST_HEADER or size + 8 > source.size:
        raise DamagedFile(
            f"{what}: its header should have {size:,} bytes, but the file has {source.size:,}. It "
            "is truncated, or not a safetensors file. Download or copy it again"
        )
    text = source.read(8, size)
    if not text.startswith(b"{"):
        raise DamagedFile(
            f"{what}: its header does not begin with '{{', so it is not a safetensors file"
        )
    header = parse_object(text, what)
    metadata = header.pop(_METADATA, None)
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    ):
        raise DamagedFile(f"{what}: its {_METADATA} is not an object of strings")
    assert source.path is not None
    arrays: dict[str, Any] = {}
    spans: list[tuple[int, int, str]] = []
    for name in [*header]:
        # Entries are removed, so that a header of a million names is not in memory twice.
        begin, end, array = _array(source.path, 8 + size, name, header.pop(name), what)
        arrays[name] = array
        spans.append((begin, end, name))
    _check_cover(spans, source.size - 8 - size, what)
    return arrays


def _array(
    path: Path, start: int, name: str, entry: Any, what: str
) -> tuple[int, int, Extent | Unreadable]:
    """Where an array begins and ends, counted from byte ``start``, and the array."""
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise DamagedFile(
            f"{what}: array {name!r}: its entry {entry!r:.100} does not have just the fields "
            f"{', '.join(sorted(_FIELDS))}"
        )
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise DamagedFile(
            f"{what}: array {name!r} has the dtype {kind!r:.100}, which the format does not have. "
            f"Its dtypes: {', '.join(DTYPES)}"
        )
    if not _are_counts(shape) or len(shape) > _MOST_AXES:
        raise DamagedFile(f"{what}: array {name!r} has the impossible shape {shape!r:.100}")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise DamagedFile(f"{what}: array {name!r} has the impossible offsets {offsets!r:.100}")
    # With an axis of 0 the others may have any length, which numpy does not accept.
    if math.prod(axis or 1 for axis in shape) > _MOST_BYTES // 8:
        raise DamagedFile(f"{what}: array {name!r} has the impossible shape {shape!r:.100}")
    begin, end = offsets
    width, dtype = DTYPES[kind]
    bits = math.prod(shape) * width
    if bits != 8 * (end - begin):
        raise DamagedFile(
            f"{what}: array {name!r} of shape {tuple(shape)} and dtype {kind} takes "
            f"{bits / 8:,.10g} bytes, but the header gives it {end - begin:,} ({begin} to {end})"
        )
    if dtype is None:
        message = (
            f"{what}: array {name!r} has the dtype {kind}, with {width} bits for each element. "
            "numpy has no such arrays. Convert it to a wider dtype where it was made"
        )
        return begin, end, Unreadable(tuple(shape), OpaqueDtype(kind), message)
    return begin, end, Extent(path, start + begin, end - begin, tuple(shape), dtype)


def _are_counts(value: Any) -> bool:
    """Whether it is a list of plain integers from 0 to what the size of a file can be."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n < _MOST_BYTES for n in value)


def _check_cover(spans: list[tuple[int, int, str]], size: int, what: str) -> None:
    """Raise DamagedFile unless the arrays cover the ``size`` bytes after the header, without a gap
    and without an overlap."""
    spans.sort()
    reached = 0
    for begin, end, name in spans:
        if begin != reached:
            fault = "overlaps the one before it" if begin < reached else "leaves a gap before it"
            raise DamagedFile(
                f"{what}: array {name!r} lies at bytes {begin:,} to {end:,} and {fault}, which "
                f"ends at {reached:,}"
            )
        reached = end
    if reached != size:
        raise DamagedFile(
            f"{what}: its arrays take {reached:,} bytes, but the file holds {size:,} for them. It "
            f"{'is truncated' if reached > size else 'has something after them'}. Download or "
            "copy it again"
        )
