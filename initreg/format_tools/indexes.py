"""An index and its parts: the files beside the index that it names, as transformers writes them.

For formats that keep one model in several files. Only files beside the index are opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from initreg.errors import AmbiguousSource, DamagedFile, DuplicateName, InitregError
from initreg.format_tools.strict_json import is_text, parse_object
from initreg.plugin.part_names import part_sets
from initreg.plugin.source import Source
from initreg.storage.paths import is_there, listed, which_are_there
from initreg.store_paths import FilePath

LONGEST_INDEX = 100_000_000  # bytes
_SHOWN = 5
_SHOWN_FILES = 8
_NOT_PLAIN = re.compile(r"[/\\\x00-\x1f\x7f-\x9f]|^\.*$")
_JSON = ".json"


def is_index_name(name: str, ending: str) -> bool:
    """Whether a file is named like an index.

    diffusers puts the name of a variant before ``.json``, as in
    ``diffusion_pytorch_model.safetensors.index.fp16.json``. Source: ``_add_variant`` in
    ``diffusers/utils/hub_utils.py``.

    Args:
        name: the name of the file.
        ending: how the names of the indices end: ``".safetensors.index.json"``.

    >>> is_index_name("model.bin.index.json", ".bin.index.json")
    True
    >>> is_index_name("model.bin.index.fp16.json", ".bin.index.json")
    True
    """
    begin = re.escape(ending.removesuffix(_JSON))
    return re.search(rf"{begin}(\.[\w-]+)?\.json$", name, re.IGNORECASE) is not None


def is_index(source: Source, ending: str) -> bool:
    """Whether a source is named like an index, as :func:`is_index_name` says."""
    return source.path is not None and is_index_name(source.path.name, ending)


def index_beside(part: Source, ending: str) -> Source | None:
    """The index beside a file that is named like a part of a set, if there is one.

    The index of ``m-00001-of-00002.safetensors`` is ``m.safetensors.index.json``. The variant
    ``fp16`` is in the name of the index, and in those of its parts before or after the number:
    ``m.fp16-00001-of-00002.safetensors`` and ``m-00001-of-00002.fp16.safetensors``.

    Args:
        part: the file.
        ending: how the name of the index ends: ``".safetensors.index.json"``.

    Raises:
        InitregError: the index does not name the part.
    """
    sets = part_sets([part.path.name]) if part.path is not None else ()
    if not sets:
        return None
    stem, begin = sets[0].stem[:-1], ending.removesuffix(_JSON)
    names = [stem + ending]
    before, dot, variant = stem.rpartition(".")
    if dot:
        names.append(f"{before}{begin}.{variant}{_JSON}")
    _, *variants = sets[0].ending.split(".")[:-1]
    names += [f"{stem}{begin}.{variant}{_JSON}" for variant in variants[:1]]
    found = (index_of(part, name) for name in names)
    return next((each for each in found if each is not None), None)


def only_file(folder: Source, names: Collection[str], what: str) -> Source:
    """The file that a folder means.

    Args:
        folder: the folder.
        names: the names of its files that could be meant.
        what: what they are, in the plural: ``"PyTorch files"``.

    Raises:
        AmbiguousSource: there are several of them, or none.
    """
    if len(names) != 1:
        shown = ", ".join([*names][:_SHOWN_FILES]) + (", ..." if len(names) > _SHOWN_FILES else "")
        raise AmbiguousSource(
            f"{folder.label}: which of its {what} is meant? It holds {shown or 'none'}. Give one "
            "of them by its path"
        )
    return folder.part(next(iter(names)))


class Indexed(dict[str, Any]):
    """The arrays of the parts that an index names, in its order.

    Attributes:
        parameters: those of all parts, None if a part does not say which they are.
        metadata: that of the index, and then that of each part.
        not_arrays: what else the parts hold.
    """

    def __init__(self, parts: Mapping[str, Mapping[str, Any]], stack: ExitStack) -> None:
        super().__init__()
        self._parts, self._stack = parts, stack
        self.metadata: tuple[Any, ...] = ()
        self.not_arrays: tuple[str, ...] = tuple(
            name for part in parts.values() for name in getattr(part, "not_arrays", ())
        )
        self.parameters: tuple[str, ...] | None = None

    def close(self) -> None:
        self._stack.close()


def open_index(index: Source, open_part: Callable[[Source], Mapping[str, Any]]) -> Indexed:
    """The arrays of all parts that an index names.

    Args:
        index: the index, JSON with a ``weight_map``.
        open_part: opens one part. An index need not name those of its arrays that are not among
            its ``parameters``, if it has these.

    Raises:
        DamagedFile: a part is missing, or the index and the parts disagree.
        RefusedFile: a part lies in another folder.
    """
    what = index.label
    content, places = content_of(index)
    if not all(isinstance(part, str) for part in places.values()):
        raise DamagedFile(
            f"{what}: its weight_map does not give each array the name of a file. Download or "
            "copy it again"
        )
    again = "The index and the parts come from different saves. Download or copy all of them again"
    names = list(dict.fromkeys(places.values()))
    parts: dict[str, Mapping[str, Any]] = {}
    own: dict[str, frozenset[str]] = {}
    with ExitStack() as stack:
        for part, file in zip(names, parts_of(index, names), strict=True):
            opened = parts[part] = open_part(file)
            if callable(close := getattr(opened, "close", None)):
                stack.callback(close)
            parameters = getattr(opened, "parameters", None)
            own[part] = frozenset(opened if parameters is None else parameters)
            for name in opened if parameters is None else parameters:
                if places.get(name) != part:
                    other = f"in {places[name]}" if name in places else "nowhere"
                    raise DamagedFile(
                        f"{what}: array {name!r} lies in part {part}, but the index has it "
                        f"{other}. {again}"
                    )
        for name, part in places.items():
            if name not in parts[part]:
                raise DamagedFile(
                    f"{what}: array {name!r} should lie in part {part}, which has no such array. "
                    f"{again}"
                )
        found = Indexed(parts, stack.pop_all())
    found.update((name, parts[part][name]) for name, part in places.items())
    if all(getattr(part, "parameters", None) is not None for part in parts.values()):
        found.parameters = tuple(name for name, part in places.items() if name in own[part])
    found.metadata = (_texts(content), *(getattr(part, "metadata", {}) for part in parts.values()))
    return found


def _texts(content: Mapping[str, Any]) -> dict[str, str]:
    """The texts in the metadata of an index. Its ``total_size`` is a number, and of the index."""
    given = content.get("metadata")
    found = given.items() if isinstance(given, dict) else ()
    return {key: text for key, text in found if isinstance(text, str) and is_text(key + text)}


def weight_map(index: Source) -> dict[str, Any]:
    """The ``weight_map`` of a JSON index: from what is stored to the name of its part.

    The values are not checked. Raises DamagedFile as :func:`content_of` does.
    """
    return content_of(index)[1]


def content_of(index: Source) -> tuple[dict[str, Any], dict[str, Any]]:
    """All of a JSON index, and its ``weight_map``.

    Raises DamagedFile if the index is too long, is not JSON, or has no such object.
    """
    what = index.label
    if index.size > LONGEST_INDEX:
        raise DamagedFile(
            f"{what}: this index has {index.size:,} bytes, and at most {LONGEST_INDEX:,} are read"
        )
    content = parse_object(index.read(0, index.size), what)
    found = content.get("weight_map")
    if not isinstance(found, dict):
        raise DamagedFile(f"{what}: this index has no weight_map. Download or copy it again")
    return content, found


def parts_of(index: Source, names: Iterable[str]) -> list[Source]:
    """The parts that an index names: files in the folder of the index.

    Args:
        index: the index.
        names: the names of the parts, as the index spells them.

    Raises:
        RefusedFile: a name leads to another folder.
        DamagedFile: parts are missing, or are what a failed download left. If the folder has parts
            that the index does not name, then the index is of another save, and the advice differs.
    """
    assert index.path is not None
    names = list(names)
    folder = index.path.parent
    there = which_are_there(folder, names)
    gone = [name for name in names if name not in there]
    for name in gone:
        if _NOT_PLAIN.search(name):
            index.part(name)  # which refuses the name
    if gone:
        raise DamagedFile(f"{index.label}: {_missing(gone, names, folder)}")
    return [index.part(name) for name in names]


def _missing(gone: list[str], names: list[str], folder: FilePath) -> str:
    """Which parts are missing, and what to do."""
    shown = ", ".join(gone[:_SHOWN]) + (", ..." if len(gone) > _SHOWN else "")
    what = (
        "part " + shown + " is" if len(gone) == 1 else f"{len(gone):,} parts are missing: {shown}"
    )
    what += " missing" if len(gone) == 1 else ""
    others = _strangers(names, folder)
    if others:
        return (
            f"{what}. But the folder has {others}, which this index does not name: the index is "
            "from another save. Download or copy the index again, with the parts of its own save"
        )
    return f"{what}. It should lie beside the index, in {folder}. Download it too"


def _strangers(names: list[str], folder: FilePath) -> str:
    """The sets in the folder whose names are like those of the index, and that it does not name."""
    there = listed(folder)
    named = part_sets(names)
    alike = {(each.stem, each.ending) for each in named}
    known = {(each.stem, each.ending, each.count) for each in named}
    found = [
        each
        for each in part_sets(there)
        if (each.stem, each.ending) in alike and (each.stem, each.ending, each.count) not in known
    ]
    return ", ".join(map(str, found))


def index_of(part: Source, name: str) -> Source | None:
    """The index beside a part, if there is one, which then has to name it.

    Args:
        part: the part.
        name: how the index is called.

    Raises:
        InitregError: the index does not name the part.
    """
    assert part.path is not None
    if not is_there(part.path.with_name(name)):
        return None
    index = part.part(name)
    named = {
        each
        for value in weight_map(index).values()
        for each in (value if isinstance(value, list) else [value])
        if isinstance(each, str)
    }
    if part.path.name in named:
        return index
    shown = ", ".join(sorted(named)[:_SHOWN]) + (", ..." if len(named) > _SHOWN else "")
    raise InitregError(
        f"{part.label}: the index beside it, {name}, names other parts: {shown}. So it is from "
        f"another save. Open the index for that one. For this one, remove the index, or put the "
        "part and the others of its save into another folder"
    )


def together(parts: Iterable[tuple[Source, Mapping[str, Any]]]) -> dict[str, Any]:
    """The arrays of several parts. Raises DuplicateName if two parts have one of the same name."""
    arrays: dict[str, Any] = {}
    owners: dict[str, Source] = {}
    for part, found in parts:
        for name, value in found.items():
            if name in arrays:
                raise DuplicateName(
                    f"{part.label}: array {name!r} is also in {owners[name].label}. The parts come "
                    "from different saves. Download or copy all of them again"
                )
            arrays[name], owners[name] = value, part
    return arrays
