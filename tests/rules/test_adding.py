"""initreg.rules.adding: a number added to arrays, and arrays added up to one."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import CastWarning, RuleError, SmartInit
from initreg.cli import main

A, B = np.array([1, 2, 3], "f4"), np.array([0.5, -2, 1e-8], "f4")


def test_a_number() -> None:
    """It is added in float64 and rounded once; the dtype stays."""
    arrays = {"a.f": A, "b.f": A.astype("f2"), "c": A, "z": np.ones(2, "c8")}
    found = initreg.load(arrays, add={"*.f": 0.5, "z": 1})
    assert found["a.f"].tolist() == [1.5, 2.5, 3.5]
    assert (found["b.f"].dtype, found["b.f"].tolist()) == ("float16", [1.5, 2.5, 3.5])
    assert found["c"].tolist() == A.tolist()
    assert found["z"].tolist() == [2, 2]


@pytest.mark.parametrize("value", ["x", True, None, float("nan"), (1,), float("inf")], ids=str)
def test_what_is_not_a_number_is_an_error(value: object) -> None:
    """It says what to give."""
    with pytest.raises(RuleError, match="add=.*: give a number"):
        initreg.open({"a": A}, add={"a": value})


def test_integers_are_not_added_to() -> None:
    """They would wrap around."""
    with pytest.raises(RuleError, match="array 'i': an array of int32 cannot be added to"):
        initreg.open({"i": np.arange(3, dtype="i4")}, add={"i": 1})


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "complex64"])
def test_a_sum_is_rounded_once(dtype: str) -> None:
    """The values of float64's sum, in the dtype of the parts. The parts are gone."""
    parts = [x.astype(getattr(ml_dtypes, dtype, dtype)) for x in (A, B, A)]
    found = initreg.load(dict(zip("pqr", parts, strict=True)), sum={"s": ["p", "q", "r"]})
    assert list(found) == ["s"]
    wide = "c16" if dtype == "complex64" else "f8"
    expected = sum(part.astype(wide) for part in parts).astype(parts[0].dtype)
    assert (found["s"].dtype, found["s"].tobytes()) == (expected.dtype, expected.tobytes())


def test_stars_and_numbers() -> None:
    """* stands for the same text in all names, and {i} for any number of parts."""
    arrays = {"l0.ih": A, "l0.hh": B, "l1.ih": B, "l1.hh": B, "p0": A, "p1": A, "p2": A}
    rules = {"*.bias": ["*.ih", "*.hh"], "p": "p{i}"}
    found = initreg.load(arrays, sum=rules)
    assert {n: a.tolist() for n, a in found.items()} == {
        "l0.bias": (A + B).tolist(),
        "l1.bias": (B + B).tolist(),
        "p": (A * 3).tolist(),
    }


def test_the_plan_and_what_follows() -> None:
    """The row knows all parts. What was done to a part is done first, what follows to the sum."""
    source = {"ih": A, "hh": np.ones((2, 3), "f4")}
    smart = SmartInit(
        source, slice={"b": (0, 1, 3)}, sum={"b": ["ih", "h1"]}, unstack={"hh": (0, ["h0", "h1"])}
    )
    target = {"b": np.zeros(2, "f4"), "h0": np.zeros(3, "f4")}
    plan = smart.init(target)
    assert plan[0].made_of == ("ih", "hh")
    assert plan[0].array == "ih + hh[1]"
    assert plan[0].changes == ("summed with hh[1]", "sliced from (3,)")
    assert target["b"].tolist() == [3, 4]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": A, "b": B[:2]}, r"'a' has the shape \(3,\), and 'b' \(2,\). They must be the same"),
        ({"a": A, "b": B.astype("f2")}, "'a' is float32, and 'b' is float16. Give them one dtype"),
        ({"a": A}, "there is 'a', but no array 'b'"),
        ({"a": A, "b": B, "s": A}, "gives two arrays the same name"),
        ({"a": np.ones(2, "i4"), "b": np.ones(2, "i4")}, "array of int32 cannot be summed"),
        ({"c": A}, "matches no array"),
    ],
    ids=str,
)
def test_what_cannot_be_summed(arrays: dict[str, np.ndarray], said: str) -> None:
    """The error names the arrays, their shapes and dtypes, before anything is read."""
    with pytest.raises(RuleError, match=said):
        initreg.open(arrays, sum={"s": ["a", "b"]})


@pytest.mark.parametrize("value", [["a"], "a", 3, [], ["a", 3], ["a", "a"], {"of": ["a", "b"]}])
def test_what_is_not_names_is_an_error(value: object) -> None:
    """A sum has several parts, and their names."""
    with pytest.raises(RuleError, match="sum="):
        initreg.open({"a": A}, sum={"s": value})


def test_beyond_the_range_is_a_warning() -> None:
    """Finite values that become infinite are counted, and infinite ones are not."""
    big = np.array([60_000, 1, np.inf], "f2")
    with pytest.warns(CastWarning, match="s: 1 value summed beyond the range of float16"):
        found = initreg.load({"a": big, "b": big}, sum={"s": ["a", "b"]})
    assert found["s"].tolist() == [np.inf, 2, np.inf]


def test_neither_can_be_undone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the file, the lines and the reasons."""
    np.savez(tmp_path / "a.npz", s=A)
    rules = tmp_path / "r.toml"
    rules.write_text('[sum]\ns = ["a", "b"]\n[add]\nb = 1\n')
    arguments = [str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), "--reverse", str(rules)]
    assert main(["convert", *arguments]) == 2
    said = capsys.readouterr().err
    assert f"{rules}, line 2: sum = " in said
    assert "it does not say what each part of it was" in said
    assert f"{rules}, line 4: add = " in said


def test_on_the_command_line_and_on_a_map(tmp_path: Path) -> None:
    """As flags, and as methods."""
    np.savez(tmp_path / "a.npz", a=A, b=B)
    flags = ["--sum", "s=a,b", "--add", "b=1"]
    assert main(["convert", str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), *flags]) == 0
    assert initreg.load(tmp_path / "b.npz")["s"].tolist() == (A + B + 1).tolist()
    with initreg.open(tmp_path / "a.npz") as arrays:
        assert (
            np.asarray(arrays.add("b", 1).sum("s", ["a", "b"])["s"]).tolist()
            == (A + B + 1).tolist()
        )


def test_damage_in_any_part_is_found(tmp_path: Path) -> None:
    """The checksum of each part is verified when the sum is read."""
    np.savez(tmp_path / "a.npz", a=A, b=np.arange(1000, dtype="f4"), c=np.ones(1000, "f4"))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    at = data.index(np.arange(1000, dtype="f4").tobytes()[400:800])
    data[at] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(initreg.DamagedFile, match="b"):
        initreg.load(tmp_path / "a.npz", drop="a", sum={"s": ["c", "b"]})
