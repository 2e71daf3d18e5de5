"""The files that are mutated, small, and made by those who own their formats: ``seeds.py FOLDER``.

One folder for each, with the file to open, ``main``, and what lies beside it.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import h5py
import keras
import numpy as np
import safetensors.numpy
import tensorflow as tf
from seeds_of import SEEDS

v1 = tf.compat.v1


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "fc/W": rng.random((4, 8), "f4"),
        "fc/b": np.zeros(8, "f2"),
        "step": np.array(7, "i8"),
        "mask": rng.random(5) < 0.5,
        "empty": np.zeros((0, 3), "f8"),
    }


def make(folder: Path) -> None:
    where = {name: folder / name for name in SEEDS}
    for each in where.values():
        each.mkdir(parents=True)
    np.savez(where["npz"] / "m.npz", **arrays())
    np.savez_compressed(where["npz_deflated"] / "m.npz", **arrays())
    _mixed(where["npz_mixed"] / "m.npz")
    np.save(where["npy"] / "m.npy", arrays()["fc/W"])
    _safetensors(where)
    _checkpoints(where)
    _hdf5(where)


def _mixed(path: Path) -> None:
    """An archive whose members are packed in every way, and not all arrays."""
    methods = itertools.cycle((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays().items():
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(f"{name}.npy", member.getvalue(), next(methods))
        archive.writestr("config.json", "{}")


def _safetensors(where: dict[str, Path]) -> None:
    metadata = {"format": "np"}
    safetensors.numpy.save_file(arrays(), where["safetensors"] / "m.safetensors", metadata)
    shards: dict[str, str] = {}
    for i, name in enumerate(arrays()):
        shard = f"m-{i % 2 + 1:05}-of-00002.safetensors"
        shards[name] = shard
    for shard in set(shards.values()):
        part = {name: array for name, array in arrays().items() if shards[name] == shard}
        safetensors.numpy.save_file(part, where["safetensors_shards"] / shard)
    index = {"metadata": {"total_size": 200}, "weight_map": shards}
    path = where["safetensors_shards"] / "m.safetensors.index.json"
    path.write_text(json.dumps(index))


def _checkpoints(where: dict[str, Path]) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        for name, array in arrays().items():
            v1.get_variable(name, initializer=array)
        v1.get_variable("counts", initializer=np.array([-1, 300], "i2"))
        v1.get_variable("words", initializer=np.array(["ab", "c"], object), dtype=tf.string)
        v1.get_variable("parts", [6, 2], partitioner=v1.fixed_size_partitioner(2), dtype=tf.float32)
        session.run(v1.global_variables_initializer())
        saver = v1.train.Saver()
        saver.save(session, str(where["checkpoint"] / "m"), write_meta_graph=False)
        old = v1.train.Saver(write_version=v1.train.SaverDef.V1)
        old.save(session, str(where["checkpoint_v1"] / "m"), write_meta_graph=False)
        v1.train.export_meta_graph(str(where["metagraph"] / "m.meta"))
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    step = tf.Variable(3)
    tf.train.Checkpoint(model=model, step=step).write(str(where["checkpoint_objects"] / "m"))


def _hdf5(where: dict[str, Path]) -> None:
    for name, version in (("h5", "earliest"), ("h5_new", "latest")):
        with h5py.File(where[name] / "m.h5", "w", libver=version) as file:
            for key, array in arrays().items():
                file[key] = array
            file.create_dataset("packed", data=np.arange(64.0), chunks=(16,), compression="gzip")
            file["words"] = np.array(["ab", "c"], object)
            file["link"] = h5py.SoftLink("/fc/W")
            file["dangling"] = h5py.SoftLink("/no/W")
            file["outside"] = h5py.ExternalLink("other.h5", "/W")
            file.create_dataset(
                "words in chunks", data=["ab", "", "cdef"], chunks=(2,), compression="gzip"
            )
            file.create_dataset("fixed in chunks", data=np.array([b"ab", b"c"]), chunks=(1,))
            if version == "latest":  # trees, heaps and indices
                for number in range(12):
                    file[f"many/w{number}"] = np.float32(number)
                for axes in (1, 2):
                    grows = file.create_dataset(
                        f"zz{axes}",
                        (4,) * axes,
                        "f4",
                        maxshape=(None,) * axes,
                        chunks=(2,) * axes,
                    )
                    grows[...] = 1
                for name, options in (
                    ("all", {"compression": "gzip", "shuffle": True, "fletcher32": True}),
                    ("lzf", {"compression": "lzf", "shuffle": True}),
                    ("scaled", {"scaleoffset": 2}),
                ):
                    data = np.arange(24, dtype="f4").reshape(6, 4)
                    file.create_dataset(f"packed {name}", data=data, chunks=(4, 3), **options)
                file["struct"] = np.zeros(3, [("a", "f4"), ("b", "i2", (2,))])
                file.attrs["name"] = "x"
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    model.save_weights(where["weights_h5"] / "m.weights.h5")
    model.save(where["keras"] / "m.keras")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
