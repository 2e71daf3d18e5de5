"""What a checkpoint says about its arrays: their names, and how they are stored.

Source: ``TreeMetadata`` in ``orbax/checkpoint/_src/metadata/tree.py``. The names of the zarr arrays
are the keys, joined with dots.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from initreg import DamagedFile, DuplicateName, RefusedFile, Source
from initreg.format_tools.strict_json import parse_object

from initreg_jax.msgpack import Fault, Parser, Span
from initreg_jax.naming import leaves, parse
from initreg_jax.orbax.claiming import AGGREGATE, TREE

_LONGEST = 100_000_000  # bytes
_PLACEHOLDER = "PLACEHOLDER://"
_AGAIN = "Copy the checkpoint again"


class Entry(NamedTuple):
    """An array, or a text.

    Args:
        stored: what its zarr array is called.
        kind: what it was: ``"jax.Array"``, ``"np.ndarray"``, ``"scalar"`` or ``"string"``.
    """

    stored: str
    kind: str

    @property
    def is_text(self) -> bool:
        return self.kind == "string"


class Tree(NamedTuple):
    """The entries of a checkpoint by name, and how they are stored.

    Args:
        entries: by their names.
        is_zarr3: whether they are zarr of version 3.
        has_all_chunks: whether chunks of zeros are stored, too.
    """

    entries: dict[str, Entry]
    is_zarr3: bool
    has_all_chunks: bool


def tree_of(folder: Source, label: str) -> Tree:
    """The tree of a folder. Raises DamagedFile, RefusedFile or DuplicateName."""
    if TREE not in folder.names:
        return _of_aggregate(folder.part(AGGREGATE), label)
    file = folder.part(TREE)
    what = f"{label}: its {TREE}"
    if file.size > _LONGEST:
        raise DamagedFile(f"{what} has {file.size:,} bytes, and at most {_LONGEST:,} are read")
    found = parse_object(file.read(0, file.size), what)
    given = found.get("tree_metadata")
    if not isinstance(given, dict):
        raise DamagedFile(f"{what} has no tree_metadata. {_AGAIN}")
    entries: dict[str, Entry] = {}
    for each in given.values():
        keys, kind, is_empty = _entry(each, what)
        if is_empty:
            continue
        _add(entries, "/".join(keys), Entry(".".join(keys), kind), label)
    flags = [found.get(key, False) for key in ("use_zarr3", "store_array_data_equal_to_fill_value")]
    if not all(isinstance(flag, bool) or flag is None for flag in flags):
        raise DamagedFile(f"{what} has flags that are neither true nor false. {_AGAIN}")
    return Tree(entries, bool(flags[0]), bool(flags[1]))


def _entry(found: Any, what: str) -> tuple[list[str], str, bool]:
    """The keys of an entry, what it was, and whether nothing is stored of it."""
    found = found if isinstance(found, dict) else {}
    parts, value = found.get("key_metadata"), found.get("value_metadata")
    value = value if isinstance(value, dict) else {}
    keys = [part.get("key") if isinstance(part, dict) else None for part in parts or ()]
    kind = value.get("value_type", "jax.Array")
    if not keys or not all(isinstance(key, str) for key in keys) or not isinstance(kind, str):
        raise DamagedFile(f"{what} has an entry that is not as Orbax writes it. {_AGAIN}")
    return [str(key) for key in keys], kind, value.get("skip_deserialize") is True


def _of_aggregate(file: Source, label: str) -> Tree:
    """The tree of one of the first versions: msgpack whose arrays are placeholders."""
    try:
        with file.open() as opened:

            def read(at: int, length: int) -> bytes:
                opened.seek(at)
                return opened.read(min(length, file.size - at))

            parser = Parser(read, file.size)
            found = parse(parser)
            entries: dict[str, Entry] = {}
            for name, leaf, _ in leaves(found, label):
                if isinstance(leaf, Span):
                    text = parser.text(leaf)
                    is_array = text.startswith(_PLACEHOLDER)
                    stored = text.removeprefix(_PLACEHOLDER)
                    _add(entries, name, Entry(stored, "jax.Array" if is_array else "string"), label)
                else:
                    raise Fault(f"has the value {name!r} itself, which this version does not read")
    except Fault as error:
        raise DamagedFile(f"{label}: its {AGGREGATE} {error}. {_AGAIN}") from error
    return Tree(entries, False, False)


def _add(entries: dict[str, Entry], name: str, entry: Entry, label: str) -> None:
    if name in entries:
        raise DuplicateName(f"{label}: two arrays are called {name!r} once their keys are joined")
    if not entry.is_text and (
        not entry.stored
        or "\0" in entry.stored
        or any(part in ("", ".", "..") for part in entry.stored.split("/"))
    ):
        raise RefusedFile(f"{label}: array {name!r} may lie outside of the checkpoint")
    entries[name] = entry
