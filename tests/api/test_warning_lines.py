"""Every warning points to the line of the user's code that called initreg."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import errors

ONES = np.ones(3, "f4")


def target(shape: tuple[int, ...] = (3,), dtype: str = "f4") -> dict[str, Any]:
    return {"a": np.zeros(shape, dtype), "b": np.zeros(3, "f4")}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file whose values become infinite in float16."""
    return initreg.save(tmp_path / "large.npz", {"a": np.full(3, 1e30, "f4"), "b": ONES})


def incomplete(folder: Path) -> Path:
    path = initreg.save(folder / "model-1.npz", {"a": ONES})
    initreg.save_states(path, step=1)
    path.write_bytes(path.read_bytes()[:-9])
    return folder


def opened(path: Path, **options: Any) -> Any:
    return initreg.open(path, **options)


def matrices(rows: int) -> dict[str, Any]:
    """A matrix of which only the transpose fits the other one of this name, and a square one."""
    return {"a": np.ones((rows, 5 - rows), "f4"), "b": np.ones((3, 3), "f4")}


def module(name: str) -> tf.Module:
    """A module with one variable, under the attribute ``v``."""
    found = tf.Module()
    found.v = tf.Variable(ONES, name=name)
    return found


def checkpoint(folder: Path) -> str:
    """A checkpoint of a module whose variable has another name."""
    written: str = tf.train.Checkpoint(module("old")).write(str(folder / "ckpt"))
    return written


def compiled(optimizer: str) -> keras.Model:
    """A model whose optimizer is built."""
    made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="fc")])
    made.compile(optimizer, "mse")
    made.optimizer.build(made.trainable_variables)
    return made


def trained(folder: Path) -> Path:
    """A file with the state of Adam."""
    compiled("adam").save(folder / "m.keras")
    return folder / "m.keras"


def described(folder: Path) -> Path:
    return initreg.save(folder / "m.safetensors", {"a": ONES}, metadata={"license": "mit"})


# Each call is in a line of its own: the class that it warns with, and the call.
CALLS: list[tuple[str, Callable[[Path, Path], Any]]] = [
    ("MissingWarning", lambda f, p: initreg.SmartInit({"a": ONES}).init(target())),
    ("UnusedWarning", lambda f, p: initreg.SmartInit({"a": ONES, "c": ONES}).init(target())),
    ("ReshapeWarning", lambda f, p: initreg.SmartInit({"a": ONES, "b": ONES}).init(target((1, 3)))),
    ("NamingWarning", lambda f, p: initreg.SmartInit(checkpoint(p)).init(module("new"))),
    ("StateWarning", lambda f, p: initreg.SmartInit(trained(p)).init(compiled("rmsprop"))),
    ("CastWarning", lambda f, p: initreg.SmartInit(f).init(target(dtype="f8"))),
    ("CastWarning", lambda f, p: initreg.SmartInit(f, atomic=True).init(target(dtype="f2"))),
    ("MismatchWarning", lambda f, p: initreg.SmartInit(f, ignore_mismatch=True).init(target((4,)))),
    ("AxesWarning", lambda f, p: initreg.SmartInit(matrices(3), transpose="a").init(matrices(2))),
    ("UnmetWarning", lambda f, p: initreg.SmartInit(f, expect_missing="x").init(target())),
    ("MergeWarning", lambda f, p: initreg.merge([{"a": ONES}, {"a": ONES * np.nan}], p / "x.npz")),
    ("CastWarning", lambda f, p: initreg.merge([f, f], p / "x.npz", dtype="float16")),
    ("MetadataWarning", lambda f, p: initreg.convert(described(p), p / "x.npz")),
    ("CastWarning", lambda f, p: initreg.load(f, cast="float16")),
    ("CastWarning", lambda f, p: initreg.open(f, cast="float16")["a"].read()),
    ("CastWarning", lambda f, p: np.asarray(initreg.open(f, cast="float16")["a"])),
    ("CastWarning", lambda f, p: initreg.convert(f, p / "out.npz", cast="float16", manifest=True)),
    ("CastWarning", lambda f, p: initreg.convert(f, p / "out.h5", cast="float16")),
    ("CastWarning", lambda f, p: initreg.convert(f, p / "out.safetensors", cast="float16")),
    ("CastWarning", lambda f, p: initreg.convert(f, p / "out.ckpt", cast="float16")),
    ("CastWarning", lambda f, p: initreg.save(p / "out.npz", initreg.open(f, cast="float16"))),
    ("CastWarning", lambda f, p: initreg.dump(opened(f, cast="float16"), p / "o.npz", inference=1)),
    ("CastWarning", lambda f, p: initreg.verify(initreg.open(f, cast="float16"))),
    ("ResumeWarning", lambda f, p: initreg.resume(incomplete(p))),
    ("ResumeWarning", lambda f, p: initreg.resume(incomplete(p), verify=True)),
]


@pytest.mark.parametrize(
    ("name", "call"), CALLS, ids=[f"{i}-{name}" for i, (name, _) in enumerate(CALLS)]
)
def test_a_warning_points_to_the_users_line(
    name: str, call: Callable[[Path, Path], Any], file: Path, tmp_path: Path
) -> None:
    """Whatever was called, and though functions of formats and targets lie in between."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(file, tmp_path)
    ours = [each for each in caught if issubclass(each.category, initreg.InitregWarning)]
    assert name in {each.category.__name__ for each in ours}
    here = (__file__, call.__code__.co_firstlineno)
    assert {(each.filename, each.lineno) for each in ours} == {here}


def test_every_class_is_among_them() -> None:
    """No class of warnings is left out."""
    known = {c.__name__ for c in vars(errors).values() if isinstance(c, type)}
    assert {name for name, _ in CALLS} == {n for n in known if n.endswith("Warning")} - {
        "InitregWarning"
    }
