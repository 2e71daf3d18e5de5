"""Damaged B-trees and links in HDF5 files."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg
from initreg import DamagedFile

NOWHERE = (1 << 64) - 1
BRANCHES = 32  # of a node, unless the file says otherwise


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.h5"


def grow(raw: bytearray, base: int, leaf: int, levels: int) -> int:
    """Append nodes, each of which leads to the next one 32 times, and the last one to ``leaf``.
    Returns the first."""
    child = leaf
    for level in range(1, levels + 1):
        at = len(raw) - base
        raw += b"TREE" + struct.pack("<BBHQQ", 0, level, BRANCHES, NOWHERE, NOWHERE)
        raw += struct.pack("<QQ", 0, child) * BRANCHES + struct.pack("<Q", 8)
        child = at
    raw[base + 40 : base + 48] = struct.pack("<Q", len(raw))
    return child


@pytest.mark.parametrize("user_block", [0, 512])
@pytest.mark.parametrize("levels", [1, 5, 40])
@pytest.mark.parametrize("empty", [False, True])
def test_a_node_that_many_lead_to(path: Path, levels: int, empty: bool, user_block: int) -> None:
    """A group's B-tree that leads to a node twice is an error, and is not visited 32 ** 40
    times."""
    with h5py.File(path, "w", userblock_size=user_block) as file:
        file["g/w"] = np.arange(3.0)
    raw = bytearray(path.read_bytes())
    leaf = raw.rfind(b"TREE") - user_block
    if empty:  # leaves without links, for which HDF5 calls nobody
        names = raw.rfind(b"SNOD")
        raw[names + 6 : names + 8] = b"\0\0"
    first = grow(raw, user_block, leaf, levels)
    places = [i for i in range(leaf + user_block) if raw.startswith(struct.pack("<Q", leaf), i)]
    assert len(places) == 1  # in the message of the group's header
    raw[places[0] : places[0] + 8] = struct.pack("<Q", first)
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"m\.h5: group '/g': its B-tree leads to one node twice"):
        initreg.open(path)


def test_a_tree_of_chunks_without_end(path: Path) -> None:
    """Siblings that lead in circles are not followed when a linked dataset is located."""
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=np.arange(64.0), chunks=(4,))
        file["soft"] = h5py.SoftLink("/w")
    raw = bytearray(path.read_bytes())
    tree = next(i for i in range(len(raw)) if raw.startswith(b"TREE\1", i))
    raw[tree + 16 : tree + 24] = struct.pack("<Q", tree)
    path.write_bytes(raw)
    with initreg.open(path) as arrays:
        assert arrays["w"].aliases == ("soft",)
        np.testing.assert_array_equal(np.asarray(arrays["w"]), np.arange(64.0))


def entries(raw: bytearray) -> list[int]:
    """Where the entries of all tables of links lie."""
    found = []
    at = raw.find(b"SNOD")
    while at >= 0:
        count = int.from_bytes(raw[at + 6 : at + 8], "little")
        found += [at + 8 + 40 * number for number in range(count)]
        at = raw.find(b"SNOD", at + 1)
    return found


def test_one_long_name_for_many_links(path: Path) -> None:
    """Links that share one long name are refused before the names fill the memory."""
    with h5py.File(path, "w") as file:
        file["w"] = np.arange(3.0)
        file["w" * 60_000] = file["w"]
        for number in range(1500):
            file[f"l{number}"] = file["w"]
    raw = bytearray(path.read_bytes())
    data = raw.find(b"w" * 60_000)
    heap = max(
        int.from_bytes(raw[at + 24 : at + 32], "little")
        for at in range(data)
        if raw.startswith(b"HEAP", at)
    )
    for at in entries(raw):
        raw[at : at + 8] = struct.pack("<Q", data - heap)
    path.write_bytes(raw)
    with pytest.raises(DamagedFile, match=r"m\.h5: has more links, or longer names, than its size"):
        initreg.open(path)


def test_long_paths(path: Path) -> None:
    """Names that nested groups make long are counted in full."""
    with h5py.File(path, "w") as file:
        group = file
        for _ in range(150):
            group = group.create_group("g" * 900)
        for number in range(600):
            group[f"w{number}"] = np.float32(number)
    with pytest.raises(DamagedFile, match=r"m\.h5: has more links, or longer names, than its size"):
        initreg.open(path)
