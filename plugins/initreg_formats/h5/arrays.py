"""One dataset of an HDF5 file as an array: an extent if its bytes are stored plainly, otherwise
lazily through h5py.

Source of the rules: HDF5 File Format Specification 3.0, "Data Layout Message". For bfloat16:
``keras/src/saving/saving_lib.py``, ``H5IOStore``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from initreg import DamagedFile, Extent, MissingLibrary, RefusedFile
from initreg_formats.h5.attributes import has_attribute, string_list
from initreg_formats.h5.container import Container, h5_errors
from initreg_formats.h5.headers import address_of, messages
from initreg_formats.h5.strings import DESCRIPTOR, Strings
from initreg_formats.h5.walk import Dataset, as_text
from initreg_formats.shared.unreadable import OpaqueDtype, Unreadable

_LAYOUT = 0x08
_CHUNKED_BY_INDEX = b"\4\2"  # version 4, chunked
_UNSAFE_INDICES = (4, 5)  # extensible array, B-tree of version 2

if TYPE_CHECKING:
    import h5py
    import numpy as np

_MOST_BYTES = 1 << 60
# HDF5's own filters that trust the packed data. Scale-offset was seen to crash 1.14.6.
_UNSAFE = {4: "szip", 5: "n-bit", 6: "scale-offset"}
# Filters that h5py lacks and hdf5plugin has, by their registered numbers.
_HDF5PLUGIN = (305, 307, 308, 32001, 32004, 32008, 32013, 32015, 32017, 32018, 32026, 32028)


def to_array(
    container: Container, dataset: Dataset, aliases: tuple[str, ...], is_weight: bool
) -> Any:
    """The dataset as an Extent or a lazy array; None if it holds no array (a null dataspace).

    Args:
        container: the open file.
        dataset: where the dataset lies in it.
        aliases: the other names of the array.
        is_weight: whether Keras's attributes name the dataset as a weight.

    Raises:
        RefusedFile: its bytes lie in another file or dataset.
        MissingLibrary: it is packed by a filter that is not installed.
        DamagedFile: its size is impossible.
    """
    import h5py

    what = f"{container.label}: dataset {dataset.path!r}"
    with h5_errors(what):
        found = dataset.open()
        plist = found.get_create_plist()
        layout = plist.get_layout()
        _refuse_foreign(plist, layout, what)
        if found.get_space().get_simple_extent_type() == h5py.h5s.NULL:
            return None
        shape: tuple[int, ...] = found.shape
        kind = found.get_type()
        try:
            dtype = kind.dtype
        except TypeError as error:
            message = (
                f"{what} has elements that numpy has no dtype for: {error}. Read it with h5py, and "
                "pass the arrays as a dict"
            )
            return Unreadable(shape, OpaqueDtype(type(kind).__name__), message, aliases)
        while dtype.subdtype is not None:
            dtype, inner = dtype.subdtype
            shape += inner
        _check_fields(dtype, what)
        stored_as_is = kind.equal(h5py.h5t.py_create(dtype, logical=True))
        is_bfloat16 = _is_bfloat16(found, dtype, is_weight, container)
        _check_size(shape, dtype, what)
        if dtype.hasobject and _are_strings(found, layout, dtype):
            return Strings(container, found.get_offset() or 0, shape, aliases, what)
        if dtype.hasobject:
            kinds, name = _objects(dtype)
            message = (
                f"{what} holds {kinds}, not plain numbers. Read it with h5py, and pass "
                "the arrays as a dict"
            )
            return Unreadable(shape, OpaqueDtype(name), message, aliases)
        nbytes = math.prod(shape) * dtype.itemsize
        if (
            layout == h5py.h5d.CONTIGUOUS
            and container.path is not None
            and (is_bfloat16 or (stored_as_is and dtype.kind in "biufc" and dtype.itemsize <= 16))
            and dtype.name not in ("longdouble", "float128")
            and 0 < nbytes == found.get_storage_size()
            and found.get_offset() is not None
        ):
            return Extent(
                file=container.path,
                offset=container.base + found.get_offset(),
                length=nbytes,
                shape=shape,
                dtype="bfloat16" if is_bfloat16 else dtype.str,
                aliases=aliases,
            )
        unsafe = _unsafe_filter(plist, what)
        if unsafe:
            message = (
                f"{what} is packed by HDF5's filter {unsafe}, which can end the process if the "
                "file is damaged. Save it with gzip or without a filter. Or read it with h5py, and "
                "pass the arrays as a dict"
            )
            opaque = OpaqueDtype(f"{dtype.name}, packed by {unsafe}")
            return Unreadable(shape, opaque, message, aliases)
        if layout == h5py.h5d.CHUNKED and _is_indexed_unsafely(container, found, what):
            message = (
                f"{what} can grow, and its chunks are indexed in a way that HDF5 does not read "
                "safely. Save it without maxshape=, or without libver='latest'. Or read it with "
                "h5py, and pass the arrays as a dict"
            )
            opaque = OpaqueDtype(f"{dtype.name}, in chunks that grow")
            return Unreadable(shape, opaque, message, aliases)
        container.claim_memory(nbytes, what)
        if layout == h5py.h5d.CHUNKED:
            # HDF5 unpacks all of a chunk, however little of it belongs to the dataset.
            container.check_memory(math.prod(plist.get_chunk()) * dtype.itemsize, what)
    if is_bfloat16:
        import ml_dtypes
        import numpy as np

        dtype = np.dtype(ml_dtypes.bfloat16)
    return Lazy(container, dataset, shape, dtype, aliases, what)


def _is_indexed_unsafely(container: Container, found: Any, what: str) -> bool:
    """Whether the chunks are indexed by an extensible array or a B-tree of version 2.

    HDF5 1.14.6 divides by zeros in damaged ones, and trusts their sizes.

    Source: HDF5 File Format Specification 3.0, "Data Layout Message", version 4.
    """
    for kind, _, body in messages(container, address_of(found), what):
        if kind == _LAYOUT and bytes(body[:2]) == _CHUNKED_BY_INDEX and len(body) > 5:
            index = 5 + body[3] * body[4]  # after the dimensions
            return len(body) <= index or body[index] in _UNSAFE_INDICES
    return False


def _check_fields(dtype: np.dtype[Any], what: str) -> None:
    """Raise DamagedFile if a structure's fields overlap, or reach beyond its end.

    numpy may read a field as a wider type than the file has: a damaged float of 8 bytes as a long
    double of 16. h5py then writes past the end of each element, and of the array.
    """
    end = 0
    for field, offset in sorted(
        ((found[0], found[1]) for found in (dtype.fields or {}).values()), key=lambda each: each[1]
    ):
        if offset < end or offset + field.itemsize > dtype.itemsize:
            raise DamagedFile(
                f"{what} has elements whose parts overlap: {dtype}. Download or copy the file again"
            )
        end = offset + field.itemsize
        _check_fields(field.base, what)


class Lazy:
    """An array that HDF5 unpacks: chunked, filtered, compact, never written, or in memory."""

    __slots__ = ("_container", "_dataset", "_what", "aliases", "dtype", "shape")

    def __init__(
        self,
        container: Container,
        dataset: Dataset,
        shape: tuple[int, ...],
        dtype: Any,
        aliases: tuple[str, ...],
        what: str,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.aliases = aliases
        self._container = container
        self._dataset = dataset
        self._what = what

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        import h5py

        with h5_errors(self._what):
            array: np.ndarray[Any, Any] = h5py.Dataset(self._dataset.open())[...]
            if array.dtype != self.dtype:  # opaque elements that are bfloat16
                array = array.view(self.dtype)
        return array if dtype is None else array.astype(dtype, copy=False)


def _refuse_foreign(plist: h5py.h5p.PropDCID, layout: int, what: str) -> None:
    import h5py

    if layout == h5py.h5d.VIRTUAL:
        raise RefusedFile(
            f"{what} is virtual: its values lie in other datasets, or in other files, which "
            "initreg does not open. Copy it into a dataset of its own"
        )
    if layout != h5py.h5d.CHUNKED and plist.get_external_count():
        file, _, _ = plist.get_external(0)
        raise RefusedFile(
            f"{what} has its values in another file, {as_text(file)!r}, which initreg does not "
            "open. Copy it into a dataset of its own"
        )


def _is_bfloat16(
    dataset: h5py.h5d.DatasetID, dtype: np.dtype[Any], is_weight: bool, container: Container
) -> bool:
    """Whether Keras wrote it from bfloat16, which HDF5 lacks, as opaque elements of 2 bytes.

    In a ``.weights.h5`` the attribute ``dtype`` says so. A legacy file has no such attribute, but
    Keras has no other dtype of 2 bytes that HDF5 lacks.
    """
    if dtype.kind != "V" or dtype.itemsize != 2 or dtype.names is not None:
        return False
    return is_weight or (
        has_attribute(dataset, "dtype", container)
        and string_list(dataset, "dtype", container) == ["bfloat16"]
    )


def _check_size(shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> None:
    # With an axis of 0 the others may have any length, which numpy does not accept.
    if math.prod(axis or 1 for axis in shape) * max(1, dtype.itemsize) > _MOST_BYTES:
        raise DamagedFile(
            f"{what} has the impossible shape {shape}. Download or copy the file again"
        )


def _are_strings(dataset: h5py.h5d.DatasetID, layout: int, dtype: np.dtype[Any]) -> bool:
    """Whether they are strings of variable length whose descriptors are contiguous."""
    import h5py

    count = math.prod(dataset.shape)
    return (
        h5py.check_string_dtype(dtype) is not None
        and layout == h5py.h5d.CONTIGUOUS
        and dataset.get_storage_size() == count * DESCRIPTOR
        and (count == 0 or dataset.get_offset() is not None)
    )


def _objects(dtype: np.dtype[Any]) -> tuple[str, str]:
    """For elements that are not plain numbers: what they are, and the name of their dtype."""
    import h5py

    if h5py.check_string_dtype(dtype) is not None:
        return "strings of variable length in chunks", "string"
    if h5py.check_vlen_dtype(dtype) is not None:
        return "arrays of differing lengths", "object"
    if h5py.check_ref_dtype(dtype) is not None:
        return "references", "object"
    return f"structures ({dtype})", str(dtype)


def _unsafe_filter(plist: h5py.h5p.PropDCID, what: str) -> str:
    """The name of a filter of the dataset that writes beyond its memory if the data is damaged;
    ``""`` if there is none. Raises MissingLibrary if a filter is not installed."""
    import h5py

    unsafe = ""
    for index in range(plist.get_nfilters()):
        code, _, _, name = plist.get_filter(index)
        unsafe = _UNSAFE.get(code, unsafe)
        if h5py.h5z.filter_avail(code):
            continue
        title = f"the HDF5 filter {code}" + (f" ({as_text(name)})" if name else "")
        remedy = "read it where it was written, and save it with gzip or without a filter"
        if code in _HDF5PLUGIN:
            remedy = "pip install hdf5plugin, and 'import hdf5plugin' before"
        raise MissingLibrary(what, title, remedy)
    return unsafe
