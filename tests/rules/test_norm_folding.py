"""initreg.rules.norm_folding: a batch norm that becomes part of the layer before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import CastWarning, RuleError, SmartInit
from initreg.cli import main

RNG = np.random.default_rng(0)
IN, OUT, EPSILON = 3, 4, 1e-3
NORM = {
    "bn/gamma": RNG.normal(size=OUT),
    "bn/beta": RNG.normal(size=OUT),
    "bn/mean": RNG.normal(size=OUT),
    "bn/var": RNG.uniform(0.1, 2, OUT),
}
DENSE = {"fc/kernel": RNG.normal(size=(IN, OUT)), "fc/bias": RNG.normal(size=OUT), **NORM}
NAMES = {
    "bias": "fc/bias",
    "mean": "bn/mean",
    "variance": "bn/var",
    "gamma": "bn/gamma",
    "beta": "bn/beta",
}
RULE = {"fc/kernel": {"axis": 1, "epsilon": EPSILON, **NAMES}}
X = RNG.normal(size=(5, IN))


def normalised(y: np.ndarray, norm: dict[str, np.ndarray] = NORM) -> np.ndarray:
    """What the layers computed before: the dense layer's output, normalised."""
    scaled = (y - norm["bn/mean"]) / np.sqrt(norm["bn/var"] + EPSILON)
    return scaled * norm.get("bn/gamma", 1) + norm.get("bn/beta", 0)


def test_it_computes_the_same() -> None:
    """One dense layer gives what two layers gave, and the norm's arrays are gone."""
    found = initreg.load(DENSE, fold_batch_norm=RULE)
    assert list(found) == ["fc/kernel", "fc/bias"]
    expected = normalised(X @ DENSE["fc/kernel"] + DENSE["fc/bias"])
    np.testing.assert_allclose(X @ found["fc/kernel"] + found["fc/bias"], expected, rtol=1e-12)


def test_a_layer_without_a_bias_gets_one() -> None:
    """It is made from the norm alone, beside the kernel, and the plan says so."""
    source = {name: array for name, array in DENSE.items() if name != "fc/bias"}
    found = initreg.load(source, fold_batch_norm=RULE)
    assert list(found) == ["fc/kernel", "fc/bias"]
    expected = normalised(X @ DENSE["fc/kernel"])
    np.testing.assert_allclose(X @ found["fc/kernel"] + found["fc/bias"], expected, rtol=1e-12)
    target = {name: np.zeros_like(array) for name, array in found.items()}
    row = SmartInit(source, fold_batch_norm=RULE).plan(target)[1]
    assert row.changes == (
        "batch norm folded from bn/var, bn/gamma, bn/beta, for a layer without a bias",
    )


