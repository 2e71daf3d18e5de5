"""Reading one safetensors file: where each array lies, from the header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from initreg import DamagedFile, Extent, OpaqueExtent, Source
from initreg.format_tools.files import FilePath
from initreg.format_tools.strict_json import is_text, parse_object
from initreg_formats.safetensors.claiming import BLANKS, LONGEST_HEADER, METADATA
from initreg_formats.safetensors.dtypes import DTYPES

_MOST_AXES = 64  # numpy's limit
_MOST_BYTES = 1 << 62
_FIELDS = {"dtype", "shape", "data_offsets"}


class Arrays(dict[str, Any]):
    """Every array of a file by name, and what its ``__metadata__`` says."""

    metadata: Mapping[str, str]


def open_file(source: Source) -> Arrays:
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
    # Writers may put white space around the header, to align it. Readers must take it: the test
    # test_whitespace_leading_padded_header of the reference library.
    if not text.lstrip(BLANKS).startswith(b"{"):
        raise DamagedFile(
            f"{what}: its header does not begin with '{{', so it is not a safetensors file"
        )
    header = parse_object(text, what)
    assert source.path is not None
    arrays = Arrays()
    arrays.metadata = _metadata(header.pop(METADATA, None), what)
    spans: list[tuple[int, int, str]] = []
    for name in [*header]:
        # Entries are removed, so that a header of a million names is not in memory twice.
        begin, end, array = _array(source.path, 8 + size, name, header.pop(name), what)
        arrays[name] = array
        spans.append((begin, end, name))
    _check_cover(spans, source.size - 8 - size, what)
    return arrays


def _metadata(given: Any, what: str) -> dict[str, str]:
    """The metadata of a file, which may have none. Raises DamagedFile."""
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
        raise DamagedFile(f"{what}: its {METADATA} is not an object of strings")
    if not all(is_text(key + text) for key, text in given.items()):
        raise DamagedFile(f"{what}: its {METADATA} is not valid Unicode")
    return given


def _array(
    path: FilePath, start: int, name: str, entry: Any, what: str
) -> tuple[int, int, Extent | OpaqueExtent]:
    """Where an array begins and ends, counted from byte ``start``, and the array."""
    # Other fields are ignored, as the reference ignores them.
    if not isinstance(entry, dict) or not entry.keys() >= _FIELDS:
        raise DamagedFile(
            f"{what}: array {name!r}: its entry {entry!r:.100} does not have the fields "
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
    if math.prod(filter(None, shape)) > _MOST_BYTES // 8:
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
            "numpy has no such arrays, so only its bytes can be verified, and copied to another "
            "safetensors file. To read its values, convert it to a wider dtype where it was made"
        )
        place = (path, start + begin, end - begin)
        return begin, end, OpaqueExtent(*place, tuple(shape), kind, message)
    return begin, end, Extent(path, start + begin, end - begin, tuple(shape), dtype)


def _are_counts(value: Any) -> bool:
    """Whether it is a list of plain integers from 0 to what the size of a file can be."""
    if not isinstance(value, list):
        return False
    # In one go, because a million arrays have three million such numbers.
    return not value or (
        {*map(type, value)} == {int} and min(value) >= 0 and max(value) < _MOST_BYTES
    )


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
