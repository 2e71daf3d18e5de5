"""Frozen TensorFlow graphs as a source for initreg, without TensorFlow.

A frozen graph is a serialised ``GraphDef`` whose variables were replaced by constants. An array is
called by the name of its ``Const`` node, and those of a function by the name of the function before
it: ``while_body/shape``. Values are read where they lie in the file.

The modules: ``claiming`` recognises a source, ``graph`` finds the constants of a graph, ``tensors``
knows the dtypes and reads one tensor's description, ``values`` makes values of the typed fields,
and ``arrays`` says where their bytes are.

It is a distribution of its own, beside initreg-tfjs and initreg-tflite, because the three share no
code: JSON, flatbuffers and protocol buffers. A reader who wants one of them installs one.

Source of the layout: TensorFlow's ``core/framework/graph.proto``, ``node_def.proto``,
``attr_value.proto``, ``tensor.proto`` and ``function.proto``, and ``Tensor::FromProto`` in
``core/framework/tensor.cc``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, OpenOptions, Source, hookimpl

from initreg_frozen_graph import claiming


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claiming.claim(source)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_frozen_graph import arrays

    found: Mapping[str, Any] = arrays.open_graph(source, options)
    return found
