"""Attributes that hold names.

h5py reads names of fixed length. Names of variable length are looked up in the object's header
here, for the reason given in ``strings.py``. h5py writes a list of bytes so, and so does Keras.

Source of the layout: HDF5 File Format Specification 3.0, "Attribute Message".
"""

from __future__ import annotations

import math
from typing import Any

from initreg import DamagedFile, RefusedFile
from initreg_formats.h5.container import Container, h5_errors
from initreg_formats.h5.headers import address_of, messages
from initreg_formats.h5.nesting import refuse_deep
from initreg_formats.h5.strings import DESCRIPTOR, read_strings
from initreg_formats.h5.walk import as_text

_ATTRIBUTE = 0x0C
_SHARED = 0x02  # the flag of a message that lies elsewhere


def has_attribute(owner: Any, name: str, container: Container) -> bool:
    """Whether an object has the attribute. ``owner`` is its identifier in h5py."""
    import h5py

    with h5_errors(container.label):
        return bool(h5py.h5a.exists(owner, name.encode()))


def string_list(owner: Any, name: str, container: Container) -> list[str]:
    """The strings in an attribute. Raises DamagedFile, RefusedFile."""
    import h5py

    what = f"{container.label}: attribute {name!r}"
    with h5_errors(what):
        attribute = h5py.h5a.open(owner, name.encode())
        count = 0 if attribute.shape is None else math.prod(attribute.shape)
        if count == 0:
            return []
        refuse_deep(attribute.get_type(), what)
        dtype = attribute.dtype
        if count * max(1, dtype.itemsize) > container.length:
            raise DamagedFile(
                f"{what} claims more bytes than the file has. Download or copy the file again"
            )
        if h5py.check_string_dtype(dtype) is None:
            raise DamagedFile(f"{what} is not a list of names, but has the dtype {dtype}")
        if not dtype.hasobject:
            import numpy as np

            fixed = np.empty(attribute.shape, dtype)
            attribute.read(fixed)
            return [as_text(item) for item in fixed.reshape(-1).tolist()]
        data = _descriptors(owner, name.encode(), count * DESCRIPTOR, container, what)
        return [as_text(item) for item in read_strings(container, data, what)]


def _descriptors(owner: Any, name: bytes, size: int, container: Container, what: str) -> memoryview:
    """The first ``size`` bytes of an attribute's data, as stored in the file."""
    for kind, flags, body in messages(container, address_of(owner), what):
        if kind == _ATTRIBUTE and not flags & _SHARED:
            found, data = _attribute(body)
            if found == name and len(data) >= size:
                return data[:size]
    raise RefusedFile(
        f"{what} has strings of variable length outside of its object's header. HDF5 does not read "
        "those safely. Read the file with h5py, and pass the arrays as a dict"
    )


def _attribute(body: memoryview) -> tuple[bytes, memoryview]:
    """The name and the data of an attribute message. A damaged one has no data."""
    if len(body) < 9:
        return b"", memoryview(b"")
    version = body[0]
    sizes = [int.from_bytes(body[at : at + 2], "little") for at in (2, 4, 6)]
    start = 9 if version == 3 else 8
    name = bytes(body[start : start + sizes[0]]).partition(b"\0")[0]
    for size in sizes:
        start += (size + 7) // 8 * 8 if version == 1 else size
    return name, body[start:]
