"""The header of an ``.npy`` array: a file ``.npy``, or a member of an ``.npz``.

Source of the layout: numpy's NEP 1 and ``numpy.lib.format``.
"""

from __future__ import annotations

import ast
import re
from typing import Any, NamedTuple

from initreg import DamagedFile

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 1 << 16  # bytes; numpy itself refuses to parse more than 10,000 characters
_ALIGNMENT = 64  # bytes; ARRAY_ALIGN of numpy


class Header(NamedTuple):
    """What an .npy header says.

    ``size`` is the bytes before those of the array. ``descr`` is a type string, or a list for a
    structured dtype.
    """

    size: int
    shape: tuple[int, ...]
    descr: Any
    fortran: bool

    @property
    def is_pickle(self) -> bool:
        return isinstance(self.descr, str) and self.descr.lstrip("|<>=") == "O"

    @property
    def order(self) -> str:
        return "F" if self.fortran else "C"


def header_size(head: bytes, what: str) -> int:
    """The size of the header in bytes, from its first 12. Raises DamagedFile, naming ``what``."""
    if not head.startswith(MAGIC) or len(head) < 12:
        raise DamagedFile(f"{what}: not an .npy array: it does not begin with '\\x93NUMPY'")
    version = head[6]
    if version not in (1, 2, 3):
        raise DamagedFile(f"{what}: .npy version {version} is unknown. initreg reads 1 to 3")
    width = 2 if version == 1 else 4
    size = 8 + width + int.from_bytes(head[8 : 8 + width], "little")
    if size > LONGEST_HEADER:
        raise DamagedFile(
            f"{what}: its .npy header should have {size:,} bytes, and at most {LONGEST_HEADER:,} "
            "are read. Download or copy the file again"
        )
    return size


def parse_header(data: bytes, what: str) -> Header:
    """The header at the start of ``data``. Raises DamagedFile, naming ``what``."""
    size = header_size(data, what)
    if len(data) < size:
        raise DamagedFile(
            f"{what}: ends inside its .npy header. The file is truncated. Download or copy it again"
        )
    start = 10 if data[6] == 1 else 12
    encoding = "utf-8" if data[6] == 3 else "latin1"
    try:
        text = data[start:size].decode(encoding)
        fields = _literal(text.strip())
        shape, descr, fortran = fields["shape"], fields["descr"], fields["fortran_order"]
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"its shape is {shape!r}")
        if not isinstance(fortran, bool) or not isinstance(descr, (str, list)):
            raise ValueError("its descr or fortran_order has the wrong type")
    except (
        ValueError,
        TypeError,
        KeyError,
        SyntaxError,
        MemoryError,
        RecursionError,
    ) as error:
        raise DamagedFile(f"{what}: its .npy header is damaged: {error}") from error
    return Header(size, shape, descr, fortran)


# The header as numpy writes it. Most headers match, and then Python's parser is not needed.
_AXIS = r"(?:0|[1-9]\d*)"
_PLAIN = re.compile(
    r"\{'descr': '([^'\\]+)', 'fortran_order': (True|False), "
    rf"'shape': \(((?:{_AXIS}, ?)*(?:{_AXIS})?)\), \}}"
)


def _literal(text: str) -> Any:
    plain = _PLAIN.fullmatch(text)
    if plain is not None and (plain[3].endswith(",") or ", " in plain[3] or not plain[3]):
        shape = tuple(int(axis) for axis in plain[3].split(",") if axis.strip())
        return {"descr": plain[1], "fortran_order": plain[2] == "True", "shape": shape}
    try:
        return ast.literal_eval(text)
    except SyntaxError:  # Python 2 wrote its long integers as 3L
        return ast.literal_eval(re.sub(r"(?<=\d)L(?=[,)])", "", text))


def make_header(descr: str, shape: tuple[int, ...]) -> bytes:
    """The header of an array in C order, as numpy writes version 1.0 of it.

    Its length is a multiple of 64 bytes, so that the array is aligned in memory when the file is
    mapped. ``descr`` is a type string, such as ``"<f4"``.
    """
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    size = len(MAGIC) + 4 + len(text) + 1
    text += " " * (-size % _ALIGNMENT) + "\n"
    return MAGIC + b"\1\0" + len(text).to_bytes(2, "little") + text.encode("latin1")
