"""Arrays that hold a query, a key and a value: what takes them apart, and what is left open. Values
are checked with models in tests/frameworks, and here with a dict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg import LayerSpec, Mapped, SmartInit, VariableSpec
from initreg.bridge.deriving import mapped
from tests.bridge.test_deriving import Model, arrays, layer

QKV = ("query", "key", "value")
MEGATRON = {"h.0.mlp.dense_h_to_4h.weight": (64, 16)}


def attention(heads: int, groups: int, size: int, width: int) -> tuple[list[VariableSpec], dict]:  # type: ignore[type-arg]
    """The kernels and biases of an attention with an axis for heads, and its output."""
    variables, known = [], {}
    for name, count in (("query", heads), ("key", groups), ("value", groups)):
        for role, shape, axes in (
            ("kernel", (width, count, size), ("in", "out", "out")),
            ("bias", (count, size), ("out", "out")),
        ):
            path = f"attention/{name}/{role}"
            variables.append(VariableSpec(path, shape, "float32"))
            known[path] = LayerSpec(f"attention/{name}", "EinsumDense", role, 0, axes)
    return variables, known


def fused(word: str, rows: int, width: int, **others: tuple[int, ...]) -> Mapped | dict:  # type: ignore[type-arg]
    found = {f"h.0.attn.{word}.weight": (rows, width), f"h.0.attn.{word}.bias": (rows,)}
    return found | {f"h.0.attn.{name}.weight": shape for name, shape in others.items()}


def parts(found: Mapped) -> dict[str, tuple[int, int, tuple[int, ...], tuple[int, ...]]]:
    return {
        each.variable: (each.axis, each.part, each.sizes, each.heads)
        for each in found.variables
        if each.axis >= 0
    }


def test_sizes_are_those_of_the_layers() -> None:
    """Phi-3: four heads of queries, and two of keys and values, one after the other."""
    source = fused("qkv_proj", 64, 16, o_proj=(16, 32))
    found = mapped("s", "t", arrays(source), *attention(4, 2, 8, 16))
    assert found.is_complete
    assert parts(found) == {
        f"attention/{name}/{role}": (0, at, (32, 16, 16), ())
        for at, name in enumerate(QKV)
        for role in ("kernel", "bias")
    }
    assert all("qkv_proj holds the query" in each.why for each in found.variables)


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 1)])
def test_those_of_each_head_in_turn(heads: int, groups: int) -> None:
    """BLOOM and Falcon: the heads are those of the layer. One key for all heads comes last."""
    each = heads // groups
    rows = (heads + 2 * groups) * 8
    source = fused("query_key_value", rows, 16, dense=(16, 32)) | MEGATRON
    found = mapped("s", "t", arrays(source), *attention(heads, groups, 8, 16))
    assert found.is_complete
    sizes = (each, 1, 1) if each > 1 else ()
    assert parts(found) == {
        f"attention/{name}/{role}": (1, at, sizes, (groups, each + 2, 8, *inner))
        for at, name in enumerate(QKV)
        for role, inner in (("kernel", (16,)), ("bias", ()))
    }


def test_groups_of_heads_are_known_of_falcon_alone() -> None:
    """ChatGLM has all queries first, under the same name. ln_attn is Falcon's."""
    source = fused("query_key_value", 64, 16, dense=(16, 32)) | MEGATRON
    target = attention(4, 2, 8, 16)
    found = mapped("s", "t", arrays(source), *target)
    assert not found.variables
    assert [each.array for each in found.fused] == ["h.*.attn.query_key_value.weight"]
    found = mapped("s", "t", arrays(source | {"h.0.ln_attn.weight": (16,)}), *target)
    assert found.is_complete
    assert parts(found)["attention/key/kernel"] == (1, 1, (2, 1, 1), (2, 4, 8, 16))


