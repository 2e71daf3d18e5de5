"""How long it takes to ask the command line what a file is, and what is in it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import models
from measure import Row

TITLE = "Start-up"
NOTE = """\
Each time is that of a whole process from start to end, on a model of 197 variables and 7 MB.
`python -m initreg probe` and `ls` are compared with `python -c "import numpy"` and, for the
checkpoint, with TensorFlow's own `inspect_checkpoint`. h5py alone takes longer to import than
numpy, which it imports.
"""

ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
NUMPY = ("import numpy", ["-c", "import numpy"], 1.2)


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        env=ENVIRONMENT,
    )
    return time.perf_counter() - start


def compared(
    what: str, command: list[str], peer: str, other: list[str], at_most: float, times: int
) -> Row:
    seconds(command)  # into the page cache
    seconds(other)
    ours, theirs = [], []
    for _ in range(times):
        ours.append(seconds(command))
        theirs.append(seconds(other))
    return Row(
        what,
        197,
        statistics.median(ours),
        min(ours),
        max(ours),
        peer,
        statistics.median(theirs),
        0.0,
        goal_ratio=at_most,
        peer_least=min(theirs),
        peer_most=max(theirs),
    )


def main(quick: bool) -> None:
    times = 5 if quick else 15
    model = models.transformer(7)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for write in (models.npz, models.safetensors, models.h5, models.checkpoint):
            path = str(write(model, folder))
            kind = Path(path).suffix.removeprefix(".")
            for verb in ("probe", "ls"):
                command = ["-m", "initreg", verb, path]
                rows.append(compared(f"initreg {verb}, {kind}", command, *NUMPY, times))
        inspect = ["-m", "tensorflow.python.tools.inspect_checkpoint", f"--file_name={path}"]
        peer = ("inspect_checkpoint", inspect, 1 / 20)
        for verb in ("probe", "ls"):
            command = ["-m", "initreg", verb, path]
            rows.append(compared(f"initreg {verb}, ckpt", command, *peer, 3))
    json.dump([row.to_dict() for row in rows], sys.stdout)


if __name__ == "__main__":
    main("--quick" in sys.argv)
