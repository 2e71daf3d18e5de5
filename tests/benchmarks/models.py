"""The models that are restored, and files of them in every format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Model = Mapping[str, np.ndarray[Any, Any]]


def transformer(megabytes: float = 436) -> Model:
    """The 197 variables of a BERT base encoder, 436 MB of float32; scaled by their width."""
    width = max(64, round((megabytes / 436) ** 0.5 * 12) * 64)
    vocabulary = round(30522 * megabytes / 436 * 768 / width)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings/word": (vocabulary, width),
        "embeddings/position": (512, width),
        "embeddings/token_type": (2, width),
        "embeddings/norm/gamma": (width,),
        "embeddings/norm/beta": (width,),
    }
    for layer in range(12):
        at = f"encoder/layer_{layer}"
        dense = {f"attention/{name}": (width, width) for name in ("query", "key", "value", "out")}
        dense |= {"intermediate": (width, 4 * width), "output": (4 * width, width)}
        for name, shape in dense.items():
            shapes[f"{at}/{name}/kernel"] = shape
            shapes[f"{at}/{name}/bias"] = shape[1:]
        for name in ("attention/norm", "output/norm"):
            shapes[f"{at}/{name}/gamma"] = shapes[f"{at}/{name}/beta"] = (width,)
    # As weights are: deflate takes 8 % off them.
    random = np.random.default_rng(0)
    return {name: random.standard_normal(s, "f4") * np.float32(0.02) for name, s in shapes.items()}


def small(count: int) -> Model:
    """Many small variables: kernels of 16 x 16 and biases."""
    return {
        f"block_{i // 2}/{'bias' if i % 2 else 'kernel'}": np.full((16, 16)[i % 2 :], i, "f4")
        for i in range(count)
    }


def two_hundred() -> Model:
    return small(200)


def ten_thousand() -> Model:
    return small(10_000)


def four_thousand() -> Model:
    return small(4_000)


def npz(model: Model, folder: Path) -> Path:
    np.savez(folder / "stored.npz", **model)
    return folder / "stored.npz"


def deflated(model: Model, folder: Path) -> Path:
    np.savez_compressed(folder / "deflated.npz", **model)
    return folder / "deflated.npz"


def safetensors(model: Model, folder: Path) -> Path:
    from safetensors.numpy import save_file

    save_file(dict(model), folder / "model.safetensors")
    return folder / "model.safetensors"


def aligned(model: Model, folder: Path) -> Path:
    """Safetensors whose every array lies at a multiple of 64 bytes. The format lets the header end
    in spaces, and all arrays of these models but the last are multiples of 64 bytes long."""
    header: dict[str, Any] = {}
    at = 0
    for name, array in sorted(model.items(), key=lambda item: -item[1].nbytes):
        offsets = [at, at + array.nbytes]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path = folder / "aligned.safetensors"
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in header:
            file.write(model[name].tobytes())
    return path


def h5(model: Model, folder: Path) -> Path:
    import h5py

    with h5py.File(folder / "model.h5", "w") as file:
        for name, array in model.items():
            file[name] = array
    return folder / "model.h5"


def chunked_h5(model: Model, folder: Path) -> Path:
    """In chunks of h5py's choice, packed by gzip and shuffle."""
    import h5py

    with h5py.File(folder / "chunked.h5", "w") as file:
        for name, array in model.items():
            file.create_dataset(name, data=array, compression="gzip", shuffle=True)
    return folder / "chunked.h5"


def checkpoint(model: Model, folder: Path) -> Path:
    """Name-based, as ``tf.compat.v1.train.Saver`` writes it."""
    import tensorflow as tf

    prefix = str(folder / "model.ckpt")
    arrays = [tf.constant(array) for array in model.values()]
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=list(model), shape_and_slices=[""] * len(model), tensors=arrays
    )
    return Path(prefix)


def object_based(model: Model, folder: Path) -> Path:
    """As ``tf.train.Checkpoint`` writes it."""
    import tensorflow as tf

    variables = {name: tf.Variable(array, name=name) for name, array in model.items()}
    return Path(tf.train.Checkpoint(model=variables).write(str(folder / "object-based")))


def keras_model(width: int = 768) -> Any:
    """As many and as large variables as :func:`transformer` has, in layers of Keras."""
    import keras

    x = at = keras.Input((width,))
    for layer in range(12):
        for name in ("query", "key", "value", "out"):
            x = keras.layers.Dense(width, name=f"{name}_{layer}")(x)
        x = keras.layers.LayerNormalization(name=f"norm_a_{layer}")(x)
        x = keras.layers.Dense(4 * width, name=f"intermediate_{layer}")(x)
        x = keras.layers.Dense(width, name=f"output_{layer}")(x)
        x = keras.layers.LayerNormalization(name=f"norm_b_{layer}")(x)
    word = keras.layers.Dense(30522, name="word", use_bias=False)(x)
    return keras.Model(at, word)


def weights_h5(model: Model, folder: Path) -> Path:
    made = keras_model()
    made.save_weights(folder / "model.weights.h5")
    return folder / "model.weights.h5"


Writer = Callable[[Model, Path], Path]
