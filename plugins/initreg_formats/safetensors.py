"""safetensors: one file, the index of several, or a folder that holds either.

Plain Python: eight bytes of length, a JSON header, then the arrays without a gap. Source of every
rule here: ``safetensors/src/tensor.rs`` of the reference library (0.8), which refuses what is
refused here; and, for ``....safetensors.index.json``, what ``transformers`` writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from initreg import (
    Claim,
    Confidence,
    DamagedFile,
    Extent,
    InitregError,
    OpenOptions,
    Source,
    hookimpl,
)
from initreg_formats.parts import part_of
from initreg_formats.strict_json import parse_object
from initreg_formats.unreadable import Unreadable

if TYPE_CHECKING:
    from initreg import Output, Saved, SaveOptions

initreg_endings = (".safetensors",)

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
LONGEST_HEADER = 100_000_000  # bytes; MAX_HEADER_SIZE of the reference
_MOST_AXES = 64  # numpy's limit
_MOST_BYTES = 1 << 62
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}

# The format's dtypes, their bits, and what numpy and ml_dtypes call them.
_DTYPES: dict[str, tuple[int, str | None]] = {
    "BOOL": (8, "bool"),
    "U8": (8, "uint8"),
    "I8": (8, "int8"),
    "F8_E5M2": (8, "float8_e5m2"),
    "F8_E4M3": (8, "float8_e4m3fn"),
    "F8_E8M0": (8, "float8_e8m0fnu"),
    "F8_E4M3FNUZ": (8, "float8_e4m3fnuz"),
    "F8_E5M2FNUZ": (8, "float8_e5m2fnuz"),
    "I16": (16, "int16"),
    "U16": (16, "uint16"),
    "F16": (16, "float16"),
    "BF16": (16, "bfloat16"),
    "I32": (32, "int32"),
    "U32": (32, "uint32"),
    "F32": (32, "float32"),
    "C64": (64, "complex64"),
    "F64": (64, "float64"),
    "I64": (64, "int64"),
    "U64": (64, "uint64"),
    # Packed, several elements to a byte: listed, but numpy has no such arrays.
    "F4": (4, None),
    "F6_E2M3": (6, None),
    "F6_E3M2": (6, None),
}


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if source.is_dir:
        return _claim_folder(source)
    if not source.is_file or source.path is None:
        return None
    if source.path.name.lower().endswith(INDEX_SUFFIX):
        if b'"weight_map"' in source.head:
            return Claim(Confidence.EXACT, "index of safetensors files: JSON with a weight_map")
        return Claim(Confidence.NAME, f"is named {INDEX_SUFFIX}")
    size = int.from_bytes(source.head[:8], "little")
    if source.head[8:9] == b"{" and size <= min(LONGEST_HEADER, source.size - 8):
        return Claim(Confidence.EXACT, f"begins with a JSON header of {size:,} bytes")
    if source.suffix == SUFFIX:
        return Claim(Confidence.NAME, f"is named {SUFFIX}, but does not begin like one")
    return None


def _claim_folder(source: Source) -> Claim | None:
    indices, files = _contents(source)
    if not indices and not files:
        return None
    what = (indices or files)[0]
    # A checkpoint state file, or a SavedModel, speaks for its folder; a safetensors file merely
    # lies in one.
    rivals = {"checkpoint", "saved_model.pb"}.intersection(source.names)
    if rivals:
        return Claim(Confidence.CONTENT, f"folder with {what}, beside {rivals.pop()}")
    return Claim(Confidence.EXACT, f"folder with {what}")


def _contents(source: Source) -> tuple[list[str], list[str]]:
    """The names of the indices and of the safetensors files in a folder. Hidden ones are not among
    them: so begin the names of files that are being written."""
    names = [name for name in source.names if not name.startswith(".")]
    indices = [name for name in names if name.lower().endswith(INDEX_SUFFIX)]
    files = [name for name in names if name.lower().endswith(SUFFIX)]
    return indices, files


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    if source.path is None:
        raise InitregError(f"{source.label}: the safetensors format opens paths")
    if not source.exists:
        raise source.not_found()
    if source.is_dir:
        source = _choose(source)
    if source.path is not None and source.path.name.lower().endswith(INDEX_SUFFIX):
        return _open_index(source)
    return _open_file(source)


@hookimpl
def initreg_save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    from initreg_formats import safetensors_writing

    names = {ours: theirs for theirs, (_, ours) in _DTYPES.items() if ours is not None}
    safetensors_writing.save(arrays, output, options, names, LONGEST_HEADER)


def _choose(folder: Source) -> Source:
    """The one index, or the one file, of a folder. Raises InitregError if there are several."""
    indices, files = _contents(folder)
    found = indices or files
    assert folder.path is not None
    if len(found) == 1:
        return Source(folder.path / found[0])
    if not found:
        raise InitregError(f"{folder.label}: holds no {SUFFIX} file and no {INDEX_SUFFIX}")
    what = "indices of safetensors files" if indices else "safetensors files, and no index"
    shown = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
    raise InitregError(
        f"{folder.label}: holds {len(found)} {what}: {shown}. Give one of them by its path, or "
        "several as a list"
    )


# --- one file -----------------------------------------------------------------------------------


def _open_file(source: Source) -> dict[str, Any]:
    what = source.label
    if source.size < 8:
        raise DamagedFile(f"{what}: has {source.size} bytes, too few for a safetensors file")
    size = int.from_bytes(source.head[:8], "little")
    if size > LONGEST_HEADER or size + 8 > source.size:
        raise DamagedFile(
            f"{what}: its header should have {size:,} bytes, but the file has {source.size:,}: it "
            "is truncated, or no safetensors file. Download or copy it again"
        )
    text = source.read(8, size)
    if not text.startswith(b"{"):
        raise DamagedFile(f"{what}: its header does not begin with '{{': it is no safetensors file")
    header = parse_object(text, what)
    metadata = header.pop(_METADATA, None)
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    ):
        raise DamagedFile(f"{what}: its {_METADATA} is no object of strings")
    assert source.path is not None
    arrays: dict[str, Any] = {}
    spans: list[tuple[int, int, str]] = []
    for name in [*header]:
        # Taken out, so that a header of a million names is not in memory twice.
        begin, end, array = _array(source.path, 8 + size, name, header.pop(name), what)
        arrays[name] = array
        spans.append((begin, end, name))
    _check_cover(spans, source.size - 8 - size, what)
    return arrays


def _array(
    path: Path, start: int, name: str, entry: Any, what: str
) -> tuple[int, int, Extent | Unreadable]:
    """Where an array begins and ends after byte ``start``, and the array."""
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise DamagedFile(
            f"{what}: array {name!r}: its entry {entry!r:.100} does not have just the fields "
            f"{', '.join(sorted(_FIELDS))}"
        )
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in _DTYPES:
        raise DamagedFile(
            f"{what}: array {name!r} has the dtype {kind!r:.100}, which the format does not know; "
            f"it knows {', '.join(_DTYPES)}"
        )
    if not _are_counts(shape) or len(shape) > _MOST_AXES:
        raise DamagedFile(f"{what}: array {name!r} has the impossible shape {shape!r:.100}")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise DamagedFile(f"{what}: array {name!r} has the impossible offsets {offsets!r:.100}")
    # An axis of 0 hides axes of any length, which numpy then does not take.
    if math.prod(axis or 1 for axis in shape) > _MOST_BYTES // 8:
        raise DamagedFile(f"{what}: array {name!r} has the impossible shape {shape!r:.100}")
    begin, end = offsets
    width, dtype = _DTYPES[kind]
    bits = math.prod(shape) * width
    if bits != 8 * (end - begin):
        raise DamagedFile(
            f"{what}: array {name!r} of shape {tuple(shape)} and dtype {kind} takes "
            f"{bits / 8:,.10g} bytes, but the header gives it {end - begin:,} ({begin} to {end})"
        )
    if dtype is None:
        message = (
            f"{what}: array {name!r} is of dtype {kind}, packed at {width} bits an element, which "
            "numpy has no arrays of: convert it to a wider dtype where it was made"
        )
        return begin, end, Unreadable(tuple(shape), kind, message)
    return begin, end, Extent(path, start + begin, end - begin, tuple(shape), dtype)


def _are_counts(value: Any) -> bool:
    """Whether it is a list of plain integers that a file's size can express."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n < _MOST_BYTES for n in value)


