"""Where tf_keras (Keras 2) loads and saves weights, with a comparison put beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import tensorflow as tf
import tf_keras
from comparing import Comparison, folder
from tf_keras.src.engine import training
from tf_keras.src.saving import saving_lib
from tf_keras.src.saving.legacy import hdf5_format, save
from wrapping import after, saved, twin_of

_load_weights = saving_lib.load_weights_only
_load = save.load_weights
_load_whole = hdf5_format.load_model_from_hdf5


def install(beside: Comparison) -> None:
    """Compare whenever tf_keras loads weights into a model, and after every training."""

    def loads_weights(
        result: Any, model: Any, filepath: Any, skip_mismatch: bool = False, **_: Any
    ) -> None:
        if model.built:
            more = {"ignore_mismatch": True} if skip_mismatch else {}
            beside.load(
                "".join(Path(str(filepath)).suffixes[-2:]),
                model,
                lambda: _load_weights(model, filepath, skip_mismatch),
                filepath,
                **more,
            )

    def loads(
        result: Any,
        model: Any,
        filepath: Any,
        by_name: bool = False,
        skip_mismatch: bool = False,
        options: Any = None,
    ) -> None:
        if model.built:
            more: dict[str, Any] = {"by": "name"} if by_name else {}
            if skip_mismatch:
                more["ignore_mismatch"] = True
            is_h5 = str(filepath).endswith((".h5", ".hdf5", ".keras"))
            name = ("legacy .h5" if is_h5 else "checkpoint") + (" by name" if by_name else "")
            beside.load(
                name,
                model,
                lambda: _load(model, filepath, by_name, skip_mismatch),
                filepath,
                **more,
            )

    def loads_model(model: Any, filepath: Any, *arguments: Any, **options: Any) -> None:
        if getattr(model, "built", False):
            beside.load(
                "load_model .keras", model, lambda: _load_weights(model, filepath), filepath
            )

    def loads_whole(model: Any, filepath: Any, *arguments: Any, **options: Any) -> None:
        if getattr(model, "built", False) and isinstance(filepath, (str, os.PathLike)):
            beside.load("load_model .h5", model, lambda: _load(model, filepath), filepath)

    def loads_any(model: Any, filepath: Any, *arguments: Any, **options: Any) -> None:
        """A SavedModel. Its weights are loaded again by ``load_weights``."""
        is_folder = isinstance(filepath, (str, os.PathLike)) and os.path.isdir(filepath)
        if is_folder and getattr(model, "built", False):
            beside.load("load_model SavedModel", model, lambda: _load(model, filepath), filepath)

    def trains(result: Any, model: Any, *arguments: Any, **options: Any) -> None:
        if isinstance(model, tf_keras.Model) and model.built:
            round_trips(beside, model)

    after(beside, saving_lib, "load_weights_only", loads_weights)
    after(beside, saving_lib, "load_model", loads_model)
    after(beside, save, "load_weights", loads)
    after(beside, save, "load_model", loads_any)
    after(beside, hdf5_format, "load_model_from_hdf5", loads_whole)
    for name in ("fit", "train_on_batch", "save", "save_weights"):
        after(beside, training.Model, name, trains)


def round_trips(beside: Comparison, model: Any) -> None:
    """Save a model in every format that tf_keras knows, and load it into the same model."""
    if not tf.executing_eagerly() or tf.distribute.has_strategy():
        return
    kind = (
        type(model).__name__,
        type(getattr(model, "optimizer", None)).__name__,
        tuple(type(layer).__name__ for layer in model._flatten_layers()),
        tuple((v.name.rpartition("/")[2], tuple(v.shape)) for v in model.variables),
    )
    if not beside.wanted(kind):
        return
    twin = twin_of(tf_keras, model)
    with folder() as place:

        def trip(name: str, path: Path, load: Callable[[Any, Path], Any]) -> None:
            beside.load(f"trip {name}", model, lambda: load(model, path), path)
            if twin is not None:
                beside.load(f"twin {name}", twin, lambda: load(twin, path), path)

        weights = place / "m.weights.h5"
        if saved(beside, ".weights.h5", lambda: saving_lib.save_weights_only(model, weights)):
            trip(".weights.h5", weights, _load_weights)
        archive = place / "m.keras"
        if saved(beside, ".keras", lambda: saving_lib.save_model(model, archive)):
            trip(".keras", archive, _load_weights)
        legacy = place / "legacy.h5"
        if saved(beside, "legacy .h5", lambda: _save_legacy(model, legacy)):
            trip("legacy .h5", legacy, _load)
        whole = place / "whole.h5"
        if saved(beside, "whole .h5", lambda: hdf5_format.save_model_to_hdf5(model, str(whole))):
            trip("whole .h5", whole, _load)
        prefix = place / "ckpt"
        if saved(beside, "checkpoint", lambda: save.save_weights(model, str(prefix))):
            trip("checkpoint", prefix, lambda model, path: _load(model, str(path)))
        named = place / "named"
        if saved(beside, "Checkpoint(model=)", lambda: _checkpoint(model).write(str(named))):
            trip(
                "Checkpoint(model=)",
                named,
                lambda model, path: _checkpoint(model).read(str(path)).expect_partial(),
            )


def _checkpoint(model: Any) -> Any:
    return tf.train.Checkpoint(model=model)


def _save_legacy(model: Any, path: Path) -> None:
    with h5py.File(path, "w") as file:
        hdf5_format.save_weights_to_hdf5_group(file, model)
