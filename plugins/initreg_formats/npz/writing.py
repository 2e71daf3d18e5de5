"""Writing ``.npz``: what ``numpy.load`` reads, with every stored array at a multiple of 64 bytes.

Strings become numpy's arrays of fixed width, so that no pickle is needed to read them. Dtypes that
numpy's headers have no name for are refused: bfloat16, float8 and int4, of which ``numpy.savez``
writes raw bytes without their dtype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from initreg import InitregError, LazyArray, Output, Saved, SaveOptions
from initreg.option_spelling import option
from initreg_formats.shared.npy_header import make_header
from initreg_formats.shared.refusing import dtype_problem, name_problem, refuse
from initreg_formats.shared.zip_writing import LONGEST_NAME, ZipWriter

if TYPE_CHECKING:
    import numpy as np

_SUFFIX = ".npy"
# Padding strings to the longest may take this many times their own size, beyond a megabyte.
_WIDEST = 64


def save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    """Write ``arrays`` to one archive; with ``options.compress``, deflated.

    Raises InitregError for names, dtypes and strings that an .npz would not give back.
    """
    import numpy as np

    label = output.label
    if options.shard_size is not None:
        raise InitregError(
            f"{label}: an .npz is always one file. Leave out "
            + option("shard_size", python="shard_size")
            + ", or save as .safetensors"
        )
    refuse({name: _problem(name, array, arrays) for name, array in arrays.items()}, ".npz", label)
    with output.opened(output.file()) as file:
        archive = ZipWriter(file)
        add = archive.deflate if options.compress else archive.store
        for name, values in arrays.stream():
            if values.dtype.hasobject:
                values = _fixed_width(name, values, label)
            data = values.reshape(-1).view(np.uint8).data if values.nbytes else b""
            add(f"{name}{_SUFFIX}", make_header(values.dtype.str, values.shape), data)
            del values, data
        archive.finish()


def _problem(name: str, array: LazyArray, arrays: Saved) -> str:
    """Why an .npz cannot store the array, and what to do; ``""`` if it can."""
    problem = dtype_problem(array.spec, ".npz")
    if problem:
        return problem
    if "\0" in name or "\\" in name or name.startswith("/") or ".." in name.split("/"):
        return "its name is not a relative path that every system reads alike. Rename it"
    problem = name_problem(name)
    if not problem and len(name.encode()) + len(_SUFFIX) > LONGEST_NAME:
        return f"its name has more than {LONGEST_NAME - len(_SUFFIX):,} bytes. Rename it"
    if not problem and name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX) in arrays:
        return f"numpy.load takes it for {name.removesuffix(_SUFFIX)!r}. Rename it"
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
                f"{label}: array {name!r} holds strings of very different lengths. An .npz would "
                f"make each as long as the longest, {max(lengths):,}. Save as .h5 or .ckpt"
            )
        # At least 1 wide: numpy has no strings of width 0.
        found = np.array(elements or [kind()], dtype)[: len(elements)].reshape(values.shape)
        if found.reshape(-1).tolist() == elements:
            return found
    raise InitregError(
        f"{label}: array {name!r} holds strings that numpy cannot store as they are. Some are text "
        "and some bytes, or some end in NUL. Save as .ckpt"
    )
