"""Arrays that are only numbered: matched by order if the user says so, and all shapes agree."""

from __future__ import annotations

import numpy as np
import pytest

import initreg
from initreg import NothingMatched, RuleError, SmartInit
from initreg.plan.in_order import in_order, numbered
from initreg.specs import ArraySpec, OptimizerSpec, Place, StateSpec, VariableSpec


def specs(*names: str) -> list[ArraySpec]:
    return [ArraySpec(name, (2,), "float32") for name in names]


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["arr_0", "arr_1"], [0, 1]),
        (["1", "0", "2"], [1, 0, 2]),
        ([f"w/{i}" for i in (*range(2, 11), 0, 1)], [9, 10, *range(9)]),
        (["00", "01"], [0, 1]),
        (["net/arr_1", "net/arr_0"], [1, 0]),
        (["arr_0"], [0]),
        (["arr_0", "arr_2"], None),
        (["arr_1", "arr_2"], None),
        (["arr_0", "b"], None),
        (["a_0", "b_1"], None),
        (["a_0", "b_0"], None),
        (["0", "00"], None),
        (["w0", "w1"], None),
        (["layer_0", "layer_1"], None),
        ([], None),
    ],
)
def test_what_is_numbered(names: list[str], order: list[int] | None) -> None:
    """All names are one text with the numbers from 0, in any order, each once."""
    assert numbered(specs(*names)) == order


def test_positions_that_a_file_records_are_not_replaced() -> None:
    """A legacy file of Keras has an order of its own."""
    place = Place("#layer 0 of 1, weight 0 of 1")
    assert numbered([ArraySpec("w_0", (2,), "float32", places=(place,))]) is None


def test_the_order_of_a_target() -> None:
    """It is that of its framework, if it tells, or else its own without the state of optimizers."""
    state = StateSpec(OptimizerSpec(("optimizer",)), ("0 of 1",))
    variables = [
        VariableSpec("b", (2,), "float32", places=("#weights/1 of 2",)),
        VariableSpec("a", (2,), "float32", places=("x", "#weights/0 of 2")),
        VariableSpec("seed", (2,), "uint32"),
    ]
    assert in_order(variables) == [1, 0]
    variables = [VariableSpec("m", (2,), "float32", state=state), VariableSpec("a", (2,), "int8")]
    assert in_order(variables) == [1]


WEIGHTS = [np.full((4, 3), 1, "f4"), np.full(3, 2, "f4"), np.full(3, 3, "f4")]


def model() -> dict[str, np.ndarray]:
    return {"kernel": np.zeros((4, 3), "f4"), "beta": np.zeros(3, "f4"), "gamma": np.zeros(3, "f4")}


def test_nothing_is_guessed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Without by="order", nothing matches, and the hint is the code that does it."""
    np.savez(tmp_path / "w.npz", *WEIGHTS)
    target = model()
    with pytest.raises(NothingMatched) as raised:
        SmartInit(tmp_path / "w.npz").init(target)
    assert not any(array.any() for array in target.values())
    (hint,) = SmartInit(tmp_path / "w.npz").plan(target).hints
    assert hint.code == f'SmartInit("{tmp_path}/w.npz", by="order")'
    assert hint.code in str(raised.value)
    plan = eval(hint.code, {"SmartInit": SmartInit}).init(target)
    assert [array.flat[0] for array in target.values()] == [1, 2, 3]
    assert str(plan.ways[0]) == "matched by order: as asked for"


def test_numbers_that_the_target_has_too() -> None:
    """If the variables are numbered as well, a renaming says which is which, and not an order."""
    source = {"0": np.zeros(3, "f4"), "1": np.ones(3, "f4")}
    target = {"net/1": np.full(3, 7, "f4"), "net/0": np.full(3, 7, "f4")}
    (hint,) = SmartInit(source).plan(target).hints
    assert hint.options == {"prefix": "net/"}
    eval(hint.code, {"SmartInit": SmartInit, "source": source}).init(target)
    assert (target["net/0"][0], target["net/1"][0]) == (0, 1)


def test_lists_and_their_names() -> None:
    """A list in a dict is taken in its order. If there are several, the one that fits is named."""
    source = {"pnet": WEIGHTS, "rnet": WEIGHTS[:2], "on[et": WEIGHTS}
    target = model()
    hints = SmartInit(source).plan(target).hints
    assert [hint.code for hint in hints] == [
        'SmartInit(source, keep="pnet/*", by="order")',
        'SmartInit(source, keep="on[[]et/*", by="order")',
    ]
    for hint in hints:
        eval(hint.code, {"SmartInit": SmartInit, "source": source}).init(target)
        assert [array.flat[0] for array in target.values()] == [1, 2, 3]


def test_in_a_chain() -> None:
    """The order is asked for one source, and the others go by name."""
    source = [{"weights": WEIGHTS}, {"beta": np.full(3, 9, "f4")}]
    target = model()
    (hint,) = SmartInit(source).plan(target).hints
    assert "of the arrays" not in hint.words
    eval(hint.code, {"SmartInit": SmartInit, "source": source}).init(target)
    assert [array.flat[0] for array in target.values()] == [1, 9, 3]


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (WEIGHTS[:2], r"The source has 2 arrays, the target 3 weights"),
        ([*WEIGHTS, WEIGHTS[0]], r"The source has 4 arrays, the target 3 weights"),
        ([WEIGHTS[1], WEIGHTS[0], WEIGHTS[2]], r"arr_0: \(3,\) float32, and 'kernel' is \(4, 3\)"),
        ([WEIGHTS[0].T, *WEIGHTS[1:]], r"arr_0: \(3, 4\) float32, and 'kernel' is \(4, 3\)"),
        ([WEIGHTS[0], WEIGHTS[1][None], WEIGHTS[2]], r"arr_1: \(1, 3\) float32, and 'beta'"),
        ([WEIGHTS[0], np.array(["a"] * 3), WEIGHTS[2]], r"arr_1: \(3,\) string, and 'beta'"),
    ],
)
@pytest.mark.parametrize("ignore_mismatch", [False, True])
def test_an_order_that_does_not_fit(weights, says, ignore_mismatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """One array that does not fit says that the order is another one: nothing is written, and no
    hint tells to try it."""
    np.savez(tmp_path / "w.npz", *weights)
    target = model()
    with pytest.raises(RuleError, match=says):
        SmartInit(tmp_path / "w.npz", by="order", ignore_mismatch=ignore_mismatch).init(target)
    assert not any(array.any() for array in target.values())
    hints = SmartInit(tmp_path / "w.npz").plan(target).hints
    assert all("by" not in hint.options for hint in hints)
    assert any("are only numbers, and" in hint.words for hint in hints)


def test_other_dtypes_are_cast(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Floats are cast as always, with a warning."""
    np.savez(tmp_path / "w.npz", *[w.astype("f8") for w in WEIGHTS])
    target = model()
    with pytest.warns(initreg.CastWarning):
        SmartInit(tmp_path / "w.npz", by="order").init(target)
    assert [array.flat[0] for array in target.values()] == [1, 2, 3]


def test_by_order_without_numbers_is_still_an_error() -> None:
    """Names that people gave are no order."""
    with pytest.raises(RuleError, match="neither side records orders"):
        SmartInit({"a": WEIGHTS[0], "b": WEIGHTS[1]}, by="order").plan(model())
