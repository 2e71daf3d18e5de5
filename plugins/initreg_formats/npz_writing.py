"""Writing ``.npz``: what ``numpy.load`` reads, with every stored array at a multiple of 64 bytes.

Strings become numpy's arrays of fixed width, so that no pickle is needed to read them. What numpy's
headers have no name for (bfloat16, float8, int4: ``numpy.savez`` writes raw bytes that nobody knows
the dtype of) is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from initreg import InitregError, LazyArray, Output, Saved, SaveOptions
from initreg_formats import npy
from initreg_formats.refusing import name_problem, refuse
from initreg_formats.zip_writing import LONGEST_NAME, ZipWriter

if TYPE_CHECKING:
    import numpy as np

_SUFFIX = ".npy"
_BUFFER = 1 << 18  # bytes; what is larger is written from where it lies
_WIDEST = 64  # times what strings take by themselves, beyond a megabyte, may they take if padded
_DTYPES = {"bool", "string", "float16", "float32", "float64", "complex64", "complex128"}
_DTYPES |= {f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)}


def save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    """Raises InitregError for names, dtypes and strings that an .npz would not give back."""
    import numpy as np

    label = output.label
    if options.shard_size is not None:
        raise InitregError(
            f"{label}: an .npz is one file: leave out shard_size, or save as .safetensors"
        )
    problems = {name: _problem(name, array, arrays) for name, array in arrays.items()}
    refuse({name: problem for name, problem in problems.items() if problem}, ".npz", label)
    with open(output.file(), "wb", _BUFFER) as file:
        archive = ZipWriter(file)
        add = archive.deflate if options.compress else archive.store
        for name, values in arrays.stream():
            if values.dtype.hasobject:
                values = _fixed_width(name, values, label)
            data = values.reshape(-1).view(np.uint8).data if values.nbytes else b""
            add(f"{name}{_SUFFIX}", npy.make_header(values.dtype.str, values.shape), data)
            del values, data
        archive.finish()


def _problem(name: str, array: LazyArray, arrays: Saved) -> str:
    """What keeps an array out of an .npz, "" if nothing does."""
    dtype = array.spec.dtype
    if dtype not in _DTYPES:
        return (
            f"its dtype is {dtype}, which numpy's files have no name for: save as .safetensors or "
            ".ckpt, or cast it, as cast='float32' does"
        )
    if "\0" in name or "\\" in name or name.startswith("/") or ".." in name.split("/"):
        return "its name is no relative path that every system reads alike: rename it"
    problem = name_problem(name)
    if not problem and len(name.encode()) + len(_SUFFIX) > LONGEST_NAME:
        return f"its name has more than {LONGEST_NAME - len(_SUFFIX):,} bytes: rename it"
    if not problem and name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX) in arrays:
        return f"numpy.load takes it for {name.removesuffix(_SUFFIX)!r}: rename it"
    return problem


def _fixed_width(name: str, values: np.ndarray[Any, Any], label: str) -> np.ndarray[Any, Any]:
    """Strings as numpy stores them without a pickle. Raises InitregError if some would change."""
    import numpy as np

    elements = values.reshape(-1).tolist()
    for kind, dtype in ((str, np.str_), (bytes, np.bytes_)):
        if not all(isinstance(element, kind) for element in elements):
            continue
        lengths = [len(element) for element in elements]
        if max(lengths, default=0) * len(lengths) > _WIDEST * (sum(lengths) + (1 << 20)):
            raise InitregError(
                f"{label}: array {name!r} holds strings of very different lengths, each of which "
                f"an .npz would make as long as the longest, {max(lengths):,}: save as .h5 or .ckpt"
            )
        # At least 1 wide: numpy has no strings of no width.
        found = np.array(elements or [kind()], dtype)[: len(elements)].reshape(values.shape)
        if found.reshape(-1).tolist() == elements:
            return found
    raise InitregError(
        f"{label}: array {name!r} holds strings that numpy cannot store as they are: some are text "
        "and some bytes, or end in NUL. Save as .ckpt"
    )
