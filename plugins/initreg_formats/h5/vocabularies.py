"""The vocabularies that an archive of Keras holds beside its weights, as arrays of strings.

Keras writes the vocabulary that a ``StringLookup``, ``IntegerLookup`` or ``TextVectorization`` has
learnt into the archive's assets, one word a line: ``assets/layers/string_lookup/vocabulary.txt``.

Source: ``save_assets`` in ``keras/src/layers/preprocessing/index_lookup.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from initreg import DamagedFile, OpenOptions, Place, RefusedFile, Source
from initreg_formats.h5.layers import label
from initreg_formats.shared.zip_member import data_offset, members_of, zip_errors
from initreg_formats.shared.zip_unpacking import all_bytes

if TYPE_CHECKING:
    import numpy as np

_ASSET = re.compile(r"assets/((?:[^/]+/)+)vocabulary\.txt")


def read_vocabularies(source: Source, options: OpenOptions) -> dict[str, bytes]:
    """The texts of all vocabularies, by the paths of their layers. Raises DamagedFile, RefusedFile.

    They are read at once, because their lines have to be counted. So their sizes are checked
    together, before the first is read.
    """
    what = f"{source.label}: its vocabularies"
    with source.open() as file, zip_errors(f"{what} cannot be read"):
        found = {
            match[1].rstrip("/"): member
            for member in members_of(source, file)
            if (match := _ASSET.fullmatch(member.filename)) is not None
        }
        packed = sum(member.compress_size for member in found.values())
        unpacked = sum(member.file_size for member in found.values())
        if packed > source.size:
            raise DamagedFile(
                f"{what} should have {packed:,} bytes in an archive of {source.size:,}. Download "
                "or copy the file again"
            )
        if unpacked > packed:
            DamagedFile.check_deflate(what, packed, unpacked)
            RefusedFile.check_inflation(what, packed, unpacked, options.max_inflation)
        texts = {}
        for path, member in found.items():
            each = f"{source.label}: member {member.filename!r}"
            texts[path] = all_bytes(file, data_offset(file, member, each), member, each)
        return texts


def vocabulary_arrays(
    texts: Mapping[str, bytes], names: Mapping[str, str]
) -> dict[str, Vocabulary]:
    """The vocabularies as arrays: ``layers/string_lookup/vocabulary``.

    Args:
        texts: what :func:`read_vocabularies` returns.
        names: the names of layers, by their paths.
    """
    return {f"{path}/vocabulary": Vocabulary(path, text, names) for path, text in texts.items()}


class Vocabulary:
    """The words of one layer. The values are an object array of bytes, as for any strings."""

    dtype = "string"

    def __init__(self, path: str, text: bytes, names: Mapping[str, str]) -> None:
        self._text = text.replace(b"\r\n", b"\n")
        self.shape = (self._text.count(b"\n") + 1,)
        named = label(f"{path}/vars/vocabulary", names)
        others = () if named is None else (named.replace("/vars/vocabulary", "/vocabulary"),)
        self.aliases = (*others, Place(f"{path}/vocabulary"))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        import numpy as np

        array = np.empty(self.shape, object)
        array[:] = self._text.split(b"\n")
        return array
