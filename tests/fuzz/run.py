"""``make fuzz``: mutated weight files of every format, for as long as asked.

``run.py [--seconds N | --inputs N] [--first N] [--keep] [SEED ...]``: so many seconds or inputs for
each seed; inputs are numbered, and the same number is the same input. What an input did wrong is
printed; with ``--keep`` the input is written to ``found/``, where the test suite tries it again.
Exit code 1 if there is any.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mutate
from seeds_of import SEEDS

HERE = Path(__file__).parent
FOUND = HERE / "found"
HANG = 5.0  # seconds for one input
_START = 60.0  # seconds for the imports
_BATCH = 2000  # inputs of one process


def try_inputs(
    seed: str, folder: Path, first: int, count: int, until: float
) -> tuple[int, list[Any]]:
    """How many were tried, and what was wrong with which."""
    failures: list[Any] = []
    tried = 0
    while tried < count and time.monotonic() < until:
        batch = min(count - tried, _BATCH)
        done, problems, died = _batch([seed, str(folder), str(first + tried), str(batch)], until)
        failures += problems
        if died:
            failures.append({"seed": seed, "number": first + tried + done - 1, "what": died})
        tried += done
    return tried, failures


def try_kept(seed: str, folder: Path, kept: Path) -> str:
    """What is wrong with an input that was kept, "" if nothing is."""
    _, problems, died = _batch([seed, str(folder), "--files", str(kept)], time.monotonic() + 60)
    return died or "".join(each["what"] for each in problems)


def _batch(arguments: list[str], until: float) -> tuple[int, list[Any], str]:
    """Inputs of one process: how many it began, what it said, and what it died of."""
    done, problems, died = 0, [], ""
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    with tempfile.TemporaryDirectory() as out:
        child = subprocess.Popen(
            [sys.executable, str(HERE / "child.py"), *arguments, out],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        assert child.stdout is not None
        assert child.stderr is not None
        buffered = b""
        while True:
            patience = HANG if done else _START
            if not select.select([child.stdout], [], [], patience)[0]:
                died = f"hangs for {patience:g} s"
                break
            chunk = os.read(child.stdout.fileno(), 1 << 16)
            if not chunk:
                break
            *lines, buffered = (buffered + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"{"):
                    problems.append(json.loads(line))
                else:
                    done += 1
            if time.monotonic() > until:
                break
        stopped = bool(died) or time.monotonic() > until
        if stopped:
            child.kill()
        said = child.stderr.read().decode()
        code = child.wait()
        if not stopped and code:
            died = f"exit code {code}: {said[-400:]}"
        child.stdout.close()
        child.stderr.close()
    if died and not done:
        raise RuntimeError(f"{arguments}: {died}")
    return done, problems, died


def keep(failure: Any, folder: Path) -> Path:
    """Write the input of a failure to ``found/``."""
    seed, number = failure["seed"], failure["number"]
    rng = random.Random(f"{seed}-{number}")
    files, _ = mutate.mutated(seed, mutate.read(folder / seed), rng)
    kept = FOUND / f"{seed}-{mutate.checksum_of(files):08x}"
    kept.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (kept / name).write_bytes(content)
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--inputs", type=int)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="write failures to found/")
    parser.add_argument("seeds", nargs="*", default=list(SEEDS))
    options = parser.parse_args()
    seconds = options.seconds or (10**9 if options.inputs else 20)
    folder = Path(tempfile.mkdtemp())
    total, failures = 0, []
    try:
        subprocess.run([sys.executable, str(HERE / "seeds.py"), str(folder / "s")], check=True,
                       stderr=subprocess.DEVNULL)  # fmt: skip
        for seed in options.seeds:
            until = time.monotonic() + seconds
            count = options.inputs or 10**9
            tried, wrong = try_inputs(seed, folder / "s", options.first, count, until)
            print(f"{seed:20}{tried:>10,} inputs  {len(wrong)} failures", flush=True)
            for each in wrong[:20]:
                where = keep(each, folder / "s") if options.keep else ""
                print(f"  {each['number']}: {each['what'][:300]} {where}", flush=True)
            total += tried
            failures += wrong
    finally:
        shutil.rmtree(folder)
    print(f"{'':20}{total:>10,} inputs  {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
