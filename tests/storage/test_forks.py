"""Stores after a fork: the child has no threads and connections, and makes its own."""

from __future__ import annotations

import gzip
import os
import threading
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import UnreadableFile
from initreg.storage.store_files import files_of
from tests.storage.web_server import WebServer

ARRAYS = {f"layer_{i}/kernel": np.full((90, 90), i, "f4") for i in range(20)}


def in_a_child(call: Callable[[], object]) -> None:
    """Run a function in a forked process. It fails if it raises or takes more than 30 seconds."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads, which is what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        try:
            call()
            os.write(write, b"well")
        except BaseException:
            os.write(write, traceback.format_exc().encode()[-9999:])
        finally:
            os._exit(0)
    os.close(write)
    timer = threading.Timer(30, os.kill, (pid, 9))
    timer.start()
    with open(read, "rb") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    timer.cancel()
    timer.join()
    assert said == b"well", said.decode() or "the child did not end"


def check(found: dict[str, Any]) -> None:
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert np.array_equal(found[name], array), name


@pytest.mark.parametrize("name", ["m.npz", "m.ckpt", "m.h5"])
def test_a_map_that_was_opened_before_a_fork(name: str, tmp_path: Path, web: WebServer) -> None:
    """Parent and child read all arrays of it, and the child opens further files."""
    initreg.save(tmp_path / name, ARRAYS)
    with initreg.open(web.url + name) as arrays:
        np.asarray(arrays["layer_3/kernel"])
        for _ in range(2):
            in_a_child(lambda: check(initreg.load(arrays)))
        in_a_child(lambda: check(initreg.load(web.url + name)))
        check(initreg.load(arrays))


def test_a_fork_while_another_thread_reads(tmp_path: Path, web: WebServer) -> None:
    """The child does not wait for a lock of a thread that it does not have."""
    initreg.save(tmp_path / "m.npz", ARRAYS)
    path = initreg.Source(f"{web.url}m.npz").path
    assert isinstance(path, initreg.StorePath)
    with initreg.open(path) as arrays:
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with files_of(path)._lock:
                held.set()
                done.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        try:
            in_a_child(lambda: check(initreg.load(arrays)))
        finally:
            done.set()
            thread.join()


def test_a_chain_of_fsspec(tmp_path: Path, web: WebServer) -> None:
    """The child opens the archive again that the parent has open."""
    initreg.save(tmp_path / "m.npz", ARRAYS)
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "m.npz", "m.npz")
    with initreg.open(f"zip://m.npz::simplecache::{web.url}all.zip") as arrays:
        np.asarray(arrays["layer_3/kernel"])
        in_a_child(lambda: check(initreg.load(arrays)))
        check(initreg.load(arrays))


def test_files_that_share_a_position(tmp_path: Path) -> None:
    """A packed file, whose position a fork shares, is refused in the child. Others are read."""
    initreg.save(tmp_path / "m.safetensors", ARRAYS)
    data = (tmp_path / "m.safetensors").read_bytes()
    with gzip.open(tmp_path / "m.gz", "wb") as packed:
        packed.write(data)

    def refused(arrays: Any) -> None:
        with pytest.raises(UnreadableFile, match="opened before this process was forked"):
            initreg.load(arrays)

    with gzip.open(tmp_path / "m.gz") as file, initreg.open(file) as arrays:
        in_a_child(lambda: refused(arrays))
        check(initreg.load(arrays))
    with open(tmp_path / "m.safetensors", "rb") as plain, initreg.open(plain) as arrays:
        in_a_child(lambda: check(initreg.load(arrays)))
        check(initreg.load(arrays))
