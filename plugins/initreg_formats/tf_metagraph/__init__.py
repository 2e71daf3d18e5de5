"""TF1 metagraphs: the ``.meta`` that TensorFlow and tensorpack write beside their checkpoints.

A metagraph describes a graph: its global variables by name, shape and dtype, and which of them
belong to the model. It holds no values. It is read as protocol buffers. No graph is imported, so
ops that are not installed do not matter, and TensorFlow is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, OpenOptions, Source, hookimpl
from initreg_formats.tf_metagraph import claiming

# What is in a metagraph says which arrays of a checkpoint are the parameters of its model.
initreg_parameter_files = (".meta",)


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claiming.claim(source)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_formats.tf_metagraph import reading

    return reading.open_metagraph(source)
