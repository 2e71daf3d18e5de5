"""SessionInits of initreg beside tensorpack's own: chains, files that are missing, prefixes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import (
    MismatchError,
    MissingError,
    NothingMatched,
    PartialRestoreError,
    RefusedFile,
    RuleError,
    SourceNotFound,
    UnknownFormat,
)

with warnings.catch_warnings():
    # It imports pkg_resources, and uses escapes and TensorFlow names of 2019.
    warnings.simplefilter("ignore")
    from tensorpack.tfutils import sessinit

    from initreg.trainers import tensorpack as ours
    from initreg.trainers.tf1 import ModelSaver, init_fn

v1 = tf.compat.v1

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:tensorpack",  # of names that TensorFlow and Python gave up
    "ignore::DeprecationWarning:distutils",
)


def ones(value: float = 1, size: int = 3) -> Any:
    return np.full(size, value, "f4")


def started(init: Any, *names: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
    """The values of variables of three zeros each, after ``init`` has run as a trainer runs it.

    They are put into ``values`` also if it raises.
    """
    values = {} if values is None else values
    with tf.Graph().as_default():
        for name in names:
            v1.get_variable(name, initializer=ones(0))
        init._setup_graph()
        variables = v1.global_variables()
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            try:
                init._run_init(session)
            finally:
                values.update({v.op.name: session.run(v).tolist() for v in variables})
    return values


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """A checkpoint of a, all 1, b, all 2, and global_step, all 3."""
    values = {"a": ones(1), "b": ones(2), "global_step": ones(3)}
    return str(initreg.save(tmp_path / "model.ckpt", values))


# --- when they are made -------------------------------------------------------------------------

BOTH = [
    lambda m, source: m.SmartInit(source),
    lambda m, source: m.get_model_loader(source),
    lambda m, source: m.SaverRestore(source),
    lambda m, source: m.SaverRestoreRelaxed(source),
    lambda m, source: m.SmartInit([{"a": ones()}, source]),
]


@pytest.mark.parametrize("make", BOTH)
def test_a_missing_file(make: Callable[[Any, str], Any], tmp_path: Path) -> None:
    """It is an error when the object is made, in tensorpack and here."""
    path = str(tmp_path / "typo")
    with pytest.raises((AssertionError, ValueError, tf.errors.OpError)):
        make(sessinit, path)
    with pytest.raises(SourceNotFound, match="typo"):
        make(ours, path)


@pytest.mark.parametrize(
    "make",
    [
        *(lambda source, make=make, **options: make(ours, source) for make in BOTH),
        lambda source: ours.ChainInit([source]),
        lambda source: init_fn(source),
        lambda source: init_fn([source, {}]),
    ],
)
def test_what_cannot_be_opened(make: Callable[[Any], Any], tmp_path: Path) -> None:
    """An unknown format, a pickle, and a state file that points to nothing fail at once."""
    (tmp_path / "notes.txt").write_text("nothing")
    np.save(tmp_path / "zoo.npy", {"a": np.zeros(1)})
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "gone-1"\n')
    for name, error in (
        ("notes.txt", UnknownFormat),
        ("zoo.npy", RefusedFile),
        ("checkpoint", SourceNotFound),
    ):
        with pytest.raises(error):
            make(str(tmp_path / name))


def test_a_wrong_rule(checkpoint: str) -> None:
    """A rule that matches nothing fails at once, too."""
    for make in (ours.SmartInit, ours.SaverRestore, init_fn):
        with pytest.raises(RuleError, match="drop='nope' matches no array"):
            make(checkpoint, drop="nope")


def test_options_without_a_source() -> None:
    """SmartInit(None) initialises nothing. on_missing="error" still counts."""
    assert type(ours.SmartInit(None)) is sessinit.JustCurrentSession
    with pytest.raises(MissingError):
        started(ours.SmartInit(None, on_missing="error"), "a")


def test_a_run_that_is_resumed_needs_no_source(tmp_path: Path) -> None:
    """init_fn does not ask for a file that only the first start needed."""
    saver = ModelSaver(tmp_path / "run", every_n_steps=1)
    with pytest.raises(SourceNotFound):
        init_fn(tmp_path / "base.npz", saver)
    initreg.save(tmp_path / "base.npz", {"a": ones(5)})

    def run() -> list[float]:
        saver = ModelSaver(tmp_path / "run", every_n_steps=1)
        start = init_fn(tmp_path / "base.npz", saver, on_missing="ignore")
        with tf.Graph().as_default():
            v1.train.get_or_create_global_step()
            a = v1.get_variable("a", initializer=ones(0))
            scaffold = v1.train.Scaffold(init_fn=start)
            with v1.train.MonitoredTrainingSession(
                scaffold=scaffold,
                hooks=[saver],
                save_checkpoint_steps=None,
                save_checkpoint_secs=None,
            ) as session:
                found = session.run_step_fn(lambda step_context: step_context.session.run(a))
        return list(found)

    assert run() == [5, 5, 5]
    (tmp_path / "base.npz").unlink()
    assert run() == [5, 5, 5]


# --- chains -------------------------------------------------------------------------------------


def test_the_options_of_a_part_and_of_the_chain() -> None:
    """A part may have on_missing=, and so may the chain."""
    quiet = ours.DictRestore({"a": ones(1)}, on_missing="ignore")
    chain = ours.ChainInit([quiet, ours.DictRestore({"b": ones(2)})])
    assert started(chain, "a", "b") == {"a": [1, 1, 1], "b": [2, 2, 2]}
    with pytest.raises(MissingError, match=r"expect_missing=\[\"c\"\]"):
        started(ours.ChainInit([chain], on_missing="error"), "a", "b", "c")
    chain = ours.ChainInit([chain], on_missing="error", expect_missing=["c"])
    assert started(chain, "a", "b", "c")["c"] == [0, 0, 0]


def test_rules_of_the_chain(checkpoint: str) -> None:
    """They apply to all parts, after the parts' own."""
    chain = ours.ChainInit(
        [ours.SmartInit(checkpoint, prefix="net/"), {"net/a": ones(7)}],
        strip_prefix="net/",
        drop="net/global_step",
        on_missing="ignore",
    )
    assert started(chain, "a", "b") == {"a": [7, 7, 7], "b": [2, 2, 2]}


