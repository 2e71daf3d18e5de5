"""ONNX models as a source for initreg, without onnx and without onnxruntime.

An array is called by the name of its initializer. Tensors of ``Constant`` nodes are called by the
output of the node, and those of a graph inside a node by the way to it: ``if_out/then_branch/w``.
Tensors in external data files are read where they are.

The modules: ``claiming`` recognises a source, ``model`` finds the tensors of a model, ``types``
knows their dtypes, ``arrays`` says where their bytes are, ``packing`` unpacks what is not stored as
numpy has it, and ``external`` finds the files of external data.

Source of the layout: ``onnx/onnx.proto`` and ``docs/ExternalData.md`` of ONNX 1.23.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, OpenOptions, Source, hookimpl

from initreg_onnx import claiming


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claiming.claim(source)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_onnx import arrays

    found: Mapping[str, Any] = arrays.open_model(source, options)
    return found
