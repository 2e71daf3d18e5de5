"""A large model in 8 shards takes its own size and little more, from the disk and over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import initreg
from tests.arrays import sharded_restore
from tests.arrays.sharded_restore import NBYTES
from tests.storage.web_server import serving

pytestmark = [pytest.mark.heavy, pytest.mark.framework]
_SHARDS = 8
_SPARE = 100e6  # bytes
_ROOM = 4e9  # bytes of memory that others have to have beside it
# INITREG_SHARDS_GB=12 takes as many GB of memory, and of disk.
_GB = float(os.environ.get("INITREG_SHARDS_GB", "6"))


def _available() -> int:
    with open("/proc/meminfo") as file:
        line = next(line for line in file if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(("way", "gigabytes"), [("disk", _GB), ("http", min(_GB, 2))])
def test_a_set_of_shards(way: str, gigabytes: float, tmp_path: Path) -> None:
    """All values are right, and the peak is the size of the model and 100 MB."""
    each = max(1, round(gigabytes * 1e9 / NBYTES / _SHARDS))
    size = _SHARDS * each * NBYTES
    if _available() < size + _ROOM:
        pytest.skip(f"{size / 1e9:.0f} GB of memory are not free")
    names = [f"m-{i + 1:05}-of-{_SHARDS:05}.safetensors" for i in range(_SHARDS)]
    places = {}
    for shard, name in enumerate(names):
        arrays = {
            sharded_restore.name_of(shard, i): sharded_restore.array(shard, i) for i in range(each)
        }
        initreg.save(tmp_path / "one.safetensors", arrays)
        (tmp_path / "one.safetensors").rename(tmp_path / name)  # by its own name it is no save
        places |= dict.fromkeys(arrays, name)
        del arrays
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": places}))
    with serving(tmp_path) as web:
        source = str(index) if way == "disk" else web.url + index.name
        command = [sys.executable, sharded_restore.__file__, source, str(_SHARDS), str(each)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(way, f"{size / 1e6:,.0f} MB:", found)
    assert found["right"] == _SHARDS * each
    assert found["peak"] < size + _SPARE
    assert web.sent < 1.01 * size + 1e6 if way == "http" else not web.requests
