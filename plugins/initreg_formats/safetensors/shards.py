"""Several files and their index: ``model.safetensors.index.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from initreg import Source
from initreg.format_tools import indexes
from initreg_formats.safetensors.reading import open_file


class Sharded(dict[str, Any]):
    """The arrays of all parts, and the metadata of each."""

    metadata: tuple[Mapping[str, str], ...]


def open_index(source: Source) -> indexes.Indexed:
    """The arrays of all parts, in the order of the index.

    Raises DamagedFile if the index and the headers of the parts disagree, and RefusedFile for a
    part in another folder.
    """
    return indexes.open_index(source, open_file)
