"""initreg.map: from a file to rules, and with them the right values into the right variables."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg import ArrayMap, Extent, SmartInit
from initreg.arrays.reader import Reader

RANDOM = np.random.default_rng(0)


def values(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype("f4")


def restored(source: Path, target: dict[str, np.ndarray], folder: Path) -> initreg.Mapped:
    """Map, save the rules, and restore with them."""
    found = initreg.map(source, target)
    assert found.is_complete, str(found)
    found.save(folder / "rules.toml")
    plan = SmartInit(
        source, rules=folder / "rules.toml", on_missing="error", on_unused="error"
    ).init(target)
    assert plan.ok
    return found


def saved(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path


def test_pytorch_names_into_tensorflow_names(tmp_path: Path) -> None:
    """A dict of TensorFlow's names gets each value, with its axes moved."""
    source = {
        "conv.weight": values(8, 3, 5, 5),
        "conv.bias": values(8),
        "bn.weight": values(8),
        "bn.bias": values(8),
        "bn.running_mean": values(8),
        "bn.running_var": values(8),
        "bn.num_batches_tracked": np.array(7),
        "fc.weight": values(8, 8),
        "fc.bias": values(8),
    }
    shapes = {"conv2d/kernel": (5, 5, 3, 8), "conv2d/bias": (8,)}
    shapes |= {f"norm/{last}": (8,) for last in ("gamma", "beta", "moving_mean", "moving_variance")}
    shapes |= {"head/kernel": (8, 8), "head/bias": (8,)}
    target = {name: np.zeros(shape, "f4") for name, shape in shapes.items()}
    found = restored(saved(tmp_path / "m.npz", source), target, tmp_path)
    assert found.dropped == ("bn.num_batches_tracked",)
    expected = {
        "conv2d/kernel": source["conv.weight"].transpose(2, 3, 1, 0),
        "conv2d/bias": source["conv.bias"],
        "norm/gamma": source["bn.weight"],
        "norm/beta": source["bn.bias"],
        "norm/moving_mean": source["bn.running_mean"],
        "norm/moving_variance": source["bn.running_var"],
        "head/kernel": source["fc.weight"].T,
        "head/bias": source["fc.bias"],
    }
    for name, array in expected.items():
        np.testing.assert_array_equal(target[name], array)


def test_tensorflow_names_into_pytorch_names(tmp_path: Path) -> None:
    """The other way round: a square kernel goes with the convolution beside it."""
    source = {
        "conv/kernel": values(3, 3, 2, 4),
        "conv/bias": values(4),
        "depthwise/depthwise_kernel": values(3, 3, 4, 1),
        "dense/kernel": values(4, 4),
        "dense/bias": values(4),
    }
    target = {
        "conv.weight": np.zeros((4, 2, 3, 3), "f4"),
        "conv.bias": np.zeros(4, "f4"),
        "dw.weight": np.zeros((4, 1, 3, 3), "f4"),
        "fc.weight": np.zeros((4, 4), "f4"),
        "fc.bias": np.zeros(4, "f4"),
    }
    restored(saved(tmp_path / "m.npz", source), target, tmp_path)
    for name, array in {
        "conv.weight": source["conv/kernel"].transpose(3, 2, 0, 1),
        "dw.weight": source["depthwise/depthwise_kernel"].transpose(2, 3, 0, 1),
        "fc.weight": source["dense/kernel"].T,
        "fc.bias": source["dense/bias"],
    }.items():
        np.testing.assert_array_equal(target[name], array)


@pytest.mark.parametrize("style", ["torch", "keras"])
def test_the_same_names_are_themselves(tmp_path: Path, style: str) -> None:
    """Nothing is moved between two models of one framework, recurrent layers included."""
    shapes: dict[str, tuple[int, ...]] = {}
    if style == "torch":
        for layer in (0, 1):
            shapes |= {f"rnn.{w}_l{layer}": (16, 4) for w in ("weight_ih", "weight_hh")}
            shapes |= {f"rnn.{b}_l{layer}": (16,) for b in ("bias_ih", "bias_hh")}
        shapes |= {"attn.in_proj_weight": (12, 4), "attn.in_proj_bias": (12,), "cls": (1, 1, 4)}
        shapes |= {"a.weight": (4, 4), "a.bias": (4,), "b.weight": (4, 4), "b.bias": (4,)}
    else:
        shapes |= {"lstm/kernel": (4, 16), "lstm/recurrent_kernel": (4, 16), "lstm/bias": (16,)}
        shapes |= {"a/kernel": (4, 4), "a/bias": (4,), "b/kernel": (4, 4), "b/bias": (4,)}
    source = {name: values(*shape) for name, shape in shapes.items()}
    target = {name: np.zeros(shape, "f4") for name, shape in shapes.items()}
    restored(saved(tmp_path / "m.npz", source), target, tmp_path)
    for name, array in source.items():
        np.testing.assert_array_equal(target[name], array)


