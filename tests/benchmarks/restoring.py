"""How long a restore takes, beside what people use instead and beside the machine's limit."""

from __future__ import annotations

import json
import logging
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import keras
import models
import numpy as np
import tensorflow as tf
from fresh import Figures, Run, in_process, measured, median
from measure import Row

from initreg import SmartInit

v1 = tf.compat.v1

TITLE = "Restoring"
NOTE = """\
The model is the encoder of a BERT base: 197 float32 variables, 436 MB. `n` is the number of
variables. Each time is that of one restore in a fresh process, ours and the peer's in turn. The
file is in the page cache and memory was touched before. Afterwards every byte is used. *readinto*
reads the file into one fresh buffer on huge pages, which is the least that a copy can cost here.
*map and touch* maps the file and reads one byte of each page. In that row the time of ours includes
the use of every byte. Memory is what the process took in addition to what it had before: at its
peak, after the restore, and after a training step by gradient descent, which gives every variable a
new value.
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


# --- what is restored into ------------------------------------------------------------------------


def variables_of(model: models.Model) -> dict[str, tf.Variable]:
    return {name: tf.Variable(np.zeros(a.shape, a.dtype), name=name) for name, a in model.items()}


def use_variables(variables: dict[str, tf.Variable]) -> None:
    for variable in variables.values():
        assert np.isfinite(tf.reduce_sum(variable).numpy())


def train(variables: dict[str, tf.Variable]) -> None:
    for variable in variables.values():
        tf.raw_ops.ResourceApplyGradientDescent(
            var=variable.handle, alpha=0.1, delta=tf.ones(variable.shape)
        )


def into_variables(restore: Callable[[dict[str, tf.Variable]], Any]) -> Run:
    return Run(lambda: variables_of(MODEL), restore, use_variables, train)


def session_of(model: models.Model) -> tuple[Any, Any]:
    """A session that has run its initialisers' graph once, and a Saver that was built before."""
    with tf.Graph().as_default():
        for name, array in model.items():
            v1.get_variable(name, array.shape, tf.float32)
        saver = v1.train.Saver()
        session = v1.Session()
        session.run(v1.global_variables()[0].initializer)
    return session, saver


