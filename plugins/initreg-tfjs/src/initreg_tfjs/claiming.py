"""Whether a source is a TensorFlow.js model, from the keys of its JSON or the names in a folder."""

from __future__ import annotations

import re

from initreg import Claim, Confidence, Source

MODEL, MANIFEST = "model.json", "weights_manifest.json"
LONGEST = 200_000_000  # bytes of JSON that are read
_SEARCHED = 1 << 24  # bytes of JSON that are searched for a key; of a longer file both ends are
_SHARD = re.compile(r"group\d+-shard\d+of\d+(\.bin)?")
_BESIDE = re.compile(rf"{_SHARD.pattern}|weights\.bin|model\.weights\.bin")
_FORMAT = re.compile(rb'"format"\s*:\s*"((?:layers|graph)-model)"')


def claim(source: Source) -> Claim | None:
    """The answer to ``initreg_claim``."""
    if source.is_dir:
        return _claim_folder(source)
    if is_shard(source):
        return Claim(Confidence.NAME, "is named like a shard of a TensorFlow.js model")
    if not source.is_file or source.suffix != ".json":
        return None
    assert source.path is not None
    begin = source.head.lstrip()[:1]
    if begin in (b"{", b"["):
        data = source.read(0, _SEARCHED)
        if source.size > _SEARCHED:
            data += source.read(-_SEARCHED, _SEARCHED)
        if begin == b"{" and b'"weightsManifest"' in data:
            found = _FORMAT.search(data)
            kind = found[1].decode() if found else "model"
            return Claim(Confidence.EXACT, f"TensorFlow.js {kind}: JSON with a weightsManifest")
        if begin == b"[" and b'"paths"' in data and b'"weights"' in data:
            return Claim(Confidence.EXACT, "TensorFlow.js manifest: JSON with paths and weights")
    if source.path.name.lower() in (MODEL, MANIFEST):
        return Claim(Confidence.NAME, f"is named {source.path.name}")
    return None


def is_shard(source: Source) -> bool:
    """Whether a file is named like a shard, as tensorflowjs names them."""
    return source.is_file and source.path is not None and bool(_SHARD.fullmatch(source.path.name))


def contents(folder: Source) -> list[str]:
    """The names of the models in a folder: those that have the usual names."""
    return [name for name in (MODEL, MANIFEST) if name in folder.names]


def _claim_folder(folder: Source) -> Claim | None:
    found = contents(folder)
    if not found or not any(_BESIDE.fullmatch(name) for name in folder.names):
        return None
    reason = f"folder with {found[0]} and shards of TensorFlow.js"
    return Claim(Confidence.CONTENT, reason, file=found[0])