@pytest.mark.parametrize(
    "nest",
    [
        lambda parts: ours.ChainInit([ours.ChainInit(parts[:1]), *parts[1:]]),
        lambda parts: ours.ChainInit([ours.ChainInit([ours.ChainInit(parts)])]),
        lambda parts: ours.ChainInit([sessinit.ChainInit(parts)]),
        lambda parts: ours.ChainInit([parts, sessinit.JustCurrentSession()]),
        lambda parts: ours.SmartInit([ours.SmartInit([]), parts]),
        lambda parts: ours.ChainInit([part.source for part in parts]),
    ],
)
def test_nested_chains_are_planned_as_one(nest: Callable[[list[Any]], Any]) -> None:
    """Nothing is written if the last part does not fit, however the parts are nested."""
    values: dict[str, Any] = {}
    wrong = [ours.DictRestore({"a": ones()}), ours.DictRestore({"b": ones(size=4)})]
    with pytest.raises(MismatchError, match="nothing was written"):
        started(nest(wrong), "a", "b", values=values)
    assert values == {"a": [0, 0, 0], "b": [0, 0, 0]}
    right = [ours.DictRestore({"a": ones()}), ours.DictRestore({"a": ones(2), "b": ones(3)})]
    assert started(nest(right), "a", "b") == {"a": [2, 2, 2], "b": [3, 3, 3]}


class Double(sessinit.SessionInit):  # type: ignore[misc]
    """Adds an op to the graph, which doubles a, and runs it."""

    def _setup_graph(self) -> None:
        (a,) = (v for v in v1.global_variables() if v.op.name == "a")
        self.op = a.assign_add(a)

    def _run_init(self, sess: Any) -> None:
        sess.run(self.op)


@pytest.mark.parametrize("nest", [list, lambda parts: [ours.ChainInit(parts[:2]), parts[2]]])
def test_foreign_parts_run_in_order(nest: Callable[[list[Any]], Any], checkpoint: str) -> None:
    """tensorpack's own and the user's, with their _setup_graph, between the parts of initreg."""
    parts = [ours.SaverRestore(checkpoint), Double(), sessinit.DictRestore({"b": ones(5)})]
    with pytest.warns(initreg.UnusedWarning):
        found = started(ours.ChainInit(nest(parts)), "a", "b")
    assert found == {"a": [2, 2, 2], "b": [5, 5, 5]}
    # And what comes after a foreign part overrides it.
    parts = [sessinit.SaverRestore(checkpoint), Double(), ours.DictRestore({"b": ones(6)})]
    with pytest.warns(initreg.MissingWarning, match="SaverRestore of tensorpack, Double init"):
        found = started(ours.ChainInit(nest(parts)), "a", "b")
    assert found == {"a": [2, 2, 2], "b": [6, 6, 6]}


def test_a_part_of_tensorpack_that_does_not_fit() -> None:
    """The error lists what was written before it, and what was not."""
    values: dict[str, Any] = {}
    chain = ours.ChainInit(
        [
            ours.DictRestore({"a": ones()}),
            sessinit.DictRestore({"b": ones(size=4)}),
            ours.DictRestore({"c": ones()}, on_missing="ignore"),
        ],
        on_missing="ignore",
    )
    with pytest.raises(
        PartialRestoreError, match="DictRestore of tensorpack failed: ValueError"
    ) as e:
        started(chain, "a", "b", "c", values=values)
    assert (e.value.written, e.value.not_written) == (("a",), ("c",))
    assert values == {"a": [1, 1, 1], "b": [0, 0, 0], "c": [0, 0, 0]}