def use_session(target: tuple[Any, Any]) -> None:
    session, _ = target
    with session.graph.as_default():
        variables = v1.global_variables()
    for array in session.run(variables[:: max(1, len(MODEL) // 200)]):
        assert np.isfinite(array).all()


def into_session(restore: Callable[[tuple[Any, Any]], Any]) -> Run:
    return Run(lambda: session_of(MODEL), restore, use_session)


MODEL: models.Model = {}


# --- ours -----------------------------------------------------------------------------------------


def ours(path: Path) -> Run:
    return into_variables(lambda variables: SmartInit(path).init(variables.values()) and None)


def ours_mapped(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        SmartInit(path, mmap=True).init(variables.values())
        use_variables(variables)

    return into_variables(restore)


def ours_object_based(path: Path) -> Run:
    return into_variables(lambda variables: SmartInit(path).init(variables.values()) and None)


def ours_keras(path: Path) -> Run:
    return Run(models.keras_model, lambda model: SmartInit(path).init(model) and None, use_keras)


def ours_session(path: Path) -> Run:
    return into_session(lambda target: SmartInit(path).init(target[0]) and None)


# --- the peers ------------------------------------------------------------------------------------


def np_load(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        with np.load(path) as file:
            for name in file.files:
                variables[name].assign(file[name])

    return into_variables(restore)


def safetensors_load(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        from safetensors.tensorflow import load_file

        for name, tensor in load_file(path).items():
            variables[name].assign(tensor)

    return into_variables(restore)


def h5py_read(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        with h5py.File(path) as file:
            for name, variable in variables.items():
                variable.assign(file[name][...])

    return into_variables(restore)


def restore_v2(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        names = list(variables)
        found = tf.raw_ops.RestoreV2(
            prefix=str(path),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            dtypes=[tf.float32] * len(names),
        )
        for name, tensor in zip(names, found, strict=True):
            variables[name].assign(tensor)

    return into_variables(restore)


def checkpoint_read(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> None:
        tf.train.Checkpoint(model=variables).read(str(path)).assert_consumed()

    return into_variables(restore)


def use_keras(model: Any) -> None:
    for variable in model.weights:
        assert np.isfinite(tf.reduce_sum(variable.value).numpy())


def load_weights(path: Path) -> Run:
    return Run(models.keras_model, lambda model: model.load_weights(path), use_keras)


def tensorpack(path: Path) -> Run:
    def restore(target: tuple[Any, Any]) -> None:
        logging.disable(logging.CRITICAL)  # it logs every name
        session, _ = target
        with session.graph.as_default():
            init = tensorpack_init(str(path))
            init._setup_graph()
            init._run_init(session)

    from tensorpack.tfutils.sessinit import SmartInit as tensorpack_init

    return into_session(restore)


def saver(path: Path) -> Run:
    def restore(target: tuple[Any, Any]) -> None:
        with target[0].graph.as_default():
            target[1].restore(target[0], str(path))

    return into_session(restore)


def data_of(path: Path) -> Path:
    shard = path.with_name(f"{path.name}.data-00000-of-00001")
    return shard if shard.exists() else path


def readinto(path: Path) -> Run:
    """The limit of a copy: as ours, it lets go of what was there before."""

    def restore(variables: dict[str, tf.Variable]) -> Any:
        path_ = data_of(path)
        buffer = np.empty(path_.stat().st_size, np.uint8)  # numpy asks for huge pages
        done = 0
        with open(path_, "rb", buffering=0) as file:
            while done < len(buffer):
                done += file.readinto(memoryview(buffer)[done:])
        return buffer

    return Run(lambda: variables_of(MODEL), restore, lambda buffer: buffer.max())


def map_and_touch(path: Path) -> Run:
    def restore(variables: dict[str, tf.Variable]) -> Any:
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        view = np.frombuffer(mapped, np.uint8)
        view[::4096].max()
        use_variables({})
        return view

    return Run(lambda: variables_of(MODEL), restore, lambda view: view.max())


TF2, TF1 = "TF2 variables", "a TF1 session"
CASES = [
    Case(f"npz → {TF2}", models.npz, ours, "np.load + assign", np_load, 4),
    Case(f"npz, deflated → {TF2}", models.deflated, ours, "np.load + assign", np_load, 3),
    Case(
        f"safetensors → {TF2}", models.safetensors, ours, "load_file + assign", safetensors_load, 5
    ),
    Case(f"h5 → {TF2}", models.h5, ours, "h5py + assign", h5py_read, 2),
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
        ours_object_based,
        "Checkpoint.read",
        checkpoint_read,
        2.5,
    ),
    Case(".weights.h5 → Keras", models.weights_h5, ours_keras, "load_weights", load_weights, 2),
    Case(f"npz → {TF1}", models.npz, ours_session, "tensorpack", tensorpack, 4),
    Case(f"TF checkpoint → {TF1}", models.checkpoint, ours_session, "Saver.restore", saver, 2),
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
        ours_object_based,
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
    *(
        Case(f"{name} → {TF2}", write, ours, "readinto", readinto, at_most=1.3)
        for name, write in (
            ("npz", models.npz),
            ("safetensors", models.safetensors),
            ("h5", models.h5),
            ("TF checkpoint", models.checkpoint),
        )
    ),
    Case(
        f"aligned safetensors, mmap=True → {TF2}",
        models.aligned,
        ours_mapped,
        "map and touch",
        map_and_touch,
        at_most=1.3,
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
    global MODEL
    shapes = json.loads((place / "shapes").read_text())
    MODEL = {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}
    path = Path((place / "path").read_text())
    for file in place.iterdir():
        file.read_bytes()  # into the page cache
    made = (case.ours if side == "ours" else case.theirs)(path)
    return measured(made, sum(array.size * 4 for array in MODEL.values()) / 1e6)


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
