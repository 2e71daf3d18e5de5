"""A limit to how deep the types of elements may nest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initreg import DamagedFile

if TYPE_CHECKING:
    import h5py

_DEEPEST = 32  # levels; h5py's time for one type grows with their square, numpy overflows at 1000


def refuse_deep(kind: h5py.h5t.TypeID, what: str, depth: int = 0) -> None:
    """Raise DamagedFile if arrays, structures or sequences nest too deeply in each other.

    Call it before h5py is asked for the dtype.
    """
    import h5py

    if depth > _DEEPEST:
        raise DamagedFile(
            f"{what} has elements that nest more than {_DEEPEST} levels deep, which initreg does "
            "not read"
        )
    within = kind.get_class()
    if within in (h5py.h5t.ARRAY, h5py.h5t.VLEN, h5py.h5t.ENUM):
        refuse_deep(kind.get_super(), what, depth + 1)
    elif within == h5py.h5t.COMPOUND:
        for index in range(kind.get_nmembers()):
            refuse_deep(kind.get_member_type(index), what, depth + 1)
