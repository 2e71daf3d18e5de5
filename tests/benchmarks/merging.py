"""Time and memory of merges of large files: the figures of docs/merging.md.

    python tests/benchmarks/merging.py --gb 10 FOLDER

It makes two models of bfloat16 in FOLDER, of which the second one has only zeros and takes no room,
and merges them there. So FOLDER needs twice the size. The largest array has 537 MB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np

# In a process of its own, whose memory is that of the merge.
RUN = """\
import json, sys, time, initreg
start = time.perf_counter()
options = json.loads(sys.argv[1])
initreg.merge(options.pop("sources"), options.pop("path"), **options)
lines = open("/proc/self/status")
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
print(f"{time.perf_counter() - start:.0f} s, peak {peak * 1024 / 1e6:.0f} MB")
"""


def header(size: float) -> tuple[bytes, int]:
    """The header of a safetensors file of about ``size`` bytes, and the bytes of its arrays."""
    shapes = {"embed.weight": (131_072, 2_048)}
    each = 2 * 8_192**2
    count = max(int((size - 2 * 131_072 * 2_048) // each), 0)
    shapes |= {f"layers.{i}.weight": (8_192, 8_192) for i in range(count)}
    at, entries = 0, {}
    for name, shape in shapes.items():
        end = at + 2 * shape[0] * shape[1]
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries).encode()
    return text + b" " * (-(len(text) + 8) % 64), at


def write(path: Path, size: float, *, zeros: bool) -> None:
    """Write a model, of random numbers or of zeros that take no room."""
    text, total = header(size)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        if zeros:
            file.truncate(8 + len(text) + total)
            return
        numbers = np.random.default_rng(0).normal(size=1 << 23) * 0.02
        block = numbers.astype(ml_dtypes.bfloat16).tobytes()
        for start in range(0, total, len(block)):
            file.write(block[: total - start])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gb", type=float, default=10.0)
    options = parser.parse_args()
    model, zeros, out = (options.folder / f"merging-{n}.safetensors" for n in ("a", "b", "new"))
    try:
        write(model, options.gb * 1e9, zeros=False)
        write(zeros, options.gb * 1e9, zeros=True)
        for given in (
            {"method": "average", "sources": [model, zeros]},
            {"method": "ties", "density": 0.2, "base": zeros, "sources": [model]},
        ):
            text = json.dumps({**given, "path": out}, default=str)
            done = subprocess.run(
                [sys.executable, "-c", RUN, text], check=True, capture_output=True, text=True
            )
            print(f"{given['method']}: {done.stdout.strip()}", flush=True)
    finally:
        for path in (model, zeros, out):
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
