"""GGUF, the format of llama.cpp, as a source for initreg.

An array is called by its tensor's name. Its axes have numpy's order, the reverse of the file's.
Plain tensors keep their dtype. Quantised ones are unpacked to float32 when they are read.

A model in several files, ``m-00001-of-00003.gguf`` and so on, is opened by any one of them, or by
their folder.

The modules: ``header`` parses the file, ``tensors`` makes arrays of what it finds.

Source of the layout: ggml's ``docs/gguf.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, Confidence, DamagedFile, OpenOptions, Source, hookimpl

initreg_requires = {"gguf": "pip install initreg-gguf"}

MAGIC = b"GGUF"
VERSIONS = (2, 3)  # version 1 existed for two months in 2023; nothing reads its 32-bit counts now


def version_of(head: bytes) -> tuple[int, str]:
    """The version of the file, and its byte order, ``"<"`` or ``">"``.

    A big-endian file has the same magic. Only the two empty bytes of the version tell the order.
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
        raise DamagedFile(
            f"{source.label}: not a GGUF file, because it does not begin with 'GGUF'. Download or "
            "copy it again"
        )
    version, order = version_of(source.head)
    if version not in VERSIONS:
        raise DamagedFile(
            f"{source.label}: says it is GGUF version {version}. initreg reads versions 2 and 3"
        )
    from initreg_gguf import tensors  # which imports gguf and numpy

    return tensors.arrays_of(source, order, options)
