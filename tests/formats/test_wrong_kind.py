"""A format that the user has named, for a source that it cannot open: one clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg.plugin.installed import default_registry

FORMATS = [
    record.name
    for record in default_registry().records
    if record.distribution == "initreg"
    and "format" in record.kinds
    # What a target writes into, its plugin also opens as a source.
    and "target" not in record.kinds
]
FOLDERS = {"mapping", "safetensors", "tf_checkpoint"}  # whose own errors say more of a folder


def test_all_formats_are_tried() -> None:
    """Those in the wheel."""
    assert len(FORMATS) == 7


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"mapping"}))
@pytest.mark.parametrize("source", [{"w": np.ones(2)}, 5, [1]], ids=["dict", "int", "list"])
def test_an_object_is_not_a_path(format: str, source: object) -> None:
    """The error says what the format opens, and that it is not the file that is wrong."""
    with pytest.raises(initreg.InitregError, match=f"the {format} format opens paths") as caught:
        initreg.open(source, format=format)
    assert not isinstance(caught.value, initreg.DamagedFile)


@pytest.mark.parametrize("format", sorted(set(FORMATS) - FOLDERS))
def test_a_folder_is_not_a_file(format: str, tmp_path: Path) -> None:
    """Nothing is said of damage, or of an empty file."""
    with pytest.raises(initreg.InitregError, match="this is a folder") as caught:
        initreg.open(tmp_path, format=format)
    assert not isinstance(caught.value, initreg.DamagedFile)


@pytest.mark.parametrize("source", [5, "a.npz"])
def test_a_mapping_is_not_any_object(source: object, tmp_path: Path, base: Path) -> None:
    """A number or a path is not a mapping."""
    given = base if source == "a.npz" else source
    with pytest.raises(initreg.InitregError, match="the mapping format opens mappings") as caught:
        initreg.open(given, format="mapping")
    assert not isinstance(caught.value, initreg.DamagedFile)


@pytest.mark.parametrize("format", ["keras_model", "tf_session", "tf_variables"])
@pytest.mark.parametrize("given", [5, {"w": np.ones(2)}, "path"], ids=["int", "dict", "path"])
def test_what_is_not_a_model(format: str, given: object, base: Path) -> None:
    """The format of models, sessions and variables says what it opens, also without TensorFlow."""
    with pytest.raises(initreg.InitregError, match=r"is not a|is neither") as caught:
        initreg.open(base if given == "path" else given, format=format)
    assert not isinstance(caught.value, initreg.DamagedFile)


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"mapping"}))
def test_a_path_that_does_not_exist(format: str, tmp_path: Path) -> None:
    """It is a missing file for every format."""
    with pytest.raises(initreg.SourceNotFound, match="none: no such file"):
        initreg.open(tmp_path / "none", format=format)