def test_a_plan_that_fails_runs_no_part_of_tensorpack() -> None:
    """Parts of initreg are checked before anything is run."""
    values: dict[str, Any] = {}
    chain = ours.ChainInit(
        [sessinit.DictRestore({"a": ones()}), ours.DictRestore({"b": ones(size=4)})]
    )
    with pytest.raises(MismatchError, match=r"which DictRestore of tensorpack initialises, too"):
        started(chain, "a", "b", values=values)
    assert values == {"a": [0, 0, 0], "b": [0, 0, 0]}


def test_a_class_of_the_users_own(checkpoint: str) -> None:
    """A part whose class does more than ours is run as it is."""

    class Loud(ours.DictRestore):  # type: ignore[misc]
        ran = False

        def _run_init(self, sess: Any) -> None:
            super()._run_init(sess)
            self.ran = True

    loud = Loud({"b": ones(9)}, on_missing="ignore")
    chain = ours.ChainInit([ours.DictRestore({"a": ones()}), loud], on_missing="ignore")
    assert started(chain, "a", "b") == {"a": [1, 1, 1], "b": [9, 9, 9]}
    assert loud.ran


# --- prefix, beside tensorpack ------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::initreg.InitregWarning")
@pytest.mark.parametrize("kind", ["SaverRestore", "SaverRestoreRelaxed"])
@pytest.mark.parametrize(
    ("names", "ignore"),
    [
        (("net/a", "net/b", "net/global_step"), []),
        (("net/a", "net/b", "global_step"), []),
        (("net/a", "b"), []),
        (("net/a", "net/x", "y", "b"), []),
        (("a", "b"), []),  # nothing is in the scope
        (("net/a", "b", "global_step"), ["b", "a:0"]),
        (("net/a", "a", "b"), ["a"]),
        (("net/sub/a", "net/b", "other/net/a"), []),
    ],
)
def test_a_prefix_means_what_it_means_in_tensorpack(
    kind: str, names: tuple[str, ...], ignore: list[str], checkpoint: str
) -> None:
    """The same variables get the same values, in the scope and outside of it."""
    theirs = started(getattr(sessinit, kind)(checkpoint, prefix="net", ignore=ignore), *names)
    mine = started(getattr(ours, kind)(checkpoint, prefix="net", ignore=ignore), *names)
    assert mine == theirs


def test_two_variables_for_one_array(checkpoint: str) -> None:
    """An error in both. tensorpack's relaxed one fills both without a word; initreg asks."""
    with pytest.raises(AssertionError, match="Restore conflict"):
        started(sessinit.SaverRestore(checkpoint, prefix="net"), "a", "net/a")
    assert started(sessinit.SaverRestoreRelaxed(checkpoint, prefix="net"), "a", "net/a") == {
        "a": [1, 1, 1],
        "net/a": [1, 1, 1],
    }
    for kind in (ours.SaverRestore, ours.SaverRestoreRelaxed):
        with pytest.raises(RuleError, match="'a' may be meant for the variable 'net/a' or"):
            started(kind(checkpoint, prefix="net"), "a", "net/a")


def test_a_variable_that_begins_like_the_scope(checkpoint: str) -> None:
    """tensorpack takes network/a for one of the scope net, and looks for an array ork/a. initreg
    goes by whole parts of a name."""
    path = str(
        initreg.save(Path(checkpoint).parent / "n.ckpt", {"network/a": ones(4), "a": ones()})
    )
    names = ("network/a", "net/a")
    assert started(sessinit.SaverRestore(path, prefix="net"), *names)["network/a"] == [0, 0, 0]
    found = started(ours.SaverRestore(path, prefix="net"), *names)
    assert found == {"network/a": [4, 4, 4], "net/a": [1, 1, 1]}


@pytest.mark.filterwarnings("ignore::initreg.InitregWarning")  # no variable is in the scope
def test_the_hint_of_a_prefix_works_when_it_is_typed(checkpoint: str) -> None:
    """SaverRestore takes an initialiser of this module, as the hint has it."""
    with pytest.raises(NothingMatched, match="names match after") as caught:
        started(ours.SaverRestoreRelaxed(checkpoint, prefix="net"), "tower/a", "tower/b")
    (hint,) = re.findall(r"SmartInit\(SaverRestore.*\)", str(caught.value))
    fixed = eval(hint, {"SmartInit": ours.SmartInit, "SaverRestore": ours.SaverRestore})
    assert started(fixed, "tower/a", "tower/b") == {"tower/a": [1, 1, 1], "tower/b": [2, 2, 2]}
