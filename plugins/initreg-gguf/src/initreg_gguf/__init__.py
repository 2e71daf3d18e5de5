"""GGUF, the format of llama.cpp, as a source for initreg.

An array is called by its tensor's name and has numpy's order of axes, the reverse of the file's.
Plain tensors keep their dtype; quantised ones are unpacked to float32 when they are read.

Source of the layout: ggml's ``docs/gguf.md``, as the ``gguf`` package implements it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, Confidence, DamagedFile, OpenOptions, Source, hookimpl

initreg_requires = {"gguf": "pip install initreg-gguf"}

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # the first one, of two months in 2023, has 32-bit counts and no reader any more


def version_of(head: bytes) -> tuple[int, str]:
    """The version, and the byte order ``"<"`` or ``">"`` in which it makes sense.

    A big-endian file has the same magic, so only the version's two empty bytes tell.
    """
    little = int.from_bytes(head[4:8], "little")
    if little and little & 0xFFFF == 0:
        return int.from_bytes(head[4:8], "big"), ">"
    return little, "<"


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if source.head.startswith(MAGIC):
        version, order = version_of(source.head)
        big = ", big-endian" if order == ">" else ""
        return Claim(Confidence.EXACT, f"begins with 'GGUF', version {version}{big}")
    if source.suffix == ".gguf" and source.is_file:
        return Claim(Confidence.NAME, "is named .gguf, but does not begin with 'GGUF'")
    return None


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    if not source.head.startswith(MAGIC):
        raise DamagedFile(f"{source.label}: not a GGUF file: it does not begin with 'GGUF'")
    version, order = version_of(source.head)
    if version not in VERSIONS:
        raise DamagedFile(f"{source.label}: says it is GGUF version {version}; 2 and 3 are read")
    from initreg_gguf import tensors  # which imports gguf and numpy

    return tensors.arrays_of(source, order)
