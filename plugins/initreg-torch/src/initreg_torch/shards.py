"""Several files and their index: ``pytorch_model.bin.index.json``, as transformers writes it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

from initreg import DamagedFile, DuplicateName, OpenOptions, Source

_LONGEST = 100_000_000  # bytes


class Parts(dict[str, Any]):
    """The arrays of several files."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__()
        self._stack = stack
        self.parameters: tuple[str, ...] = ()

    def close(self) -> None:
        self._stack.close()


def open_index(source: Source, options: OpenOptions) -> Parts:
    """The arrays of all parts, in the order of the index.

    Raises:
        DamagedFile: a part is missing, or the index and the parts disagree.
        RefusedFile: a part lies in another folder.
    """
    from initreg_torch.opening import open_file

    what, places = source.label, _weight_map(source)
    with ExitStack() as stack:
        parts: dict[str, Any] = {}
        for name in dict.fromkeys(places.values()):
            parts[name] = open_file(source.part(name), options)
            stack.callback(parts[name].close)
            for array in parts[name].parameters:
                if places.get(array) != name:
                    other = f"in {places[array]}" if array in places else "nowhere"
                    raise DamagedFile(
                        f"{what}: array {array!r} lies in part {name}, but the index has it "
                        f"{other}. The index and the parts come from different saves. Download or "
                        "copy all of them again"
                    )
        for array, name in places.items():
            if array not in parts[name]:
                raise DamagedFile(
                    f"{what}: array {array!r} should lie in part {name}, which has no such array. "
                    "The index and the parts come from different saves. Download or copy all of "
                    "them again"
                )
        found = Parts(stack.pop_all())
        found.update((array, parts[name][array]) for array, name in places.items())
        own = {name: frozenset(part.parameters) for name, part in parts.items()}
        found.parameters = tuple(array for array, name in places.items() if array in own[name])
        return found


def _weight_map(source: Source) -> dict[str, str]:
    what = source.label
    if source.size > _LONGEST:
        raise DamagedFile(
            f"{what}: an index of {source.size:,} bytes; at most {_LONGEST:,} are read"
        )

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise DuplicateName(f"{what}: a name is there twice. Download or copy it again")
        return found

    try:
        found = json.loads(source.read(0, source.size), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(
            f"{what}: this index is not JSON: {error}. Download or copy it again"
        ) from error
    places = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(places, dict) or not all(isinstance(each, str) for each in places.values()):
        raise DamagedFile(
            f"{what}: its weight_map does not give each array the name of a file. Download or copy "
            "it again"
        )
    return places
