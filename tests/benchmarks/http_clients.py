"""What other clients take to ask a web server for what initreg asks for.

    python tests/benchmarks/http_clients.py [ROUNDS]

A server on loopback, in a process of its own, waits 30 ms before each answer. 16 threads ask for
one file of 400 MB in pieces of 4 MiB, and for 4,000 ranges of 4 KiB. The clients take turns.
Printed are medians of the time and of the processor's time of the client, beside those of initreg.
initreg checks each answer, over aiohttp, too. The others only look at the status. CONTRIBUTING.md
has the figures and what was decided.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
import numpy as np
import urllib3
from remote import server

from initreg.storage.http_store import HttpStore

PIECE, RANGE = 4 << 20, 4 << 10
PIECES, RANGES = 96, 4000
SIZE = PIECE * PIECES
COPIED = 1 << 17  # bytes that urllib3 gives at once. More are slower
THREADS = 16

Read = Callable[[int, memoryview], None]


def by_initreg(url: str, **options: Any) -> Read:
    store = HttpStore(fsspec.filesystem("http", skip_instance_cache=True, **options), url)
    found = store.find(store.key)
    assert found is not None
    stamp = found.stamp
    assert stamp is not None

    def read(offset: int, into: memoryview) -> None:
        store.read_into(store.key, stamp, offset, into)

    return read


def by_aiohttp(url: str) -> Read:
    return by_initreg(url, client_kwargs={"trust_env": False})  # which only aiohttp knows


def by_urllib3(url: str) -> Read:
    pool = urllib3.PoolManager(maxsize=THREADS)

    def read(offset: int, into: memoryview) -> None:
        answer = pool.request(
            "GET",
            url,
            headers=headers(offset, into),
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        assert answer.status == 206
        at = 0
        while at < len(into) and (count := answer.readinto(into[at : at + COPIED])):
            at += count
        answer.release_conn()

    return read


def by_http_client(url: str) -> Read:
    parts = urlsplit(url)
    mine = threading.local()

    def read(offset: int, into: memoryview) -> None:
        if not hasattr(mine, "connection"):
            mine.connection = http.client.HTTPConnection(parts.netloc)
        mine.connection.request("GET", parts.path, headers=headers(offset, into))
        answer = mine.connection.getresponse()
        assert answer.status == 206
        at = 0
        while at < len(into) and (count := answer.readinto(into[at:])):
            at += count

    return read


def headers(offset: int, into: memoryview) -> dict[str, str]:
    return {
        "Accept-Encoding": "identity",
        "Range": f"bytes={offset}-{offset + len(into) - 1}",
        "If-Match": f'"{SIZE}"',
    }


CLIENTS: dict[str, Callable[[str], Read]] = {
    "initreg": by_initreg,
    "http.client": by_http_client,
    "urllib3": by_urllib3,
    "aiohttp": by_aiohttp,
}


def wanted(memory: memoryview, length: int) -> Iterator[tuple[int, memoryview]]:
    """Where each request begins, and where its answer goes."""
    step = SIZE // (PIECES if length == PIECE else RANGES)
    for at in range(0, SIZE - length + 1, step):
        yield at, memory[at : at + length]


def main(rounds: int) -> None:
    right = np.random.default_rng(0).bytes(SIZE)
    memory = memoryview(bytearray(right))  # all of it is there, so that no client waits for it
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder)) as url,
        concurrent.futures.ThreadPoolExecutor(THREADS) as threads,
    ):
        (Path(folder) / "file").write_bytes(right)
        for length in (PIECE, RANGE):
            print(f"{len(list(wanted(memory, length))):,} requests for {length:,} bytes")
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in CLIENTS}
            reads = {name: make(f"{url}file") for name, make in CLIENTS.items()}
            for number in range(rounds + 1):
                for name, read in reads.items():
                    if not number:
                        memory[:] = bytes(SIZE)
                    begin, used = time.perf_counter(), time.process_time()
                    list(threads.map(read, *zip(*wanted(memory, length), strict=True)))
                    if number:  # the first round makes the connections
                        taken[name].append(
                            (time.perf_counter() - begin, time.process_time() - used)
                        )
                    else:
                        for at, into in wanted(memory, length):
                            assert into == right[at : at + length], name
            base = [statistics.median(each) for each in zip(*taken["initreg"], strict=True)]
            for name, times in taken.items():
                wall, used = (statistics.median(each) for each in zip(*times, strict=True))
                print(
                    f"  {name:12} {wall:.2f} s {wall / base[0]:.2f}x, "
                    f"processor {used:.2f} s {used / base[1]:.2f}x"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
