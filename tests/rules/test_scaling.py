"""initreg.rules.scaling: arrays times numbers, and times other arrays, which are then gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import CastWarning, RuleError, SmartInit
from initreg.cli import main
from initreg.format_tools.values import Computed

W = np.arange(15, dtype="f4").reshape(3, 5)


def test_by_a_number() -> None:
    """The dtype stays, and integers are not scaled without a word."""
    found = initreg.load({"a.w": W, "b.w": W.astype("f2"), "c": W}, scale={"*.w": 0.5})
    assert found["a.w"].tolist() == (W * 0.5).tolist()
    assert (found["b.w"].dtype, found["b.w"].tolist()) == ("float16", (W * 0.5).tolist())
    assert found["c"].tolist() == W.tolist()
    with pytest.raises(RuleError, match=r"scale=.*array 'i': an array of int32 cannot be scaled"):
        initreg.load({"i": np.arange(3, dtype="i4")}, scale={"i": 2})


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float8_e4m3fn", "float8_e5m2", "bfloat16"])
@pytest.mark.parametrize("scale_dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (1, 5), (3, 5), (1, 1)], ids=str)
def test_by_another_array(dtype: str, scale_dtype: str, shape: tuple[int, ...]) -> None:
    """As numpy multiplies in the dtype of the scales; the scales themselves are gone."""
    w = W.astype(getattr(ml_dtypes, dtype, dtype))
    scale = (np.arange(1, 1 + int(np.prod(shape))).reshape(shape) / 4).astype(
        getattr(ml_dtypes, scale_dtype, scale_dtype)
    )
    found = initreg.load({"w": w, "w_scale": scale}, scale={"w": "w_scale"})
    assert list(found) == ["w"]
    assert found["w"].dtype == scale_dtype
    expected = w.astype(scale.dtype) * (scale.reshape(()) if scale.size == 1 else scale)
    assert found["w"].tobytes() == expected.astype(scale.dtype).tobytes()


@pytest.mark.parametrize(
    ("dtype", "integers"),
    [("qint8", "i1"), ("quint8", "u1"), ("qint16", "i2"), ("quint16", "u2"), ("qint32", "i4")],
)
def test_quantised_dtypes_of_tensorflow(dtype: str, integers: str) -> None:
    """Their scale is the one that they come with. By a number alone they are not scaled."""
    scale = np.array([[0.5], [2], [4]], "f8" if dtype == "qint32" else "f4")
    values = W.astype(integers)
    source = {"w": Computed(W.shape, dtype, lambda: values), "w/scale": scale}
    found = initreg.load(source, scale={"*": "*/scale"})
    assert list(found) == ["w"]
    assert found["w"].tobytes() == (values.astype(scale.dtype) * scale).tobytes()
    with pytest.raises(RuleError, match=f"an array of {dtype} cannot be scaled"):
        initreg.load(source, scale={"w": 2})
    with pytest.raises(RuleError, match=r"there is no array 'v/scale' to scale it by"):
        initreg.load(
            source | {"v": Computed((1,), "qint8", lambda: values)}, scale={"*": "*/scale"}
        )


@pytest.mark.parametrize(
    ("block", "shape"),
    [(2, (2, 3)), ((2, 2), (2, 3)), ((3, 1), (1, 5)), ([1, 4], (3, 2)), (8, (1, 1))],
)
def test_in_blocks(block: Any, shape: tuple[int, ...]) -> None:
    """Each number is for a block. The last blocks of an axis may be smaller."""
    scale = np.arange(1, 1 + int(np.prod(shape)), dtype="f4").reshape(shape)
    found = initreg.load({"w": W, "s": scale}, scale={"w": ("s", block)})["w"]
    size = (block, block) if isinstance(block, int) else tuple(block)
    for (i, j), value in np.ndenumerate(W):
        assert found[i, j] == value * scale[i // size[0], j // size[1]]


def test_the_plan_and_what_follows() -> None:
    """The row knows both arrays; the scale is applied before what the other rules do."""
    source = {"l.0.w": W.astype("i1"), "l.0.s": np.full((3, 1), 2, "f4"), "norm.w": W[0]}
    target = {"l.0.w": np.zeros((5, 3), "f4"), "norm.w": np.zeros(5, "f4")}
    plan = SmartInit(source, scale={"*.w": "*.s"}, transpose="l*", on_unused="error").init(target)
    assert target["l.0.w"].tolist() == (W.T * 2).tolist()
    assert plan[0].made_of == ("l.0.w", "l.0.s")
    assert plan[0].changes == ("scaled by l.0.s from int8", "permuted (1, 0) from (3, 5)")
    assert plan[1].made_of == ()


def test_they_compose(tmp_path: Path) -> None:
    """Parts, wholes, slices, verify, and maps over maps; the files of the scales are known."""
    initreg.save(tmp_path / "a.npz", {"w": W, "v": W, "s": np.full((3, 1), 2, "f4")})
    with initreg.open(tmp_path / "a.npz") as opened:
        made = opened.scale("w", "s").split("w", 1, ["a", "b"], [2, 3]).concat("x", 1, ["b", "a"])
        expected = np.concatenate([W[:, 2:], W[:, :2]], 1) * 2
        assert made["x"].read().tolist() == expected.tolist()
        assert np.array_equal(made["x"][1:, 2:4], expected[1:, 2:4])
        assert made["x"].spec.made_of == ("w", "s")
        again = made.rename({"x": "y"}).scale("y", 0.5)
        assert again["y"].read().tolist() == (expected / 2).tolist()
        assert initreg.verify(again).ok
        assert again.files == (tmp_path / "a.npz",)


def test_in_a_file_and_on_the_command_line(tmp_path: Path, monkeypatch: Any) -> None:
    """A rule file and the options do what the keyword does."""
    monkeypatch.chdir(tmp_path)
    initreg.save("in.npz", {"a.w": W, "a.s": np.full((2, 3), 2, "f4"), "b": W})
    Path("r.toml").write_text('[scale]\n"*.w" = { by = "*.s", block = 2 }\nb = -1')
    assert main(["convert", "in.npz", "a.npz", "--rules", "r.toml"]) == 0
    assert main(["convert", "in.npz", "b.npz", "--scale", "*.w=*.s,2", "--scale", "b=-1"]) == 0
    for found in map(initreg.load, ("a.npz", "b.npz")):
        assert {n: a.tolist() for n, a in found.items()} == {
            "a.w": (W * 2).tolist(),
            "b": (-W).tolist(),
        }


def test_what_becomes_infinite_is_told() -> None:
    """As for casts, with the count."""
    with pytest.warns(CastWarning, match="w: 1 value scaled beyond the range of float16"):
        found = initreg.load({"w": np.array([1, 60_000], "f2")}, scale={"w": 2})
    assert found["w"].tolist() == [2, np.inf]


I1 = np.zeros((3, 5), "i1")


@pytest.mark.parametrize(
    ("arrays", "rule", "said"),
    [
        ({"w": I1}, {"*": "*_s"}, "is of int8, but there is no array 'w_s' to scale it by"),
        ({"a_s": W}, {"*_w": "*_s"}, "there is 'a_s', but no array 'a_w' that it scales"),
        (
            {"w": I1, "s": np.zeros(5, "f4")},
            {"w": "s"},
            r"'s' of shape (5,) does not fit (3, 5): it",
        ),
        (
            {"w": I1, "s": np.zeros((2, 5), "f4")},
            {"w": "s"},
            "must have one number, or an axis for",
        ),
        ({"w": I1, "s": np.zeros((2, 2), "f4")}, {"w": ("s", 2)}, "must have (2, 3) for blocks of"),
        (
            {"w": I1, "s": np.zeros((2, 2), "f4")},
            {"w": ("s", (2, 2, 2))},
            "has not the 3 axes of bl",
        ),
        ({"w": I1, "s": np.zeros((3, 1), "i4")}, {"w": "s"}, "is of int32, and not of floats"),
        (
            {"w": W, "s": np.zeros((3, 1), "f2")},
            {"w": "s"},
            "is of float16, which may hold less th",
        ),
        ({"w": W, "s": W}, {"w": "s", "*": 2}, "are both about the array 'w'"),
        ({"w": W}, {"v": 2}, "matches no array"),
    ],
)
def test_what_cannot_be_scaled(arrays: Any, rule: dict[str, Any], said: str) -> None:
    """The error names the rule, both arrays, what was found and what was expected."""
    with pytest.raises(RuleError) as caught:
        initreg.open(arrays, scale=rule)
    assert said in str(caught.value)
    assert ": scale=" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [True, "", None, [], ("s",), ("s", 0), ("s", []), ("s", 1.5), (2, 3), ("s", 1, 2), float("nan"),
     ("s", True), "*", "{i}"],
    ids=repr,
)  # fmt: skip
def test_wrong_values(value: Any) -> None:
    """They are errors before any file is opened."""
    with pytest.raises(RuleError, match=r"^scale="):
        SmartInit("gone.npz", scale={"w": value})
