"""What the arrays of a model become with adapters: what is added, replaced and refused."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import MergeError

rng = np.random.default_rng(0)
BEFORE = "base_model.model."


def normal(*shape: int) -> Any:
    return rng.normal(size=shape).astype("f4")


BASE = {"a.weight": normal(4, 3), "a.bias": normal(4), "b.weight": normal(4, 3)}


def adapter(module: str = "a", **more: Any) -> dict[str, Any]:
    found = {
        f"{BEFORE}{module}.lora_A.weight": normal(2, 3),
        f"{BEFORE}{module}.lora_B.weight": normal(4, 2),
    }
    return found | {f"{BEFORE}{module}.{name}": value for name, value in more.items()}


def merged(*adapters: dict[str, Any], **options: Any) -> Any:
    path = options.pop("path")
    base = options.pop("base", BASE)
    given = {"alpha": 2, **options}
    return initreg.merge(list(adapters), path / "n.npz", method="lora", base=base, **given)


def product(given: dict[str, Any], module: str = "a") -> Any:
    return given[f"{BEFORE}{module}.lora_B.weight"] @ given[f"{BEFORE}{module}.lora_A.weight"]


def test_two_adapters_on_one_array(tmp_path: Any) -> None:
    """Their updates are added up, each with its weight."""
    one, other = adapter(), adapter()
    done = merged(one, other, path=tmp_path, weight=[0.5, 2])
    wanted = BASE["a.weight"] + 0.5 * product(one) + 2 * product(other)
    np.testing.assert_allclose(initreg.load(done.path)["a.weight"], wanted, atol=1e-5)
    (row,) = done.plan.of("merged")
    assert [part.weight for part in row.parts] == [None, 0.5, 2]
    assert row.note == "0.5 x LoRA of rank 2 + 2 x LoRA of rank 2"


def test_weights_of_some_arrays(tmp_path: Any) -> None:
    """A weight of 0 for some arrays leaves them as they are."""
    given = adapter() | adapter("b")
    found = initreg.load(merged(given, path=tmp_path, weight={"b.*": 0}).path)
    np.testing.assert_allclose(found["b.weight"], BASE["b.weight"], atol=1e-7)
    np.testing.assert_allclose(found["a.weight"], BASE["a.weight"] + product(given), atol=1e-5)


def test_arrays_that_are_saved_whole(tmp_path: Any) -> None:
    """They replace those of the model, and their shape has to be the same."""
    whole = {f"{BEFORE}b.weight": normal(4, 3)}
    done = merged(adapter() | whole, path=tmp_path)
    np.testing.assert_array_equal(initreg.load(done.path)["b.weight"], whole[f"{BEFORE}b.weight"])
    assert [row.name for row in done.plan.of("replaced")] == ["b.weight"]


BAD: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "another shape": (
        [adapter() | {f"{BEFORE}b.weight": normal(5, 3)}],
        {},
        r"b.weight  \(4, 3\) in the model, \(5, 3\) in",
    ),
    "replaced twice": (
        [adapter() | {f"{BEFORE}b.weight": normal(4, 3)}] * 2,
        {},
        "b.weight  several adapters replace it",
    ),
    "replaced and updated": (
        [adapter(), adapter("b") | {f"{BEFORE}a.weight": normal(4, 3)}],
        {},
        "a.weight  an adapter replaces it, and one adds to it",
    ),
    "saved for another model": (
        [adapter() | {f"{BEFORE}c.weight": normal(4, 3)}],
        {},
        "c.weight  .* replaces it, and the model lacks it",
    ),
    "DoRA with a weight": (
        [adapter(lora_magnitude_vector=normal(4))],
        {"weight": 0.5},
        "a.weight  DoRA, which cannot be added to other updates, nor have a weight",
    ),
    "DoRA and another": (
        [adapter(lora_magnitude_vector=normal(4)), adapter()],
        {},
        "a.weight  DoRA, which cannot be added",
    ),
    "a magnitude of another length": (
        [adapter(lora_magnitude_vector=normal(3))],
        {},
        "a.weight  the magnitude of DoRA has not 4 values",
    ),
    "a bias that the model lacks": (
        [adapter("b") | {f"{BEFORE}b.lora_B.bias": normal(4)}],
        {},
        "b.bias  .* has an update for it: the model lacks it",
    ),
    "another alpha than a number": (
        [{k.replace(BEFORE, ""): v for k, v in adapter().items()} | {"a.alpha": normal(2)}],
        {},
        r"a.weight  its alpha is \(2,\) float32, not one number",
    ),
    "an alpha that is a text": (
        [
            {k.replace(BEFORE, ""): v for k, v in adapter().items()} | {"a.alpha": np.array("x")},
        ],
        {},
        r"a.weight  its alpha is \(\) string, not one number",
    ),
    "an alpha that is NaN": (
        [
            {k.replace(BEFORE, ""): v for k, v in adapter().items()}
            | {"a.alpha": np.float32(np.nan)},
        ],
        {},
        "a.weight  its alpha is nan",
    ),
    "an alpha that is given, and another one that is saved": (
        [{k.replace(BEFORE, ""): v for k, v in adapter().items()} | {"a.alpha": np.float32(4)}],
        {},
        "a.weight  alpha=2 is given, and the adapter says 4",
    ),
    "factors of integers": (
        [adapter() | {f"{BEFORE}a.lora_A.weight": np.ones((2, 3), "i1")}],
        {},
        r"a.weight  base_model.model.a.lora_A.weight is int8, not floats",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(tmp_path: Any, name: str) -> None:
    """Each is listed with the reason, and nothing is written."""
    adapters, options, why = BAD[name]
    with pytest.raises(MergeError, match=why):
        merged(*adapters, path=tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_updates_for_another_part_can_be_left_out(tmp_path: Any) -> None:
    """An adapter of several parts of a pipeline is merged into one of them, as the plan says."""
    given = adapter() | adapter("te.x") | {f"{BEFORE}te.y.weight": normal(2)}
    with pytest.raises(MergeError, match=r"te\.x  .* lacks it[\s\S]*on_missing='drop'"):
        merged(given, path=tmp_path)
    done = merged(given, path=tmp_path, on_missing="drop")
    assert {row.name for row in done.plan.of("left out")} == {"te.x", "te.y.weight"}
    assert "te.y.weight  dict of 5 replaces it, and the model lacks it" in str(done)
    assert set(initreg.load(done.path)) == set(BASE)


@pytest.mark.parametrize(
    "options", [{"on_missing": "keep"}, {"on_conflict": "last"}, {"by": "name"}], ids=str
)
def test_choices_of_several_models(tmp_path: Any, options: Any) -> None:
    """What is about arrays of several models is not ignored in silence."""
    with pytest.raises(initreg.RuleError, match="about arrays of several models"):
        merged(adapter(), path=tmp_path, **options)


def test_bfloat16_is_rounded_once(tmp_path: Any) -> None:
    """The sum is rounded, and not the update before it."""
    base = {"a.weight": BASE["a.weight"].astype(ml_dtypes.bfloat16)}
    given = adapter()
    path = tmp_path / "n.safetensors"
    initreg.merge([given], path, method="lora", base=base, alpha=2)
    wanted = (base["a.weight"].astype("f4") + product(given)).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(initreg.load(path)["a.weight"], wanted)


def test_both_spellings_of_a_weight_stop(tmp_path: Any) -> None:
    """A module with two arrays that may be its weight is shown with both."""
    base = {"a.weight": normal(4, 3), "a/kernel": normal(3, 4)}
    with pytest.raises(MergeError, match=r"a  fits several arrays .*: a\.weight, a/kernel"):
        merged(adapter(), path=tmp_path, base=base)


def test_an_alpha_in_the_file_counts(tmp_path: Any) -> None:
    """That of the file is taken, and an alpha of 0 is the rank, as for kohya's scripts."""
    for alpha, factor in (
        (np.float32(6), 3.0),
        (np.float32(0), 1.0),
        (np.array([6], ml_dtypes.bfloat16), 3.0),
        (np.int64(4), 2.0),
    ):
        given = adapter()
        short = {name.removeprefix(BEFORE): value for name, value in given.items()}
        done = merged(short | {"a.alpha": alpha}, path=tmp_path, alpha=None)
        wanted = BASE["a.weight"] + factor * product(given)
        np.testing.assert_allclose(initreg.load(done.path)["a.weight"], wanted, atol=1e-5)
