"""How long a restore takes, beside what people use instead and beside the machine's limit."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import limits
import models
import numpy as np
import restores
from fresh import Figures, Run, in_process, measured, median
from measure import Row
from restores import (
    at_best,
    checkpoint_read,
    h5py_read,
    load_weights,
    np_load,
    ours,
    ours_keras,
    ours_mapped,
    ours_session,
    restore_v2,
    safetensors_load,
    saver,
    tensorpack,
)

TITLE = "Restoring"
NOTE = """\
The model is the encoder of a BERT base: 197 float32 variables, 436 MB. `n` is the number of
variables. Each time is that of one restore in a fresh process, ours and the peer's in turn. The
file is in the page cache and memory was touched before. Afterwards every byte is used. *readinto*
reads the file into one fresh buffer on huge pages, which is the least that a copy can cost here.
*map and touch* maps the file and reads one byte of each page, *map and sum* reads every byte once.
In these rows the time of ours includes the use of every byte. *dd iflag=direct* reads the file from
the disk past the page cache, and keeps nothing. Memory is what the process took in addition to what
it had before: at its peak, after the restore, and after a training step by gradient descent, which
gives every variable a new value.
"""


@dataclass
class Case:
    """One row: what is written for it, how it is restored, and what was aimed at: so many times
    faster than the peer, at most so many times its time, or under so many seconds."""

    what: str
    write: models.Writer
    ours: Callable[[Path], Run]
    peer: str
    theirs: Callable[[Path], Run]
    faster: float | None = None
    at_most: float | None = None
    under: float | None = None
    model: Callable[[], models.Model] = models.transformer
    is_cold: bool = False  # whether the file is to be read from the disk


TF2, TF1 = "TF2 variables", "a TF1 session"
CASES = [
    Case(f"npz → {TF2}", models.npz, ours, "np.load + assign", np_load, 4),
    Case(f"npz, deflated → {TF2}", models.deflated, ours, "np.load + assign", np_load, 3),
    Case(
        f"safetensors → {TF2}", models.safetensors, ours, "load_file + assign", safetensors_load, 5
    ),
    Case(f"h5 → {TF2}", models.h5, ours, "h5py + assign", h5py_read, 2.5),
    Case(
        f"h5, chunked, gzip and shuffle → {TF2}",
        models.chunked_h5,
        ours,
        "h5py + assign",
        h5py_read,
        2,
    ),
    Case(f"TF checkpoint → {TF2}", models.checkpoint, ours, "RestoreV2 + assign", restore_v2, 2.5),
    Case(
        f"TF checkpoint → {TF2}",
        models.object_based,
        ours,
        "Checkpoint.read",
        checkpoint_read,
        2.5,
    ),
    Case(".weights.h5 → Keras", models.weights_h5, ours_keras, "load_weights", load_weights, 2),
    Case(f"npz → {TF1}", models.npz, ours_session, "tensorpack", tensorpack, 4),
    Case(f"TF checkpoint → {TF1}", models.checkpoint, ours_session, "Saver.restore", saver, 2.5),
    Case(
        f"200 small variables → {TF2}",
        models.npz,
        ours,
        "np.load + assign",
        np_load,
        under=0.012,
        model=models.two_hundred,
    ),
    Case(
        f"10,000 small variables → {TF2}",
        models.object_based,
        ours,
        "Checkpoint.read",
        checkpoint_read,
        6,
        model=models.ten_thousand,
    ),
    Case(
        f"4,000 small variables → {TF1}",
        models.npz,
        ours_session,
        "tensorpack",
        tensorpack,
        3,
        model=models.four_thousand,
    ),
    Case(
        f"4,000 small variables → {TF1}",
        models.checkpoint,
        ours_session,
        "Saver.restore",
        saver,
        model=models.four_thousand,
    ),
    *(
        Case(f"{name} → {TF2}", write, ours, "readinto", at_best(limits.readinto), at_most=1.3)
        for name, write in (
            ("npz", models.npz),
            ("safetensors", models.safetensors),
            ("h5", models.h5),
            ("TF checkpoint", models.checkpoint),
        )
    ),
    *(
        Case(
            f"aligned safetensors, mmap=True → {TF2}",
            models.aligned,
            ours_mapped,
            peer,
            at_best(read),
            at_most=1.5,
        )
        for peer, read in (
            ("map and touch", limits.map_and_touch),
            ("map and sum", limits.map_and_sum),
        )
    ),
    *(
        Case(f"npz, not in the page cache → {TF2}", models.npz, ours, *peer, is_cold=True)
        for peer in (
            ("dd iflag=direct", at_best(limits.read_directly), None, 1.3),
            ("np.load + assign", np_load),
        )
    ),
]


GROWTH = [
    Case(f"npz → {TF2}", models.npz, ours, "np.load + assign", np_load),
    Case(
        f"TF checkpoint → {TF2}",
        models.object_based,
        ours,
        "Checkpoint.read",
        checkpoint_read,
    ),
]
CASES += GROWTH  # by whose place in the list a fresh process is told what to run


def compared(case: Case, folder: Path, times: int, size: str = "") -> Row:
    """Measure one case, on a file that may be in the folder already. ``size``: of the model, if it
    is not the case's own: ``1744 MB``, or ``1000 variables``, small ones."""
    index = str(CASES.index(case))
    place = folder / f"{case.model.__name__}-{case.write.__name__}-{size}"
    if not place.exists():
        place.mkdir()
        run_python("--write", index, str(place), size)
    found: dict[str, list[Figures]] = {"ours": [], "theirs": []}
    for _ in range(times):
        for side, figures in found.items():
            command = [__file__, "--run", index, side, str(place), str(size)]
            figures.append(in_process(command))
    mine, peer = found["ours"], found["theirs"]
    model = model_of(case, size)
    return Row(
        case.what,
        len(model),
        median(mine, "seconds"),
        min(each.seconds for each in mine),
        max(each.seconds for each in mine),
        case.peer,
        median(peer, "seconds"),
        median(mine, "peak"),
        goal_seconds=case.under,
        goal_ratio=case.at_most or (1 / case.faster if case.faster else None),
        faster=case.faster,
        peer_least=min(each.seconds for each in peer),
        peer_most=max(each.seconds for each in peer),
        peer_peak_mb=median(peer, "peak"),
        after_mb=median(mine, "after"),
        peer_after_mb=median(peer, "after"),
        trained_mb=median(mine, "trained"),
        peer_trained_mb=median(peer, "trained"),
        megabytes=sum(array.nbytes for array in model.values()) / 1e6,
    )


