"""Mutations of weight files that know their structure, so that they get past the first check.

Every other input is changed blindly, the rest by a mutator of its format, which mends checksums
and lengths that would give it away.
"""

from __future__ import annotations

import functools
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
from lookup3 import lookup3, sealed

from initreg_formats.tf_checkpoint.leveldb import entries
from initreg_formats.tf_checkpoint.table import mask

NUMBERS = [0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 65535, 65536, (1 << 31) - 1, 1 << 31]
NUMBERS += [(1 << 32) - 1, 1 << 32, 1 << 40, 1 << 60, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
TEXTS = ["", "/", "..", "../../../etc/passwd", "/etc/passwd", "a" * 5000, "\0", "\ud800", "F32"]
TEXTS += ["BF16", "I64", "F8_E4M3", "nan", "__metadata__", "x:0", "0", "-1"]
Files = dict[str, bytes]


def mutated(seed: str, files: Files, rng: random.Random) -> tuple[Files, bool]:
    """Files like those of a seed, and whether they were changed blindly: then no checksum was
    mended."""
    blind = rng.random() < 0.5
    found = dict(files)
    name = rng.choice(sorted(files)) if blind else max(files, key=_rank)
    own = _BY_SEED.get(seed)
    change = _blindly if blind or own is None else own
    found[name] = change(files[name], rng)
    return found, change is _blindly


def prepare(seed: str, files: Files) -> None:
    """Find out now what takes seconds, and not while an input is made."""
    if seed == "h5_new":
        _hdf5_places(files["m.h5"])


def _rank(name: str) -> bool:
    """Of several files the one that says what lies where."""
    return name.endswith((".index", ".json")) or name == "m"


# --- any bytes ----------------------------------------------------------------------------------


def _blindly(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not changed:
            return bytes(changed)
        at = _place(len(changed), rng)
        length = rng.choice((1, 2, 4, 8, 16, 64))
        kind = rng.randrange(8)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at] = rng.randrange(256)
        elif kind == 2:
            size = rng.choice((2, 4, 8))
            number = (rng.choice(NUMBERS) + rng.choice((-1, 0, 0, 1))) % (1 << 8 * size)
            changed[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = rng.randbytes(length)
        elif kind == 5:
            other = _place(len(changed), rng)
            changed[at : at + length] = changed[other : other + length]
        elif kind == 6:
            del changed[at:]
        else:
            changed[at : at + length] = bytes([rng.choice((0, 0xFF, 0x80))]) * length
    return bytes(changed)


def _place(size: int, rng: random.Random) -> int:
    """Anywhere, or near an end, where the structure is."""
    kind = rng.randrange(3)
    near = min(size, 300)
    if kind == 0:
        return rng.randrange(size)
    return rng.randrange(near) if kind == 1 else size - 1 - rng.randrange(near)


# --- npy and zip --------------------------------------------------------------------------------


def _npy(data: bytes, rng: random.Random) -> bytes:
    """Another header, of the right length."""
    shape = tuple(rng.choice([*NUMBERS, -1, 1.5, "x", True]) for _ in range(rng.randrange(4)))
    header: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": (4, 8)}
    for key in rng.sample(sorted(header), rng.randrange(1, 4)):
        header[key] = {
            "descr": rng.choice(
                [
                    *("|O", "<f8", "|V1000000000", "<U99999999", ">c16", "", "x" * 99, None),
                    *("(2,)<f4", "(99999999,)<f4", "<f4,<f4", "a5", "|S0", "|V0", "float32"),
                    *(
                        [("a", "<f4"), ("b", "|O")],
                        [("a", "<f4", (1 << 40,))],
                        [("a", "<i4"), ("b", "<f8")],
                        ("<f4", (1 << 60,)),
                    ),
                ]
            ),
            "fortran_order": rng.choice([True, 1, None, "x"]),
            "shape": rng.choice([shape, shape, list(shape), ((1,),), "4", 4, (0, 1 << 62)]),
        }[key]
    if rng.random() < 0.2:
        header[rng.choice(["more", "shape "])] = 1
    text = repr(header)
    if rng.random() < 0.15:
        text = rng.choice(
            [
                *("(" * 300 + ")" * 300, "{" * 5000, "[" * 90 + "]" * 90, text[:-3], "9" * 5000),
                *(text.replace("(4", "(1if 1else 4"), text.replace("<f4", "<f4\\d"), "1,"),
                text.replace(", 8", "L, 8L"),
            ]
        )
    body = text.encode("latin-1", "replace") + b"\n"
    major = rng.choice((1, 1, 2, 3, 0, 9))
    length = rng.choice([len(body)] * 4 + [0, 65535, len(body) + 1])
    size = struct.pack("<H", length & 0xFFFF) if major == 1 else struct.pack("<I", length)
    return b"\x93NUMPY" + bytes([major, 0]) + size + body + data[-128:]


def _zip(data: bytes, rng: random.Random) -> bytes:
    """Members with other headers, or a directory that lies."""
    if rng.random() < 0.5:
        return _directory(data, rng)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        names = old.namelist()
        chosen = rng.choice(names)
        for name in names:
            content = old.read(name)
            if name == chosen:
                content = _npy(content, rng) if name.endswith(".npy") else _blindly(content, rng)
            if name == chosen and rng.random() < 0.1:
                content += bytes(20_000_000)  # packed a thousandfold
            method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            if rng.random() < 0.2 and len(content) < 1_000_000:  # these take seconds to pack more
                method = rng.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
            new.writestr(name, content, method)
        if rng.random() < 0.2:
            new.writestr(rng.choice(["../x.npy", "/x.npy", "a\\b.npy", "x", "fc/W"]), b"1")
    return made.getvalue()


def _directory(data: bytes, rng: random.Random) -> bytes:
    """Fields of the central directory, of a local header or of its end, with numbers to try."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        sign, fields = rng.choice(
            [
                (
                    b"PK\x01\x02",
                    [(8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4)],
                ),
                (b"PK\x03\x04", [(6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)]),
                (b"PK\x05\x06", [(4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)]),
            ]
        )
        places = [i for i in range(len(changed)) if changed.startswith(sign, i)]
        if places:
            offset, size = rng.choice(fields)
            at = rng.choice(places) + offset
            old = int.from_bytes(changed[at : at + size], "little")
            number = rng.choice([*NUMBERS, old + 1, max(old - 1, 0), old * 2]) % (1 << 8 * size)
            changed[at : at + size] = number.to_bytes(size, "little")
    return bytes(changed)


# --- safetensors and its index ------------------------------------------------------------------


def _safetensors(data: bytes, rng: random.Random) -> bytes:
    (size,) = struct.unpack_from("<Q", data)
    header = _json(data[8 : 8 + size], rng)
    length = rng.choice([len(header)] * 6 + [0, 1, len(header) + 8, len(data), *NUMBERS])
    return struct.pack("<Q", length % (1 << 64)) + header + data[8 + size :]


def _json(data: bytes, rng: random.Random) -> bytes:
    """A value anywhere in it replaced, a key doubled, a level without end."""
    root = [json.loads(data)]
    for _ in range(rng.choice((1, 1, 2, 5))):
        node: Any = root
        key: Any = 0
        while isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.8:
            node = node[key]
            key = rng.choice(sorted(node) if isinstance(node, dict) else range(len(node)))
        kind = rng.randrange(6)
        if kind == 0 and isinstance(node, dict):
            node[rng.choice(TEXTS)] = node.pop(key)
        elif kind == 1:
            node[key] = rng.choice(TEXTS)
        elif kind == 2:
            node[key] = rng.choice([None, True, -1, 1.5, 1e300, [], {}, [[]], [0, 1, 2]])
        else:
            node[key] = rng.choice(NUMBERS)
    text = json.dumps(root[0])
    kind = rng.randrange(12)
    if kind == 0:
        text = "[" * 100_000
    elif kind == 3:
        text = rng.choice([" ", "\n\t\r", "\t" * 5000, "\ufeff", "\f"]) + text
    elif kind == 1:
        text = text[:1] + '"a":' * 3 + text[1:]
    elif kind == 2:
        text = text.replace("1", "9" * 5000, 1)
    return text.encode("utf-8", "surrogatepass")


# --- a table of LevelDB -------------------------------------------------------------------------


def _table(data: bytes, rng: random.Random) -> bytes:
    """Bytes of its blocks, with checksums that are right."""
    changed = bytearray(data)
    handles = _blocks(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        offset, size = rng.choice(handles)
        at = offset + rng.randrange(size + 1)  # the last is the kind of the block
        kind = rng.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2 and size > 12:
            changed[at : at + 10] = (b"\xff" * 10)[: max(0, offset + size - at)]
        else:
            other = offset + rng.randrange(size)
            length = min(4, offset + size - max(at, other))
            if length > 0:
                changed[at : at + length] = changed[other : other + length]
    changed = changed[: len(data)]
    for offset, size in handles:
        checksum = google_crc32c.value(bytes(changed[offset : offset + size + 1]))
        struct.pack_into("<I", changed, offset + size + 1, mask(checksum))
    return bytes(changed)


def _blocks(data: bytes) -> list[tuple[int, int]]:
    """Offset and size of each block of a table that is in order."""
    at = len(data) - 48
    numbers = []
    for _ in range(4):
        number, at = _varint(data, at)
        numbers.append(number)
    meta, index = (numbers[0], numbers[1]), (numbers[2], numbers[3])
    found = [meta, index]
    for _, value in entries(data[index[0] : index[0] + index[1]]):
        offset, position = _varint(value, 0)
        found.append((offset, _varint(value, position)[0]))
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


# --- HDF5 and archives of it --------------------------------------------------------------------


def _hdf5(data: bytes, rng: random.Random) -> bytes:
    """The fields of its structures: around their signatures, and the messages between them; half
    the time with checksums that are right."""
    changed = bytearray(data)
    places, seals = _hdf5_places(data)
    mended = rng.random() < 0.5
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.choice(places) + rng.randrange(120)
        size = rng.choice((1, 1, 2, 4, 8))
        number = rng.choice(NUMBERS) % (1 << 8 * size)
        if rng.random() < 0.2:  # an address of one structure, where that of another may have been
            at, size, number = at & ~7, 8, rng.choice(places)
        if at + size <= len(data):
            changed[at : at + size] = number.to_bytes(size, "little")
    for start, end in seals if mended else ():
        struct.pack_into("<I", changed, end, lookup3(bytes(changed[start:end])))
    return bytes(changed)


@functools.lru_cache(maxsize=1)
def _hdf5_places(data: bytes) -> tuple[list[int], list[tuple[int, int]]]:
    """Where its structures begin; and of those with a checksum also where that is."""
    signs = [b"\x89HDF", b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"FRHP", b"FADB", b"FAHD"]
    signs += [b"OCHK", b"BTHD", b"BTLF", b"BTIN", b"EAHD", b"EAIB", b"FHDB", b"FHIB"]
    places = [i for sign in signs for i in range(len(data)) if data.startswith(sign, i)]
    return places, sealed(data, places) if b"OHDR" in data else []


def _keras(data: bytes, rng: random.Random) -> bytes:
    """An archive whose weights are damaged, with the right checksum."""
    if rng.random() < 0.3:
        return _directory(data, rng)
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".h5"):
                content = _hdf5(content, rng)
            new.writestr(name, content)
    return made.getvalue()


_BY_SEED: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "npz": _zip,
    "npz_deflated": _zip,
    "npz_mixed": _zip,
    "npy": _npy,
    "safetensors": _safetensors,
    "safetensors_shards": _json,
    "checkpoint": _table,
    "checkpoint_objects": _table,
    "checkpoint_v1": _table,
    "h5": _hdf5,
    "h5_new": _hdf5,
    "weights_h5": _hdf5,
    "keras": _keras,
}


def read(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def checksum_of(files: Files) -> int:
    """Of an input, to name it by."""
    total = 0
    for name in sorted(files):
        total = zlib.crc32(files[name], zlib.crc32(name.encode(), total))
    return total
