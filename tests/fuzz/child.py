"""Tries inputs of one seed, in a process with limited memory: ``child.py SEED FOLDER FIRST COUNT
OUT``, or ``child.py SEED FOLDER --files DIR OUT`` for an input that was kept.

Prints the number of each input before it is tried, so that whoever watches knows which it died of,
and a line of JSON for each that is not refused as it ought to be. FOLDER has the seed, OUT is where
the input is written.
"""

from __future__ import annotations

import bz2  # noqa: F401 - as below
import gc
import json
import lzma  # noqa: F401
import os
import random
import resource
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import fastcrc  # noqa: F401 - what is imported while an input is tried would count as its memory
import h5py  # noqa: F401
import ml_dtypes  # noqa: F401
import mutate
import numpy as np
from reference import Reference, differences
from seeds_of import SEEDS

import initreg

MB = 1 << 20
WARNED: list[str] = []  # what was printed
ALLOWED = 64 * MB
CHECKED = (
    "npz",
    "npz_deflated",
    "npz_mixed",
    "checkpoint",
    "checkpoint_objects",
    "checkpoint_v1",
)  # sums of all data


def status(key: str) -> int:
    """A line of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        # A library's word for it. Ours says why it allocates nothing, and has the library's cause.
        said = "" if isinstance(error, initreg.InitregError) else str(error).lower()
        if isinstance(error, MemoryError) or "alloc" in said:
            return True
        error = error.__cause__ or error.__context__
    return False


def use(path: Path, format: str | None, mmap: bool) -> dict[str, Any]:
    """As a user does: list, read all, read a part. A metagraph has names alone.

    Of HDF5 and npz some arrays may be read though others cannot be. All that are read are found.
    """
    found = {}
    failure = None
    with initreg.open(path, format=format, mmap=mmap) as arrays:
        arrays.specs()
        "".join([*arrays.metadata, *arrays.metadata.values()]).encode()
        for name in () if path.suffix == ".meta" else arrays:
            try:
                if arrays[name].spec.opaque is not None:
                    arrays[name].as_bytes().read()
                found[name] = np.array(arrays[name])
                if arrays[name].shape and arrays[name].shape[0] > 1:
                    np.asarray(arrays[name][1:2])
            except initreg.InitregError as error:
                if arrays.format not in ("h5", "npz") or str(path.parent) not in str(error):
                    raise
                failure = error
    if failure is not None and not found:
        raise failure
    return found


def wrong(
    path: Path,
    format: str,
    size: int,
    mmap: bool,
    known: dict[str, Any] | None,
    reference: Reference,
) -> str:
    """What is wrong with how an input is treated, "" if nothing is."""
    found: dict[str, Any] = {}
    WARNED.clear()
    gc.collect()
    allowed = ALLOWED + 4 * size
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + allowed, hard))
    try:
        for chosen in (None, format):
            try:
                initreg.probe(path)
                found = use(path, chosen, mmap)
            except initreg.InitregError as error:
                if out_of_memory(error):
                    return f"more than {allowed:,} bytes were asked for: {error}"
                if str(path.parent) not in str(error):
                    return f"does not name the file: {error}"
                continue
            except MemoryError:
                return f"more than {allowed:,} bytes were asked for"
            except BaseException as error:
                return f"{type(error).__name__}: {error}"
            if known is not None:
                for name, array in found.items():
                    if name in known and not same(array, known[name]):
                        return f"a wrong array: {name!r}"
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    taken = status("VmHWM") - before
    if WARNED:
        return f"a library warns: {WARNED[0]}"
    if found and format == "h5":
        expected = reference.read(path)
        other = differences(found, expected) if expected else ""
        if other:
            return f"other values than h5py's: {other}"
    return f"took {taken:,} bytes of memory, {allowed:,} are allowed" if taken > allowed else ""


def same(a: Any, b: Any) -> bool:
    if a.dtype == object or a.dtype != b.dtype:
        return a.dtype == b.dtype and a.tolist() == b.tolist()
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def main(seed: str, folder: Path, out: Path, first: int, count: int, kept: Path | None) -> None:
    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *_: WARNED.append(str(message))
    threading.stack_size(256 * 1024)
    format, main_file = SEEDS[seed]
    files = mutate.read(folder / seed)
    mutate.prepare(seed, files)
    whole = use(folder / seed / main_file, None, False)
    reference = Reference()
    if format == "h5":
        reference.start()
    gc.collect()
    gc.freeze()  # what is imported by now is not looked through before each input
    for number in range(first, first + count):
        rng = random.Random(f"{seed}-{number}")
        if kept is None:
            made, blind = mutate.mutated(seed, files, rng)
        else:
            made, blind = mutate.read(kept), False
        print(number, flush=True)
        for name, content in made.items():
            (out / name).write_bytes(content)
        known = whole if blind and seed in CHECKED else None
        size = sum(map(len, made.values()))
        what = wrong(out / main_file, format, size, rng.random() < 0.2, known, reference)
        if what:
            print(json.dumps({"seed": seed, "number": number, "what": what}), flush=True)


if __name__ == "__main__":
    seed, folder, *rest = sys.argv[1:]
    os.environ["MALLOC_ARENA_MAX"] = "1"
    if rest[0] == "--files":
        main(seed, Path(folder), Path(rest[2]), 0, 1, Path(rest[1]))
    else:
        main(seed, Path(folder), Path(rest[2]), int(rest[0]), int(rest[1]), None)
