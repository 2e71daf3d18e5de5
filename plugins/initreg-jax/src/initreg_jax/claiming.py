"""Whether a source is msgpack of Flax, from its first array, or from its name."""

from __future__ import annotations

from initreg import Claim, Confidence, Source
from initreg.format_tools import indexes

from initreg_jax.msgpack import Array, Fault, Parser
from initreg_jax.orbax import claiming as orbax

SUFFIX, INDEX_SUFFIX = ".msgpack", ".msgpack.index.json"
# What transformers and diffusers call the weights in a folder.
FOLDER_FILES = ("flax_model.msgpack", "diffusion_flax_model.msgpack")
_MAPS = (*range(0x80, 0x90), 0xDE, 0xDF)


class _Found(Exception):
    """The first array was found."""


def claim(source: Source) -> Claim | None:
    """The answer to ``initreg_claim``."""
    if source.is_dir:
        if (checkpoint := orbax.claim(source)) is not None:
            return checkpoint
        found = contents(source)
        # Published models often lie in a folder in several formats, safetensors among them.
        if not found:
            return None
        return Claim(Confidence.CONTENT, f"folder with {found[0]}", file=found[0])
    if not source.is_file:
        return None
    if is_index(source):
        if b'"weight_map"' in source.head:
            return Claim(Confidence.EXACT, "index of msgpack files: JSON with a weight_map")
        return Claim(Confidence.NAME, f"is named {INDEX_SUFFIX}")
    if source.head[:1] and source.head[0] in _MAPS and _begins_with_array(source):
        return Claim(Confidence.EXACT, "msgpack with an array of Flax")
    if source.suffix == SUFFIX:
        return Claim(Confidence.NAME, f"is named {SUFFIX}")
    return None


def is_index(source: Source) -> bool:
    """Whether the source is named like the index of several files."""
    return indexes.is_index(source, INDEX_SUFFIX)


def contents(folder: Source) -> list[str]:
    """The names in a folder that could be meant: indices, or else files with their usual names."""
    names = [name for name in folder.names if not name.startswith(".")]
    indices = [name for name in names if indexes.is_index_name(name, INDEX_SUFFIX)]
    return indices or [name for name in names if name in FOLDER_FILES]


def _begins_with_array(source: Source) -> bool:
    """Whether the first array of the file begins in its head, and is one of Flax."""
    head = source.head

    def found(array: Array) -> None:
        raise _Found

    try:
        Parser(lambda at, length: head[at : at + length], source.size, found).value()
    except _Found:
        return True
    except Fault:
        pass
    return False
