"""numpy's ``.npy``: one array, or one pickled dict of arrays as old model zoos have it.

A plain array is called by the stem of its file. A pickled dict, of Python 2 too, is opened only
with ``allow_pickle=True``, because a pickle can run any code.

Source of the layout: numpy's NEP 1 and ``numpy.lib.format``.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

from initreg import (
    Claim,
    Confidence,
    DamagedFile,
    Extent,
    OpenOptions,
    RefusedFile,
    Source,
    hookimpl,
)
from initreg_formats.mapping import flatten

MAGIC = b"\x93NUMPY"
_ALIGNMENT = 64  # bytes; ARRAY_ALIGN of numpy
LONGEST_HEADER = 1 << 16  # bytes; numpy itself refuses to parse more than 10,000 characters


class Header(NamedTuple):
    """What an .npy header says. ``size``: bytes before the array's own. ``descr``: a type string,
    or a list for a structured dtype."""

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
    """Bytes up to the array's own, from the first 12 bytes. Raises DamagedFile."""
    if not head.startswith(MAGIC) or len(head) < 12:
        raise DamagedFile(f"{what}: not an .npy array: it does not begin with '\\x93NUMPY'")
    version = head[6]
    if version not in (1, 2, 3):
        raise DamagedFile(f"{what}: .npy version {version} is unknown; 1 to 3 are read")
    width = 2 if version == 1 else 4
    size = 8 + width + int.from_bytes(head[8 : 8 + width], "little")
    if size > LONGEST_HEADER:
        raise DamagedFile(f"{what}: an .npy header of {size:,} bytes is not plausible")
    return size


def parse_header(data: bytes, what: str) -> Header:
    """The header at the start of ``data``. Raises DamagedFile, naming ``what``."""
    size = header_size(data, what)
    if len(data) < size:
        raise DamagedFile(f"{what}: ends inside its .npy header: the file is truncated")
    start = 10 if data[6] == 1 else 12
    encoding = "utf-8" if data[6] == 3 else "latin1"
    try:
        text = data[start:size].decode(encoding)
        fields = _literal(text.strip())
        shape, descr, fortran = fields["shape"], fields["descr"], fields["fortran_order"]
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"its shape is {shape!r}")
        if not isinstance(fortran, bool) or not isinstance(descr, (str, list)):
            raise ValueError("its descr or fortran_order is of a wrong type")
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


# As numpy writes it: most headers need no parser of Python.
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
    """The header of an array in C order, as numpy writes version 1.0 of it: a multiple of 64 bytes,
    so that the array is aligned in memory if the file is mapped. ``descr``: ``"<f4"``."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    size = len(MAGIC) + 4 + len(text) + 1
    text += " " * (-size % _ALIGNMENT) + "\n"
    return MAGIC + b"\1\0" + len(text).to_bytes(2, "little") + text.encode("latin1")


class Structured:
    """An array of a structured dtype: listed, and read by numpy, but no variable takes it."""

    def __init__(self, header: Header, dtype: Any, read: Any, has_checksum: bool = False) -> None:
        self.shape = header.shape
        self.dtype = dtype
        self.has_checksum = has_checksum
        self._read = read

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._read()


def structured_dtype(descr: list[Any], what: str) -> Any:
    """The numpy dtype of a structured ``descr``. Raises DamagedFile, RefusedFile."""
    import numpy as np

    try:
        dtype = np.lib.format.descr_to_dtype(descr)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise DamagedFile(f"{what}: its dtype {descr!r:.80} is damaged: {error}") from error
    if dtype.hasobject:
        raise RefusedFile(f"{what}: its dtype {dtype} holds pickled objects, which can run code")
    return dtype


def read_pickled(file: IO[bytes], what: str) -> Any:
    """Unpickle an object array, Python 2's too. **Runs whatever code the file holds.**"""
    import numpy as np

    try:
        return np.lib.format.read_array(
            file, allow_pickle=True, pickle_kwargs={"encoding": "latin1"}
        )
    except Exception as error:  # a pickle may raise anything
        raise DamagedFile(f"{what}: cannot be unpickled: {error}") from error


def refuse_pickle(what: str) -> RefusedFile:
    return RefusedFile(
        f"{what}: holds a pickle, which can run any code when it is opened. If you made the file "
        "yourself or trust who did, pass allow_pickle=True"
    )


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if source.head.startswith(MAGIC):
        return Claim(Confidence.EXACT, "begins with numpy's magic '\\x93NUMPY'")
    if source.suffix == ".npy" and source.is_file:
        return Claim(Confidence.NAME, "is named .npy, but does not begin like one")
    return None


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    assert source.path is not None
    what = source.label
    size = header_size(source.head, what)
    header = parse_header(source.read(0, size), what)
    if header.is_pickle:
        if not options.allow_pickle:
            raise refuse_pickle(what)
        return _open_pickle(source)
    name = source.path.stem
    if isinstance(header.descr, list):
        dtype = structured_dtype(header.descr, what)
        nbytes = math.prod(header.shape) * dtype.itemsize
        if header.size + nbytes > source.size:
            raise DamagedFile(f"{what}: holds fewer than the {nbytes:,} bytes that its header says")
        return {name: Structured(header, dtype, lambda: _load(source))}
    return {
        name: Extent(
            file=source.path,
            offset=header.size,
            length=source.size - header.size,
            shape=header.shape,
            dtype=header.descr,
            order=header.order,
        )
    }


def _load(source: Source) -> Any:
    import numpy as np

    with source.open() as file:
        return np.load(file, allow_pickle=False)


def _open_pickle(source: Source) -> Mapping[str, Any]:
    with source.open() as file:
        array = read_pickled(file, source.label)
    found = array.item() if array.shape == () else array
    if not isinstance(found, Mapping):
        raise DamagedFile(
            f"{source.label}: holds a pickled {type(found).__name__}, not a dict of arrays"
        )
    return flatten(found, source.label)
