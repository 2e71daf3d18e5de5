"""The lazy array map that a format opens, and where the bytes of one array lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, Unpack

from initreg import dtypes
from initreg.errors import DamagedFile, DuplicateName
from initreg.names import normalise
from initreg.specs import ArraySpec

if TYPE_CHECKING:
    import numpy as np

    from initreg.arrays.threads import Job, Pool
    from initreg.rules.changes import Change
    from initreg.rules.renaming import Renaming
    from initreg.rules.rules import Globs, RuleOptions, Rules


class ArrayReader(Protocol):
    """What turns a lazy array of a map into a real one: :class:`initreg.arrays.reader.Reader`."""

    def read(self, array: LazyArray) -> np.ndarray[Any, Any]: ...
    def read_part(self, array: LazyArray, index: Any) -> Any: ...
    def start(
        self,
        arrays: Sequence[LazyArray],
        pool: Pool,
        alignment: int | None = None,
        room: Any = None,
    ) -> Job: ...
    def check_open(self, name: str) -> None: ...
    def close(self) -> None: ...


class LazyArray:
    """One array of an open map: its shape and dtype are known, its values not yet read.

    ``np.asarray(a)`` and ``a[...]`` read it; ``a[2:4]`` reads no more than that slice, whose
    checksum, being that of the whole array, is not verified.
    """

    __slots__ = ("owner", "spec", "value")

    is_part = False  # of a stored array: no more of it is read

    def __init__(self, spec: ArraySpec, value: Any, owner: ArrayMap) -> None:
        self.spec = spec
        self.value = value  # what the format returned: an extent, or something array-like
        self.owner = owner

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @property
    def ndim(self) -> int:
        return len(self.spec.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        given = self.value.dtype
        if isinstance(given, str):
            return dtypes.to_numpy(given).newbyteorder("=")
        return dtypes.to_numpy(dtypes.name_of(given)) if not hasattr(given, "kind") else given

    @property
    def aliases(self) -> tuple[str, ...]:
        return self.spec.aliases

    def __len__(self) -> int:
        if not self.spec.shape:
            raise TypeError("len() of a 0-d array")
        return self.spec.shape[0]

    def __repr__(self) -> str:
        return f"<{self.spec.name!r} {self.spec.shape} {self.spec.dtype}>"

    def read(self) -> np.ndarray[Any, Any]:
        """The whole array, in memory of its own that nobody else holds, native byte order.

        Raises DamagedFile if the bytes are not what the file says they are.
        """
        return self.changed(self.read_stored())

    # --- for the kernel: reading, and what rules do to what was read, are two steps -------------

    @property
    def stored(self) -> LazyArray:
        """The array as its source has it."""
        return self

    @property
    def changes(self) -> Sequence[Change]:
        """What rules do to its values."""
        return ()

    @property
    def reader(self) -> ArrayReader:
        """Raises InitregError if the map was closed."""
        return self.stored.owner.reader_of(self.stored)

    def read_stored(self) -> np.ndarray[Any, Any]:
        """What :meth:`changed` is given: the array as it is stored, or a part of it."""
        return self.reader.read(self.stored)

    def changed(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """What rules make of what was read."""
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError(f"{self.spec.name!r} is not in memory, so it cannot be had uncopied")
        array = self.read()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __getitem__(self, index: Any) -> Any:
        return self.reader.read_part(self, index)


class ArrayMap(Mapping[str, LazyArray]):
    """A lazy, read-only map from names to arrays, and a context manager that closes the file.

    Names are normalised, and iterate in the order in which the format gave them. ``label`` is what
    to call the source in a message, ``format`` the name of the format that opened it.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        *,
        label: str,
        format: str,
        reader: ArrayReader,
    ) -> None:
        self.label = label
        self.format = format
        self._reader = reader
        self._source = arrays
        self._closed = False
        self.dropped: list[ArraySpec] = []
        self._arrays: dict[str, LazyArray] = {}
        for given, value in arrays.items():
            if not isinstance(given, str):
                raise DuplicateName(f"{label}: a name is a str, not {given!r}")
            name = normalise(given)
            if name in self._arrays:
                other = given if given != name else next(n for n in arrays if n.startswith(name))
                raise DuplicateName(
                    f"{label}: two arrays are called {name!r}, one of them as {other!r}: a "
                    "trailing ':0' does not tell names apart. Rename or drop one of them"
                )
            self._arrays[name] = LazyArray(_spec(name, value, label), value, self)

    def __getitem__(self, name: str) -> LazyArray:
        # As it is first: what is left of "a:0:0" is a name that would be normalised once more.
        found = self._arrays.get(name)
        if found is None and isinstance(name, str):
            found = self._arrays.get(normalise(name))
        if found is None:
            raise KeyError(f"{self.label} has no array {name!r}")
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._arrays or normalise(name) in self._arrays)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"<ArrayMap {self.label}: {len(self)} arrays, format {self.format!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def parameters(self) -> tuple[str, ...] | None:
        """The names of what is the model's own, rather than its training's; None if the source does
        not say."""
        given = getattr(self._source, "parameters", None)
        return tuple(map(normalise, given)) if isinstance(given, tuple) else None

    @property
    def has_checksum(self) -> bool:
        """Whether the source has one for all its arrays together, which was compared when it was
        opened, as an archive has for its one member."""
        return getattr(self._source, "has_checksum", False) is True

    def specs(self) -> list[ArraySpec]:
        """Names, shapes and dtypes of all arrays; nothing is read."""
        return [array.spec for array in self._arrays.values()]

    def reader_of(self, array: LazyArray) -> ArrayReader:
        """What reads an array of this map. Raises InitregError if it was closed."""
        self._reader.check_open(array.name)
        return self._reader

    def close(self) -> None:
        """Close the file. Arrays that were read stay; reading another one is an error."""
        if not self._closed:
            self._closed = True
            self._reader.close()
            close = getattr(self._source, "close", None)
            if callable(close):
                close()

    # --- rules: each gives another map, as lazy as this one, that shares its file --------------

    def apply(self, **rules: Unpack[RuleOptions]) -> ArrayMap:
        """The map as these rules leave it; they are those of :class:`initreg.SmartInit`.

        Nothing is read. Closing either map closes the file. Raises RuleError if a rule touches
        nothing, makes two names one, or does not apply to its array.
        """
        from initreg.rules.rules import Rules

        made = Rules.of(**rules)
        ruled = RuledMap(self, made)
        made.refuse_untouched(ruled.touched, list(self), self.label)
        return ruled

    def rename(self, rename: Renaming) -> ArrayMap:
        """With other names: ``{"old": "new"}``, ``[("regex", "replacement")]`` or a function."""
        return self.apply(rename=rename)

    def drop(self, *globs: str) -> ArrayMap:
        """Without the arrays of these names: ``m.drop("head/*")``."""
        return self.apply(drop=globs)

    def keep(self, *globs: str) -> ArrayMap:
        """With the arrays of these names alone."""
        return self.apply(keep=globs)

    def prefix(self, prefix: str) -> ArrayMap:
        """With ``prefix`` before every name."""
        return self.apply(prefix=prefix)

    def strip_prefix(self, prefix: str) -> ArrayMap:
        """With ``prefix`` taken from the names that have it."""
        return self.apply(strip_prefix=prefix)

    def transpose(self, *globs: str) -> ArrayMap:
        """With the axes of these arrays reversed."""
        return self.apply(transpose=globs)

    def permute(self, globs: Globs, axes: Sequence[int]) -> ArrayMap:
        """With the axes of these arrays in another order, as numpy's ``transpose`` takes it."""
        return self.apply(permute=_each(globs, axes))

    def slice(self, globs: Globs, axis: int, start: int, stop: int | None) -> ArrayMap:
        """With ``start`` to ``stop`` of one axis of these arrays."""
        return self.apply(slice=_each(globs, (axis, start, stop)))

    def pad(self, globs: Globs, axis: int, length: int, fill: Any = 0) -> ArrayMap:
        """With one axis of these arrays ``length`` long; ``fill`` is a number or ``"mean"``."""
        return self.apply(pad=_each(globs, (axis, length, fill)))

    def cast(self, dtype: Any, *globs: str) -> ArrayMap:
        """With these arrays in another dtype; without globs, all that are floats."""
        return self.apply(cast=_each(globs, dtype) if globs else dtype)


