"""Every built-in format passes the conformance kit that third parties inherit."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from initreg.testing import FormatContract, Sample

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NUMPY = ["bool", *INTEGERS, "float16", "float32", "float64", "complex64", "complex128"]


def arrays(dtypes: list[Any]) -> dict[str, np.ndarray[Any, Any]]:
    """One array of each dtype, with any bits that are not NaN, and some of unusual shapes."""
    rng = np.random.default_rng(0)
    found = {}
    for dtype in map(np.dtype, dtypes):
        values = rng.integers(0, 2 if dtype.kind == "b" else 100, (3, 4))
        found[f"kind/{dtype.name}"] = values.astype(dtype)
    found["scalar"] = np.array(2.5, np.float32)
    found["empty"] = np.zeros((0, 3), np.float32)
    found["one"] = np.full((1, 1), -1.5, np.float32)
    found["größe/模型"] = rng.standard_normal((2, 3, 4)).astype(np.float32)
    return found


class TestNpz(FormatContract):
    """Stored and deflated archives of numpy.savez, Fortran order and big-endian members too."""

    format = "npz"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """Both ways to write one, and the order and byte order that numpy keeps."""
        plain = arrays(NUMPY)
        np.savez(folder / "stored.npz", **plain)
        yield Sample(folder / "stored.npz", plain)
        np.savez_compressed(folder / "deflated.npz", **plain)
        yield Sample(folder / "deflated.npz", plain)
        order = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
        np.savez(folder / "odd.npz", f=np.asfortranarray(order), b=order.astype(">f8"))
        yield Sample(folder / "odd.npz", {"f": order, "b": order})

    def unreadable(self, folder: Path) -> Iterator[Sample]:
        """A pickle that is not allowed, and a damaged header, beside what is not an array."""
        w = np.arange(6, dtype=np.float32).reshape(2, 3)
        np.savez(folder / "pickle.npz", w=w, odd=np.array([{}], object))
        with zipfile.ZipFile(folder / "pickle.npz", "a") as archive:
            archive.writestr("config.json", "{}")
        yield Sample(folder / "pickle.npz", {"w": w}, unreadable=["odd"])
        np.savez_compressed(folder / "damaged.npz", a=w, b=w)
        with zipfile.ZipFile(folder / "damaged.npz", "a", zipfile.ZIP_LZMA) as archive:
            archive.writestr("x/[0].npy", b"\x93NUMPY\x01\x00damaged")
        yield Sample(folder / "damaged.npz", {"a": w, "b": w}, unreadable=["x/[0]"])


class TestNpy(FormatContract):
    """Plain arrays of numpy.save, one in each file."""

    format = "npy"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """One file for each array, called by the file's stem."""
        for number, array in enumerate(arrays(NUMPY).values()):
            np.save(folder / f"a{number}.npy", array)
            yield Sample(folder / f"a{number}.npy", {f"a{number}": array})


class TestPickledNpy(FormatContract):
    """The dicts of old model zoos, which only ``allow_pickle`` opens."""

    format = "npy"
    options = {"allow_pickle": True}
    exempt = {"lazy": "a pickle is read as a whole or not at all"}
    flips = 0  # a changed pickle runs as changed code, which nobody can bound

    def samples(self, folder: Path) -> Iterator[Sample]:
        """A nested dict, as numpy pickles it."""
        w = np.arange(6, dtype=np.float32).reshape(2, 3)
        np.save(folder / "zoo.npy", {"conv1": {"W": w}, "b": w[0]}, allow_pickle=True)
        yield Sample(folder / "zoo.npy", {"conv1/W": w, "b": w[0]})

    def unreadable(self, folder: Path) -> Iterator[Sample]:
        """What is not an array, beside lists of arrays."""
        w = np.arange(6, dtype=np.float32).reshape(2, 3)
        np.save(folder / "odd.npy", {"net": [w, w[0]], "config": None}, allow_pickle=True)
        yield Sample(folder / "odd.npy", {"net/0": w, "net/1": w[0]}, unreadable=["config"])


