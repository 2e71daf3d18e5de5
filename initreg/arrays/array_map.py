"""Array maps: lazy, read-only mappings from names to arrays, with or without rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from initreg.arrays.describing import names_in, spec_of
from initreg.arrays.lazy_array import ArrayReader, LazyArray
from initreg.arrays.notes import of_globs, still_said, texts
from initreg.errors import (
    DuplicateName,
    InitregWarning,
    PluginError,
    brief,
    is_fault,
    warn,
)
from initreg.names import normalise
from initreg.specs import (
    ArraySpec,
    ChunkedExtent,
    Extent,
    OpaqueExtent,
    SlicedExtent,
)
from initreg.store_paths import FilePath
from initreg.text.near import NoSuchName

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
        PluginError: names are not given as a tuple of str, or the mapping is longer than it says.

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
        given = getattr(arrays, "parameters", None)
        self._given = None if given is None else names_in(given, "the mapping's parameters")
        self._metadata: Mapping[str, str] | None = None
        model = getattr(arrays, "model_name", "")
        if not isinstance(model, str):
            raise PluginError(f"the mapping's model_name: {model!r} is not a str")
        self.dropped: list[ArraySpec] = []
        self.touched: frozenset[str] = frozenset()
        self._arrays: dict[str, LazyArray] = {}
        for given, value in listed(arrays):
            if not isinstance(given, str):
                raise DuplicateName(f"{label}: a name must be a str, not {given!r}")
            name = normalise(given)
            if name in self._arrays:
                other = given if given != name else next(n for n in arrays if normalise(n) == name)
                raise DuplicateName(
                    f"{label}: two arrays are called {name!r}, one of them as {other!r}. A "
                    "trailing ':0' is not a part of a name. Rename or drop one of them"
                )
            self._arrays[name] = LazyArray(spec_of(name, value, label, model), value, self)

    def __getitem__(self, name: str) -> LazyArray:
        found = self._arrays.get(name)  # most names are normalised already
        if found is None and isinstance(name, str):
            found = self._arrays.get(normalise(name))
        if found is None:
            raise NoSuchName(f"{self.label} has no array {name!r}", name, self._arrays)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._arrays or normalise(name) in self._arrays)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"<ArrayMap {self.label}: {len(self)} arrays, format {self.format!r}>"

    def _repr_html_(self) -> str:
        """The names and shapes as HTML, which a notebook shows. No values are read."""
        from initreg.arrays.html import map_html

        return map_html(self.label, self.format, self.specs())

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
        return None if self._given is None else tuple(map(normalise, self._given))

    @property
    def not_needed(self) -> dict[str, str]:
        """The arrays that may stay unused, each with the reason in words."""
        return texts(getattr(self._source, "not_needed", None))

    @property
    def copies(self) -> dict[str, str]:
        """The arrays that are saved a second time, each with the name of the other one."""
        found = texts(getattr(self._source, "copies", None))
        return {name: normalise(other) for name, other in found.items()}

    @property
    def reordered(self) -> dict[str, str]:
        """The arrays whose elements the program that wrote the file has put in another order, which
        no shape shows, each with what was done and how it is undone, in words."""
        return self.said_of("reordered")

    def said_of(self, what: str) -> dict[str, str]:
        """What the format says of its arrays in a mapping of this name, by their names."""
        return of_globs(texts(getattr(self._source, what, None)), self)

    @property
    def has_checksum(self) -> bool:
        """Whether one checksum for all arrays together was verified when the source was opened.

        An archive with one member has such a checksum, for instance.
        """
        return getattr(self._source, "has_checksum", False) is True

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the source says beside its arrays: text by key, read-only. It is empty if the
        format has no place for that.

        If the files of a source have different values, the last one wins, with a MetadataWarning.

        >>> with initreg.open("model.safetensors") as arrays:  # doctest: +SKIP
        ...     arrays.metadata["format"]
        """
        from initreg.arrays.metadata import metadata_of

        if self._metadata is None:
            self._metadata = metadata_of(self._source, self.label, self.format)
        return self._metadata

    @property
    def path(self) -> FilePath | None:
        """The path that names what was opened, if the format says so: a checkpoint's prefix.

        It may differ from the path that was given, such as that of a folder.
        """
        given = getattr(self._source, "path", None)
        return given if isinstance(given, FilePath) else None

    @property
    def not_arrays(self) -> tuple[str, ...]:
        """What the source holds beside its arrays, as far as the format says so: the other members
        of an archive. They are not read."""
        given = getattr(self._source, "not_arrays", ())
        return tuple(each for each in given if isinstance(each, str))

    @property
    def files(self) -> tuple[FilePath, ...]:
        """The files that the arrays are in, and those that list them, as far as they are known."""
        given = getattr(self._source, "files", ())
        found = [file for file in given if isinstance(file, FilePath)]
        for array in self.values():
            for value in array.read_from:
                sliced = isinstance(value, SlicedExtent)
                extents = [extent for _, extent in value.slices] if sliced else [value]
                found += [
                    extent.file
                    for extent in extents
                    if isinstance(extent, (Extent, ChunkedExtent, OpaqueExtent))
                ]
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
            close_source(self._source, self.label, self.format)

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

    def scale(
        self, name: str, by: float | str, block: int | Sequence[int] | None = None
    ) -> ArrayMap:
        """Multiply an array by a number, or by another array: ``m.scale("*.w", "*.scale")``."""
        return self.apply(scale={name: by if block is None else (by, block)})

    def fold_batch_norm(self, kernel: str, **fields: Any) -> ArrayMap:
        """Fold a batch normalization into the layer before it: ``m.fold_batch_norm("conv/kernel",
        axis=3, epsilon=1e-3, bias="conv/bias", mean=..., variance=..., gamma=..., beta=...)``."""
        return self.apply(fold_batch_norm={kernel: fields})

    def split(self, name: str, axis: int, into: str | Sequence[str], sizes: Any = None) -> ArrayMap:
        """Split an array along an axis into several: ``m.split("qkv", 0, ["q", "k", "v"])``."""
        return self.apply(split={name: (axis, into, sizes)})

    def unstack(self, name: str, axis: int, into: str | Sequence[str]) -> ArrayMap:
        """Take an array apart into one array for each index of an axis, which they lack."""
        return self.apply(unstack={name: (axis, into)})

    def add(self, globs: Globs, number: float) -> ArrayMap:
        """Add a number to these arrays."""
        return self.apply(add=_each(globs, number))

    def sum(self, name: str, of: str | Sequence[str]) -> ArrayMap:
        """Add several arrays up to one: ``m.sum("bias", ["bias_ih", "bias_hh"])``."""
        return self.apply(sum={name: of})

    def concat(self, name: str, axis: int, of: str | Sequence[str], sizes: Any = None) -> ArrayMap:
        """Put several arrays together along an axis: ``m.concat("qkv", 0, ["q", "k", "v"])``."""
        return self.apply(concat={name: (axis, of, sizes)})

    def stack(self, name: str, axis: int, of: str | Sequence[str]) -> ArrayMap:
        """Put several arrays together along a new axis: ``m.stack("w", 0, "layers.{i}.w")``."""
        return self.apply(stack={name: (axis, of)})

    def reshape(self, globs: Globs, shape: Sequence[int]) -> ArrayMap:
        """Give these arrays another shape. One axis may be -1, as for numpy."""
        return self.apply(reshape=_each(globs, shape))

    def gates(self, globs: Globs, axis: int, old: str, new: str) -> ArrayMap:
        """Put the gates along an axis in another order: ``m.gates("*/W", 0, "iofc", "ifco")``."""
        return self.apply(gates=_each(globs, (axis, old, new)))

    def take(self, globs: Globs, axis: int, *how: Any) -> ArrayMap:
        """Take these elements of one axis: their indices, or two vocabularies and a fill."""
        return self.apply(take=_each(globs, (axis, *how)))

    def slice(self, globs: Globs, axis: int, start: int, stop: int | None) -> ArrayMap:
        """Take ``start`` to ``stop`` of one axis of these arrays. A stop of None is its end."""
        return self.apply(slice=_each(globs, (axis, start, stop)))

    def pad(self, globs: Globs, axis: int, length: int, fill: Any = 0) -> ArrayMap:
        """Pad one axis of these arrays to ``length``. ``fill`` is a number or ``"mean"``."""
        return self.apply(pad=_each(globs, (axis, length, fill)))

    def view(self, dtype: Any, *globs: str) -> ArrayMap:
        """Take the bits of these arrays for another dtype. Without globs, of all raw bytes."""
        return self.apply(view=_each(globs, dtype) if globs else dtype)

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
        from initreg.arrays.joined import lazy_array_of  # not for whoever only probes

        outcome = rules.apply(base.specs(), base.label)
        super().__init__({}, label=base.label, format=base.format, reader=base._reader)
        self._source = base._source
        self.touched = frozenset(outcome.touched)
        self.dropped = [*base.dropped, *outcome.dropped]
        self._base = base
        lazy = list(base.values())
        self._arrays = {
            entry.spec.name: lazy_array_of(entry, lazy, self) for entry in outcome.entries
        }
        given = base.parameters
        self._parameters = given
        if given is not None:
            own = frozenset(given)
            names = [array.name for array in lazy]
            kept = [e for e in outcome.entries if all(names[i] in own for i in e.indices)]
            self._parameters = tuple(entry.spec.name for entry in kept)

    @property
    def parameters(self) -> tuple[str, ...] | None:
        return self._parameters

    def said_of(self, what: str) -> dict[str, str]:
        base = self._base
        while isinstance(base, RuledMap):
            base = base._base
        return still_said(self.specs(), base.said_of(what))

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._base.metadata

    def close(self) -> None:
        self._base.close()


def listed(arrays: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The names and values of a plugin's mapping.

    Raises:
        PluginError: there are more of them than the mapping says, perhaps without an end.
    """
    left = len(arrays)
    for item in arrays.items():
        if not left:
            raise PluginError(
                f"its mapping says that it has {len(arrays):,} arrays, and gives more"
            )
        left -= 1
        yield item


def close_source(arrays: Any, label: str, format: str) -> None:
    """Close what a format opened. If that fails, it is a warning: what was read is right."""
    try:
        close = getattr(arrays, "close", None)
        if callable(close):
            close()
    except BaseException as error:
        if not is_fault(error):
            raise
        warn(
            f"{label}: format {format!r} could not close it: {brief(error)}. What was read before "
            "is complete",
            InitregWarning,
        )


def _each(globs: Globs, value: Any) -> dict[str, Any]:
    return dict.fromkeys([globs] if isinstance(globs, str) else globs, value)
