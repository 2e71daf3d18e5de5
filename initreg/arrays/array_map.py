"""Array maps: lazy, read-only mappings from names to arrays, with or without rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from initreg import dtypes
from initreg.arrays.lazy_array import ArrayReader, LazyArray, RuledArray
from initreg.errors import DamagedFile, DuplicateName
from initreg.names import normalise
from initreg.specs import ArraySpec, Extent, SlicedExtent

if TYPE_CHECKING:
    from initreg.rules.keywords import Globs, RuleOptions, Rules
    from initreg.rules.rename_rules import Renaming


class ArrayMap(Mapping[str, LazyArray]):
    """A lazy, read-only mapping from names to arrays, and a context manager that closes the file.

    Names are normalised, and are in the order in which the format returned them. ``dropped`` are
    the specs of the arrays that rules left out, and ``touched`` the clauses of rules that matched
    an array. Without rules, both are empty.

    Args:
        arrays: what the format returned for each name.
        label: what to call the source in a message.
        format: the name of the format that opened the source.
        reader: what reads the arrays.

    Raises:
        DuplicateName: two names are the same after normalisation.
        DamagedFile: a value has no usable shape and dtype.

    >>> with initreg.open("base.npz") as arrays:  # doctest: +SKIP
    ...     arrays["fc/W"].shape, np.asarray(arrays["fc/W"])
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
        self.touched: frozenset[str] = frozenset()
        self._arrays: dict[str, LazyArray] = {}
        for given, value in arrays.items():
            if not isinstance(given, str):
                raise DuplicateName(f"{label}: a name must be a str, not {given!r}")
            name = normalise(given)
            if name in self._arrays:
                other = given if given != name else next(n for n in arrays if n.startswith(name))
                raise DuplicateName(
                    f"{label}: two arrays are called {name!r}, one of them as {other!r}. A "
                    "trailing ':0' is not a part of a name. Rename or drop one of them"
                )
            self._arrays[name] = LazyArray(_spec(name, value, label), value, self)

    def __getitem__(self, name: str) -> LazyArray:
        # First without normalisation: the array "a:0:0" is called "a:0", which must be found.
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
        """The names of the arrays that belong to the model, not to its training.

        None if the source does not say which ones do.
        """
        given = getattr(self._source, "parameters", None)
        return tuple(map(normalise, given)) if isinstance(given, tuple) else None

    @property
    def has_checksum(self) -> bool:
        """Whether one checksum for all arrays together was verified when the source was opened.

        An archive with one member has such a checksum, for instance.
        """
        return getattr(self._source, "has_checksum", False) is True

    @property
    def path(self) -> Path | None:
        """The path that names what was opened, if the format says so: a checkpoint's prefix.

        It may differ from the path that was given, such as that of a folder.
        """
        given = getattr(self._source, "path", None)
        return given if isinstance(given, Path) else None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the arrays are in, and those that list them, as far as they are known."""
        given = getattr(self._source, "files", ())
        found = [file for file in given if isinstance(file, Path)]
        for array in self.values():
            value = array.value
            extents = [e for _, e in value.slices] if isinstance(value, SlicedExtent) else [value]
            found += [extent.file for extent in extents if isinstance(extent, Extent)]
        return tuple(dict.fromkeys(found))

    def specs(self) -> list[ArraySpec]:
        """Names, shapes and dtypes of all arrays. Nothing is read."""
        return [array.spec for array in self._arrays.values()]

    def reader_of(self, array: LazyArray) -> ArrayReader:
        """What reads an array of this map. Raises InitregError if the map was closed."""
        self._reader.check_open(array.name)
        return self._reader

    def close(self) -> None:
        """Close the file. Arrays that were read stay valid, and reading another is an error."""
        if not self._closed:
            self._closed = True
            self._reader.close()
            close = getattr(self._source, "close", None)
            if callable(close):
                close()

    # --- rules: each returns another map, which is also lazy and shares the file ----------------

    def apply(self, **rules: Unpack[RuleOptions]) -> ArrayMap:
        """Apply rules, which are those of :class:`initreg.SmartInit`. Nothing is read.

        Returns:
            Another map. It shares the file with this one, so that closing either closes the file.

        Raises:
            RuleError: a rule matches no array, gives two arrays the same name, or cannot be
                applied to its array.
        """
        from initreg.rules.keywords import RuleOptions, Rules

        for name in rules:
            if name not in RuleOptions.__annotations__:
                raise TypeError(f"apply() got an unexpected keyword argument {name!r}")
        made = Rules.of(**rules)
        ruled = RuledMap(self, made)
        made.refuse_untouched(ruled.touched, list(self), self.label)
        return ruled

    def rename(self, rename: Renaming) -> ArrayMap:
        """Rename arrays: ``{"old": "new"}``, ``[("regex", "replacement")]`` or a function."""
        return self.apply(rename=rename)

    def drop(self, *globs: str) -> ArrayMap:
        """Leave out the arrays that match: ``m.drop("head/*")``."""
        return self.apply(drop=globs)

    def keep(self, *globs: str) -> ArrayMap:
        """Leave out the arrays that do not match."""
        return self.apply(keep=globs)

    def prefix(self, prefix: str) -> ArrayMap:
        """Put ``prefix`` before every name."""
        return self.apply(prefix=prefix)

    def strip_prefix(self, prefix: str) -> ArrayMap:
        """Remove ``prefix`` from the beginning of the names that have it."""
        return self.apply(strip_prefix=prefix)

    def transpose(self, *globs: str) -> ArrayMap:
        """Reverse the axes of these arrays."""
        return self.apply(transpose=globs)

    def permute(self, globs: Globs, axes: Sequence[int]) -> ArrayMap:
        """Reorder the axes of these arrays. ``axes`` are as numpy's ``transpose`` takes them."""
        return self.apply(permute=_each(globs, axes))

    def slice(self, globs: Globs, axis: int, start: int, stop: int | None) -> ArrayMap:
        """Take ``start`` to ``stop`` of one axis of these arrays. A stop of None is its end."""
        return self.apply(slice=_each(globs, (axis, start, stop)))

    def pad(self, globs: Globs, axis: int, length: int, fill: Any = 0) -> ArrayMap:
        """Pad one axis of these arrays to ``length``. ``fill`` is a number or ``"mean"``."""
        return self.apply(pad=_each(globs, (axis, length, fill)))

    def cast(self, dtype: Any, *globs: str) -> ArrayMap:
        """Cast these arrays to another dtype. Without globs, cast all that are floats."""
        return self.apply(cast=_each(globs, dtype) if globs else dtype)