def _check_cover(spans: list[tuple[int, int, str]], size: int, what: str) -> None:
    """The arrays cover the ``size`` bytes after the header, without a gap and without overlap."""
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
            f"{what}: its arrays take {reached:,} bytes, but the file holds {size:,} for them: it "
            f"{'is truncated' if reached > size else 'has something after them'}. Download or "
            "copy it again"
        )


# --- the index of several files -------------------------------------------------------------------


def _open_index(source: Source) -> dict[str, Any]:
    """The arrays of all parts, in the order of the index. Raises DamagedFile where the index and
    the headers of the parts disagree."""
    what = source.label
    if source.size > LONGEST_HEADER:
        raise DamagedFile(f"{what}: an index of {source.size:,} bytes is not plausible")
    places = parse_object(source.read(0, source.size), what).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(v, str) for v in places.values()):
        raise DamagedFile(f"{what}: it has no weight_map of array names to file names")
    assert source.path is not None
    parts: dict[str, dict[str, Any]] = {}
    for part in dict.fromkeys(places.values()):
        parts[part] = _open_file(part_of(source.path, part, what))
        for name in parts[part]:
            if places.get(name) != part:
                other = f"in {places[name]}" if name in places else "nowhere"
                raise DamagedFile(
                    f"{what}: array {name!r} lies in part {part}, but the index has it {other}. "
                    "Index and parts are not of one save: download or copy all of them again"
                )
    for name, part in places.items():
        if name not in parts[part]:
            raise DamagedFile(
                f"{what}: array {name!r} should lie in part {part}, which has no such array. "
                "Index and parts are not of one save: download or copy all of them again"
            )
    return {name: parts[part][name] for name, part in places.items()}
