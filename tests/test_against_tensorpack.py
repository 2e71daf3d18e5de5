"""The same chain into the same graph, by tensorpack 0.11 and by initreg.

Where the rules agree, the values must be equal bit for bit. Each place where they differ on
purpose has a test of its own, whose docstring says what the difference is.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import (
    CastWarning,
    InitregWarning,
    MismatchError,
    MismatchWarning,
    MissingWarning,
    NothingMatched,
    ReshapeWarning,
    UnusedWarning,
)

with warnings.catch_warnings():
    # It imports pkg_resources, and uses escapes and TensorFlow names of 2019.
    warnings.simplefilter("ignore")
    from tensorpack.tfutils.sessinit import SmartInit as TensorpackSmartInit
    from tensorpack.tfutils.varmanip import save_chkpt_vars

v1 = tf.compat.v1
Values = dict[str, np.ndarray[Any, Any]]

# tensorpack reads a checkpoint through a name that TensorFlow has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorpack")

SHAPES: dict[str, tuple[tuple[int, ...], str]] = {
    "conv/W": ((3, 3, 1, 4), "float32"),
    "conv/b": ((4,), "float32"),
    "fc/W": ((4, 2), "float32"),
    "fc/b": ((2,), "float32"),
    "step": ((), "int64"),
    "half": ((3,), "float16"),
}


def arrays(seed: int, *names: str) -> Values:
    """Values for the variables ``names``, or for all."""
    rng = np.random.default_rng(seed)
    made = {n: (rng.random(s) * 100).astype(d) for n, (s, d) in SHAPES.items()}
    return {n: made[n] for n in names or SHAPES}


class Graph:
    """A graph of the variables of ``SHAPES``, all 0, and a session of it."""

    def __init__(self, use_resource: bool = True, names: Any = SHAPES) -> None:
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.variables = {
                n: v1.Variable(np.zeros(*SHAPES[n]), name=n, use_resource=use_resource)
                for n in names
            }
            self.session = v1.Session()
            self.session.run(v1.global_variables_initializer())

    def values(self) -> Values:
        return dict(self.session.run(self.variables))

    def tensorpack(self, chain: Any, **options: Any) -> Values:
        with self.graph.as_default():
            TensorpackSmartInit(chain, **options).init(self.session)
        return self.values()

    def initreg(self, chain: Any, **options: Any) -> Values:
        initreg.SmartInit(chain, **options).init(self.session)
        return self.values()


@pytest.fixture
def make() -> Iterator[Callable[..., Graph]]:
    """Makes graphs, and closes their sessions."""
    made: list[Graph] = []

    def make(**options: Any) -> Graph:
        made.append(Graph(**options))
        return made[-1]

    yield make
    for graph in made:
        graph.session.close()


def equal(a: Values, b: Values) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].shape == b[name].shape, name
        assert a[name].tobytes() == b[name].tobytes(), name


def checkpoint(path: Path, values: Values) -> str:
    """A checkpoint as ``tf.train.Saver`` writes it."""
    with tf.Graph().as_default(), v1.Session() as session:
        for name, array in values.items():
            v1.Variable(array, name=name)
        session.run(v1.global_variables_initializer())
        return str(v1.train.Saver().save(session, str(path), write_meta_graph=False))


def npz(path: Path, values: Values) -> str:
    np.savez(path, **values)
    return str(path)


CHAINS: dict[str, Callable[[Path], Any]] = {
    "dict": lambda d: arrays(1),
    "dict with :0": lambda d: {f"{n}:0": a for n, a in arrays(1).items()},
    "npz": lambda d: npz(d / "a.npz", arrays(1)),
    "checkpoint": lambda d: checkpoint(d / "model-1", arrays(1)),
    "index file": lambda d: checkpoint(d / "model-1", arrays(1)) + ".index",
    "data file": lambda d: checkpoint(d / "model-1", arrays(1)) + ".data-00000-of-00001",
    "state file": lambda d: str(Path(checkpoint(d / "model-1", arrays(1))).parent / "checkpoint"),
    "part of a dict": lambda d: arrays(1, "conv/W", "step"),
    "unused names": lambda d: {**arrays(1), "head/W": np.ones(3), "fc/W/Adam": np.ones((4, 2))},
    "nothing": lambda d: None,
    "empty string": lambda d: "",
    "empty list": lambda d: [],
    "dict over npz": lambda d: [npz(d / "a.npz", arrays(1)), arrays(2, "fc/W", "fc/b")],
    "npz over checkpoint": lambda d: [
        checkpoint(d / "model-1", arrays(1)),
        npz(d / "a.npz", arrays(2, "conv/W", "half")),
    ],
    "checkpoint over dict": lambda d: [
        arrays(2),
        checkpoint(d / "model-1", arrays(1, "fc/W", "step")),
    ],
    "three, nested": lambda d: [
        [checkpoint(d / "model-1", arrays(1)), arrays(2, "fc/W", "fc/b")],
        None,
        npz(d / "b.npz", arrays(3, "fc/b", "step")),
    ],
    "float64 to float32": lambda d: {n: arrays(1)[n].astype("f8") for n in ("conv/W", "fc/b")},
    "float32 to float16": lambda d: {"half": np.array([1 / 3, 1e-7, 60000.5], "f4")},
    "int32 to int64": lambda d: {"step": np.int32(-7)},
    "uint8 to int64": lambda d: {"step": np.array(200, "u1")},
    "axes of length 1": lambda d: {"fc/b": np.ones((1, 2), "f4"), "conv/b": np.ones((4, 1), "f4")},
    "Fortran order": lambda d: {"fc/W": np.asfortranarray(arrays(1)["fc/W"])},
}


@pytest.mark.parametrize("use_resource", [True, False])
@pytest.mark.parametrize("chain", CHAINS)
def test_the_same_values(
    make: Callable[..., Graph], chain: str, use_resource: bool, tmp_path: Path
) -> None:
    """A chain ends in the same bits, and in the zeros of before where it supplies nothing."""
    source = CHAINS[chain](tmp_path)
    theirs = make(use_resource=use_resource).tensorpack(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InitregWarning)
        ours = make(use_resource=use_resource).initreg(source)
    equal(ours, theirs)


@pytest.mark.parametrize("kind", ["dict", "npz", "checkpoint"])
def test_ignore_mismatch(make: Callable[..., Graph], kind: str, tmp_path: Path) -> None:
    """With ignore_mismatch, what does not fit is passed over by both, and the rest is restored."""
    values = {**arrays(1), "fc/W": np.ones((4, 7), "f4"), "fc/b": np.ones(7, "f4")}
    save = {
        "dict": lambda: values,
        "npz": lambda: npz(tmp_path / "a.npz", values),
        "checkpoint": lambda: checkpoint(tmp_path / "model-1", values),
    }
    source = save[kind]()
    theirs = make().tensorpack(source, ignore_mismatch=True)
    with pytest.warns(MismatchWarning, match="2 mismatched"):
        ours = make().initreg(source, ignore_mismatch=True)
    equal(ours, theirs)
    assert ours["fc/W"].tolist() == np.zeros((4, 2)).tolist()
    assert ours["conv/b"].tobytes() == values["conv/b"].tobytes()


def test_ignore_mismatch_in_a_chain(make: Callable[..., Graph]) -> None:
    """Where a later source does not fit, the earlier one that fits supplies the variable."""
    chain = [arrays(1), {"fc/W": np.ones((4, 7), "f4"), "fc/b": arrays(2)["fc/b"]}]
    theirs = make().tensorpack(chain, ignore_mismatch=True)
    with pytest.warns(MismatchWarning):
        ours = make().initreg(chain, ignore_mismatch=True)
    equal(ours, theirs)
    assert ours["fc/W"].tobytes() == arrays(1)["fc/W"].tobytes()


def test_a_mismatch_is_an_error(make: Callable[..., Graph]) -> None:
    """Without ignore_mismatch, both refuse an array of another size, and write nothing."""
    source = {**arrays(1), "fc/b": np.ones(7, "f4")}
    for restore, error in ((Graph.tensorpack, ValueError), (Graph.initreg, MismatchError)):
        graph = make()
        with pytest.raises(error, match="fc/b"):
            restore(graph, source)
        assert not graph.values()["conv/b"].any()


@pytest.mark.parametrize("dtype", ["int32", "uint64", "bool", "complex64"])
def test_other_casts_are_refused_by_both(make: Callable[..., Graph], dtype: str) -> None:
    """An integer, a bool or a complex number never goes into a float variable."""
    source = {"fc/b": np.ones(2, dtype)}
    with pytest.raises(AssertionError, match="fc/b"):
        make().tensorpack(source)
    with pytest.raises(MismatchError, match="fc/b"):
        make().initreg(source)


@pytest.mark.parametrize("suffix", [".npz", ""])
def test_what_tensorpack_saves(make: Callable[..., Graph], suffix: str, tmp_path: Path) -> None:
    """Files of tensorpack's own save_chkpt_vars restore by both."""
    path = str(tmp_path / f"model{suffix}")
    save_chkpt_vars(arrays(1), path)
    equal(make().initreg(path), make().tensorpack(path))


