"""Lazy arrays: what an open map has for each name, read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from initreg import dtypes
from initreg.errors import InitregError, NotEnoughMemory, RuleError
from initreg.specs import ArraySpec, Extent, OpaqueExtent

if TYPE_CHECKING:
    import numpy as np

    from initreg.arrays.threads import Job, Pool
    from initreg.rules.changes import Change


class ArrayReader(Protocol):
    """What reads the arrays of a map, as :class:`initreg.arrays.reader.Reader` does."""

    def read(self, array: LazyArray) -> np.ndarray[Any, Any]: ...
    def read_part(self, array: LazyArray, index: Any) -> Any: ...
    def start(
        self,
        arrays: Sequence[LazyArray],
        pool: Pool,
        alignment: int | None = None,
        room: Any = None,
    ) -> Job: ...
    def verify(self, array: LazyArray) -> None: ...
    def check_open(self, name: str) -> None: ...
    def close(self) -> None: ...


class Owner(Protocol):
    """The map that an array belongs to: :class:`initreg.ArrayMap`."""

    label: str
    format: str

    @property
    def has_checksum(self) -> bool: ...
    def values(self) -> Iterable[LazyArray]: ...
    def reader_of(self, array: LazyArray) -> ArrayReader: ...


class Joined:
    """The value of an array that rules put together from several arrays.

    Args:
        parts: the arrays, in order.
        axis: the axis along which they lie, counted from the front.
        is_stack: whether that is an axis of its own, which the parts do not have.
        shape: the shape of the whole.
        dtype: the dtype of all of them, a name as in :mod:`initreg.dtypes`.
    """

    __slots__ = ("axis", "dtype", "is_stack", "parts", "shape")

    def __init__(
        self,
        parts: Sequence[LazyArray],
        axis: int,
        is_stack: bool,
        shape: tuple[int, ...],
        dtype: str,
    ) -> None:
        self.parts = parts
        self.axis = axis
        self.is_stack = is_stack
        self.shape = shape
        self.dtype = dtype

    @property
    def file(self) -> Any:
        """The file of the first part, so that arrays are read in the order of their files."""
        return getattr(self.parts[0].value, "file", "")

    @property
    def offset(self) -> int:
        return getattr(self.parts[0].value, "offset", 0)


class LazyArray:
    """One array of an open map. Its shape and dtype are known, and its values are not yet read.

    ``np.asarray(a)`` and ``a[...]`` read it. ``a[2:4]`` reads only this slice, without verifying
    the checksum, which is that of the whole array.

    Args:
        spec: its name, shape and dtype.
        value: what the format returned for it: an extent, or something like an array.
        owner: the map that it belongs to.
    """

    __slots__ = ("owner", "spec", "value")

    is_part = False  # whether only a part of the stored array is read

    def __init__(self, spec: ArraySpec, value: Any, owner: Owner) -> None:
        self.spec = spec
        self.value = value
        self.owner = owner

    @property
    def name(self) -> str:
        """The primary name."""
        return self.spec.name

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, after rules."""
        return self.spec.shape

    @property
    def ndim(self) -> int:
        """The number of axes, after rules."""
        return len(self.spec.shape)

    @property
    def read_from(self) -> list[Any]:
        """What the formats returned for it, and for each array that it is put together from."""
        if isinstance(self.value, Joined):
            return [value for part in self.value.parts for value in part.read_from]
        return [self.value]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype, after rules and in native byte order."""
        if self.spec.opaque is not None:
            return dtypes.OpaqueDtype(self.spec.dtype)  # type: ignore[return-value]
        given = self.value.dtype
        if isinstance(given, str):
            return dtypes.to_numpy(given).newbyteorder("=")
        return dtypes.to_numpy(dtypes.name_of(given)) if not hasattr(given, "kind") else given

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names of the array."""
        return self.spec.aliases

    def __len__(self) -> int:
        if not self.spec.shape:
            raise TypeError("len() of a 0-d array")
        return self.spec.shape[0]

    def __repr__(self) -> str:
        return f"<{self.spec.name!r} {self.spec.shape} {self.spec.dtype}>"

    def _repr_html_(self) -> str:
        """The name and the shape as HTML, which a notebook shows. No values are read."""
        from initreg.arrays.html import array_html

        return array_html(self.spec)

    def read(self) -> np.ndarray[Any, Any]:
        """Read the whole array: in native byte order, and in memory that nobody else holds.

        Raises:
            DamagedFile: the bytes are not what the file says they are.
            InitregError: the map was closed.
        """
        return self.changed(self.read_stored())

    # --- for the kernel, which reads first and applies the changes of rules afterwards ----------

    @property
    def stored(self) -> LazyArray:
        """The array as it is in the source, without rules."""
        return self

    def as_bytes(self) -> LazyArray:
        """The bytes of an array whose dtype numpy does not have, as an array of uint8.

        Raises:
            InitregError: its values can be read.
        """
        stored = self.stored
        value = stored.value
        if isinstance(value, LazyArray):
            return value.as_bytes()
        if not isinstance(value, OpaqueExtent):
            raise InitregError(
                f"array {self.name!r} is of {self.spec.dtype}, which numpy has. Read its values"
            )
        spec = ArraySpec(stored.name, (value.length,), "uint8")
        extent = Extent(value.file, value.offset, value.length, spec.shape, spec.dtype)
        return LazyArray(spec, extent, stored.owner)

    @property
    def changes(self) -> Sequence[Change]:
        """What rules do to the values, in order."""
        return ()

    @property
    def reader(self) -> ArrayReader:
        """What reads the array. Raises InitregError if the map was closed."""
        return self.stored.owner.reader_of(self.stored)

    def read_stored(self) -> np.ndarray[Any, Any]:
        """Read what :meth:`changed` takes: the stored array, or the part of it that is needed."""
        return self.reader.read(self.stored)

    def changed(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Apply the changes of rules to what :meth:`read_stored` returned."""
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError(f"{self.spec.name!r} is not in memory: copy=False is not possible")
        array = self.read()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __getitem__(self, index: Any) -> Any:
        return self.reader.read_part(self, index)


class RuledArray(LazyArray):
    """An array that rules rename, or whose values they change.

    If the first change takes a part of the array, only this part is read.

    Args:
        spec: its name, shape and dtype after the rules.
        base: the array that the rules are applied to.
        changes: what the rules do to the values.
        owner: the map that it belongs to.
    """

    __slots__ = ("_changes", "_part", "_stored")

    def __init__(
        self, spec: ArraySpec, base: LazyArray, changes: Sequence[Change], owner: Owner
    ) -> None:
        super().__init__(spec, base.value, owner)
        self._stored = base.stored
        self._changes = (*base.changes, *changes)
        self._part = self._changes[0].part(base.stored.ndim) if self._changes else None

    @property
    def is_part(self) -> bool:  # type: ignore[override]
        return self._part is not None

    @property
    def dtype(self) -> np.dtype[Any]:
        return dtypes.to_numpy(self.spec.dtype) if self._changes else self._stored.dtype

    @property
    def read_from(self) -> list[Any]:
        others = [each for change in self._changes for each in getattr(change, "others", ())]
        return super().read_from + [value for other in others for value in other.read_from]

    @property
    def changes(self) -> Sequence[Change]:
        return self._changes

    @property
    def stored(self) -> LazyArray:
        return self._stored

    def read_stored(self) -> np.ndarray[Any, Any]:
        if self._part is None:
            return super().read_stored()
        if self._changes[0].takes_apart:
            # The whole array is read in parts, so that its checksum can be verified.
            self.reader.verify(self._stored)
        found: np.ndarray[Any, Any] = self.reader.read_part(self._stored, self._part)
        return found

    def changed(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        # What is said before that is how the array was put together.
        texts = self.spec.changes[len(self.spec.changes) - len(self._changes) :]
        changes = list(zip(self._changes, texts, strict=True))
        for change, text in changes[self.is_part :]:
            try:
                array = change.apply(array, self.name)
            except ValueError as error:  # numpy's, of a shape that is too large
                raise RuleError(f"array {self.name!r}: {text}: {error}") from error
            except MemoryError as error:
                raise NotEnoughMemory.of(f"array {self.name!r}: {text}") from error
        return array

    def __getitem__(self, index: Any) -> Any:
        if not self._changes:
            return self._stored[index]
        from initreg.arrays.regions import box_of  # not for whoever only probes
        from initreg.arrays.traced import changed_region, stored_box
        from initreg.rules.casting import Losses

        box = box_of(index, self.shape)
        if box is None or 0 in box.shape:
            return self.read()[index]
        stored = self._stored
        region = stored_box(self._changes, stored.shape, stored.spec.dtype, box)
        if region is None:
            return self.read()[index]
        losses = Losses()
        found = self.reader.read_part(stored, region.slices)
        found = changed_region(self._changes, found, self.name, losses)
        losses.tell(self.name)
        return found[box.index]
