"""What a small request costs, in bytes of a large one: for ``_REQUEST`` of store_files.py.

    python tests/benchmarks/small_requests.py

asks a slow server on loopback for 2,000 small parts of a file, as many at once as initreg does, and
for the whole of it. On loopback the bytes cost next to nothing. So what a request takes is given in
bytes that links of 100 Mbit/s, 1 Gbit/s and 10 Gbit/s send in that time, too.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import remote

from initreg.storage.locating import locate
from initreg.storage.store_files import StoreFiles, files_of, fresh
from initreg.store_paths import StorePath

_COUNT = 2000
_SMALL = 600  # bytes
_STEP = 200_000  # bytes between two parts, so that none are read together
_SIZE = _COUNT * _STEP
_LINKS = {"100 Mbit/s": 12.5e6, "1 Gbit/s": 125e6, "10 Gbit/s": 1250e6}  # bytes a second


def small(files: StoreFiles, key: str) -> float:
    """Seconds for one of many small parts."""
    ranges = [(at, at + _SMALL) for at in range(0, _SIZE, _STEP)]
    list(files._threads().map(lambda _: files.find(key), range(64)))
    begin = time.perf_counter()
    list(files._threads().map(lambda each: files.read(key, each[0], _SMALL), ranges))
    return (time.perf_counter() - begin) / _COUNT


def large(files: StoreFiles, key: str) -> float:
    """Bytes a second of large parts."""
    begin = time.perf_counter()
    files.window(key, 0, _SIZE)
    return _SIZE / (time.perf_counter() - begin)


def main() -> None:
    for seconds in (0.003, 0.01, 0.03, 0.1):
        remote._LATENCY = seconds
        with tempfile.TemporaryDirectory() as folder, remote.server(Path(folder)) as url:
            with open(Path(folder) / "m.bin", "wb") as file:
                file.write(bytes(_SIZE))
            found = locate(f"{url}m.bin")
            assert found is not None
            assert isinstance(found.path, StorePath)
            times, speeds = [], []
            for _ in range(5):
                path = fresh(found.path)
                times.append(small(files_of(path), path.key))
                speeds.append(large(files_of(path), path.key))
        each, speed = statistics.median(times), statistics.median(speeds)
        costs = {"loopback": speed, **_LINKS}
        print(
            f"{seconds * 1e3:.0f} ms: {each * 1e3:.2f} ms a request, {speed / 1e6:.0f} MB/s; "
            + ", ".join(f"{each * rate / 1024:.0f} KiB ({name})" for name, rate in costs.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
