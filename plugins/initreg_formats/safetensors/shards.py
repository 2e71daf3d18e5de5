"""Several files and their index: ``model.safetensors.index.json``."""

from __future__ import annotations

from typing import Any

from initreg import DamagedFile, Source
from initreg_formats.safetensors.reading import open_file
from initreg_formats.shared.parts import part_of, weight_map


def open_index(source: Source) -> dict[str, Any]:
    """The arrays of all parts, in the order of the index.

    Raises DamagedFile if the index and the headers of the parts disagree, and RefusedFile for a
    part in another folder.
    """
    what = source.label
    places = weight_map(source)
    if not all(isinstance(part, str) for part in places.values()):
        raise DamagedFile(
            f"{what}: its weight_map does not give each array the name of a file. Download or "
            "copy it again"
        )
    assert source.path is not None
    parts: dict[str, dict[str, Any]] = {}
    for part in dict.fromkeys(places.values()):
        parts[part] = open_file(part_of(source.path, part, what))
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
    return {name: parts[part][name] for name, part in places.items()}