class TestMapping(FormatContract):
    """Dicts in memory, also nested ones."""

    format = "mapping"
    exempt = {"files": "a mapping is an object in memory, not a file"}

    def samples(self, folder: Path) -> Iterator[Sample]:
        """Flat, nested, and with values that np.asarray has to make arrays of."""
        plain = arrays([*NUMPY, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
        yield Sample(plain, plain)
        w = np.arange(6.0).reshape(2, 3)
        yield Sample({"fc": {"W": w, "b": [1, 2]}}, {"fc/W": w, "fc/b": np.array([1, 2])})


class TestH5(FormatContract):
    """HDF5 files of h5py: contiguous, chunked, packed, big-endian, with strings."""

    format = "h5"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """A file of datasets in groups, as any library may write it."""
        import h5py

        plain = arrays(NUMPY)
        with h5py.File(folder / "plain.h5", "w") as file:
            for name, array in plain.items():
                file[name] = array
        yield Sample(folder / "plain.h5", plain)
        w = np.arange(600, dtype=np.float32).reshape(30, 20)
        with h5py.File(folder / "packed.hdf5", "w") as file:
            file.create_dataset("gzip", data=w, chunks=(7, 6), compression="gzip", shuffle=True)
            file.create_dataset("checked", data=w, chunks=(30, 20), fletcher32=True)
            file.create_dataset("big", data=w.astype(">f4"))
        yield Sample(folder / "packed.hdf5", {"gzip": w, "checked": w, "big": w})

    def unreadable(self, folder: Path) -> Iterator[Sample]:
        """A link into another file, which is never opened, beside numbers."""
        import h5py

        w = np.arange(6, dtype=np.float32).reshape(2, 3)
        with h5py.File(folder / "links.h5", "w") as file:
            file["w"] = w
            file["other/a"] = h5py.ExternalLink("other.h5", "a")
        yield Sample(folder / "links.h5", {"w": w}, unreadable=["other/a"])


class TestSafetensors(FormatContract):
    """Files of the safetensors library."""

    format = "safetensors"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """Every dtype that the library writes from numpy."""
        from safetensors.numpy import save_file

        kinds = [k for k in NUMPY if not k.startswith("complex128")]
        plain = arrays([*kinds, ml_dtypes.bfloat16])
        metadata = {"format": "np", "größe": "模型"}
        save_file(plain, folder / "plain.safetensors", metadata)
        yield Sample(folder / "plain.safetensors", plain, metadata=metadata)


class TestSafetensorsInParts(FormatContract):
    """An index and its parts, and a set of parts without an index, by a part and by its folder."""

    format = "safetensors"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """Three arrays in two parts, as transformers names them."""
        from safetensors.numpy import save_file

        w = np.arange(12, dtype=np.float32).reshape(3, 4)
        both = {"a/w": w, "a/b": w[0], "z/w": w + 1}
        for name in ("indexed", "plain"):
            (folder / name).mkdir()
            parts = [folder / name / f"m-0000{n}-of-00002.safetensors" for n in (1, 2)]
            save_file({"a/w": w, "a/b": w[0]}, parts[0])
            save_file({"z/w": w + 1}, parts[1])
            if name == "indexed":
                index = folder / name / "m.safetensors.index.json"
                places = {key: parts[key == "z/w"].name for key in both}
                index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
                yield Sample(index, both, [index, *parts], parts)
                yield Sample(folder / name, both, [index, *parts], parts)
            else:
                yield Sample(folder / name, both, parts, parts)
                yield Sample(parts[1], both, parts, parts)


class TestNpzInParts(FormatContract):
    """A format that opens one file: initreg opens all parts of a set with it."""

    format = "npz"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """Three parts, by the middle one, with numbers that begin with 0."""
        parts = [folder / f"m-{n}-of-3.npz" for n in range(3)]
        w = np.arange(12, dtype=np.float32).reshape(3, 4)
        for n, part in enumerate(parts):
            np.savez(part, **{f"w{n}": w + n})
        yield Sample(parts[1], {f"w{n}": w + n for n in range(3)}, parts, parts)


class TestH5InParts(FormatContract):
    """A sharded save as Keras names it, and one as transformers names it."""

    format = "h5"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """Two parts of each, by the index and by a part."""
        import h5py

        w = np.arange(12, dtype=np.float32).reshape(3, 4)
        both = {"layers/a/vars/0": w, "layers/b/vars/0": w + 1}
        parts = [folder / f"m_0000{n}.weights.h5" for n in (0, 1)]
        others = [folder / f"tf_model-0000{n}-of-00002.h5" for n in (1, 2)]
        for files in (parts, others):
            for file, (name, array) in zip(files, both.items(), strict=True):
                with h5py.File(file, "w") as opened:
                    opened[name] = array
        index, other = folder / "m.weights.json", folder / "tf_model.h5.index.json"
        places = {f"/{n.rpartition('/')[0]}": p.name for n, p in zip(both, parts, strict=True)}
        index.write_text(json.dumps({"weight_map": places}))
        places = {f"model/{n}:0": p.name for n, p in zip(both, others, strict=True)}
        other.write_text(json.dumps({"weight_map": places}))
        yield Sample(index, both, [index, *parts], parts)
        yield Sample(parts[1], both, [index, *parts], parts)
        yield Sample(other, both, [other, *others], others)
        yield Sample(others[0], both, [other, *others], others)


@pytest.mark.framework
class TestTfCheckpoint(FormatContract):
    """V2 checkpoints of TensorFlow, by their prefix and by their index."""

    format = "tf_checkpoint"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """One name-based checkpoint, written by the operation behind tf.compat.v1's Saver."""
        import tensorflow as tf

        plain = arrays([*NUMPY, ml_dtypes.bfloat16])
        prefix = folder / "model.ckpt-100"
        tf.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=list(plain),
            shape_and_slices=[""] * len(plain),
            tensors=[tf.constant(array) for array in plain.values()],
        )
        yield Sample(prefix, plain, (), [Path(f"{prefix}.data-00000-of-00001")])
        files = sorted(folder.glob("model.ckpt-100.*"))
        yield Sample(Path(f"{prefix}.index"), plain, files)


def test_npz_samples_are_of_both_kinds(tmp_path: Path) -> None:
    """The kit is run with stored and with deflated members."""
    kinds = {
        member.compress_type
        for sample in TestNpz().samples(tmp_path)
        for member in zipfile.ZipFile(sample.source).infolist()
    }
    assert kinds == {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
