"""What the machine can do at best: a copy from the page cache, a mapped file, a read from the disk.

Each function takes the path of a file, and returns its bytes, or what is computed from them.
"""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

Bytes = np.ndarray[Any, Any]


def data_of(path: Path) -> Path:
    """The file with the data, if the path is the prefix of a checkpoint."""
    shard = path.with_name(f"{path.name}.data-00000-of-00001")
    return shard if shard.exists() else path


def readinto(path: Path) -> Bytes:
    """Read the file into fresh memory on huge pages, for which numpy asks."""
    path = data_of(path)
    buffer = np.empty(path.stat().st_size, np.uint8)
    done = 0
    with open(path, "rb", buffering=0) as file:
        while done < len(buffer):
            done += file.readinto(memoryview(buffer)[done:])
    return buffer


def map_and_touch(path: Path) -> Bytes:
    """Map the file, and read one byte of each page."""
    view = _mapped(path)
    view[::4096].max()
    return view


def map_and_sum(path: Path) -> Bytes:
    """Map the file, and read every byte once, as whoever uses the arrays does."""
    view = _mapped(path)
    view[: view.size // 4 * 4].view(np.float32).sum()
    return view


def _mapped(path: Path) -> Bytes:
    with open(path, "rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), np.uint8)


def read_directly(path: Path) -> Bytes:
    """Read the file from the disk, past the page cache, with dd. What it read is not kept."""
    file = data_of(path)
    command = ["dd", f"if={file}", "of=/dev/null", "bs=1M", "iflag=direct"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return np.zeros(1, np.uint8)


def drop(folder: Path) -> None:
    """Drop the files of a folder from the page cache."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)  # what was not written yet cannot be dropped
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


@contextmanager
def cold(folder: Path) -> Iterator[None]:
    """The block has to read the files of a folder, which were dropped, from a disk.

    Raises:
        RuntimeError: it did not. A folder in memory has no disk.
    """
    before = _read_from_disk()
    yield
    if _read_from_disk() - before < sum(path.stat().st_size for path in folder.iterdir()) / 2:
        raise RuntimeError(f"{folder} was in the page cache, or is not on a disk")


def _read_from_disk() -> int:
    """Bytes that this process and the children that it waited for read from disks."""
    with open("/proc/self/io") as file:
        return int(next(line for line in file if line.startswith("read_bytes")).split()[1])