def test_a_fused_projection_into_three(tmp_path: Path) -> None:
    """The parts of one array go into three variables, each with its own values."""
    source = {"attn.in_proj_weight": values(12, 4), "attn.in_proj_bias": values(12)}
    names = ("query", "key", "value")
    target = {f"{name}/kernel": np.zeros((4, 4), "f4") for name in names}
    target |= {f"{name}/bias": np.zeros(4, "f4") for name in names}
    restored(saved(tmp_path / "m.npz", source), target, tmp_path)
    for part, name in enumerate(names):
        rows = slice(4 * part, 4 * part + 4)
        np.testing.assert_array_equal(
            target[f"{name}/kernel"], source["attn.in_proj_weight"][rows].T
        )
        np.testing.assert_array_equal(target[f"{name}/bias"], source["attn.in_proj_bias"][rows])


def test_the_text_of_an_open_file_is_a_rule_file(tmp_path: Path) -> None:
    """What is open is in comments. The file can be finished by hand."""
    source = saved(tmp_path / "m.npz", {"left.weight": values(4, 3), "right.weight": values(4, 3)})
    target = {"a/kernel": np.zeros((3, 4), "f4"), "b/kernel": np.zeros((3, 4), "f4")}
    found = initreg.map(source, target)
    assert not found.is_complete
    assert not found.variables
    assert str(found) == found.to_text()
    assert "# OPEN: several readings fit as well." in found.to_text()
    text = found.to_text()
    text += '[step.rename]\n"left.weight" = "b/kernel"\n"right.weight" = "a/kernel"\n'
    text += '[[step]]\n[step.permute]\n"*/kernel" = [1, 0]\n'
    (tmp_path / "mine.toml").write_text(text)
    SmartInit(source, rules=tmp_path / "mine.toml").init(target)
    np.testing.assert_array_equal(target["b/kernel"], initreg.load(source)["left.weight"].T)


def test_names_that_toml_and_terminals_must_not_take_for_theirs(tmp_path: Path) -> None:
    """Quotes, brackets, stars and control characters of names stay what they are."""
    odd = ['a"b', "a[0]", "a*", "a\\", "a\nb = 1"]
    source = {f"{name}.weight": values(2, n + 3) for n, name in enumerate(odd)}
    target = {f"{name}/kernel": np.zeros((n + 3, 2), "f4") for n, name in enumerate(odd)}
    found = initreg.map(source, target)
    assert found.is_complete
    found.save(tmp_path / "rules.toml")
    SmartInit(source, rules=tmp_path / "rules.toml").init(target)
    for name in odd:
        np.testing.assert_array_equal(target[f"{name}/kernel"], source[f"{name}.weight"].T)


def test_save_is_whole_or_absent(tmp_path: Path) -> None:
    """A folder that cannot be written is one error, and an old file is replaced as a whole."""
    found = initreg.map({"a.weight": values(2, 3)}, {"a/kernel": np.zeros((3, 2), "f4")})
    with pytest.raises(initreg.InitregError, match="nowhere"):
        found.save(tmp_path / "nowhere" / "rules.toml")
    path = tmp_path / "rules.toml"
    path.write_text("x" * 10_000)
    found.save(path)
    assert path.read_text() == found.to_text()
    assert os.listdir(tmp_path) == ["rules.toml"]


def test_to_dict_is_json() -> None:
    """With the changes of each variable."""
    found = initreg.map({"a.weight": values(2, 3)}, {"a/kernel": np.zeros((3, 2), "f4")})
    made = json.loads(json.dumps(found.to_dict()))
    assert made["complete"] is True
    [variable] = made["variables"]
    assert variable["variable"] == "a/kernel"
    assert variable["arrays"] == ["a.weight"]
    assert variable["permute"] == [1, 0]


@pytest.mark.parametrize("other", ["same", "elsewhere", "order"])
def test_the_same_bytes_are_tied(other: str, tmp_path: Path) -> None:
    """An embedding that a file has twice at one place does not compete with itself. One that is
    at another place, or is laid out otherwise, does."""
    path = tmp_path / "m.bin"
    path.write_bytes(values(2, 9, 9).tobytes())
    at = Extent(path, 0, 324, (9, 9), "float32")
    others = {
        "same": at,
        "elsewhere": replace(at, offset=324),
        "order": replace(at, order="F"),
    }
    extents = {"emb.weight": at, "lm_head.weight": others[other]}
    target = {"e/embeddings": np.zeros((9, 9), "f4")}
    with ArrayMap(extents, label="m", format="bin", reader=Reader("m")) as opened:
        found = initreg.map(opened, target)
        assert found.tied == (("lm_head.weight",) if other == "same" else ())
        assert found.is_complete is (other == "same")