@pytest.mark.parametrize(
    "source",
    [
        fused("qkv_proj", 96, 32, out_proj=(32, 32)),  # CodeGen
        fused("query_key_value", 96, 32, dense=(32, 32)),  # without the other words of Megatron
        fused("query_key_value", 96, 32, proj=(32, 32)) | MEGATRON,
        {
            f"language_model.{name}": shape
            for name, shape in (fused("query_key_value", 96, 32, dense=(32, 32)) | MEGATRON).items()
        },
        fused("c_attn", 96, 32),  # Linear and not GPT-2's Conv1D: of GPTBigCode, head by head
    ],
    ids=["codegen", "names", "beside", "megatron", "bigcode"],
)
def test_what_others_store_in_another_order_is_open(source: dict[str, tuple[int, ...]]) -> None:
    """The name alone does not say the order. The file has the lines that take it apart."""
    found = mapped("s", "t", arrays(source), *attention(4, 4, 8, 32))
    assert not any("attention" in each.variable for each in found.variables)
    assert not found.is_complete
    [left] = found.fused
    assert left.shape == (96, 32)
    text = found.to_text()
    assert all(f"#     {line}" in text.splitlines() for line in (*left.in_a_row, *left.by_head))
    assert found.to_dict()["fused"][0]["array"] == left.array


def test_two_attentions_of_other_sizes_leave_it_open() -> None:
    """32 + 2 * 16 and 48 + 2 * 8 rows are both 64."""
    one, other = attention(4, 2, 8, 16), attention(6, 1, 8, 16)
    variables = [*one[0]]
    known = {**one[1]}
    for spec in other[0]:
        name = f"other_{spec.name}"
        variables.append(VariableSpec(name, spec.shape, "float32"))
        layer_of = other[1][spec.name]
        known[name] = LayerSpec(
            f"other_{layer_of.name}", "EinsumDense", layer_of.role, 1, layer_of.axes
        )
    source = fused("qkv_proj", 64, 16, o_proj=(16, 32))
    found = mapped("s", "t", arrays(source), variables, known)
    assert not parts(found)
    assert found.fused


def test_a_square_array_is_open() -> None:
    """64 inputs and 32 + 2 * 16 outputs: the axis of the outputs is not known."""
    source = fused("qkv_proj", 64, 64, o_proj=(64, 32))
    found = mapped("s", "t", arrays(source), *attention(4, 2, 8, 64))
    assert not parts(found)
    assert found.fused


def test_a_gate_and_what_it_lets_through() -> None:
    """Phi-3's gate_up_proj has the gate first."""
    model = (
        Model().add("Dense", "mlp/gate", 4, 6, bias=False).add("Dense", "mlp/up", 4, 6, bias=False)
    )
    model.add("Dense", "mlp/down", 6, 4, bias=False)
    source = layer("mlp.gate_up_proj", 12, 4, bias=False) | layer("mlp.down_proj", 4, 6, bias=False)
    found = model.map(source)
    assert found.is_complete
    assert [(each.variable, each.part) for each in found.variables if each.axis == 0] == [
        ("mlp/gate/kernel", 0),
        ("mlp/up/kernel", 1),
    ]


# --- experts --------------------------------------------------------------------------------------


def experts(**shapes: tuple[int, ...]) -> tuple[list[VariableSpec], dict]:  # type: ignore[type-arg]
    """The weights of a layer of somebody's own, of which no axis is known."""
    variables, known = [], {}
    for name, shape in shapes.items():
        path = f"moe/experts/{name}"
        variables.append(VariableSpec(path, shape, "float32"))
        known[path] = LayerSpec("moe/experts", "Experts", name, 0)
    return variables, known


def mapped_experts(source: dict[str, tuple[int, ...]], **shapes: tuple[int, ...]) -> Mapped:
    return mapped("s", "t", arrays(source), *experts(**shapes))


def found_of(found: Mapped) -> dict[str, tuple[str, int, tuple[int, ...]]]:
    return {
        each.variable.rpartition("/")[2]: (each.arrays[0], each.part, each.change.permute)
        for each in found.variables
    }


def test_gates_of_experts_are_taken_apart() -> None:
    """Mixtral: 4 experts with 6 inner features of 8, the outputs before the inputs."""
    source = {"mlp.experts.gate_up_proj": (4, 12, 8), "mlp.experts.down_proj": (4, 8, 6)}
    found = mapped_experts(
        source, expert_gate=(4, 8, 6), expert_intermediate=(4, 8, 6), expert_down=(4, 6, 8)
    )
    assert found.is_complete
    assert found_of(found) == {
        "expert_gate": ("mlp.experts.gate_up_proj", 0, (0, 2, 1)),
        "expert_intermediate": ("mlp.experts.gate_up_proj", 1, (0, 2, 1)),
        "expert_down": ("mlp.experts.down_proj", 0, (0, 2, 1)),
    }


