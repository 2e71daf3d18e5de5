"""Weights of TensorFlow.js models as a source for initreg.

``model.json`` of a layers model or a graph model, or ``weights_manifest.json``, with the shards
beside it. An array has the name that the manifest gives it. Quantised weights have the dtype that
they had before.

The modules: ``claiming`` recognises a source, ``manifest`` reads its JSON, ``shards`` knows where
the bytes of a group are, ``arrays`` makes the arrays, and ``layers`` tells which names Keras made
up.

Source of the layout: ``io/types.ts`` and ``io/io_utils.ts`` in tfjs-core 4.22, and
``write_weights.py`` in tensorflowjs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, OpenOptions, Source, hookimpl

from initreg_tfjs import claiming

initreg_finds_parts = True


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claiming.claim(source)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_tfjs import arrays

    found: Mapping[str, Any] = arrays.open_model(source, options)
    return found