@pytest.mark.parametrize("gone", [("gamma",), ("beta",), ("gamma", "beta")], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_without_gamma_or_beta(gone: tuple[str, ...], bias: bool) -> None:
    """A norm that does not scale, or is not centred."""
    norm = {name: array for name, array in NORM.items() if name[3:] not in gone}
    source = {"fc/kernel": DENSE["fc/kernel"], **norm}
    if bias:
        source["fc/bias"] = DENSE["fc/bias"]
    fields = {name: given for name, given in RULE["fc/kernel"].items() if name not in gone}
    found = initreg.load(source, fold_batch_norm={"fc/kernel": fields})
    before = X @ DENSE["fc/kernel"] + (DENSE["fc/bias"] if bias else 0)
    after = X @ found["fc/kernel"] + found["fc/bias"]
    np.testing.assert_allclose(after, normalised(before, norm), rtol=1e-12)


@pytest.mark.parametrize("axis", [0, -4, 3, -1])
def test_any_axis(axis: int) -> None:
    """The output channels are on the first axis in PyTorch, and on the last in Keras."""
    kernel = np.moveaxis(RNG.normal(size=(OUT, IN, 2, 2)), 0, axis)
    source = {"fc/kernel": kernel, **NORM}
    rule = {"fc/kernel": {**RULE["fc/kernel"], "axis": axis}}
    found = initreg.load(source, fold_batch_norm=rule)["fc/kernel"]
    factor = NORM["bn/gamma"] / np.sqrt(NORM["bn/var"] + EPSILON)
    expected = np.moveaxis(np.moveaxis(kernel, axis, -1) * factor, -1, axis)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_values_are_rounded_once(dtype: str) -> None:
    """The result is that of float64 on these values, in the dtype of the layer."""
    kind = getattr(ml_dtypes, dtype, dtype)
    source = {name: array.astype(kind) for name, array in DENSE.items()}
    found = initreg.load(source, fold_batch_norm=RULE)
    wide = {name: array.astype("f8") for name, array in source.items()}
    expected = initreg.load(wide, fold_batch_norm=RULE)
    for name, array in found.items():
        assert array.dtype == kind
        assert array.tobytes() == expected[name].astype(kind).tobytes()


def test_stars_stand_for_layers() -> None:
    """One clause folds all layers, each with its own norm."""
    source = {f"{n}/{name}": array * n for n in (1, 2) for name, array in DENSE.items()}
    names = {role: f"*/{name}" for role, name in NAMES.items()}
    rule = {"*/fc/kernel": (1, EPSILON, *names.values())}
    found = initreg.load(source, fold_batch_norm=rule)
    assert list(found) == ["1/fc/kernel", "1/fc/bias", "2/fc/kernel", "2/fc/bias"]
    for n in (1, 2):
        norm = {name: array * n for name, array in NORM.items()}
        expected = normalised(n * (X @ DENSE["fc/kernel"] + DENSE["fc/bias"]), norm)
        after = X @ found[f"{n}/fc/kernel"] + found[f"{n}/fc/bias"]
        np.testing.assert_allclose(after, expected, rtol=1e-12)


def test_the_plan_names_all_arrays() -> None:
    """Each row is made of the layer's array and those of the norm."""
    target = {"fc/kernel": np.zeros((IN, OUT)), "fc/bias": np.zeros(OUT)}
    plan = SmartInit(DENSE, fold_batch_norm=RULE).plan(target)
    assert plan[0].made_of == ("fc/kernel", "bn/var", "bn/gamma")
    assert plan[0].changes == ("batch norm folded from bn/var, bn/gamma",)
    assert plan[1].made_of == ("fc/bias", "bn/mean", "bn/var", "bn/gamma", "bn/beta")


def test_it_is_never_folded_by_itself() -> None:
    """Without the rule, the norm's arrays are there, and are reported as unused."""
    target = {"fc/kernel": np.zeros((IN, OUT)), "fc/bias": np.zeros(OUT)}
    plan = SmartInit(DENSE).plan(target)
    assert {row.name for row in plan.unused("warn")} == set(NORM)
    assert all(row.changes == () for row in plan)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"bn/mean": None}, "there is 'fc/kernel', but no array 'bn/mean', which is its mean"),
        ({"fc/kernel": None}, "but no array 'fc/kernel', which is its kernel"),
        ({"bn/var": np.ones(3)}, r"has 4 channels, and 'bn/var' has the shape \(3,\)"),
        ({"fc/bias": np.ones(3)}, r"axis 0 of shape \(3,\) has 3 channels"),
        ({"fc/bias": np.ones((1, 4))}, "or more than a bias"),
        ({"fc/kernel": np.ones((4, 3))}, r"axis 1 of shape \(4, 3\) has 3 channels"),
        ({"fc/kernel": np.ones(3)}, "has no axis 1"),
        ({"bn/gamma": np.ones(4, "f4")}, "it is of float64, and 'bn/gamma' of float32. Cast one"),
        ({"fc/kernel": np.ones((3, 4), "i4")}, "an array of int32 cannot be folded"),
    ],
    ids=str,
)
def test_what_does_not_fit(changed: dict[str, Any], said: str) -> None:
    """The error names the arrays, their shapes and what is expected. Nothing was read."""
    given = {**DENSE, **changed}
    source = {name: array for name, array in given.items() if array is not None}
    with pytest.raises(RuleError, match=said):
        initreg.open(source, fold_batch_norm=RULE)