def test_words_and_not_shapes_decide_between_experts() -> None:
    """In PyTorch, up has the shape that down has in Keras. Both are turned, or both are not."""
    turned = {"mlp.experts.up_proj": (4, 6, 8), "mlp.experts.down_proj": (4, 8, 6)}
    found = mapped_experts(turned, expert_up=(4, 8, 6), expert_down=(4, 6, 8))
    assert found_of(found) == {
        "expert_up": ("mlp.experts.up_proj", 0, (0, 2, 1)),
        "expert_down": ("mlp.experts.down_proj", 0, (0, 2, 1)),
    }
    same = {"mlp.experts.up_proj": (4, 8, 6), "mlp.experts.down_proj": (4, 6, 8)}
    found = mapped_experts(same, expert_up=(4, 8, 6), expert_down=(4, 6, 8))
    assert found_of(found) == {
        "expert_up": ("mlp.experts.up_proj", 0, ()),
        "expert_down": ("mlp.experts.down_proj", 0, ()),
    }


def test_experts_with_as_many_inputs_as_outputs_are_open() -> None:
    """Nothing says whether they are turned."""
    source = {"mlp.experts.up_proj": (4, 8, 8), "mlp.experts.down_proj": (4, 8, 8)}
    found = mapped_experts(source, expert_up=(4, 8, 8), expert_down=(4, 8, 8))
    assert not found.variables
    assert all("as many inputs as outputs" in each.why for each in found.open)


@pytest.mark.parametrize("shape", [(4, 8, 12), (4, 12, 12)])
def test_gates_in_another_order_are_left(shape: tuple[int, ...]) -> None:
    """Llama 4 and gpt-oss have the inputs first, and the latter has gates and others by turns."""
    source = {"mlp.experts.gate_up_proj": shape, "mlp.experts.down_proj": (4, 6, shape[1])}
    found = mapped_experts(
        source, expert_gate=(4, shape[1], 6), expert_intermediate=(4, shape[1], 6)
    )
    assert not found.variables


# --- one kernel of three arrays -------------------------------------------------------------------


def three(
    *names: str, last: str = "weight", shape: tuple[int, int] = (4, 4)
) -> dict[str, tuple[int, ...]]:
    return {
        f"block.attn.{name}.{kind}": size
        for name in names
        for kind, size in ((last, shape), ("bias", (4,)))
    }


@pytest.mark.parametrize(("last", "axis"), [("weight", 0), ("kernel", 1)])
def test_three_arrays_into_one_kernel(last: str, axis: int) -> None:
    """The names of the source say which axis that of the outputs is, because all are square."""
    model = Model().add("Dense", "block/attn/qkv", 4, 12).add("Dense", "block/attn/proj", 4, 4)
    source = three("q_proj", "k_proj", "v_proj", "o_proj", last=last)
    found = model.map(source)
    assert found.is_complete
    by_name = {each.variable: each for each in found.variables}
    kernel, bias = by_name["block/attn/qkv/kernel"], by_name["block/attn/qkv/bias"]
    assert kernel.arrays == tuple(f"block.attn.{each}_proj.{last}" for each in "qkv")
    assert (kernel.how, kernel.along, bias.how, bias.along) == ("concat", axis, "concat", 0)
    assert kernel.change.permute == ((1, 0) if last == "weight" else ())
    assert "q_proj, k_proj, v_proj one after the other" in kernel.why


def test_the_shapes_of_others_say_the_axis() -> None:
    """A dense layer that is not square has the outputs last, although its name is PyTorch's."""
    model = Model().add("Dense", "block/attn/qkv", 4, 12).add("Dense", "block/attn/proj", 4, 4)
    model.add("Dense", "head", 4, 7)
    source = three("q_proj", "k_proj", "v_proj", "o_proj") | {
        "head.weight": (4, 7),
        "head.bias": (7,),
    }
    found = model.map(source)
    assert found.is_complete
    [kernel] = [each for each in found.variables if each.variable == "block/attn/qkv/kernel"]
    assert (kernel.along, kernel.change.permute) == (1, ())


