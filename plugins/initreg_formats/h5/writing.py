"""Writing HDF5: one dataset for each array. The array's name is its path: ``fc/W`` is ``W`` in the
group ``fc``.

Datasets are contiguous, and those of 64 bytes and more begin at multiples of 64. With ``compress``
they are in chunks, packed by gzip. bfloat16, which HDF5 lacks, is stored as Keras stores it: opaque
elements of 2 bytes, with an attribute ``dtype``. Strings have variable length and are in UTF-8. No
times are stored, so that the same arrays make the same file.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from initreg import ArraySpec, InitregError, Output, Saved, SaveOptions
from initreg.option_spelling import option
from initreg_formats.h5.calm_file import CalmFile
from initreg_formats.shared.refusing import dtype_problem, name_problem, refuse

if TYPE_CHECKING:
    from pathlib import Path

    import h5py
    import numpy as np

_ALIGNMENT = 64  # bytes
_LONGEST = 60_000  # bytes between slashes; HDF5 does not read safely what it writes for longer ones
_DEEPEST = 200  # groups within groups, as many as are read
_MOST_AXES = 32  # H5S_MAX_RANK
_OF_KERAS = (".weights.h5", ".keras")
_PACKED = {"chunks": True, "compression": "gzip", "shuffle": True}


def save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    """Write ``arrays`` to one file; with ``options.compress``, packed by gzip.

    Raises InitregError for names, dtypes and strings that HDF5 cannot store.
    """
    label = output.label
    if options.shard_size is not None:
        raise InitregError(
            f"{label}: HDF5 is always one file. Leave out "
            + option("shard_size", python="shard_size")
            + ", or save as .safetensors"
        )
    if output.path.name.lower().endswith(_OF_KERAS):
        raise InitregError(
            f"{label}: Keras's own files store weights by the model's layers, so only the model "
            "can write them: model.save_weights(path) or model.save(path). For a file of arrays by "
            "name, give a path that ends in .h5 alone"
        )
    groups = _groups(arrays)
    problems = {name: _problem(array.spec, groups) for name, array in arrays.items()}
    refuse(problems, "HDF5", label)
    _write(arrays, output.file(), label, options.compress)


def _groups(arrays: Saved) -> dict[str, str]:
    """The groups that hold the arrays, each with the name of one array in it."""
    groups: dict[str, str] = {}
    for name in arrays:
        end = name.rfind("/")
        while end >= 0 and name[:end] not in groups:
            groups[name[:end]] = name
            end = name.rfind("/", 0, end)
    return groups


def _problem(spec: ArraySpec, groups: dict[str, str]) -> str:
    """Why HDF5 cannot store the array, and what to do; ``""`` if it can."""
    problem = dtype_problem(spec, ".h5")
    if problem:
        return problem
    name, axes = spec.name, len(spec.shape)
    parts = name.split("/")
    if axes > _MOST_AXES:
        return f"it has {axes} axes, and at most {_MOST_AXES} are possible. Save as .npz"
    if "\0" in name or not {"", ".", ".."}.isdisjoint(parts):
        return (
            "its name is not a path, because a part of it is empty, '.', '..' or has NUL. Rename it"
        )
    if name in groups:
        return f"it cannot be both an array and the group of {groups[name]!r}. Rename it"
    if len(parts) - 1 > _DEEPEST:
        return f"its name nests more than {_DEEPEST} groups. Rename it"
    if max(len(part.encode(errors="surrogatepass")) for part in parts) > _LONGEST:
        return f"a part of its name has more than {_LONGEST:,} bytes. Rename it"
    return name_problem(name)


def _write(arrays: Saved, path: Path, label: str, compress: bool) -> None:
    import h5py

    with open(path, "w+b", buffering=0) as raw:
        calm = CalmFile(raw)
        # HDF5 calls the file while it writes. Ctrl-C there would be an error that it does not
        # survive, and Python raises it in the main thread alone.
        with ThreadPoolExecutor(1) as thread:
            file = thread.submit(
                h5py.File,
                calm,
                "w",
                alignment_threshold=_ALIGNMENT,
                alignment_interval=_ALIGNMENT,
            ).result()
            try:
                writer = _Writer(file, compress)
                for name, values in arrays.stream():
                    if values.dtype.kind in "OSTU":
                        values = _strings(name, values, label)
                    thread.submit(writer.add, name, values).result()
                    del values
                    if calm.error is not None:
                        break
            except BaseException as error:
                calm.error = calm.error or error  # nothing more is written
                raise
            finally:
                thread.submit(file.close).result()
        if calm.error is not None:
            raise calm.error


def _strings(name: str, values: np.ndarray[Any, Any], label: str) -> np.ndarray[Any, Any]:
    """Strings as an array of objects. Raises InitregError for those that HDF5 would change."""
    found = values.astype(object)
    for element in found.flat:
        try:
            spelt = element.encode() if isinstance(element, str) else element
            spelt.decode()
        except UnicodeError:
            what = "bytes that are not UTF-8"
        else:
            if b"\0" not in spelt:
                continue
            what = "NUL, which ends a string"
        raise InitregError(
            f"{label}: array {name!r} holds strings that HDF5 cannot store, with {what}. Save as "
            ".ckpt"
        )
    return found


class _Writer:
    """Adds datasets to a file.

    Plain ones are made without h5py's upper layer, with which saving 4,000 small datasets takes
    almost three times as long (measured).
    """

    def __init__(self, file: h5py.File, compress: bool) -> None:
        from h5py import h5p, h5t

        self._file = file
        self._packing = _PACKED if compress else {}
        self._creation = h5p.create(h5p.DATASET_CREATE)
        self._creation.set_obj_track_times(False)
        self._link = h5p.create(h5p.LINK_CREATE)
        self._link.set_create_intermediate_group(True)
        self._link.set_char_encoding(h5t.CSET_UTF8)

    def add(self, name: str, values: np.ndarray[Any, Any]) -> None:
        import h5py

        is_bfloat16 = values.dtype.name == "bfloat16"
        if is_bfloat16:
            values = values.view("V2")
        if values.dtype.hasobject:
            made = self._made(name, values, h5py.string_dtype())
        elif self._packing and values.size and values.ndim:
            made = self._made(name, values, values.dtype, **self._packing)
        else:
            made = self._made_plainly(name, values)
        if is_bfloat16:
            made.attrs["dtype"] = "bfloat16"

    def _made(self, name: str, values: Any, dtype: Any, **packing: Any) -> h5py.Dataset:
        made = self._file.create_dataset(name, values.shape, dtype, track_times=False, **packing)
        if values.size:
            made[...] = values
        return made

    def _made_plainly(self, name: str, values: np.ndarray[Any, Any]) -> h5py.Dataset:
        import h5py
        from h5py import h5d, h5s, h5t

        kind = h5t.py_create(values.dtype, logical=True)
        space = h5s.create_simple(values.shape) if values.ndim else h5s.create(h5s.SCALAR)
        made = h5d.create(self._file.id, name.encode(), kind, space, self._creation, self._link)
        if values.size:
            made.write(h5s.ALL, h5s.ALL, values, kind)
        return h5py.Dataset(made)
