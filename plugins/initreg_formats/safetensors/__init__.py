"""safetensors: one file, the index of several, or a folder that holds either.

An array is called by its key. The modules: ``claiming`` recognises a source, ``opening`` decides
what it means, ``reading`` reads one file, ``shards`` an index of several, ``writing`` writes both.
The format is simple enough that its library is not needed: eight bytes with the length of the
header, the header in JSON, then the arrays without a gap.

Source of every rule here: ``safetensors/src/tensor.rs`` of the reference library (0.8), which
refuses what is refused here. For ``....safetensors.index.json``: what ``transformers`` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from initreg import Claim, OpenOptions, Source, hookimpl
from initreg_formats.safetensors import claiming

if TYPE_CHECKING:
    from initreg import Output, Saved, SaveOptions

initreg_endings = (".safetensors",)
initreg_keeps_metadata = True
initreg_finds_parts = True


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claiming.claim(source)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_formats.safetensors import opening

    return opening.open_source(source)


@hookimpl
def initreg_save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    from initreg_formats.safetensors import writing

    writing.save(arrays, output, options)