def run_python(*arguments: str) -> None:
    subprocess.run([sys.executable, __file__, *arguments], check=True, stderr=subprocess.DEVNULL)


def model_of(case: Case, size: str) -> models.Model:
    if not size:
        return case.model()
    number, unit = size.split()
    return models.transformer(float(number)) if unit == "MB" else models.small(int(number))


def write(case: Case, place: Path, size: str) -> None:
    keras.utils.set_random_seed(0)
    model = model_of(case, size)
    (place / "path").write_text(str(case.write(model, place)))
    shapes = {name: list(array.shape) for name, array in model.items()}
    (place / "shapes").write_text(json.dumps(shapes))


def run(case: Case, side: str, place: Path) -> Figures:
    shapes = json.loads((place / "shapes").read_text())
    restores.MODEL = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    path = Path((place / "path").read_text())
    made = (case.ours if side == "ours" else case.theirs)(path)
    if case.is_cold:
        return measured(cold(made, place), size_of_model())
    for file in place.iterdir():
        file.read_bytes()  # into the page cache
    return measured(made, size_of_model())


def size_of_model() -> float:
    return sum(array.size * 4 for array in restores.MODEL.values()) / 1e6  # MB


def cold(run: Run, place: Path) -> Run:
    """The same with files that are not in the page cache."""

    def setup() -> Any:
        target = run.setup()
        limits.drop(place)
        return target

    def restore(target: Any) -> Any:
        with limits.cold(place):
            return run.restore(target)

    return dataclasses.replace(run, setup=setup, restore=restore)


def rows(times: int, only: str = "") -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if case not in GROWTH and only in f"{case.what} / {case.peer}":
                row = compared(case, Path(folder), times)
                told = f"{row.what} / {row.peer}: {row.ours:.3f} s, {row.theirs:.3f} s"
                print(told, file=sys.stderr, flush=True)
                yield row


def growth(quick: bool) -> Iterator[Row]:
    """By bytes, then by the number of variables."""
    by_bytes = (109, 436) if quick else (109, 436, 1744, 4000)
    by_number = (100, 1_000, 10_000) if quick else (100, 1_000, 10_000, 100_000)
    for case, sizes in zip(
        GROWTH,
        ([f"{n} MB" for n in by_bytes], [f"{n} variables" for n in by_number]),
        strict=True,
    ):
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                row = compared(case, Path(folder), 1 if size == "100000 variables" else 3, size)
            told = f"{size}: {row.ours:.3f} s, {row.theirs:.3f} s"
            print(told, file=sys.stderr, flush=True)
            yield row


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--write"]:
        write(CASES[int(arguments[1])], Path(arguments[2]), arguments[3])
    elif arguments[:1] == ["--run"]:
        _, index, side, place, _ = arguments
        print(json.dumps(vars(run(CASES[int(index)], side, Path(place)))))
    else:
        only = next((a for a in arguments if not a.startswith("-")), "")
        quick = "--quick" in arguments
        found = growth(quick) if "--growth" in arguments else rows(3, only)
        json.dump([row.to_dict() for row in found], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
