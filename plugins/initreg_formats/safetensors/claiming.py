"""Whether a source is safetensors, from its name, its first bytes, or the names in a folder."""

from __future__ import annotations

from typing import Any

from initreg import Claim, Confidence, Source
from initreg.format_tools import indexes

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
LONGEST_HEADER = 100_000_000  # bytes; MAX_HEADER_SIZE of the reference
BLANKS = b" \t\r\n"  # what JSON allows before and after the header (RFC 8259, section 2)
METADATA = "__metadata__"
_SHOWN = 200  # characters of the metadata in the reason of a claim


def claim(source: Source) -> Claim | None:
    """The answer to ``initreg_claim``."""
    if source.is_dir:
        return _claim_folder(source)
    if not source.is_file or source.path is None:
        return None
    if is_index(source):
        if b'"weight_map"' in source.head:
            return Claim(Confidence.EXACT, "index of safetensors files: JSON with a weight_map")
        return Claim(Confidence.NAME, f"is named {INDEX_SUFFIX}")
    size = int.from_bytes(source.head[:8], "little")
    begin = source.head[8 : 8 + size].lstrip(BLANKS)
    is_possible = 0 < size <= min(LONGEST_HEADER, source.size - 8)
    if is_possible and begin.startswith(b"{"):
        reason = f"begins with a JSON header of {size:,} bytes"
        return Claim(Confidence.EXACT, reason + _metadata_text(begin))
    if is_possible and not begin and size > len(source.head) - 8:
        return Claim(Confidence.CONTENT, f"begins like a header of {size:,} bytes, with blanks")
    if source.suffix == SUFFIX:
        return Claim(Confidence.NAME, f"is named {SUFFIX}, but does not begin like one")
    return None


def _metadata_text(begin: bytes) -> str:
    """What the reason of a claim says about the metadata, from the first bytes of a header.

    ``""`` if they do not show any. All common writers put it first.
    """
    import json  # few files get so far

    text = begin.decode("utf-8", errors="replace")
    value = ""
    try:
        if (first := text[1:].lstrip()).startswith(f'"{METADATA}"'):
            value = first[len(METADATA) + 2 :].lstrip().removeprefix(":").lstrip()
            found: Any = json.JSONDecoder().raw_decode(value)[0]
        else:
            found = json.loads(text).get(METADATA)  # all of a short header
    except (ValueError, RecursionError):  # it is longer than that, or damaged
        shown = value if value.startswith("{") else ""
    else:
        shown = json.dumps(found, ensure_ascii=False) if found and isinstance(found, dict) else ""
    more = "..." if len(shown) > _SHOWN else ""
    return f", with metadata {shown[:_SHOWN]}{more}" if shown else ""


def is_index(source: Source) -> bool:
    """Whether the source is named like the index of several files."""
    return indexes.is_index(source, INDEX_SUFFIX)


def contents(folder: Source) -> tuple[list[str], list[str]]:
    """The names of the indices and of the safetensors files in a folder.

    Hidden files are left out: the names of files that are being written begin with a dot.
    """
    names = [name for name in folder.names if not name.startswith(".")]
    indices = [name for name in names if indexes.is_index_name(name, INDEX_SUFFIX)]
    files = [name for name in names if name.lower().endswith(SUFFIX)]
    return indices, files


def _claim_folder(source: Source) -> Claim | None:
    indices, files = contents(source)
    if not indices and not files:
        return None
    what = (indices or files)[0]
    # The state file of a checkpoint, or a SavedModel, says what its folder is. A safetensors file
    # only lies in one.
    rivals = {"checkpoint", "saved_model.pb"}.intersection(source.names)
    if rivals:
        reason = f"folder with {what}, beside {rivals.pop()}"
        return Claim(Confidence.CONTENT, reason, file=what)
    return Claim(Confidence.EXACT, f"folder with {what}", file=what)
