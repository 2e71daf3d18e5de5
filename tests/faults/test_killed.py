"""SIGKILL at random moments of a save: the old file or the new, never anything else."""

from __future__ import annotations

import json
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
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "options", "kills"),
    [pytest.param(*save, 12, id=f"{save[0]}-{'-'.join(save[1])}") for save in SAVES]
    + [
        pytest.param(*save, 200, id=f"200-{save[0]}-{'-'.join(save[1])}", marks=pytest.mark.slow)
        for save in SAVES
    ],
)
def test_killed_at_random_moments(
    tmp_path: Path, name: str, options: dict[str, Any], kills: int
) -> None:
    """What is there is one save, whole, none older than the last that was seen; its manifest, if
    there is one, is its own; and the next save has no parts of others beside it."""
    found = killed(tmp_path, name, options, kills)
    assert found["problems"] == []
    assert found["torn"] >= kills // 6  # many of them in the middle of it
    assert found["saves"] > 3
    parts = [f for f in found["files"] if ".data-" in f or "-of-" in f]
    others = set(found["files"]) - set(parts)
    assert len(parts) in ((0,) if name.endswith(("npz", "h5")) else (0, 1, 2, 3, 4))
    assert others <= {name, f"{name}.index", f"{name}.index.json", *_manifests(name)}


def _manifests(name: str) -> set[str]:
    return {f"{name}{ending}.manifest.json" for ending in ("", ".index.json")}
