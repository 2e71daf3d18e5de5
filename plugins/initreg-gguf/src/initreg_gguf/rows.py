"""Which tensors have their rows in another order than in Hugging Face's files.

llama.cpp rotates pairs of neighbouring elements of a head, and Hugging Face's models the first
half of a head with the second. So llama.cpp's converter gives the rows of queries and keys another
order.

Source: ``LlamaModel.permute`` and ``undo_permute`` in llama.cpp's folder ``conversion``, in 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NAMES = (
    "arcee baichuan chameleon deci deepseek granite granitehybrid granitemoe internlm2 llada "
    "llama-embed llama minicpm nanbeige olmo smollm3 xverse"
)
ARCHITECTURES = frozenset(_NAMES.split())
# The tensors, by what counts their heads.
_TENSORS = {"attn_q": "head_count", "attn_k": "head_count_kv"}


def reordered(values: Mapping[str, Any]) -> dict[str, str]:
    """By globs for names: what was done to the rows, and the rules that undo it.

    Args:
        values: the key-value pairs of the file.
    """
    architecture = str(values.get("general.architecture", ""))
    if architecture in ARCHITECTURES:
        said, scope, counts = f"general.architecture is {architecture}", "blk", architecture
    elif _is_pixtral(values):
        said, scope, counts = "its projector is that of Pixtral", "v.blk", "clip.vision"
    else:
        return {}
    heads = values.get(f"{counts}.attention.head_count")
    width = _count(values.get(f"{counts}.embedding_length"), "INPUTS")
    found = {}
    for tensor, key in _TENSORS.items():
        # Without a number of its own, there is a key for each query.
        count = _count(values.get(f"{counts}.attention.{key}", heads), "HEADS")
        for last, inner, axes in (("weight", f", {width}", "0, 2, 1, 3"), ("bias", "", "0, 2, 1")):
            found[f"{scope}.*.{tensor}.{last}"] = (
                "llama.cpp stores the rows of each head in another order than Hugging Face "
                f"({said}). For a model with that of Hugging Face, such as those of keras-hub, map "
                "again with rules that undo it, each in a step of its own: reshape to "
                f"[{count}, -1, 2{inner}], permute by [{axes}], and reshape to [-1{inner}]. For a "
                "model with that of llama.cpp, say so by a permute with the axes in their own order"
            )
    return found


def _count(found: Any, unknown: str) -> str:
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else unknown


def _is_pixtral(values: Mapping[str, Any]) -> bool:
    keys = ("clip.projector_type", "clip.vision.projector_type")
    return any(values.get(key) == "pixtral" for key in keys)
