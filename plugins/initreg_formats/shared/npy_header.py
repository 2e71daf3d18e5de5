"""The header of an ``.npy`` array: a file ``.npy``, or a member of an ``.npz``.

Source of the layout: numpy's NEP 1 and ``numpy.lib.format``.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from initreg import DamagedFile

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 1 << 16  # bytes; numpy itself refuses to parse more than 10,000 characters
_ALIGNMENT = 64  # bytes; ARRAY_ALIGN of numpy
_KEYS = {"descr", "fortran_order", "shape"}
_USUAL = frozenset({"<f4", "<f2", "<f8", "<i4", "<i8", "|b1", "|i1", "|u1"})
# The dtypes that a header may name: numpy's type strings, and the names that others write.
# ``numpy.dtype`` takes more: dtypes with a shape, "(2,)<f4", several in one text, "f4,f4", and old
# names, of which it warns. numpy writes none of these, and cannot read the first.
_DTYPE = (
    # <f1 and <W4 are those of ml_dtypes: float8_e5m2 and complex32.
    r"[<>|=]?(?:\?|b1?|[iu][1248]|[hHlLqQefdgFDG]|f(?:1|2|4|8|12|16)|c(?:8|16|24|32)|O[48]?"
    r"|[SUVW](?P<width>[0-9]{1,9})|[mM]8(?:\[[0-9]{0,9}[A-Za-z]{1,2}\])?)"
    r"|bool|u?int(?:8|16|32|64)|float(?:16|32|64)|complex(?:64|128)|object"
)


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
        return isinstance(self.descr, str) and self.descr.lstrip("|<>=").rstrip("48") in (
            "O",
            "object",
        )

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
        fields = _fields(text.strip())
        shape, descr, fortran = fields["shape"], fields["descr"], fields["fortran_order"]
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"its shape is {shape!r:.80}")
        if not isinstance(fortran, bool) or not isinstance(descr, (str, list)):
            raise ValueError("its descr or fortran_order has the wrong type")
        if isinstance(descr, str):
            check_descr(descr, math.prod(shape))
    except ValueError as error:
        raise DamagedFile(f"{what}: its .npy header is damaged: {error}") from error
    return Header(size, shape, descr, fortran)


def check_descr(descr: str, count: int = 1) -> None:
    """Raise ValueError for a type string that numpy does not write, and for elements without bytes,
    of which any number would fit into any file.

    Args:
        descr: the type string.
        count: how many elements there are.
    """
    if descr in _USUAL:
        return
    found = re.fullmatch(_DTYPE, descr)
    if found is None:
        what = "a dtype with a shape" if descr.startswith("(") else "not a dtype that numpy writes"
        raise ValueError(f"its descr {descr!r:.80} is {what}")
    if found["width"] and not int(found["width"]) and count:
        raise ValueError(f"its descr {descr!r} is of elements without bytes")


# The header as numpy writes it. Most headers match, and then no parser is needed.
_AXIS = r"(?:0|[1-9]\d{0,19})"
_PLAIN = re.compile(
    r"\{'descr': '([^'\\]+)', 'fortran_order': (True|False), "
    rf"'shape': \(((?:{_AXIS}, ?)*(?:{_AXIS})?)\), \}}",
    re.ASCII,
)


def _fields(text: str) -> Any:
    """The header's dict. Raises ValueError."""
    plain = _PLAIN.fullmatch(text)
    if plain is not None and (plain[3].endswith(",") or ", " in plain[3] or not plain[3]):
        shape = tuple(int(axis) for axis in plain[3].split(",") if axis.strip())
        return {"descr": plain[1], "fortran_order": plain[2] == "True", "shape": shape}
    from initreg_formats.shared.literals import literal  # few headers are not as numpy writes them

    found = literal(text)
    if not isinstance(found, dict) or found.keys() != _KEYS:
        raise ValueError(f"it is not a dict of {', '.join(sorted(_KEYS))}")
    return found


def make_header(descr: str, shape: tuple[int, ...]) -> bytes:
    """The header of an array in C order, as numpy writes version 1.0 of it.

    Its length is a multiple of 64 bytes, so that the array is aligned in memory when the file is
    mapped. ``descr`` is a type string, such as ``"<f4"``.
    """
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    size = len(MAGIC) + 4 + len(text) + 1
    text += " " * (-size % _ALIGNMENT) + "\n"
    return MAGIC + b"\1\0" + len(text).to_bytes(2, "little") + text.encode("latin1")
