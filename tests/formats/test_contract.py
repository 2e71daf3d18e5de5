"""Every built-in format passes the conformance kit that third parties inherit."""

from __future__ import annotations

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


class TestSafetensors(FormatContract):
    """Files of the safetensors library."""

    format = "safetensors"

    def samples(self, folder: Path) -> Iterator[Sample]:
        """Every dtype that the library writes from numpy."""
        from safetensors.numpy import save_file

        kinds = [k for k in NUMPY if not k.startswith("complex128")]
        plain = arrays([*kinds, ml_dtypes.bfloat16])
        save_file(plain, folder / "plain.safetensors")
        yield Sample(folder / "plain.safetensors", plain)


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
        yield Sample(prefix, plain)
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
