"""SIGKILL at random moments of a save: the old file or the new, never anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SAVES: list[tuple[str, dict[str, Any]]] = [
    ("m.npz", {}),
    ("m.npz", {"compress": True, "manifest": True}),
    ("m.safetensors", {}),
    ("m.safetensors", {"shard_size": 500_000}),
    ("m.safetensors", {"shard_size": 500_000, "manifest": True}),
    ("m.h5", {}),
    ("m.h5", {"compress": True}),
    ("m.ckpt", {}),
    ("m.ckpt", {"manifest": True}),
]


def killed(folder: Path, name: str, options: dict[str, Any], kills: int) -> Any:
    script = str(HERE / "killing.py")
    command = [sys.executable, script, str(folder / name), str(kills), "7", json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"said": done.stderr}


KILLS = int(os.environ.get("INITREG_KILLS", "200"))


@pytest.mark.parametrize(
    ("name", "options", "kills"),
    [pytest.param(*save, 12, id=f"{save[0]}-{'-'.join(save[1])}") for save in SAVES]
    + [
        pytest.param(
            *save, KILLS, id=f"many-{save[0]}-{'-'.join(save[1])}", marks=pytest.mark.kills
        )
        for save in SAVES
    ],
)
def test_killed_at_random_moments(
    tmp_path: Path, name: str, options: dict[str, Any], kills: int
) -> None:
    """What is there is one save, whole, none older than the last that was seen; its manifest, if
    there is one, is its own; and after the next save its files are there, and no others."""
    found = killed(tmp_path, name, options, kills)
    assert found["problems"] == [], found["said"]
    assert found["torn"] >= kills // 6  # many of them in the middle of it
    assert found["saves"] > 3
    parts = {f for f in found["files"] if "-of-" in f}  # whose names depend on those before
    whole = f"{name}.index" if name == "m.ckpt" else name
    opened = name
    if "shard_size" in options:
        whole = opened = f"{name}.index.json"
    manifest = {f"{opened}.manifest.json"} if "manifest" in options else set()
    assert set(found["files"]) - parts == {whole, *manifest}
    if name == "m.ckpt":
        (count,) = {int(part[-5:]) for part in parts}
        assert parts == {f"m.ckpt.data-{i:05}-of-{count:05}" for i in range(count)}
    else:
        assert len(parts) == (4 if "shard_size" in options else 0)