class RuledMap(ArrayMap):
    """Another map with rules applied to it.

    It has the state of :class:`ArrayMap`. The file belongs to ``base``, and closing either map
    closes it.

    Args:
        base: the map that the rules are applied to.
        rules: the rules.

    Raises:
        RuleError: a rule cannot be applied.
    """

    def __init__(self, base: ArrayMap, rules: Rules) -> None:
        outcome = rules.apply(base.specs(), base.label)
        super().__init__({}, label=base.label, format=base.format, reader=base._reader)
        self._source = base._source
        self.touched = frozenset(outcome.touched)
        self.dropped = [*base.dropped, *outcome.dropped]
        self._base = base
        lazy = list(base.values())
        self._arrays = {
            entry.spec.name: RuledArray(entry.spec, lazy[entry.index], entry.changes, self)
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

    def close(self) -> None:
        self._base.close()


def _each(globs: Globs, value: Any) -> dict[str, Any]:
    return dict.fromkeys([globs] if isinstance(globs, str) else globs, value)


def _spec(name: str, value: Any, label: str) -> ArraySpec:
    try:
        shape = tuple(int(axis) for axis in value.shape)
        dtype = value.dtype
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedFile(
            f"{label}: array {name!r} has no usable shape and dtype. It is an object of type "
            f"{type(value).__name__}"
        ) from error
    if isinstance(dtype, str):
        dtype = dtypes.name_of_descr(dtype) or dtype
    else:
        dtype = dtypes.name_of(dtype)
    aliases = tuple(dict.fromkeys(normalise(alias) for alias in getattr(value, "aliases", ())))
    return ArraySpec(name, shape, dtype, tuple(alias for alias in aliases if alias != name))
