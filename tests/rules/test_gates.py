"""initreg.rules.gates: blocks of an axis in another order, by the names of the gates."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import RuleError, SmartInit
from initreg.cli import main
from initreg.rules.gates import ORDERS


def blocks(order: str, shape: tuple[int, ...] = (2, 3), axis: int = 0) -> np.ndarray:
    """A block of its own value for each gate: the code of its letter."""
    return np.concatenate([np.full(shape, ord(gate), "f4") for gate in order], axis)


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
@pytest.mark.parametrize(
    ("old", "new"), [("iofc", "ifco"), ("i o f c", "o c i f"), ("rzn", "zrn"), ("ab", "ba")]
)
def test_blocks_follow_their_letters(old: str, new: str, axis: int) -> None:
    """Each gate is where the new order says, along this axis and no other."""
    w = blocks(old.replace(" ", ""), axis=axis)
    found = initreg.load({"w": w}, gates={"w": (axis, old, new)})["w"]
    assert found.tobytes() == blocks(new.replace(" ", ""), axis=axis).tobytes()


def test_inside_a_block_nothing_moves() -> None:
    """The rows of a gate stay in their order, in every dtype."""
    w = np.arange(12).reshape(12, 1).astype(ml_dtypes.bfloat16)
    found = initreg.load({"w": w}, gates={"w": (0, "iofc", "ifco")})["w"]
    assert found.dtype == w.dtype
    assert found.ravel().tolist() == [0, 1, 2, 6, 7, 8, 9, 10, 11, 3, 4, 5]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_names_are_orders(cell: str) -> None:
    """Each pair of libraries goes there and back, and onto what the letters say."""
    names = [name for name in ORDERS if name.endswith(cell) and len(ORDERS[name]) > 2]
    for old in names:
        for new in names:
            there = initreg.load({"w": blocks(ORDERS[old])}, gates={"w": (0, old, new)})
            assert there["w"].tobytes() == blocks(ORDERS[new]).tobytes()


def test_letters_of_libraries_mean_the_same_gates() -> None:
    """g and j are c, n is h, u is z; so torch's own letters can be typed."""
    arrays = {"w": blocks("ifgo"), "u": blocks("rzn")}
    rules = {"w": (0, "i f g o", "i o f c"), "u": (0, "r u n", "keras-gru")}
    found = initreg.load(arrays, gates=rules)
    assert found["w"].tobytes() == blocks("iofg").tobytes()
    assert found["u"].tobytes() == blocks("zrn").tobytes()


def test_the_same_order_changes_nothing() -> None:
    """torch and Keras have the same one for an LSTM. The plan says it, and it is no error."""
    target = {"w": np.zeros((8, 3), "f4")}
    rules = {"w": (0, "torch-lstm", "keras-lstm")}
    plan = SmartInit({"w": blocks("ifco")}, gates=rules).init(target)
    assert plan[0].changes == ("gates i f c o along axis 0",)
    assert target["w"].tobytes() == blocks("ifco").tobytes()


def test_the_plan_says_both_orders() -> None:
    """In the words of the letters, with the axis."""
    plan = SmartInit({"w": blocks("iofc")}, gates={"w": (0, "onnx-lstm", "keras-lstm")}).plan(
        {"w": np.zeros((8, 3), "f4")}
    )
    assert plan[0].changes == ("gates i o f c as i f c o along axis 0",)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((0, "iofc", "ifc"), "'iofc' has the gates i o f c, and 'ifc' i f c. Both must have"),
        ((0, "iofc", "keras-gru"), "Both must have the same ones"),
        ((0, "iifc", "ifco"), "'iifc' has the gate 'i' twice"),
        ((0, "igfc", "ifco"), "'igfc' has the gate 'c' twice, by another letter"),
        ((0, "onnx", "keras"), "'onnx': of which cell. Give onnx-lstm or onnx-gru"),
        ((0, "iofc", "keras"), "'keras': of which cell. Give keras-lstm or keras-gru"),
        ((0, "onnx_lstm", "ifco"), "'onnx_lstm' is not an order of gates. There are torch-lstm"),
        ((0, "", "ifco"), "'' is not an order of gates"),
        ((2, "iofc", "ifco"), r"array 'w': shape \(8, 3\) has no axis 2"),
        ((1, "iofc", "ifco"), r"axis 1 of shape \(8, 3\) has 3 elements, not 4 equal gates"),
        ((0, "iofc"), r"gates=.*: give \(axis, old, new\)"),
        ((0, 3, "ifco"), r"gates=.*: give \(axis, old, new\)"),
        (("0", "iofc", "ifco"), r"gates=.*: give \(axis, old, new\)"),
    ],
    ids=str,
)
def test_what_is_not_right_is_an_error(value: tuple, said: str) -> None:
    """It names the array, its shape, and the gates, before anything is read."""
    with pytest.raises(RuleError, match=said):
        initreg.open({"w": blocks("iofc")}, gates={"w": value})


def test_an_empty_axis_has_no_gates() -> None:
    """Zero elements are not four gates of none: it is more likely another axis."""
    with pytest.raises(RuleError, match="has 0 elements, not 4 equal gates"):
        initreg.open({"w": np.zeros((0, 3), "f4")}, gates={"w": (0, "iofc", "ifco")})


def test_it_is_undone_in_reverse(tmp_path: Path) -> None:
    """From a file, on the command line: the same bytes come back."""
    np.savez(tmp_path / "a.npz", w=blocks("iofc"), b=blocks("iofc", (2,)))
    (tmp_path / "r.toml").write_text(
        '[gates]\nw = { axis = 0, from = "onnx-lstm", to = "keras-lstm" }\n'
        'b = [-1, "iofc", "ifco"]\n'
    )
    rules, there, back = (str(tmp_path / name) for name in ("r.toml", "b.npz", "c.npz"))
    assert main(["convert", str(tmp_path / "a.npz"), there, "--rules", rules]) == 0
    assert initreg.load(there)["w"].tobytes() == blocks("ifco").tobytes()
    assert initreg.load(there)["b"].tobytes() == blocks("ifco", (2,)).tobytes()
    assert main(["convert", there, back, "--reverse", rules]) == 0
    assert initreg.load(back)["w"].tobytes() == blocks("iofc").tobytes()
    assert initreg.load(back)["b"].tobytes() == blocks("iofc", (2,)).tobytes()


def test_on_the_command_line(tmp_path: Path) -> None:
    """As a flag, with names and with letters."""
    np.savez(tmp_path / "a.npz", w=blocks("iofc"), u=blocks("rzn"))
    flags = ["--gates", "w=0,onnx-lstm,ifco", "--gates", "u=-2,rzn,znr"]
    assert main(["convert", str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), *flags]) == 0
    found = initreg.load(tmp_path / "b.npz")
    assert found["w"].tobytes() == blocks("ifco").tobytes()
    assert found["u"].tobytes() == blocks("znr").tobytes()


def test_on_a_map() -> None:
    """As a method."""
    with initreg.open({"w": blocks("iofc")}) as arrays:
        found = arrays.gates("w", 0, "iofc", "ifco")
        assert np.asarray(found["w"]).tobytes() == blocks("ifco").tobytes()
        assert found["w"][2:4].tobytes() == blocks("f").tobytes()
