"""Indexes of several files, and the file that a folder means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from initreg import AmbiguousSource, DamagedFile, InitregError, Source
from initreg.format_tools.indexes import index_beside, is_index_name, only_file, open_index

ENDING = ".rawz.index.json"


class Part(dict[str, Any]):
    def __init__(self, arrays: Mapping[str, Any], parameters: tuple[str, ...] | None) -> None:
        super().__init__(arrays)
        if parameters is not None:
            self.parameters = parameters
        self.metadata = {"of": "part"}
        self.closed = False

    def close(self) -> None:
        self.closed = True


def index(folder: Path, places: Mapping[str, Any], name: str = "m.rawz.index.json") -> Source:
    metadata = {"total_size": 12, "format": "np"}
    path = folder / name
    path.write_text(json.dumps({"metadata": metadata, "weight_map": places}))
    for part in {each for each in places.values() if isinstance(each, str)}:
        (folder / part).write_bytes(b"x")
    return Source(path)


def test_an_index_gives_the_arrays_of_its_parts(tmp_path: Path) -> None:
    """They have the order of the index, and what the parts say about them."""
    parts = {
        "a.rawz": Part({"x": np.ones(1), "lr": np.ones(())}, ("x",)),
        "b.rawz": Part({"w": np.zeros(1)}, ("w",)),
    }
    source = index(tmp_path, {"w": "b.rawz", "x": "a.rawz"})
    found = open_index(source, lambda part: parts[part.path.name])
    assert list(found) == ["w", "x"]
    assert found.parameters == ("w", "x")
    assert found.metadata == ({"format": "np"}, {"of": "part"}, {"of": "part"})
    found.close()
    assert all(part.closed for part in parts.values())


def test_parts_that_the_index_does_not_fit_are_damage(tmp_path: Path) -> None:
    """An array that lies elsewhere, or nowhere, is named, and what was opened is closed."""
    for places, arrays, reason in (
        ({"w": "a.rawz"}, {"v": np.ones(1)}, "array 'v' lies in part a.rawz, but the index has it"),
        ({"w": "a.rawz"}, {}, "array 'w' should lie in part a.rawz, which has no such array"),
        ({"w": 3}, {}, "does not give each array the name of a file"),
    ):
        part = Part(arrays, None)
        source = index(tmp_path, places)
        with pytest.raises(DamagedFile, match=reason):
            open_index(source, lambda _, part=part: part)
        assert part.closed == isinstance(places["w"], str)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m.rawz.index.json", True),
        ("m.RAWZ.INDEX.JSON", True),
        ("m.rawz.index.fp16.json", True),
        ("m.fp16.rawz.index.json", True),
        ("m.rawz.index.a.b.json", False),
        ("m.rawzXindex.json", False),
        ("m.rawz.index.json.bak", False),
        ("rawz.index.json", False),
    ],
)
def test_the_names_of_indexes(name: str, expected: bool) -> None:
    """The name of a variant may come before .json."""
    assert is_index_name(name, ENDING) is expected


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("m-00001-of-00002.rawz", "m.rawz.index.json"),
        ("m.fp16-00001-of-00002.rawz", "m.fp16.rawz.index.json"),
        ("m.fp16-00001-of-00002.rawz", "m.rawz.index.fp16.json"),
        ("m-00001-of-00002.fp16.rawz", "m.rawz.index.fp16.json"),
    ],
)
def test_a_part_finds_its_index(tmp_path: Path, part: str, name: str) -> None:
    """Each spelling of a variant leads to the index, which must name the part."""
    source = Source(tmp_path / part)
    index(tmp_path, {"w": part}, name)
    found = index_beside(source, ENDING)
    assert found is not None
    assert found.path.name == name
    index(tmp_path, {"w": "other.rawz"}, name)
    with pytest.raises(InitregError, match="names other parts"):
        index_beside(Source(tmp_path / part), ENDING)
    assert index_beside(Source(tmp_path / "other.rawz"), ENDING) is None


def test_a_folder_means_its_only_file(tmp_path: Path) -> None:
    """Several files, or none, are an error that shows them."""
    (tmp_path / "a.rawz").write_bytes(b"x")
    folder = Source(tmp_path)
    assert only_file(folder, ["a.rawz"], "files").path == tmp_path / "a.rawz"
    with pytest.raises(AmbiguousSource, match=r"which of its files is meant\? It holds a, b\. "):
        only_file(folder, ["a", "b"], "files")
    with pytest.raises(AmbiguousSource, match="It holds none"):
        only_file(folder, [], "files")