@pytest.mark.parametrize(
    "value",
    [
        {**RULE["fc/kernel"], "epsilon": -1},
        {**RULE["fc/kernel"], "epsilon": True},
        {**RULE["fc/kernel"], "axis": "last"},
        {**RULE["fc/kernel"], "axes": 1},
        {name: each for name, each in RULE["fc/kernel"].items() if name != "epsilon"},
        (1, EPSILON, "fc/bias", "bn/mean"),
        (1, EPSILON, None, "bn/mean", "bn/var"),
        (1, EPSILON, "fc/bias", "bn/mean", 3),
        "bn",
    ],
    ids=str,
)
def test_what_is_not_a_value(value: Any) -> None:
    """It says what to give. There is no default for epsilon, because frameworks differ."""
    with pytest.raises(RuleError, match=r"fold_batch_norm=.*: give \(axis, epsilon, bias, mean"):
        initreg.open(DENSE, fold_batch_norm={"fc/kernel": value})


def test_names_that_are_not_right() -> None:
    """As many stars in all names, and no name twice."""
    with pytest.raises(RuleError, match="must have as many"):
        initreg.open(DENSE, fold_batch_norm={"*/kernel": RULE["fc/kernel"]})
    with pytest.raises(RuleError, match="two of the arrays have the same name"):
        rule = {"fc/kernel": {**RULE["fc/kernel"], "beta": "bn/gamma"}}
        initreg.open(DENSE, fold_batch_norm=rule)
    with pytest.raises(RuleError, match="are both about the array 'bn/gamma'"):
        rule = {**RULE, "fc2/kernel": {**RULE["fc/kernel"], "bias": "fc2/bias"}}
        initreg.open({**DENSE, "fc2/kernel": DENSE["fc/kernel"]}, fold_batch_norm=rule)


@pytest.mark.parametrize("variance", [-1.0, np.nan])
def test_a_variance_that_is_none(variance: float) -> None:
    """It would make every value NaN: an error when it is read."""
    source = {**DENSE, "bn/var": np.array([1, 1, variance, 1])}
    with pytest.raises(RuleError, match="fc/kernel: a variance is negative or NaN"):
        initreg.load(source, fold_batch_norm=RULE)


def test_beyond_the_range_is_a_warning() -> None:
    """Values that become infinite are counted."""
    source = {name: array.astype("f2") for name, array in DENSE.items()}
    source["fc/kernel"] = np.full((IN, OUT), 60_000, "f2")
    source["bn/gamma"] = np.array([3, 0.1, 0.1, 0.1], "f2")
    source["bn/var"] = np.ones(OUT, "f2")
    with pytest.warns(CastWarning, match="fc/kernel: 3 values folded beyond the range of float16"):
        initreg.load(source, fold_batch_norm=RULE)


def test_in_files_on_the_command_line_and_on_a_map(tmp_path: Path) -> None:
    """All say the same, and none of them can be undone."""
    np.savez(tmp_path / "a.npz", **{name.replace("/", "."): each for name, each in DENSE.items()})
    dotted = {name: each.replace("/", ".") for name, each in NAMES.items()}
    expected = initreg.load(DENSE, fold_batch_norm=RULE)["fc/bias"].tobytes()
    rules = tmp_path / "r.toml"
    fields = ", ".join(f'{name} = "{each}"' for name, each in dotted.items())
    rules.write_text(
        f'[fold_batch_norm]\n"fc.kernel" = {{ axis = 1, epsilon = {EPSILON}, {fields} }}\n'
    )
    assert initreg.load(tmp_path / "a.npz", rules=rules)["fc.bias"].tobytes() == expected
    flag = f"fc.kernel=1,{EPSILON},{','.join(dotted.values())}"
    arguments = [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]
    assert main(["convert", *arguments, "--fold-batch-norm", flag]) == 0
    assert initreg.load(tmp_path / "b.npz")["fc.bias"].tobytes() == expected
    with initreg.open(DENSE) as arrays:
        folded = arrays.fold_batch_norm("fc/kernel", **RULE["fc/kernel"])
        assert np.asarray(folded["fc/bias"]).tobytes() == expected
    with pytest.raises(RuleError, match=r"line 2: .* the normalization's arrays are gone"):
        initreg.convert(tmp_path / "b.npz", tmp_path / "c.npz", rules=rules, reverse=True)
    assert "fold_batch_norm" in initreg.rules_text(rules=rules)
