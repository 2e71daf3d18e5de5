"""Where Keras 3 loads and saves weights, with a comparison put beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import tensorflow as tf
from comparing import Comparison, folder
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer
from keras.src.legacy.saving import legacy_h5_format
from keras.src.saving import saving_lib
from wrapping import after, saved, twin_of

_load_weights = saving_lib.load_weights_only
_load_legacy = legacy_h5_format.load_weights_from_hdf5_group
_load_by_name = legacy_h5_format.load_weights_from_hdf5_group_by_name


def install(beside: Comparison) -> None:
    """Compare whenever Keras 3 loads weights into a model, and after every training."""

    def loads_weights(
        result: Any,
        model: Any,
        filepath: Any,
        skip_mismatch: bool = False,
        objects_to_skip: Any = None,
    ) -> None:
        if objects_to_skip is not None or not getattr(model, "built", False):
            return
        beside.load(
            _ending(filepath),
            model,
            lambda: _load_weights(model, filepath, skip_mismatch=skip_mismatch),
            filepath,
            **({"ignore_mismatch": True} if skip_mismatch else {}),
        )

    def loads_legacy(original: Callable[..., Any], **options: Any) -> Callable[..., None]:
        def check(result: Any, group: Any, model: Any, skip_mismatch: bool = False) -> None:
            name = "legacy .h5" + (" by name" if options else "")
            more = {"ignore_mismatch": True} if skip_mismatch else {}
            path = group.file.filename
            if os.path.isfile(path):
                beside.load(
                    name,
                    model,
                    lambda: original(group, model, skip_mismatch),
                    path,
                    **options,
                    **more,
                )

        return check

    def loads_model(model: Any, fileobj: Any, *arguments: Any, **options: Any) -> None:
        if not getattr(model, "built", False):
            return
        with folder() as place:
            path = place / "model.keras"
            position = fileobj.tell()
            fileobj.seek(0)
            path.write_bytes(fileobj.read())
            fileobj.seek(position)
            beside.load("load_model .keras", model, lambda: _load_weights(model, path), path)

    def loads_folder(model: Any, dirpath: Any, *arguments: Any, **options: Any) -> None:
        path = Path(dirpath) / "model.weights.h5"
        if path.exists() and getattr(model, "built", False):
            beside.load("load_model folder", model, lambda: _load_weights(model, path), path)

    def trains(result: Any, model: Any, *arguments: Any, **options: Any) -> None:
        if isinstance(model, keras.Model) and model.built:
            round_trips(beside, model)

    def exports(result: Any, model: Any, filepath: Any, *arguments: Any, **options: Any) -> None:
        if os.path.isdir(filepath) and model.built:
            beside.load("export", model, lambda: _load_export(model), filepath)

    after(beside, saving_lib, "load_weights_only", loads_weights)
    after(beside, saving_lib, "_load_model_from_fileobj", loads_model)
    after(beside, saving_lib, "_load_model_from_dir", loads_folder)
    after(beside, legacy_h5_format, "load_weights_from_hdf5_group", loads_legacy(_load_legacy))
    after(
        beside,
        legacy_h5_format,
        "load_weights_from_hdf5_group_by_name",
        loads_legacy(_load_by_name, by="name"),
    )
    after(beside, TensorFlowTrainer, "fit", trains)
    after(beside, TensorFlowTrainer, "train_on_batch", trains)
    after(beside, keras.Model, "save", trains)
    after(beside, keras.Model, "save_weights", trains)


def round_trips(beside: Comparison, model: Any) -> None:
    """Save a model in every format that Keras 3 knows, and load it into the same model."""
    kind = (
        type(model).__name__,
        type(getattr(model, "optimizer", None)).__name__,
        tuple(type(layer).__name__ for layer in model._flatten_layers()),
        tuple((v.name, tuple(v.shape)) for v in model.variables),
    )
    if not tf.executing_eagerly() or tf.distribute.has_strategy() or not beside.wanted(kind):
        return
    with folder() as place:
        weights = place / "m.weights.h5"
        if saved(beside, ".weights.h5", lambda: saving_lib.save_weights_only(model, weights)):
            beside.load("trip .weights.h5", model, lambda: _load_weights(model, weights), weights)
            twin = twin_of(keras, model)
            if twin is not None:
                beside.load("twin .weights.h5", twin, lambda: _load_weights(twin, weights), weights)
        archive = place / "m.keras"
        if saved(beside, ".keras", lambda: saving_lib.save_model(model, archive)):
            beside.load("trip .keras", model, lambda: _load_weights(model, archive), archive)
        legacy = place / "legacy.h5"
        if saved(beside, "legacy .h5", lambda: _save_legacy(model, legacy)):
            with h5py.File(legacy) as file:
                beside.load("trip legacy .h5", model, lambda: _load_legacy(file, model), legacy)
                if twin is not None:
                    beside.load("twin legacy .h5", twin, lambda: _load_legacy(file, twin), legacy)
        for name, made in (
            ("Checkpoint(model=)", lambda model: tf.train.Checkpoint(model=model)),
            ("Checkpoint(model)", lambda model: tf.train.Checkpoint(model)),
        ):
            prefix = place / f"ckpt{len(name)}"
            if saved(beside, name, lambda made=made, prefix=prefix: made(model).write(prefix)):

                def read(model: Any = model, made: Any = made, prefix: Path = prefix) -> None:
                    made(model).read(prefix).expect_partial()

                beside.load(f"trip {name}", model, read, prefix)
                if twin is not None:
                    beside.load(f"twin {name}", twin, lambda read=read: read(twin), prefix)


def _save_legacy(model: Any, path: Path) -> None:
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def _ending(path: Any) -> str:
    return "".join(Path(str(path)).suffixes[-2:])


def _load_export(model: Any) -> None:
    """Keras loads no export into a model. So the comparison only shows whether initreg fails."""
    raise NotImplementedError("Keras loads no export into a model")
