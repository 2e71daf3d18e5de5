"""Whether a source is safetensors, from its name, its first bytes, or the names in a folder."""

from __future__ import annotations

from initreg import Claim, Confidence, Source

SUFFIX = ".safetensors"
INDEX_SUFFIX = ".safetensors.index.json"
LONGEST_HEADER = 100_000_000  # bytes; MAX_HEADER_SIZE of the reference


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
    if source.head[8:9] == b"{" and size <= min(LONGEST_HEADER, source.size - 8):
        return Claim(Confidence.EXACT, f"begins with a JSON header of {size:,} bytes")
    if source.suffix == SUFFIX:
        return Claim(Confidence.NAME, f"is named {SUFFIX}, but does not begin like one")
    return None


def is_index(source: Source) -> bool:
    """Whether the source is named like the index of several files."""
    return source.path is not None and source.path.name.lower().endswith(INDEX_SUFFIX)


def contents(folder: Source) -> tuple[list[str], list[str]]:
    """The names of the indices and of the safetensors files in a folder.

    Hidden files are left out: the names of files that are being written begin with a dot.
    """
    names = [name for name in folder.names if not name.startswith(".")]
    indices = [name for name in names if name.lower().endswith(INDEX_SUFFIX)]
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
        return Claim(Confidence.CONTENT, f"folder with {what}, beside {rivals.pop()}")
    return Claim(Confidence.EXACT, f"folder with {what}")