def test_nothing_adds_nothing(make: Callable[..., Graph]) -> None:
    """An empty chain leaves the session alone."""
    graph = make()
    before = len(graph.graph.get_operations())
    assert not any(array.any() for array in graph.initreg([None, "", []]).values())
    assert len(graph.graph.get_operations()) == before


# --- where initreg differs on purpose ---------------------------------------------------------


def test_difference_a_reshape_of_equal_size(make: Callable[..., Graph]) -> None:
    """tensorpack reshapes any array of equal size, also where that scrambles it; initreg only adds
    or drops axes of length 1, and refuses the rest."""
    transposed = {"fc/W": np.arange(8, dtype="f4").reshape(2, 4)}
    scrambled = make().tensorpack(transposed)["fc/W"]
    assert scrambled.tolist() == np.arange(8).reshape(4, 2).tolist()
    with pytest.raises(MismatchError, match=r"fc/W: shape \(2, 4\).*the shape is the transpose"):
        make().initreg(transposed)
    with pytest.warns(ReshapeWarning), pytest.warns(MissingWarning):
        found = make().initreg({"fc/b": np.array([[3], [4]], "f4")})
    assert found["fc/b"].tolist() == [3, 4]


def test_difference_warnings_in_a_chain(
    make: Callable[..., Graph], caplog: pytest.LogCaptureFixture
) -> None:
    """tensorpack warns in each link about what another link supplies; initreg plans the chain as
    one, and has nothing to warn of."""
    chain = [arrays(1, "conv/W", "conv/b", "step"), arrays(2, "fc/W", "fc/b", "half")]
    with caplog.at_level(logging.WARNING), _propagating("tensorpack"):
        theirs = make().tensorpack(chain)
    false = {r.getMessage() for r in caplog.records if "not found in the dict" in r.getMessage()}
    assert sorted(text.split(": ")[1] for text in false) == [
        "conv/W, conv/b, step",
        "fc/W, fc/b, half",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = make().initreg(chain)
    equal(ours, theirs)


def test_difference_overridden_arrays_are_not_checked(make: Callable[..., Graph]) -> None:
    """tensorpack runs each link, and fails in one whose array a later one replaces; initreg does
    not look at what is overridden."""
    chain = [{"fc/b": np.ones(7, "f4")}, arrays(1)]
    with pytest.raises(ValueError, match="fc/b"):
        make().tensorpack(chain)
    equal(make().initreg(chain), arrays(1))


def test_difference_nothing_is_half_done(make: Callable[..., Graph]) -> None:
    """tensorpack has written the first link when the second fails; initreg has written nothing."""
    chain = [arrays(1, "conv/b"), {"fc/b": np.ones(7, "f4")}]
    theirs, ours = make(), make()
    with pytest.raises(ValueError, match="fc/b"):
        theirs.tensorpack(chain)
    with pytest.raises(MismatchError, match="fc/b"):
        ours.initreg(chain)
    assert theirs.values()["conv/b"].any()
    assert not ours.values()["conv/b"].any()


def test_difference_all_mismatches_at_once(make: Callable[..., Graph]) -> None:
    """tensorpack stops at the first array that does not fit; initreg lists all of them."""
    source = {"fc/b": np.ones(7, "f4"), "conv/b": np.ones(9, "f4")}
    with pytest.raises(ValueError, match=r"fc/b|conv/b") as first:
        make().tensorpack(source)
    assert ("fc/b" in str(first.value)) != ("conv/b" in str(first.value))
    with pytest.raises(MismatchError, match=r"(?s)conv/b.*fc/b"):
        make().initreg(source)


def test_difference_the_users_array_stays_the_users(make: Callable[..., Graph]) -> None:
    """tensorpack feeds the user's own memory, which a resource variable then shares: to edit the
    array is to edit the variable. initreg copies what the user owns."""

    def aligned() -> np.ndarray[Any, Any]:
        raw = np.zeros(64 + 64, "u1")
        start = -raw.ctypes.data % 64
        return raw[start : start + 32].view("f4").reshape(4, 2)

    theirs, ours = make(names=["fc/W"]), make(names=["fc/W"])
    given = aligned()
    theirs.tensorpack({"fc/W": given})
    given[:] = 7
    assert theirs.values()["fc/W"].max() == 7
    given = aligned()
    ours.initreg({"fc/W": given})
    given[:] = 7
    assert ours.values()["fc/W"].max() == 0


def test_difference_the_graph_does_not_grow(make: Callable[..., Graph], tmp_path: Path) -> None:
    """tensorpack's restore of a checkpoint adds ops, so it fails on a finalized graph; initreg
    adds none."""
    path = checkpoint(tmp_path / "model-1", arrays(1))
    theirs, ours = make(), make()
    before = len(theirs.graph.get_operations()), len(ours.graph.get_operations())
    theirs.tensorpack(path)
    ours.graph.finalize()
    equal(ours.initreg(path), theirs.values())
    assert len(theirs.graph.get_operations()) > before[0]
    assert len(ours.graph.get_operations()) == before[1]
    theirs.graph.finalize()
    with pytest.raises(RuntimeError, match="finalized"):
        theirs.tensorpack(path)


def test_difference_casts_from_a_checkpoint(make: Callable[..., Graph], tmp_path: Path) -> None:
    """tensorpack leaves a checkpoint to a Saver, which refuses every other dtype; initreg casts
    floats, and integers to wider ones, whatever the format."""
    values = {**arrays(1), "fc/W": arrays(1)["fc/W"].astype("f8"), "step": np.array(5, "i4")}
    path = checkpoint(tmp_path / "model-1", values)
    with pytest.raises(tf.errors.InvalidArgumentError):
        make().tensorpack(path)
    with pytest.warns(CastWarning, match="2 cast"):
        ours = make().initreg(path)
    assert ours["step"] == 5
    assert ours["fc/W"].tobytes() == arrays(1)["fc/W"].tobytes()


def test_difference_shapes_in_a_checkpoint(make: Callable[..., Graph], tmp_path: Path) -> None:
    """A Saver refuses another shape for a reference variable, but gives it to a resource variable
    without a word, whose shape then is not what the graph says. initreg reshapes axes of length 1,
    with a warning, and refuses the rest, for both kinds."""
    ones = checkpoint(tmp_path / "model-1", {**arrays(1), "fc/b": np.ones((1, 2), "f4")})
    wrong = checkpoint(tmp_path / "model-2", {**arrays(1), "fc/b": np.ones(7, "f4")})
    assert make(use_resource=True).tensorpack(ones)["fc/b"].shape == (1, 2)
    assert make(use_resource=True).tensorpack(wrong)["fc/b"].shape == (7,)
    for path in (ones, wrong):
        with pytest.raises(tf.errors.InvalidArgumentError):
            make(use_resource=False).tensorpack(path)
    for use_resource in (True, False):
        with pytest.warns(ReshapeWarning, match="fc/b"):
            ours = make(use_resource=use_resource).initreg(ones)
        assert ours["fc/b"].tolist() == [1, 1]
        with pytest.raises(MismatchError, match="fc/b"):
            make(use_resource=use_resource).initreg(wrong)


def test_difference_nothing_in_common(make: Callable[..., Graph]) -> None:
    """tensorpack logs that no name matches, and goes on; initreg raises."""
    source = {"model/fc/W": np.ones((4, 2), "f4"), "model/fc/b": np.ones(2, "f4")}
    assert not any(array.any() for array in make().tensorpack(source).values())
    with pytest.raises(NothingMatched):
        make().initreg(source)


def test_difference_slots_are_counted_not_hidden(
    make: Callable[..., Graph], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """tensorpack hides every name of a checkpoint that looks like an optimiser's; initreg counts
    the slots of what it restored, and warns of any other name."""
    extra = {"fc/W/Adam": np.ones((4, 2), "f4"), "EMA/loss": np.ones(1, "f4")}
    path = checkpoint(tmp_path / "model-1", {**arrays(1), **extra})
    with caplog.at_level(logging.WARNING), _propagating("tensorpack"):
        make().tensorpack(path)
    assert [r for r in caplog.records if "not found in the graph" in r.getMessage()] == []
    with pytest.warns(UnusedWarning, match="EMA/loss"):
        plan = initreg.SmartInit(path).init(make().session)
    assert [row.name for row in plan.of("optimiser slot")] == ["fc/W/Adam"]


def test_difference_an_integer_out_of_range(make: Callable[..., Graph]) -> None:
    """Neither narrows an integer; tensorpack says so with an assertion, initreg in the plan."""
    source = {"step": np.array(1, "u8")}
    with pytest.raises(AssertionError, match="step"):
        make().tensorpack(source)
    plan = initreg.SmartInit(source).plan(make().session)
    assert [row.name for row in plan.of("mismatched")] == ["step"]


def test_difference_any_session_of_any_graph(make: Callable[..., Graph]) -> None:
    """tensorpack writes the variables of the default graph, and fails where the session is of
    another one; initreg writes those of the session's own graph."""
    graph = make()
    with tf.Graph().as_default():
        TensorpackSmartInit(arrays(1)).init(graph.session)
        assert not graph.values()["fc/b"].any()
        initreg.SmartInit(arrays(1)).init(graph.session)
    equal(graph.values(), arrays(1))


class _propagating:
    """Lets a logger's records reach pytest for a while; tensorpack's keeps them to itself."""

    def __init__(self, name: str) -> None:
        from tensorpack.utils import logger

        self._logger = logger._logger
        assert isinstance(self._logger, logging.Logger), name

    def __enter__(self) -> None:
        self._before = self._logger.propagate
        self._logger.propagate = True

    def __exit__(self, *error: object) -> None:
        self._logger.propagate = self._before