def test_shapes_that_contradict_each_other_leave_it_missing() -> None:
    """One layer has its outputs first and one last."""
    model = Model().add("Dense", "block/attn/qkv", 4, 12).add("Dense", "block/attn/proj", 4, 4)
    model.add("Dense", "head", 4, 7).add("Dense", "tail", 7, 5)
    source = three("q_proj", "k_proj", "v_proj", "o_proj")
    source |= {"head.weight": (4, 7), "head.bias": (7,)} | layer("tail", 5, 7)
    found = model.map(source)
    assert {"block/attn/qkv/kernel", "block/attn/qkv/bias"} <= set(found.missing)


@pytest.mark.parametrize(
    "source",
    [
        three("q_proj", "k_proj", "o_proj"),
        {
            n: s
            for n, s in three("q_proj", "k_proj", "v_proj", "o_proj").items()
            if "k_proj.bias" not in n
        },
        {**three("q_proj", "k_proj", "v_proj", "o_proj"), "block.attn.k_proj.weight": (3, 4)},
    ],
    ids=["two", "bias", "size"],
)
def test_three_that_are_not_alike_are_not_put_together(source: dict[str, tuple[int, ...]]) -> None:
    """One is missing, or has no bias, or all of them are too short."""
    model = Model().add("Dense", "block/attn/qkv", 4, 12).add("Dense", "block/attn/proj", 4, 4)
    found = model.map(source)
    assert "block/attn/qkv/kernel" in found.missing


def test_a_kernel_whose_order_is_not_known_is_missing() -> None:
    """query_key_value may have one after the other, or those of each head in turn."""
    model = Model().add("Dense", "block/attn/query_key_value", 4, 12)
    model.add("Dense", "block/attn/proj", 4, 4)
    found = model.map(three("q_proj", "k_proj", "v_proj", "o_proj"))
    assert "block/attn/query_key_value/kernel" in found.missing


def test_values(tmp_path: Path) -> None:
    """A dict gets the rows of its part, of each head, and the three one after the other."""
    random = np.random.default_rng(0)
    both = {
        name: random.normal(size=shape).astype("f4")
        for name, shape in (
            fused("query_key_value", 24, 6, dense=(6, 8)) | {"h.0.mlp.dense_h_to_4h.weight": (9, 6)}
        ).items()
    }
    variables = {f"attention/{name}/kernel": np.zeros((6, 8), "f4") for name in QKV}
    variables |= {f"attention/{name}/bias": np.zeros(8, "f4") for name in QKV}
    np.savez(tmp_path / "m.npz", **both)
    found = initreg.map(tmp_path / "m.npz", variables)
    assert not any(each.axis >= 0 for each in found.variables)  # a dict does not know its heads
    [left] = found.fused
    rules = "\n".join(left.by_head).replace("HEADS", "2")
    (tmp_path / "mine.toml").write_text(rules)
    found = initreg.map(tmp_path / "m.npz", variables, rules=tmp_path / "mine.toml")
    assert found.is_complete, str(found)
    found.save(tmp_path / "rules.toml")
    SmartInit(tmp_path / "m.npz", rules=tmp_path / "rules.toml", on_unused="ignore").init(variables)
    for at, name in enumerate(QKV):
        rows = [head * 12 + at * 4 + row for head in range(2) for row in range(4)]
        for last, role in (("weight", "kernel"), ("bias", "bias")):
            expected = both[f"h.0.attn.query_key_value.{last}"][rows].T
            np.testing.assert_array_equal(variables[f"attention/{name}/{role}"], expected)


def test_names_of_fused_layers() -> None:
    """The last word of a path, whatever is before it."""
    from initreg.bridge.fusing import fused_name

    assert fused_name("blocks.3.attn.qkv") == "qkv"
    assert fused_name("h.0.attn.query_key_value") == "query_key_value"
    assert fused_name("transformer.blocks.1.attn.Wqkv") == "Wqkv"
    assert fused_name("myqkv") == fused_name("qkv.c") == ""