def test_nothing_is_written() -> None:
    """The target keeps its values, and the source may be an open map."""
    target = {"a/kernel": np.full((3, 2), 7, "f4")}
    with initreg.open({"a.weight": values(2, 3)}) as opened:
        assert initreg.map(opened, target).is_complete
    assert (target["a/kernel"] == 7).all()


def test_a_target_that_cannot_be_restored() -> None:
    """The error is that of SmartInit."""
    with pytest.raises(initreg.UnknownTarget):
        initreg.map({"a": values(2)}, 5)


# --- rules of its own -----------------------------------------------------------------------------


def test_rules_are_applied_first_and_are_in_the_file(tmp_path: Path) -> None:
    """A prefix, a head that is left out, and an array that is taken apart: the file alone is
    enough for the source as it is."""
    source = {
        "module.blocks.0.query_key_value.weight": values(12, 4),
        "module.blocks.0.query_key_value.bias": values(12),
        "module.head.weight": values(4, 4),
        "module.out.weight": values(4, 4),
    }
    names = ("query", "key", "value")
    target = {f"block_0/{name}/kernel": np.zeros((4, 4), "f4") for name in names}
    target |= {f"block_0/{name}/bias": np.zeros(4, "f4") for name in names}
    target |= {"out/kernel": np.zeros((4, 4), "f4")}
    path = saved(tmp_path / "m.npz", source)
    assert not initreg.map(path, target).is_complete
    into = [f"blocks.0.{name}" for name in names]
    mine = initreg.rules_text(
        split={
            f"blocks.0.query_key_value.{last}": (0, [f"{each}.{last}" for each in into])
            for last in ("weight", "bias")
        }
    )
    (tmp_path / "mine.toml").write_text(
        f'[[step]]\nstrip_prefix = "module."\n\n[[step]]\n{mine}'.replace("[split]", "[step.split]")
    )
    found = initreg.map(path, target, rules=tmp_path / "mine.toml", drop="head.*")
    assert found.is_complete, str(found)
    assert found.to_dict()["first"] == found.first
    found.save(tmp_path / "rules.toml")
    (tmp_path / "mine.toml").unlink()
    SmartInit(path, rules=tmp_path / "rules.toml", on_missing="error", on_unused="error").init(
        target
    )
    for part, name in enumerate(names):
        rows = slice(4 * part, 4 * part + 4)
        fused = source["module.blocks.0.query_key_value.weight"]
        np.testing.assert_array_equal(target[f"block_0/{name}/kernel"], fused[rows].T)
        fused = source["module.blocks.0.query_key_value.bias"]
        np.testing.assert_array_equal(target[f"block_0/{name}/bias"], fused[rows])
    np.testing.assert_array_equal(target["out/kernel"], source["module.out.weight"].T)


def test_rules_that_a_file_cannot_say_are_refused(tmp_path: Path) -> None:
    """A function would be missing in the file, and a rule that matches nothing is misspelt."""
    target = {"a/kernel": np.zeros((3, 2), "f4")}
    with pytest.raises(initreg.RuleError, match="a rule file cannot say this"):
        initreg.map({"a.weight": values(2, 3)}, target, rename=str.upper)
    with pytest.raises(initreg.RuleError, match="match"):
        initreg.map({"a.weight": values(2, 3)}, target, drop="b*")


def test_tied_arrays_stay_tied_after_rules(tmp_path: Path) -> None:
    """One that is renamed is the same as before, one that is changed is not."""
    path = tmp_path / "m.bin"
    path.write_bytes(values(9, 9).tobytes())
    at = Extent(path, 0, 324, (9, 9), "float32")
    target = {"e/embeddings": np.zeros((9, 9), "f4")}
    extents = {"m.emb.weight": at, "m.lm_head.weight": at}
    with ArrayMap(extents, label="m", format="bin", reader=Reader("m")) as opened:
        found = initreg.map(opened, target, strip_prefix="m.")
        assert found.tied == ("lm_head.weight",)
        found = initreg.map(opened, target, add={"m.lm_head.weight": 1.0})
        assert found.tied == ()
        assert not found.is_complete


@pytest.mark.parametrize("keyword", ["verify", "mmap", "prefx"])
def test_a_keyword_that_it_does_not_take(keyword: str) -> None:
    """It is a TypeError that names the function."""
    with pytest.raises(TypeError, match=rf"map\(\) .*{keyword}"):
        initreg.map({"a": values(2)}, {"a": values(2)}, **{keyword: True})
