"""What the weights of an archive are in their layers, as far as its config says it.

A ``.weights.h5`` or ``.keras`` file only numbers the weights of a layer, and the numbers depend on
the options of the layer: with ``center=False``, ``vars/1`` of a BatchNormalization is its
``moving_mean``. The ``config.json`` of an archive has these options.

Source: ``build`` of the layers in ``keras/src/layers`` and ``tf_keras/src/layers``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from initreg import ChunkedExtent, Extent
from initreg_formats.h5.layers import VARIABLES, ConfiguredLayer

_HOME = ("keras.", "tf_keras.")  # the modules of Keras's own layers
_PLAIN = ("DTypePolicy", "FloatDTypePolicy", "Policy")  # without quantization


def with_roles(
    arrays: Mapping[str, Any], layers: Iterable[ConfiguredLayer], names: Mapping[str, str]
) -> dict[str, Any]:
    """The same arrays, each of which knows what it is in its layer, if the config says so.

    Args:
        arrays: the arrays of an archive, by their paths in its file of weights.
        layers: the layers in its ``config.json``.
        names: the names of layers, by their paths in the file.
    """
    found = {
        f"{layer.path}/vars/{number}": role
        for layer in layers
        # A layer at another path than Keras wrote has another name.
        if names.get(layer.path, layer.name) == layer.name
        for number, role in enumerate(_roles(layer))
    }
    if not found:
        return dict(arrays)
    import dataclasses

    return {
        name: dataclasses.replace(array, role=found[name])
        if name in found
        and VARIABLES.fullmatch(name)
        and isinstance(array, (ChunkedExtent, Extent))
        else array
        for name, array in arrays.items()
    }


def _roles(layer: ConfiguredLayer) -> list[str]:
    """What the weights of a layer are, in the order of their numbers. The list may be too short.

    It is empty for the class of a user, whatever it is called.
    """
    roles = _ROLES.get(layer.kind)
    is_usual = f"{layer.module}.".startswith(_HOME) and layer.registered in ("", layer.kind)
    return list(roles(layer.config)) if roles is not None and is_usual else []


def _normalization(config: Mapping[str, Any]) -> Iterator[str]:
    is_rms = bool(config.get("rms_scaling"))
    if config.get("scale", True) or is_rms:
        yield "gamma"
    if config.get("center", True) and not is_rms:
        yield "beta"


def _batch_normalization(config: Mapping[str, Any]) -> Iterator[str]:
    yield from _normalization(config)
    yield from ("moving_mean", "moving_variance")


def _attention(config: Mapping[str, Any]) -> Iterator[str]:
    if config.get("use_scale"):
        yield "scale"
    if config.get("score_mode") == "concat":
        yield "concat_score_weight"


def _one(role: str) -> Callable[[Mapping[str, Any]], Iterator[str]]:
    """A layer that has this weight first. A quantized one may have others before it."""

    def roles(config: Mapping[str, Any]) -> Iterator[str]:
        dtype = config.get("dtype")
        kind = dtype.get("class_name") if isinstance(dtype, dict) else None
        if kind is None or kind in _PLAIN:
            yield role

    return roles


_ROLES: dict[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "AdditiveAttention": _attention,
    "Attention": _attention,
    "BatchNormalization": _batch_normalization,
    "Embedding": _one("embeddings"),
    "GroupNormalization": _normalization,
    "LayerNormalization": _normalization,
    "PReLU": _one("alpha"),
    "RMSNormalization": _one("scale"),
    "SyncBatchNormalization": _batch_normalization,
    **dict.fromkeys(
        (
            *("Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D"),
            *("Conv3DTranspose", "Dense", "EinsumDense", "LocallyConnected1D"),
            *("LocallyConnected2D",),
        ),
        _one("kernel"),
    ),
}
