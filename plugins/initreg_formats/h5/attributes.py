"""Attributes that hold names, such as those of Keras."""

from __future__ import annotations

import math

from initreg import DamagedFile
from initreg_formats.h5.container import Container, structures
from initreg_formats.h5.hdf5 import attributes
from initreg_formats.h5.hdf5.headers import Header
from initreg_formats.h5.hdf5.strings import strings
from initreg_formats.h5.walk import as_text


def has_attribute(owner: Header, name: str, container: Container) -> bool:
    """Whether an object has the attribute. Raises DamagedFile, RefusedFile."""
    return name in _of(owner, name, container)


def string_list(owner: Header, name: str, container: Container) -> list[str]:
    """The strings in an attribute. Raises DamagedFile, RefusedFile."""
    what = f"{container.label}: attribute {name!r}"
    with structures(what):
        attribute = _of(owner, name, container)[name]
        space, kind = attribute.space(), attribute.type()
        count = 0 if space.is_null else math.prod(space.shape)
        if count == 0:
            return []
        if not kind.is_text:
            raise DamagedFile(
                f"{what} is not a list of names, but has elements of the type "
                f"{kind.dtype or kind.why or 'of a structure'}"
            )
        return [as_text(each) for each in strings(container.content, kind, attribute.data, count)]


def _of(owner: Header, name: str, container: Container) -> dict[str, attributes.Attribute]:
    found = container.attributes.get(owner.address)
    if found is None:
        with structures(f"{container.label}: attribute {name!r}"):
            found = attributes.attributes(container.content, owner)
        container.attributes[owner.address] = found
    return found
