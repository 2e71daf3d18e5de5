"""``killing.py PATH KILLS SEED OPTIONS``: what a save that is killed leaves.

A process of its own saves to PATH again and again and is killed at a random moment, KILLS times, or
more often until a sixth of so many have left a save half done; after each, what is there must be
one of the saves, whole. OPTIONS are keywords of ``initreg.save``, as JSON. Prints, as JSON, how
many kills left a save half done, and what was wrong.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import initreg

COUNT = 8
SIZE = 60_000  # numbers of an array


def arrays(version: int) -> dict[str, np.ndarray[Any, Any]]:
    """All of one value, that tells which save they are of; not packed to nothing."""
    noise = np.random.default_rng(version).random(SIZE, "f4")
    return {f"layer{i}/w": np.concatenate([[np.float32(version)], noise]) for i in range(COUNT)}


def version_of(path: Path) -> int:
    """The save that is there. Raises InitregError, or ValueError if it is none."""
    found = initreg.load(path)
    version = int(found["layer0/w"][0])
    for name, expected in arrays(version).items():
        if not np.array_equal(found.pop(name), expected):
            raise ValueError(f"{name} is not of save {version}")
    if found:
        raise ValueError(f"{sorted(found)} are of no save")
    return version


def save_for_ever(path: Path, version: int, options: dict[str, Any]) -> NoReturn:
    try:
        while True:
            version += 1
            initreg.save(path, arrays(version), **options)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


def main(path: Path, kills: int, seed: int, options: dict[str, Any]) -> None:
    rng = random.Random(seed)
    began = time.perf_counter()
    for version in (1, 2, 3):
        opened_by = initreg.save(path, arrays(version), **options)
    last, once = 3, (time.perf_counter() - began) / 3
    torn = manifests = 0
    problems: list[str] = []
    seen: set[str] = set()
    for number in range(10 * kills):
        if number >= kills and torn >= kills // 6:
            break
        child = os.fork()
        if not child:
            save_for_ever(path, last, options)
        time.sleep(rng.uniform(0, 2.5 * once))
        os.kill(child, signal.SIGKILL)
        if os.waitpid(child, 0)[1] != signal.SIGKILL:
            problems.append(f"kill {number}: the save had failed before, see stderr")
        left = [file for file in path.parent.iterdir() if file.name.startswith(".initreg-")]
        torn += any(file.name not in seen for file in left)
        seen |= {file.name for file in left}
        for file in left:  # an hour later a save does; but a journal goes with the index
            if not file.name.endswith(("journal", "index", "index.json")):
                file.unlink()
        try:
            found = version_of(opened_by)
            if found < last:
                raise ValueError(f"save {last} was there, and is gone: {found} is")
            last = found
            answer = initreg.verify(opened_by)
            manifests += answer.manifest is not None
            if not answer.ok:
                raise ValueError(answer.to_text())
        except (initreg.InitregError, ValueError) as error:
            problems.append(f"kill {number}: {error}")
    initreg.save(path, arrays(1), **options)
    for file in path.parent.glob(".initreg-*"):
        if not file.name.endswith("journal"):
            file.unlink()
    files = sorted(file.name for file in path.parent.iterdir())
    answer = {
        "torn": torn,
        "manifests": manifests,
        "saves": last,
        "problems": problems,
        "files": files,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
