"""A V2 checkpoint: an ``.index`` that says where each tensor lies in the ``.data`` files.

Source: TensorFlow's core/protobuf/tensor_bundle.proto and core/util/tensor_bundle/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias, cast

from initreg import DamagedFile, Extent, OpenOptions, Place, SlicedExtent, Source, StateSpec
from initreg.format_tools.files import FilePath, which_are_there
from initreg_formats.shared.protobuf import BYTES, VARINT, Malformed, fields, signed
from initreg_formats.shared.tf_dtypes import DTYPES, NOT_ARRAYS, STRING
from initreg_formats.tf_checkpoint import data_files, graph
from initreg_formats.tf_checkpoint.entry import (
    MOST_SLICES,
    Entry,
    check_boxes,
    covers,
    parse_entry,
    parse_slice,
    slice_key,
)
from initreg_formats.tf_checkpoint.leveldb import Table
from initreg_formats.tf_checkpoint.strings import Piece, Strings, check_piece, read_strings

HEADER_KEY = b""
_VERSION = 1  # kTensorBundleVersion
_LETTERS = {"float": "f", "int": "i", "uint": "u", "complex": "c"}


# The slices of one tensor: first index on every axis, key, entry.
_Parts: TypeAlias = list[tuple[tuple[int, ...], bytes, Entry]]


class Header(NamedTuple):
    """``BundleHeaderProto``. ``byteorder`` is that of the machine that wrote the data."""

    shards: int
    byteorder: str


def open_bundle(
    index: Source, prefix: FilePath, options: OpenOptions, named: str = ""
) -> tuple[dict[str, Any], dict[str, str]]:
    """Every variable of the checkpoint by its key, in the order of the keys; and the keys of those
    that are a second copy, each with the key of the first.

    Only the index and the object graph are read.

    Args:
        index: the index.
        prefix: the prefix of the checkpoint.
        options: what the user asked for.
        named: the name of the file that the user gave. If it is a data file, the index has to be
            its index.

    Raises:
        DamagedFile: data files are missing, or something is wrong with the index.
        RefusedFile: a data file is a link to another folder.
        SourceNotFound: data files have other names than they should.
    """
    with Table(index, options.verify) as table:
        found = dict(table.entries())
    bundle = _Bundle(index, prefix, found, options.verify, named)
    return bundle.arrays(), bundle.copies


def shards_of(entries: Sequence[tuple[bytes, bytes]], what: str) -> int:
    """How many data files an index counts. ``entries`` are its keys and values.

    Raises DamagedFile.
    """
    try:
        if entries and entries[0][0] == HEADER_KEY:
            return _parse_header(entries[0][1]).shards
        raise Malformed("no header")
    except Malformed as error:
        raise DamagedFile(f"{what}: its header is damaged: it has {error}") from error


class _Bundle:
    def __init__(
        self, index: Source, prefix: FilePath, found: dict[bytes, bytes], verify: bool, named: str
    ) -> None:
        self._what = what = index.label
        self._prefix = prefix
        self._verify = verify
        header = found.pop(HEADER_KEY, None)
        if header is None:
            raise DamagedFile(
                f"{what}: has no header, so it is not the index of a TensorFlow checkpoint"
            )
        try:
            self._header = _parse_header(header)
        except Malformed as error:
            raise DamagedFile(
                f"{what}: its header is damaged: it has {error}. Download or copy it again"
            ) from error
        self._dtypes: dict[int, str] = {}  # what _dtype returned
        self._of_strings = 0  # bytes of all arrays of strings
        self.copies: dict[str, str] = {}
        self._entries: dict[bytes, Entry] = {}
        for key, value in found.items():
            try:
                self._entries[key] = parse_entry(value)
            except Malformed as error:
                raise self._damaged(key, error) from error
        self._sources = self._shards(index, self._entries.values(), named)
        self._files = {n: cast("FilePath", source.path) for n, source in self._sources.items()}

    def arrays(self) -> dict[str, Any]:
        """The variables, each as an Extent, a SlicedExtent or Strings."""
        parts = self._parts()
        slices = {key for pieces in parts.values() for _, key, _ in pieces}
        aliases, states = self._graph()
        arrays: dict[str, Any] = {}
        for key, entry in self._entries.items():
            if key in slices or entry.dtype in NOT_ARRAYS:
                continue
            try:
                name = key.decode()
                if (lone := _lone(entry, parts.get(key))) is not None:
                    entry = lone
                if entry.dtype == STRING:
                    if not graph.is_bookkeeping(name):
                        pieces = parts[key] if entry.slices else None
                        arrays[name] = self._strings(name, entry, pieces, aliases.get(key))
                elif entry.slices:
                    found = self._sliced(entry, parts[key], aliases.get(key, ()))
                    arrays[name] = replace(found, state=states.get(key))
                else:
                    arrays[name] = self._extent(entry, aliases.get(key, ()), states.get(key))
            except UnicodeDecodeError as error:
                raise self._damaged(key, "a name that is not UTF-8") from error
            except Malformed as error:
                raise self._damaged(key, error) from error
        return arrays

    def _strings(
        self, name: str, entry: Entry, parts: _Parts | None, aliases: tuple[str, ...] | None
    ) -> Strings:
        if parts is None:
            pieces = [((0,) * len(entry.shape), self._piece(entry))]
        else:
            pieces = [(start, self._piece(part)) for start, _, part in parts]
        what = f"{self._what}: array {name!r}"
        return Strings(what, entry.shape, tuple(pieces), aliases or (), self._verify)

    def _sliced(self, entry: Entry, parts: _Parts, aliases: tuple[str, ...]) -> SlicedExtent:
        extents = tuple((start, self._extent(part)) for start, _, part in parts)
        return SlicedExtent(entry.shape, self._dtype(entry.dtype), extents, aliases)

    def _extent(
        self, entry: Entry, aliases: tuple[str, ...] = (), state: StateSpec | None = None
    ) -> Extent:
        dtype, shape, shard, offset, size, crc, _ = entry
        # Arguments by position, defaults too, which is twice as fast as by name.
        return Extent(
            self._files[shard],
            offset,
            size,
            shape,
            self._dtypes.get(dtype) or self._dtype(dtype),
            "C",
            0,
            None,
            ("crc32c", crc),
            aliases,
            state,
        )

    def _dtype(self, number: int) -> str:
        """A dtype's name, or numpy's type string if the bytes are big-endian."""
        try:
            name = DTYPES[number]
        except KeyError:
            raise Malformed(f"dtype number {number}, which is unknown") from None
        if self._header.byteorder == "little":
            self._dtypes[number] = name
            return name
        match = re.fullmatch(r"(float|u?int|complex)(16|32|64|128)", name)
        if match is not None:
            return f">{_LETTERS[match[1]]}{int(match[2]) // 8}"
        if name in ("bfloat16", "qint16", "quint16", "qint32"):
            raise Malformed(f"big-endian {name}, which initreg does not read")
        return name  # one byte has no order

    def _piece(self, entry: Entry) -> Piece:
        order = self._header.byteorder
        piece = Piece(
            self._sources[entry.shard], entry.offset, entry.size, entry.shape, entry.crc, order
        )
        check_piece(piece)
        self._of_strings += piece.size
        size = sum(source.size for source in self._sources.values())
        DamagedFile.check_shared(self._what, size, self._of_strings)
        return piece

    def _parts(self) -> dict[bytes, _Parts]:
        """For each partitioned variable its slices: first indices, key, entry."""
        found = {}
        for key, entry in self._entries.items():
            if entry.slices:
                try:
                    found[key] = self._parts_of(key, entry)
                except Malformed as error:
                    raise self._damaged(key, error) from error
        return found

    def _parts_of(self, key: bytes, entry: Entry) -> _Parts:
        if len(entry.slices) > MOST_SLICES:
            raise Malformed(f"{len(entry.slices):,} slices, where at most {MOST_SLICES:,} are read")
        parts: _Parts = []
        for data in entry.slices:
            part = parse_slice(data)
            start, shape = covers(entry.shape, part)
            part_key = slice_key(key, part)
            stored = self._entries.get(part_key)
            if stored is None or stored.slices:
                raise Malformed(f"a slice of shape {shape} at {start} that the index does not hold")
            if stored.shape != shape or stored.dtype != entry.dtype:
                raise Malformed(f"a slice at {start} of shape {stored.shape} instead of {shape}")
            parts.append((start, part_key, stored))
        if _lone(entry, parts) is None:
            check_boxes(entry.shape, [(start, stored.shape) for start, _, stored in parts])
        return parts

    def _graph(self) -> tuple[dict[bytes, tuple[str, ...]], dict[bytes, StateSpec]]:
        """The other names of each variable, and what it is in the state of an optimizer.

        Both are empty if the checkpoint is not object-based.
        """
        entry = self._entries.get(graph.KEY.encode())
        if entry is None or entry.dtype != STRING:
            return {}, {}
        try:
            piece = self._piece(entry)
            strings = read_strings(piece, f"{self._what}: {graph.KEY}", self._verify)
            names, states = graph.read(b"".join(strings), self._entries)
            decoded = {
                key: tuple(name.decode() if isinstance(name, bytes) else name for name in found)
                for key, found in self._without_copies(names).items()
            }
            return decoded, states
        except (Malformed, UnicodeDecodeError) as error:
            raise DamagedFile(f"{self._what}: its object graph is damaged: {error}") from error

    def _without_copies(
        self, names: dict[bytes, tuple[bytes | str, ...]]
    ) -> dict[bytes, tuple[bytes | str, ...]]:
        """The names of each key. If several equal arrays have one name, only the first keeps it.
        Equal arrays with a name that others have, too, keep it.

        ``model.export()`` of Keras 3 saves every variable twice: in a list of all variables, and in
        the list of those that are trained or of those that are not.
        """
        owners: dict[bytes | str, list[bytes]] = {}
        for key, found in names.items():
            for name in found:
                if not isinstance(name, Place):
                    owners.setdefault(name, []).append(key)
        copies: set[tuple[bytes, bytes | str]] = set()
        for name, keys in owners.items():
            alike: dict[object, list[bytes]] = {}
            for key in keys:
                if (entry := self._entries.get(key)) is not None:
                    found_in = entry.shape, entry.dtype, entry.size, entry.crc
                    alike.setdefault(found_in, []).append(key)
            if len(keys) < 2 or not all(map(graph.is_in_list, keys)):
                continue
            if len(alike) > 1:  # several variables have this name, and each may be there twice
                for equal in alike.values():
                    seconds = filter(graph.is_unordered, equal)
                    firsts = (key for key in equal if not graph.is_unordered(key))
                    for key, other in zip(seconds, firsts, strict=False):
                        self.copies[key.decode()] = other.decode()
            elif alike:
                copies.update((key, name) for key in keys[1:])
                others = [key for key in keys if not graph.is_unordered(key)]
                for key in filter(graph.is_unordered, keys if others else ()):
                    self.copies[key.decode()] = others[0].decode()
        return {
            key: tuple(name for name in found if (key, name) not in copies)
            for key, found in names.items()
        }

    def _shards(self, index: Source, entries: Iterable[Entry], named: str) -> dict[int, Source]:
        """The data files in use. Only the prefix decides their names."""
        count = self._header.shards
        used = sorted({entry.shard for entry in entries if not entry.slices})
        if used and used[-1] >= count:
            raise DamagedFile(
                f"{self._what}: an array lies in data file {used[-1]}, but there are only {count}. "
                "Download or copy the index again"
            )
        names = {n: f"{self._prefix.name}.data-{n:05d}-of-{count:05d}" for n in used}
        folder = self._prefix.parent
        there = which_are_there(folder, names.values())
        missing = [name for name in names.values() if name not in there]
        if missing:
            raise data_files.missing(self._what, self._prefix, missing, count)
        data_files.check_named(self._what, self._prefix, named, count)
        # The index of a checkpoint that a user named may be a link, and then its data files may lie
        # where it leads.
        return {n: index.part(name) for n, name in names.items()}

    def _damaged(self, key: bytes, error: object) -> DamagedFile:
        name = key.decode(errors="backslashreplace")
        return DamagedFile(
            f"{self._what}: array {name!r} is damaged: it has {error}. Download or copy the "
            "checkpoint again"
        )


def _lone(entry: Entry, parts: _Parts | None) -> Entry | None:
    """The only slice of a variable, if it is not all of it. Then it is an array of its own.

    So are the slots of a partitioned variable that an optimizer makes within a variable_scope: each
    has a name of its own, and still the shape of the complete variable. Source: ``slot_creator`` in
    TensorFlow's python/training/slot_creator.py.
    """
    if parts is None or len(parts) != 1 or parts[0][2].shape == entry.shape:
        return None
    return parts[0][2]


def _parse_header(data: bytes) -> Header:
    shards = endianness = needs = 0
    for number, wire, value, content in fields(data):
        if number == 1 and wire == VARINT:
            shards = signed(value)
        elif number == 2 and wire == VARINT:
            endianness = value
        elif number == 3 and wire == BYTES:
            for inner, kind, version, _ in fields(content):
                if inner == 2 and kind == VARINT:
                    needs = version
    if shards < 0 or endianness > 1:
        raise Malformed(f"{shards} data files and endianness {endianness}")
    if needs > _VERSION:
        raise Malformed(
            f"a version that needs a reader of version {needs}, where initreg reads {_VERSION}"
        )
    return Header(shards, "big" if endianness else "little")
