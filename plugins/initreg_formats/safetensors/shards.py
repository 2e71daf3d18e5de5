"""Several files and their index: ``model.safetensors.index.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import DamagedFile, Source
from initreg_formats.safetensors.reading import Arrays, open_file
from initreg_formats.shared.parts import content_of, parts_of
from initreg_formats.shared.strict_json import is_text


class Sharded(dict[str, Any]):
    """The arrays of all parts, and the metadata of the index and of each part."""

    metadata: tuple[Mapping[str, str], ...]


def open_index(source: Source) -> Sharded:
    """The arrays of all parts, in the order of the index.

    Raises DamagedFile if the index and the headers of the parts disagree, and RefusedFile for a
    part in another folder.
    """
    what = source.label
    content, places = content_of(source)
    if not all(isinstance(part, str) for part in places.values()):
        raise DamagedFile(
            f"{what}: its weight_map does not give each array the name of a file. Download or "
            "copy it again"
        )
    parts: dict[str, Arrays] = {}
    names = list(dict.fromkeys(places.values()))
    for part, file in zip(names, parts_of(source, names), strict=True):
        parts[part] = open_file(file)
        for name in parts[part]:
            if places.get(name) != part:
                other = f"in {places[name]}" if name in places else "nowhere"
                raise DamagedFile(
                    f"{what}: array {name!r} lies in part {part}, but the index has it {other}. "
                    "The index and the parts come from different saves. Download or copy all of "
                    "them again"
                )
    for name, part in places.items():
        if name not in parts[part]:
            raise DamagedFile(
                f"{what}: array {name!r} should lie in part {part}, which has no such array. The "
                "index and the parts come from different saves. Download or copy all of them again"
            )
    found = Sharded((name, parts[part][name]) for name, part in places.items())
    found.metadata = (_metadata(content), *(part.metadata for part in parts.values()))
    return found


def _metadata(index: Mapping[str, Any]) -> dict[str, str]:
    """The texts in the metadata of an index. Its ``total_size`` is a number, and of the index."""
    given = index.get("metadata")
    found = given.items() if isinstance(given, dict) else ()
    return {key: text for key, text in found if isinstance(text, str) and is_text(key + text)}
