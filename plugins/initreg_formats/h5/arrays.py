"""One dataset of an HDF5 file as an array: an extent where its bytes lie as they are, else lazily
through h5py.

Source of the rules: HDF5 File Format Specification 3.0, "Data Layout Message"; and for bfloat16
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
from initreg_formats.unreadable import Unreadable

_LAYOUT = 0x08
_CHUNKED_BY_INDEX = b"\4\2"  # version 4, chunked
_UNSAFE_INDICES = (4, 5)  # extensible array, B-tree of version 2

if TYPE_CHECKING:
    import h5py
    import numpy as np

_MOST_BYTES = 1 << 60
# HDF5's own filters that believe the packed data. Scale-offset was seen to crash 1.14.6.
_UNSAFE = {4: "szip", 5: "n-bit", 6: "scale-offset"}
# Filters that h5py does not bring, by their registered numbers, and what brings them.
_HDF5PLUGIN = (305, 307, 308, 32001, 32004, 32008, 32013, 32015, 32017, 32018, 32026, 32028)


def to_array(
    container: Container, dataset: Dataset, aliases: tuple[str, ...], is_weight: bool
) -> Any:
    """An Extent or something lazy; None if the dataset holds no array (a null dataspace).
    ``is_weight``: whether Keras's attributes say that it is one.

    Raises RefusedFile if its bytes lie in another file or dataset, MissingLibrary for an unknown
    filter, DamagedFile if its size is impossible.
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
            message = f"{what} has elements that numpy has no dtype for: {error}"
            return Unreadable(shape, type(kind).__name__, message, aliases)
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
                f"{what} holds {kinds}, not plain numbers: read it with h5py, and pass "
                "the arrays as a dict"
            )
            return Unreadable(shape, name, message, aliases)
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
                "file is damaged. Save it with gzip or without a filter; or read it with h5py, and "
                "pass the arrays as a dict"
            )
            return Unreadable(shape, f"{dtype.name}, packed by {unsafe}", message, aliases)
        if layout == h5py.h5d.CHUNKED and _is_indexed_unsafely(container, found, what):
            message = (
                f"{what} may grow, and its chunks are indexed in a way that HDF5 does not read "
                "safely. Save it without maxshape=, or without libver='latest'; or read it with "
                "h5py, and pass the arrays as a dict"
            )
            return Unreadable(shape, f"{dtype.name}, in chunks that grow", message, aliases)
        container.claim_memory(nbytes, what)
        if layout == h5py.h5d.CHUNKED:
            # HDF5 unpacks a chunk as a whole, however little of it the dataset takes.
            container.check_memory(math.prod(plist.get_chunk()) * dtype.itemsize, what)
    if is_bfloat16:
        import ml_dtypes
        import numpy as np

        dtype = np.dtype(ml_dtypes.bfloat16)
    return Lazy(container, dataset, shape, dtype, aliases, what)


def _is_indexed_unsafely(container: Container, found: Any, what: str) -> bool:
    """Whether the chunks are in an extensible array or a B-tree of version 2. HDF5 1.14.6 divides
    by the zeros of a damaged one, and believes its sizes.

    Source: HDF5 File Format Specification 3.0, "Data Layout Message", version 4.
    """
    for kind, _, body in messages(container, address_of(found), what):
        if kind == _LAYOUT and bytes(body[:2]) == _CHUNKED_BY_INDEX and len(body) > 5:
            index = 5 + body[3] * body[4]  # after the dimensions
            return len(body) <= index or body[index] in _UNSAFE_INDICES
    return False


def _check_fields(dtype: np.dtype[Any], what: str) -> None:
    """Raise DamagedFile if a structure's fields overlap or stick out of it.

    numpy may have a wider type for a field than the file (a damaged float of 8 bytes is a long
    double of 16 to it), and h5py then writes past the end of each element, and of the array.
    """
    end = 0
    for field, offset in sorted(
        ((found[0], found[1]) for found in (dtype.fields or {}).values()), key=lambda each: each[1]
    ):
        if offset < end or offset + field.itemsize > dtype.itemsize:
            raise DamagedFile(f"{what} has elements whose parts overlap: {dtype}")
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
            f"{what} is virtual: its values lie in other datasets, or in other files, which are "
            "not opened. Copy it into a dataset of its own"
        )
    if layout != h5py.h5d.CHUNKED and plist.get_external_count():
        file, _, _ = plist.get_external(0)
        raise RefusedFile(
            f"{what} has its values in another file, {as_text(file)!r}, which is not opened. Copy "
            "it into a dataset of its own"
        )


def _is_bfloat16(
    dataset: h5py.h5d.DatasetID, dtype: np.dtype[Any], is_weight: bool, container: Container
) -> bool:
    """Whether Keras wrote it from bfloat16, which HDF5 does not have: opaque elements of 2 bytes.

    In a ``.weights.h5`` the attribute ``dtype`` says so. In a legacy file none does, but there is
    no other dtype of Keras that has 2 bytes and that HDF5 lacks.
    """
    if dtype.kind != "V" or dtype.itemsize != 2 or dtype.names is not None:
        return False
    return is_weight or (
        has_attribute(dataset, "dtype", container)
        and string_list(dataset, "dtype", container) == ["bfloat16"]
    )


def _check_size(shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> None:
    # An axis of 0 hides axes of any length, which numpy then does not take.
    if math.prod(axis or 1 for axis in shape) * max(1, dtype.itemsize) > _MOST_BYTES:
        raise DamagedFile(f"{what} has the impossible shape {shape}")


def _are_strings(dataset: h5py.h5d.DatasetID, layout: int, dtype: np.dtype[Any]) -> bool:
    """Whether they are strings of variable length whose descriptors lie in one piece."""
    import h5py

    count = math.prod(dataset.shape)
    return (
        h5py.check_string_dtype(dtype) is not None
        and layout == h5py.h5d.CONTIGUOUS
        and dataset.get_storage_size() == count * DESCRIPTOR
        and (count == 0 or dataset.get_offset() is not None)
    )


def _objects(dtype: np.dtype[Any]) -> tuple[str, str]:
    """What elements that are no plain numbers are, in words, and the name of their dtype."""
    import h5py

    if h5py.check_string_dtype(dtype) is not None:
        return "strings of variable length in chunks", "string"
    if h5py.check_vlen_dtype(dtype) is not None:
        return "arrays of differing lengths", "object"
    if h5py.check_ref_dtype(dtype) is not None:
        return "references", "object"
    return f"structures ({dtype})", str(dtype)


def _unsafe_filter(plist: h5py.h5p.PropDCID, what: str) -> str:
    """The name of a filter that writes beyond its memory over damaged data; "" if the dataset is
    packed by none. Raises MissingLibrary if a filter that it is packed by is not there."""
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
