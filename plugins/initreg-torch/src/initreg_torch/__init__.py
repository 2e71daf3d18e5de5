"""PyTorch's checkpoints as a source for initreg, without torch and without running anything.

``.pt``, ``.pth``, ``.bin`` and ``.ckpt``, as ``torch.save`` writes them since version 1.6 (a zip
archive) and wrote them before, TorchScript archives, and the index of several files. An array is
called by its key in the state dict, and in nested checkpoints by all keys on the way to it, joined
with ``/``: ``state_dict/conv1.weight``.

The modules: ``claiming`` recognises a source, ``opening`` decides what it means, ``archive`` and
``older`` know the two kinds of file, ``pickles`` interprets a pickle, ``allowed`` says what its
calls mean, ``values`` is what comes out, ``naming`` gives the arrays their names, and ``arrays``
says where their bytes are.

Source of the layouts: ``torch/serialization.py`` and ``torch/_utils.py`` of PyTorch 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Claim, OpenOptions, Source, hookimpl

from initreg_torch import claiming


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claiming.claim(source)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    from initreg_torch import opening

    arrays: Mapping[str, Any] = opening.open_source(source, options)
    return arrays