class RuledMap(ArrayMap):
    """Another map as rules leave it. ``dropped`` are the specs of what they left out, ``touched``
    the clauses of the rules that matched a name."""

    def __init__(self, base: ArrayMap, rules: Rules) -> None:
        outcome = rules.apply(base.specs(), base.label)
        self.label = base.label
        self.format = base.format
        self.touched = outcome.touched
        self.dropped = [*base.dropped, *outcome.dropped]
        self._base = base
        lazy = list(base.values())
        self._arrays = {
            entry.spec.name: RuledArray(entry.spec, lazy[entry.index], entry.changes)
            for entry in outcome.entries
        }
        given = base.parameters
        self._parameters = given
        if given is not None:
            own = frozenset(given)
            kept = [entry for entry in outcome.entries if lazy[entry.index].name in own]
            self._parameters = tuple(entry.spec.name for entry in kept)

    @property
    def parameters(self) -> tuple[str, ...] | None:
        return self._parameters

    @property
    def has_checksum(self) -> bool:
        return self._base.has_checksum

    def close(self) -> None:
        self._base.close()


class RuledArray(LazyArray):
    """An array under another name, or with its values changed, or both.

    If the first change takes a part of the array, no more than this part is read.
    """

    __slots__ = ("_changes", "_part", "_stored")

    def __init__(self, spec: ArraySpec, base: LazyArray, changes: Sequence[Change]) -> None:
        self.spec = spec
        self.value = base.value
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
    def changes(self) -> Sequence[Change]:
        return self._changes

    @property
    def stored(self) -> LazyArray:
        return self._stored

    def read_stored(self) -> np.ndarray[Any, Any]:
        if self._part is None:
            return super().read_stored()
        found: np.ndarray[Any, Any] = self.reader.read_part(self._stored, self._part)
        return found

    def changed(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        for change in self._changes[self.is_part :]:
            array = change.apply(array, self.name)
        return array

    def __getitem__(self, index: Any) -> Any:
        return self.read()[index] if self._changes else self._stored[index]


def _each(globs: Globs, value: Any) -> dict[str, Any]:
    return dict.fromkeys([globs] if isinstance(globs, str) else globs, value)


def _spec(name: str, value: Any, label: str) -> ArraySpec:
    try:
        shape = tuple(int(axis) for axis in value.shape)
        dtype = value.dtype
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedFile(
            f"{label}: array {name!r} has no usable shape and dtype: {type(value).__name__}"
        ) from error
    if isinstance(dtype, str):
        dtype = dtypes.name_of_descr(dtype) or dtype
    else:
        dtype = dtypes.name_of(dtype)
    aliases = tuple(dict.fromkeys(normalise(alias) for alias in getattr(value, "aliases", ())))
    return ArraySpec(name, shape, dtype, tuple(alias for alias in aliases if alias != name))
