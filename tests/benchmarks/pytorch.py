"""How long PyTorch's files take, beside ``torch.load`` with a mapped file. It needs torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import fresh
import models
import numpy as np
import restores
import restoring
import torch
from restoring import Case

import initreg

TITLE = "PyTorch's files"
NOTE = """\
The same model in a `.pth` that `torch.save` wrote, read by `initreg-torch` without torch, beside
`torch.load(mmap=True, weights_only=True)` and `.numpy()` of each tensor. *numpy arrays* are arrays
that do not depend on the file. These rows need torch, which is in `.venv-bridge`, the environment
of `make bridge`. `make bench SUBJECTS=pytorch` measures them alone.
"""


# --- the files ------------------------------------------------------------------------------------


def pth(model: models.Model, folder: Path) -> Path:
    path = folder / "model.pth"
    torch.save({name: torch.from_numpy(np.array(array)) for name, array in model.items()}, path)
    return path


def keras_pth(model: models.Model, folder: Path) -> Path:
    """The weights of the Keras model, by their paths."""
    made = models.keras_model()
    return pth({weight.path: weight.numpy() for weight in made.weights}, folder)


# --- both sides -----------------------------------------------------------------------------------


def loaded(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, mmap=True, weights_only=True)


def torch_load(path: Path) -> fresh.Run:
    def restore(variables: dict[str, Any]) -> None:
        for name, tensor in loaded(path).items():
            variables[name].assign(tensor.numpy())

    return restores.into_variables(restore)


def torch_load_keras(path: Path) -> fresh.Run:
    def restore(model: Any) -> None:
        found = loaded(path)
        for weight in model.weights:
            weight.assign(found[weight.path].numpy())

    return fresh.Run(models.keras_model, restore, restores.use_keras)


def use_arrays(arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    assert all(np.isfinite(array.sum()) for array in arrays.values())


def load(path: Path) -> fresh.Run:
    return fresh.Run(dict, lambda _: initreg.load(path), use_arrays)


def torch_load_copied(path: Path) -> fresh.Run:
    def restore(_: Any) -> dict[str, np.ndarray[Any, Any]]:
        return {name: np.array(tensor.numpy()) for name, tensor in loaded(path).items()}

    return fresh.Run(dict, restore, use_arrays)


PEER = "torch.load(mmap=True)"
CASES = [
    Case(".pth → TF2 variables", pth, restores.ours, f"{PEER} + assign", torch_load, 1),
    Case(".pth → Keras", keras_pth, restores.ours_keras, f"{PEER} + assign", torch_load_keras, 1),
    Case(".pth → numpy arrays", pth, load, f"{PEER} + copy", torch_load_copied, 1),
]


if __name__ == "__main__":
    restoring.CASES[:] = CASES
    restoring.__file__ = __file__  # what a fresh process runs
    restoring.main([each for each in sys.argv[1:] if each != "--quick"])
