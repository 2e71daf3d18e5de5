"""A Keras model or layer. :mod:`initreg_targets.keras_variables` writes into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from initreg import Claim, OpenOptions, Source, Target, hookimpl
from initreg_targets.claiming import claim, target_of
from initreg_targets.frameworks import is_keras_layer

if TYPE_CHECKING:
    from initreg import Output, Saved, SaveOptions

initreg_takes = ("a Keras model or layer",)
initreg_endings = (".weights.h5", ".keras")


@hookimpl
def initreg_target(obj: object) -> Target | None:
    if not is_keras_layer(obj):
        return None
    from initreg_targets.keras_variables import Model

    return Model(obj)


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claim(source, initreg_target)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    model = target_of(source, initreg_target, "not a Keras model or layer")
    return model.living()  # type: ignore[no-any-return]


@hookimpl
def initreg_save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    from initreg_targets import keras_files

    keras_files.save(arrays, output, options)
