"""Arrays that are taken apart and put together, in plans, restores and conversions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import MismatchError, RuleError, SmartInit
from initreg.arrays.reader import Reader

QKV = np.arange(48, dtype="f4").reshape(12, 4)


def test_a_row_knows_all_arrays_that_it_is_made_of() -> None:
    """By their names in the source, in the row, in its dict and in the text."""
    source = {"a": QKV[:4], "b": QKV[4:], "w": QKV, "rest": QKV}
    target = {"ab": np.zeros((12, 4), "f4"), "w/0": np.zeros((6, 4), "f4"), "rest": QKV * 0}
    rules: dict[str, Any] = {"concat": {"ab": (0, ["a", "b"])}, "split": {"w": (0, "w/{i}", 6)}}
    plan = SmartInit(source, on_unused="ignore", **rules).init(target)
    rows = {row.name: row for row in plan}
    assert rows["ab"].made_of == ("a", "b")
    assert rows["ab"].array == "a + b"
    assert rows["ab"].changes == ("concatenated along axis 0 from a, b",)
    assert (rows["w/0"].made_of, rows["w/0"].array) == (("w",), "w[0:6]")
    assert (rows["w/1"].made_of, rows["w/1"].array) == (("w",), "w[6:12]")  # no variable takes it
    assert rows["rest"].made_of == ()
    assert plan.to_dict()["rows"][0]["made_of"] == ["a", "b"]
    assert "concatenated along axis 0 from a, b" in plan.to_text()
    assert np.array_equal(target["ab"], QKV)
    assert np.array_equal(target["w/0"], QKV[:6])


def test_shapes_that_do_not_fit_are_told_before_anything_is_written() -> None:
    """A part is matched as any array is."""
    target = {"q": np.zeros((5, 4), "f4"), "k": np.zeros((4, 4), "f4")}
    with pytest.raises(MismatchError, match=r"q.*\(4, 4\).*\(5, 4\)"):
        SmartInit({"qkv": QKV}, split={"qkv": (0, ["q", "k", "v"])}).init(target)
    assert not target["k"].any()


def test_each_source_of_a_chain_may_have_its_own() -> None:
    """Parts of one source override arrays of another, and rules of the chain see all of them."""
    base = SmartInit({"qkv": QKV}, split={"qkv": (0, ["q", "k", "v"])})
    found = initreg.load([base, {"k": QKV[:4] * 0 - 1}], prefix="net/")
    assert found["net/q"].tolist() == QKV[:4].tolist()
    assert (found["net/k"] == -1).all()
    with pytest.raises(RuleError, match=r"there is 'k', but no array 'q'"):
        initreg.load([base, {"k": QKV[:4]}], concat={"qk": (0, ["q", "k"])})


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".h5", ".ckpt"])
def test_they_are_converted_and_verified(ending: str, tmp_path: Path) -> None:
    """Every format saves them, the manifest has their digests, and verify reads them."""
    source, out = tmp_path / "in.npz", tmp_path / f"out{ending}"
    initreg.save(source, {"qkv": QKV, **{f"l.{i}.w": QKV[i] for i in range(3)}})
    rules: dict[str, Any] = {
        "split": {"qkv": (0, ["q", "k", "v"])},
        "stack": {"w": (1, "l.{i}.w")},
    }
    progress: list[tuple[int, int]] = []
    done = initreg.convert(
        source, out, manifest=True, progress=lambda *each: progress.append(each), **rules
    )
    found = initreg.load(done)
    assert np.array_equal(np.concatenate([found["q"], found["k"], found["v"]]), QKV)
    assert np.array_equal(found["w"], QKV[:3].T)
    assert progress[-1] == (QKV.nbytes + 48, QKV.nbytes + 48)
    assert initreg.verify(done).ok
    with initreg.open(source, **rules) as opened:
        checked = initreg.verify(opened)
        assert checked.ok
        assert {each.name for each in checked.arrays} == {"q", "k", "v", "w"}


def test_damage_is_found_by_verify(tmp_path: Path) -> None:
    """In each array that is made of the damaged one."""
    path = tmp_path / "a.npz"
    np.savez(path, qkv=QKV, other=QKV[0])
    content = bytearray(path.read_bytes())
    content[content.find(QKV[11].tobytes())] ^= 1
    path.write_bytes(content)
    with initreg.open(path, split={"qkv": (0, ["q", "k", "v"])}) as opened:
        found = initreg.verify(opened)
    wrong = {each.name for each in found.arrays if each.problem}
    assert wrong == {"q", "k", "v"}


def test_parameters_are_those_that_are_made_of_parameters() -> None:
    """What a source says of its arrays holds for what is made of them."""

    class Source(dict[str, Any]):
        parameters = ("a", "b", "w")

    source = Source(a=QKV, b=QKV, w=QKV, slot=QKV, other=QKV)
    made = initreg.ArrayMap(source, label="s", format="f", reader=Reader("s")).apply(
        split={"w": (0, ["x", "y"])},
        stack={"ab": (0, ["a", "b"]), "mixed": (0, ["slot", "other"])},
    )
    assert made.parameters == ("ab", "x", "y")


@pytest.mark.framework
def test_variables_that_are_a_source_are_read_before_they_are_written() -> None:
    """The two halves of a variable swap places, although each is written to."""
    import tensorflow as tf

    a, b = tf.Variable([1.0, 2.0], name="a"), tf.Variable([3.0, 4.0], name="b")
    swap: dict[str, Any] = {
        "concat": {"ab": (0, ["a", "b"])},
    }
    with initreg.open({"a": a, "b": b}, **swap) as opened:
        swapped = opened.split("ab", 0, ["b", "a"])
        SmartInit(swapped).init([a, b])
    assert (a.numpy().tolist(), b.numpy().tolist()) == ([3, 4], [1, 2])


@pytest.mark.framework
def test_a_fused_projection_is_a_keras_attention() -> None:
    """torch's in_proj (3 * d, d) becomes query, key and value of Keras: the outputs are equal."""
    import keras

    keras.utils.set_random_seed(3)
    heads, dim = 2, 6

    def model() -> Any:
        inputs = keras.Input((5, dim))
        layer = keras.layers.MultiHeadAttention(heads, dim // heads, name="att")
        return keras.Model(inputs, layer(inputs, inputs))

    want, got = model(), model()
    for weight in want.weights:  # biases begin as zeros
        weight.assign(keras.random.normal(weight.shape))
    weights = {w.path.partition("/")[2]: np.asarray(w) for w in want.weights}
    fused = {
        "in_proj_weight": np.concatenate(
            [weights[f"{n}/kernel"].reshape(dim, dim).T for n in ("query", "key", "value")]
        ),
        "in_proj_bias": np.concatenate(
            [weights[f"{n}/bias"].reshape(dim) for n in ("query", "key", "value")]
        ),
        "out_proj.weight": weights["attention_output/kernel"].reshape(dim, dim).T,
        "out_proj.bias": weights["attention_output/bias"],
    }
    parts = ["query/", "key/", "value/"]
    plan = SmartInit(
        fused,
        on_missing="error",
        rename=[("out_proj.weight", "attention_output/kernel"), ("out_proj.", "attention_output/")],
        prefix="att/",
        split={
            "att/in_proj_weight": (0, [f"att/{part}kernel" for part in parts]),
            "att/in_proj_bias": (0, [f"att/{part}bias" for part in parts]),
        },
        transpose="*/kernel",
        reshape={
            "*/kernel": (dim, heads, -1),
            "att/attention_output/kernel": (heads, -1, dim),
            "att/*y/bias": (heads, -1),
            "att/value/bias": (heads, -1),
        },
    ).init(got)
    assert plan.ok
    x = keras.random.normal((2, 5, dim))
    assert np.array_equal(np.asarray(want(x)), np.asarray(got(x)))
