"""What a pickle holds once it was interpreted: plain values, and records of everything else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Global(NamedTuple):
    """A name that a pickle refers to. It is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Items(list[tuple[Any, Any]]):
    """A dict, as the pairs that were put into it. Keys are not hashed: a file could make them
    collide. A later pair with the same key replaces an earlier one."""


@dataclass(slots=True, eq=False)
class Record:
    """An object of a class or a call that is not allowed. Nothing of it was run.

    Args:
        made_by: the class, or the function that was to be called.
        arguments: what it was to be called with.
        state: what was to be set on the object, None if nothing.
        items: the pairs that were to be put into it.
        elements: what was to be appended to it.
    """

    made_by: Any
    arguments: Any = ()
    state: Any = None
    items: Items = field(default_factory=Items)
    elements: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of bytes that tensors lie in.

    Args:
        key: its name in the file.
        dtype: as in :mod:`initreg.dtypes`, or ``""`` if only its tensors have one.
        nbytes: its size.
        begin: in files of before 1.6 a storage may be a view: where it begins in the other one, in
            bytes.
    """

    key: str
    dtype: str
    nbytes: int
    begin: int = 0


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor: a view of a storage.

    Args:
        storage: the storage.
        dtype: as in :mod:`initreg.dtypes`.
        offset: the position of its first element in the storage, in elements.
        shape: its shape.
        stride: for each axis, the distance of two neighbours, in elements.
        conjugate: whether the conjugate values are meant.
        negative: whether the negative values are meant.
    """

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    conjugate: bool = False
    negative: bool = False


@dataclass(slots=True, eq=False)
class NumpyDtype:
    """A dtype of numpy, ``"f4"``, with the byte order that the pickle gives it."""

    text: str
    order: str = "="
    is_plain: bool = True

    def build(self, state: Any) -> None:
        """``dtype.__setstate__``: version, byte order, subarray, names, fields, ..."""
        self.order = {"<": "<", ">": ">"}.get(state[1], "|")
        self.is_plain = state[2] is None and state[3] is None


@dataclass(slots=True, eq=False)
class NumpyArray:
    """An array of numpy, whose bytes are in the pickle itself."""

    shape: tuple[int, ...] = ()
    dtype: Any = None
    is_fortran: bool = False
    data: Any = None

    def build(self, state: Any) -> None:
        """``ndarray.__setstate__``: version, shape, dtype, order, bytes. The first ones of numpy
        had no version."""
        shape, self.dtype, self.is_fortran, self.data = state[-4:]
        if len(shape) > 64:  # numpy's own limit
            raise ValueError(f"an array has {len(shape):,} axes")
        self.shape = tuple(shape)


@dataclass(frozen=True, slots=True)
class NotRead:
    """A tensor that initreg cannot read.

    Args:
        why: the reason, and what to do, as a sentence without its subject.
        shape: its shape, as far as it is known.
        dtype: what its dtype is called.
    """

    why: str
    shape: tuple[int, ...] = ()
    dtype: str = "unknown"
