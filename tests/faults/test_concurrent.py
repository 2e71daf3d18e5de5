"""Several processes that save to one path, and several threads that open, read and probe."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import InitregError

_SAVER = """
import json, sys
import numpy as np
import initreg
path, mark, options = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
for i in range(15):
    arrays = {f"layer{j}": np.full(20_000, mark + i, "f4") for j in range(4)}
    initreg.save(path, arrays, **options)
"""
SAVES = [
    ("m.npz", "{}"),
    ("m.npz", '{"manifest": true}'),
    ("m.safetensors", '{"shard_size": 100000, "manifest": true}'),
    ("m.h5", "{}"),
    ("m.ckpt", "{}"),
    ("m.ckpt", '{"manifest": true}'),
]


def opened_by(path: Path) -> Path:
    index = path.with_name(f"{path.name}.index.json")
    return index if index.exists() else path


@pytest.mark.parametrize(("name", "options"), SAVES)
def test_processes_that_save_to_one_path(tmp_path: Path, name: str, options: str) -> None:
    """Four of them, fifteen times each, while this one reads: what stands is one save, whole; in
    the end its files are there, and no others."""
    path = tmp_path / name
    command = [sys.executable, "-c", _SAVER, str(path)]
    savers = [subprocess.Popen([*command, str(100 * i), options]) for i in range(1, 5)]
    seen = set()
    while any(saver.poll() is None for saver in savers):
        try:
            found = initreg.load(opened_by(path))
        except InitregError as error:  # not there yet; or replaced between two reads
            assert str(tmp_path) in str(error)  # noqa: PT017
            time.sleep(0.001)
            continue
        values = {float(value) for array in found.values() for value in np.unique(array)}
        assert len(values) == 1, values
        seen |= values
    assert [saver.returncode for saver in savers] == [0, 0, 0, 0]
    final = {float(v) for a in initreg.load(opened_by(path)).values() for v in np.unique(a)}
    assert len(final) == 1
    assert final.pop() in {114.0, 214.0, 314.0, 414.0}
    assert seen
    found = initreg.verify(opened_by(path))
    assert found.ok, found.to_text()
    assert (found.manifest is not None) == ("manifest" in options)
    left = [each for each in os.listdir(tmp_path) if each.startswith(".")]
    assert left == []
    if "shard" in options:
        assert len(list(tmp_path.glob("*.safetensors"))) == 4
    if name == "m.ckpt":
        counts = {file.name.rpartition("-")[2] for file in tmp_path.glob("*.data-*")}
        assert len(counts) == 1


def test_threads_that_save_to_one_path(tmp_path: Path) -> None:
    """The same within a process."""
    path = tmp_path / "m.ckpt"
    errors: list[BaseException] = []

    def save(mark: int) -> None:
        try:
            for i in range(10):
                arrays = {f"layer{j}": np.full(5000, mark + i, "f4") for j in range(4)}
                initreg.save(path, arrays, manifest=True)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(100 * n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert initreg.verify(path).ok


@pytest.mark.parametrize("mmap", [False, True])
def test_eight_threads_open_read_and_probe(tmp_path: Path, mmap: bool) -> None:
    """Files of every format, some of them damaged: each thread sees what it would alone."""
    arrays = {f"layer{i}": np.random.default_rng(i).random((50, 70), "f4") for i in range(5)}
    files: dict[Path, str] = {}
    for name in ("m.npz", "m.safetensors", "m.h5", "m.ckpt"):
        files[initreg.save(tmp_path / name, arrays)] = ""
    files[initreg.save(tmp_path / "packed.h5", arrays, compress=True)] = ""
    files[initreg.save(tmp_path / "packed.npz", arrays, compress=True)] = ""
    for name in ("m.npz", "m.safetensors", "m.h5"):
        cut = tmp_path / f"cut.{name}"
        cut.write_bytes((tmp_path / name).read_bytes()[:-5000])
        files[cut] = "DamagedFile"
    files[tmp_path / "none.npz"] = "SourceNotFound"
    (tmp_path / "m.pt").write_bytes(b"PK\x03\x04rubbish")
    files[tmp_path / "m.pt"] = "UnknownFormat"
    start = threading.Barrier(8)
    wrong: list[Any] = []

    def work(number: int) -> None:
        order = list(files)
        np.random.default_rng(number).shuffle(order)  # type: ignore[arg-type]
        start.wait()
        for _ in range(5):
            for path in order:
                try:
                    initreg.probe(path)
                    with initreg.open(path, mmap=mmap) as opened:
                        found = {name: np.array(array) for name, array in opened.items()}
                        part = opened["layer2"][10:20]
                except InitregError as error:
                    if type(error).__name__ != files[path]:
                        wrong.append((path, error))
                except BaseException as error:
                    wrong.append((path, error))
                else:
                    if files[path] or not np.array_equal(part, arrays["layer2"][10:20]):
                        wrong.append((path, "opened"))
                    for name, array in arrays.items():
                        if not np.array_equal(found[name], array):
                            wrong.append((path, name))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
