"""TensorFlow Lite models as a source for initreg, without TensorFlow.

An array is called by the name of its tensor. Those of a further subgraph have the name of the
subgraph before it. Bytes are read where they lie in the file, and quantised integers are read as
they are, with their scales beside them: ``w`` and ``w/scale``.

The modules: ``claiming`` recognises a source, ``flatbuffer`` reads the tables of a file, ``model``
finds the tensors, ``types`` knows their dtypes, ``quantising`` their scales, and ``arrays`` says
where their bytes are.

Source of the layout: ``tensorflow/compiler/mlir/lite/schema/schema.fbs`` of TensorFlow 2.21, and
flatbuffers.dev/internals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, OpenOptions, Source, hookimpl

from initreg_tflite import claiming


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claiming.claim(source)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_tflite import arrays

    found: Mapping[str, Any] = arrays.open_model(source)
    return found
