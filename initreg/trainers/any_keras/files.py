"""The files of a checkpoint: ``NAME.weights.h5``, its sidecar, and ``NAME.best.npz``.

``NAME.weights.h5`` is what ``model.load_weights`` takes. ``NAME.best.npz`` exists if an
EarlyStopping holds the best weights. The sidecar lists both.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from initreg import dtypes
from initreg.api import opening, sidecars
from initreg.errors import TargetError, UnwritableFile
from initreg.storage.output import Output
from initreg.storage.paths import listed
from initreg.storage.uploading import removed
from initreg.store_paths import FilePath
from initreg.trainers.any_keras.models import is_keras3, optimizer_variables
from initreg.trainers.any_keras.workers import is_one_of_several

logger = logging.getLogger("initreg")

ENDING = ".weights.h5"
_BEST = ".best.npz"
_HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of every HDF5 file


def remove(folder: FilePath, name: str) -> None:
    """Remove the files of a checkpoint. ``name`` has no ending.

    The sidecar goes first. Without it, the rest is not taken for a checkpoint.
    """
    weights = folder / f"{name}{ENDING}"
    for path in (sidecars.sidecar_of(weights), weights, *_best_files(folder, name)):
        removed(path)


def _best_files(folder: FilePath, name: str) -> list[FilePath]:
    """``NAME.best.npz``, and ``NAME.best-2.npz`` if a checkpoint of this name was replaced."""
    pattern = re.compile(re.escape(name) + r"\.best(-\d+)?\.npz")
    return [folder / each for each in listed(folder) if pattern.fullmatch(each)]


# --- the weights --------------------------------------------------------------------------------


def weights_of(model: Any) -> bytes | None:
    """The content of the file that ``model.save_weights`` writes.

    To read the variables of a model that several processes train, all of them have to call this.

    Args:
        model: of Keras 3 or ``tf_keras``.

    Returns:
        None if this Keras does not write in memory. Then :func:`write_weights` lets Keras write.

    Raises:
        TargetError: the model is not built, or Keras would not save its optimizer.
        UnwritableFile: Keras failed.
    """
    _check(model)
    content = in_memory(model)
    if content is None and is_one_of_several(model):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"model{ENDING}")
            _by_keras(model, path)
            content = path.read_bytes()
    return content


def write_weights(model: Any, content: bytes | None, output: Output) -> Path:
    """Write to ``output`` the file that ``model.save_weights`` writes.

    Args:
        model: of Keras 3 or ``tf_keras``.
        content: what :func:`weights_of` returned.
        output: its path is the file.

    Returns:
        Where the file is written until ``output`` is committed.

    Raises:
        UnwritableFile: the disk has too little space, or Keras failed.
    """
    output.need(_size(model) if content is None else len(content))
    path = output.file()
    if content is None:
        _by_keras(model, path)
    else:
        path.write_bytes(content)
    return path


def _check(model: Any) -> None:
    optimizer = getattr(model, "optimizer", None)
    if not model.built:
        raise TargetError(f"Keras model {model.name!r}: it is not built, so it has no weights yet")
    if optimizer is not None and ".legacy" in type(optimizer).__module__:
        raise TargetError(
            f"Keras does not save the state of {type(optimizer).__name__} of "
            "tf_keras.optimizers.legacy in a .weights.h5 file: compile the model with the "
            "optimizer of tf_keras.optimizers"
        )


def in_memory(model: Any) -> bytes | None:
    """The content of the file, written in memory. None if this Keras does not do that.

    An optimizer can be written in this way, too.

    The public ``model.save_weights`` writes to disk only, through HDF5, which ends the process
    (SIGSEGV) some time after a write failed because the disk was full. So this uses what
    ``save_weights`` uses. These functions are private to Keras, and another version may have
    renamed them: then, or if they fail for any other reason, :func:`_by_keras` writes the file.
    """
    archive = _Member()
    try:
        if is_keras3(model):
            from keras.src.saving import saving_lib

            visited = "visited_saveables"
        else:
            from tf_keras.src.saving import saving_lib

            visited = "visited_trackables"
        # A store that belongs to an archive is held in memory.
        store = saving_lib.H5IOStore("model.weights.h5", archive=archive, mode="w")
        saving_lib._save_state(
            model, weights_store=store, assets_store=None, inner_path="", **{visited: set()}
        )
        store.close()
    except Exception as error:
        _log_fallback(f"{type(error).__name__}: {error}")
        return None
    if not archive.content.startswith(_HDF5):
        _log_fallback("it wrote nothing")
        return None
    return archive.content


class _Member:
    """The one member of an archive."""

    content = b""

    def writestr(self, _name: str, content: bytes) -> None:
        self.content = content


@functools.cache
def _log_fallback(reason: str) -> None:
    """Once in a process for each reason."""
    logger.warning(
        "This version of Keras does not write weights in memory (%s). They are written with "
        "model.save_weights, where a full disk may end the process",
        reason,
    )


def _size(model: Any) -> int:
    """About how many bytes the weights and the optimizer's state take."""
    variables = [*model.weights, *optimizer_variables(getattr(model, "optimizer", None))]
    return sum(
        math.prod(each.shape) * (dtypes.itemsize(getattr(each.dtype, "name", each.dtype)) or 0)
        for each in variables
    )


def _by_keras(model: Any, path: Path) -> None:
    """Raises UnwritableFile for whatever ``model.save_weights`` raises: it runs the code of layers,
    and one save that fails does not end a training."""
    try:
        model.save_weights(str(path))
    except Exception as error:
        raise UnwritableFile(
            f"Keras does not save the weights of model {model.name!r}: "
            f"{type(error).__name__}: {error}"
        ) from error
    with open(path, "rb") as file:
        if file.read(len(_HDF5)) != _HDF5:
            raise UnwritableFile(
                f"{path}: model.save_weights of {model.name!r} wrote no HDF5 file there"
            )


# --- the best weights ---------------------------------------------------------------------------


def write_best(output: Output, weights: Mapping[str, Sequence[Any]]) -> dict[str, Path]:
    """Write the weights that callbacks hold, by the callback's name, if there are any.

    The file gets an unused name. That of a checkpoint which is replaced stays until the end.

    Returns:
        By name, where the file is written until ``output`` is committed.
    """
    import numpy as np

    stem = output.path.name.removesuffix(ENDING)
    for older in _best_files(output.folder, stem):
        output.obsolete(older.name)
    arrays = {f"{key}/{i}": array for key, each in weights.items() for i, array in enumerate(each)}
    if not arrays:
        return {}
    output.need(sum(array.nbytes for array in arrays.values()))
    names = itertools.chain(
        (f"{stem}{_BEST}",), (f"{stem}.best-{n}.npz" for n in itertools.count(2))
    )
    name = next(filter(output.is_free, names))
    path = output.file(name)
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    return {name: path}


def read_best(checkpoint: FilePath) -> dict[str, list[Any]]:
    """The weights that :func:`write_best` wrote beside a checkpoint, by the callback's name.

    Raises:
        InitregError: the file is missing or damaged.
    """
    found: dict[str, list[Any]] = {}
    stem = checkpoint.name.removesuffix(ENDING)
    best = checkpoint.with_name(f"{stem}{_BEST}")
    sidecar = sidecars.read_sidecar(sidecars.sidecar_of(checkpoint))
    mine = {path.name for path in _best_files(checkpoint.parent, stem)}
    for name in sidecar["files"] if sidecar is not None else ():
        if name in mine:
            best = checkpoint.with_name(name)
    for key, array in opening.load(best).items():
        found.setdefault(key.rpartition("/")[0], []).append(array)
    return found
