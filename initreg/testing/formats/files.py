"""Files that the kit makes: those of other formats, and damaged copies of a sample."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

_TRUNCATIONS = 30
_ENDS = 512  # bytes at either end, where headers and directories are
_NOBODY = 65534


def foreign_contents() -> dict[str, tuple[str, bytes]]:
    """Small files of kinds that users often have: ``{name: (suffix, content)}``."""
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, np.arange(4.0))
    np.savez(npz, a=np.arange(4.0))
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    return {
        "npy": (".npy", npy.getvalue()),
        "npz": (".npz", npz.getvalue()),
        "h5": (".h5", b"\x89HDF\r\n\x1a\n" + bytes(2048)),
        "safetensors": (".safetensors", len(header).to_bytes(8, "little") + header + bytes(8)),
        "pickle": (".pkl", pickle.dumps({"a": [1.0, 2.0]})),
        "json": (".json", b'{"a": [1.0, 2.0]}\n'),
        "text": (".txt", b"These are notes about a model, and no weights at all.\n"),
        "random": (".bin", random.Random(0).randbytes(5000)),
        "zeros": (".dat", bytes(5000)),
        "empty": (".out", b""),
    }


def write_foreign(folder: Path, suffix: str = "") -> Iterator[tuple[Path, str]]:
    """Write each of them into ``folder``, and yield its path and name.

    ``suffix``: the suffix to use instead of the file's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, (natural, content) in foreign_contents().items():
        path = folder / f"{name}{suffix or natural}"
        path.write_bytes(content)
        yield path, name


def lengths(size: int) -> list[int]:
    """Some thirty lengths to cut a file of ``size`` bytes to: its start, its end, and between."""
    near = [0, 1, 2, 4, 7, 8, 9, 16, 33, 64]
    near += [size - n for n in (1, 2, 4, 8, 9, 22, 64)]
    between = [size * i // _TRUNCATIONS for i in range(1, _TRUNCATIONS, 2)]
    return sorted({length for length in near + between if 0 <= length < size})


def mutations(whole: bytes, count: int, rng: random.Random) -> Iterator[tuple[bytes, str]]:
    """``count`` copies with one to four bytes changed, and what was changed; every other one near
    an end of the file, where the structure is."""
    for turn in range(count if whole else 0):
        changed = bytearray(whole)
        what = []
        for _ in range(rng.choice((1, 1, 1, 4))):
            at = rng.randrange(len(whole))
            if turn % 4 == 1:
                at = rng.randrange(min(_ENDS, len(whole)))
            elif turn % 4 == 3:
                at = len(whole) - 1 - rng.randrange(min(_ENDS, len(whole)))
            changed[at] = rng.choice((0x00, 0xFF, whole[at] ^ (1 << rng.randrange(8))))
            what.append(f"byte {at} as {changed[at]:#04x}")
        yield bytes(changed), ", ".join(what)


def held_files() -> set[str]:
    """The files that this process has open or mapped, on systems that tell (Linux)."""
    held: set[str] = set()
    for number in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with contextlib.suppress(OSError):  # the descriptor that listed the folder is closed
            held.add(os.readlink(f"/proc/self/fd/{number}"))
    if os.path.exists("/proc/self/maps"):
        for line in Path("/proc/self/maps").read_text().splitlines():
            held.add(line.split(maxsplit=5)[-1])
    return held


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """Give up, for a while, the right of root to read every file."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(_NOBODY)
    except OSError:
        pytest.skip("root reads every file, and this system lets it be nobody else")
    try:
        yield
    finally:
        os.seteuid(0)
