"""What decides which array is meant for which variable, and what is left open. Without files."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from initreg import ArraySpec, LayerSpec, Mapped, VariableSpec
from initreg.bridge.deriving import mapped

AXES = {
    "Dense": ("in", "out"),
    "Conv2D": ("window", "window", "in", "out"),
    "Conv2DTranspose": ("window", "window", "out", "in"),
    "DepthwiseConv2D": ("window", "window", "channels", "multiplier"),
    "Embedding": ("tokens", "width"),
}


def arrays(found: dict[str, tuple[int, ...]]) -> list[ArraySpec]:
    return [ArraySpec(name, shape, "float32") for name, shape in found.items()]


def layer(name: str, *shape: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    """A layer as PyTorch has it."""
    found = {f"{name}.weight": shape}
    return found | ({f"{name}.bias": shape[:1]} if bias else {})


class Model:
    """A target: layers one after the other, unless it is said what comes before one."""

    def __init__(self) -> None:
        self.variables: list[VariableSpec] = []
        self.layers: dict[str, LayerSpec] = {}
        self.last: tuple[str, ...] | None = ()
        self.count = 0

    def add(
        self,
        kind: str,
        name: str,
        *shape: int,
        after: Sequence[str] | None = (),
        automatic: bool = False,
        bias: bool = True,
        **more: tuple[int, ...],
    ) -> Model:
        known = self.last if after == () else after
        last = None if known is None else tuple(known)
        roles = {"kernel": shape} if shape else {}
        roles |= {"bias": shape[-1:]} if bias and shape and kind != "Embedding" else {}
        for role, size in roles.items():
            axes = AXES[kind] if role == "kernel" else ("out",)
            self._add(kind, name, role, size, axes, last, automatic, more)
        self.last = last if last is None else (name,)
        self.count += 1
        return self

    def norm(self, name: str, size: int, *roles: str) -> Model:
        for role in roles or ("gamma", "beta"):
            self._add("Normalization", name, role, (size,), ("out",), self.last, False, {})
        self.last = (name,)
        self.count += 1
        return self

    def _add(self, kind, name, role, shape, axes, last, automatic, more) -> None:  # type: ignore[no-untyped-def]
        path = f"{name}/{role}"
        self.variables.append(VariableSpec(path, shape, "float32"))
        flattened = more.get("flattened", ()) if role == "kernel" else ()
        self.layers[path] = LayerSpec(
            name, kind, role, self.count, axes, flattened, last, "", automatic
        )

    def map(self, source: dict[str, tuple[int, ...]], **more: dict[str, int]) -> Mapped:
        return mapped("s", "t", arrays(source), self.variables, self.layers, **more)


def chain(*names: str, automatic: bool = False, size: int = 4) -> Model:
    model = Model()
    for name in names:
        model.add("Dense", name, size, size, automatic=automatic)
    return model


def to(found: Mapped) -> dict[str, str]:
    """The array of each kernel."""
    return {
        each.variable.removesuffix("/kernel"): each.arrays[0].removesuffix(".weight")
        for each in found.variables
        if each.variable.endswith("/kernel")
    }


def square(*names: str) -> dict[str, tuple[int, ...]]:
    return {key: shape for name in names for key, shape in layer(name, 4, 4).items()}


# --- what decides ---------------------------------------------------------------------------------


def test_shapes_decide_alone() -> None:
    """Names without anything in common do not matter if only one array fits."""
    model = Model().add("Dense", "x", 3, 4).add("Dense", "y", 4, 5)
    assert to(model.map(layer("q", 5, 4) | layer("r", 4, 3))) == {"x": "r", "y": "q"}


def test_words_decide() -> None:
    """The words of a name count, whatever the order, and those that mean the same."""
    found = chain("attention_query", "attention_key", "attention_value").map(
        square("attn.v_proj", "attn.q_proj", "attn.k_proj")
    )
    assert to(found) == {
        "attention_query": "attn.q_proj",
        "attention_key": "attn.k_proj",
        "attention_value": "attn.v_proj",
    }
    assert found.is_complete


def test_numbers_decide() -> None:
    """Layers are counted on both sides, from 0 or from 1, with gaps."""
    found = chain("block_1", "block_2", "block_3").map(square("net.0", "net.2", "net.4"))
    assert to(found) == {"block_1": "net.0", "block_2": "net.2", "block_3": "net.4"}
    twelve = [f"h.{n}" for n in range(12)]
    text_order = sorted(twelve)
    found = chain(*(f"layer_{n}" for n in range(12))).map(square(*text_order))
    assert to(found) == {f"layer_{n}": f"h.{n}" for n in range(12)}


def test_ordinals_are_numbers() -> None:
    """first comes before second, however they were registered."""
    found = chain("dense", "dense_1", automatic=True).map(square("second", "first"))
    assert to(found) == {"dense": "first", "dense_1": "second"}


def test_order_decides_what_names_do_not() -> None:
    """Names without anything in common are taken in the order of both sides."""
    found = chain("dense", "dense_1", "dense_2", automatic=True).map(square("zeta", "alpha", "mid"))
    assert to(found) == {"dense": "zeta", "dense_1": "alpha", "dense_2": "mid"}
    assert all("order" in each.why for each in found.variables)


def test_a_weight_with_a_name_of_its_own_is_in_the_order() -> None:
    """A PReLU between two layers is one of those that come one after the other."""
    model, names = Model(), []
    for number in range(3):
        number_of = f"_{number}" if number else ""
        model.add("Conv2D", f"conv2d{number_of}", 1, 1, 4, 4, bias=False, automatic=True)
        names.append(f"conv2d{number_of}")
        path = f"p_re_lu{number_of}"
        model.variables.append(VariableSpec(f"{path}/alpha", (1, 1, 4), "float32"))
        model.layers[f"{path}/alpha"] = LayerSpec(
            path, "PReLU", "alpha", model.count, (), (), model.last, "", True
        )
        model.last = (path,)
        model.count += 1
        names.append(path)
    source = {f"{at}.weight": (4,) if at % 2 else (4, 4, 1, 1) for at in range(6)}
    found = model.map(source)
    assert found.is_complete
    assert {each.variable.partition("/")[0]: each.arrays[0] for each in found.variables} == {
        name: f"{at}.weight" for at, name in enumerate(names)
    }


def test_fc1_and_fc2_are_words_only_in_blocks() -> None:
    """They are the layers of a feed-forward block there, and elsewhere the first of several."""
    found = chain("down", "up").map(square("fc1", "fc2"))
    assert to(found) == {"down": "fc1", "up": "fc2"}
    model = Model().add("Dense", "down", 4, 4, after=None).add("Dense", "up", 4, 4, after=None)
    assert to(model.map(square("layers.0.fc1", "layers.0.fc2"))) == {
        "down": "layers.0.fc2",
        "up": "layers.0.fc1",
    }


# --- what is left open ----------------------------------------------------------------------------


def sides(*names: str, automatic: bool = False) -> Model:
    """Layers side by side."""
    model = Model()
    for name in names:
        model.add("Dense", name, 4, 4, after=("in",), automatic=automatic)
    return model


def open_ones(found: Mapped) -> set[str]:
    return {name for question in found.open for name in question.variables}


def test_ties_are_left_open() -> None:
    """Two layers side by side, and two names that say nothing: both arrays are listed for both."""
    found = sides("a", "b").map(square("left", "right"))
    assert not found.variables
    assert not found.is_complete
    [question] = found.open
    assert set(question.variables) == {"a/kernel", "a/bias", "b/kernel", "b/bias"}
    assert set(question.arrays) == {"left.weight", "left.bias", "right.weight", "right.bias"}
    assert found.unused == ()
    assert "0 of 4 variables" in found.verdict
    assert "4 are open" in found.verdict


def test_automatic_numbers_do_not_tell_layers_apart_that_are_side_by_side() -> None:
    """dense and dense_1 are in the order in which somebody called Dense(), the heads or not."""
    found = sides("dense", "dense_1", automatic=True).map(square("fc1", "fc2"))
    assert open_ones(found) == {"dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"}
    found = sides("head_1", "head_2").map(square("fc1", "fc2"))
    assert to(found) == {"head_1": "fc1", "head_2": "fc2"}


def test_automatic_numbers_against_the_order_are_left_open() -> None:
    """dense_1 computes before dense: numbers and order contradict each other."""
    found = chain("dense_1", "dense_2", "dense", automatic=True).map(square("fc1", "fc2", "fc3"))
    assert not found.variables


def test_automatic_numbers_of_an_unknown_order_are_left_open() -> None:
    """Nothing says whether dense and dense_1 are one after the other."""
    model = Model()
    for name in ("dense", "dense_1", "dense_2"):
        model.add("Dense", name, 4, 4, after=None, automatic=True)
    assert not model.map(square("fc1", "fc2", "fc3")).variables


@pytest.mark.parametrize(
    "names",
    [("alpha", "beta"), ("a.x", "a", "b"), ("A", "b", "C"), ("q", "r", "s", "t")],
    ids=str,
)
def test_a_sorted_file_has_no_order(names: tuple[str, ...]) -> None:
    """Sorted by the whole name, by its parts, or without regard to case."""
    model = chain(*(f"dense_{n}" for n in range(len(names))), automatic=True)
    source = square(*names)
    for key in (str, str.casefold, lambda name: name.split(".")):
        assert not model.map(dict(sorted(source.items(), key=lambda e: key(e[0])))).variables  # type: ignore[operator]


def test_more_layers_on_one_side_are_left_open() -> None:
    """Three of four, or four of three: it is not known which."""
    found = chain("dense", "dense_1", "dense_2", automatic=True).map(
        square("fc1", "fc2", "fc3", "fc4")
    )
    assert not found.variables
    found = chain("a", "b", "c").map(square("x", "y"))
    assert not found.variables


def test_numbers_prove_nothing_if_others_fit_as_well() -> None:
    """Two kernels of a window of 1 and as many inputs as outputs: one of a transposed convolution,
    after a body with one of the other kind. Both may be the one that is numbered like the first
    layer of the body."""
    model = Model().add(
        "Conv2DTranspose", "conv2d_transpose", 1, 1, 6, 4, automatic=True, bias=False
    )
    model.add("Conv2D", "conv2d", 1, 1, 6, 6, automatic=True, bias=False)
    model.add("Conv2DTranspose", "conv2d_transpose_1", 1, 1, 6, 6, automatic=True, bias=False)
    source = {"0.body.0.weight": (4, 6, 1, 1), "0.body.1.weight": (6, 6, 1, 1)}
    found = model.map(source | {"1.weight": (6, 6, 1, 1)})
    assert to(found) == {"conv2d_transpose": "0.body.0"}
    assert open_ones(found) == {"conv2d/kernel", "conv2d_transpose_1/kernel"}


def test_two_towers_are_not_told_apart() -> None:
    """Interleaved automatic names, and towers that are numbered."""
    model = Model()
    for name, after in (
        ("dense", "in"),
        ("dense_1", "in"),
        ("dense_2", "dense"),
        ("dense_3", "dense_1"),
    ):
        model.add("Dense", name, 4, 4, after=(after,), automatic=True)
    assert not model.map(square("t1.fc1", "t1.fc2", "t2.fc1", "t2.fc2")).variables


# --- axes -----------------------------------------------------------------------------------------


def permute(found: Mapped) -> dict[str, tuple[int, ...]]:
    return {e.variable: e.change.permute for e in found.variables if e.variable.endswith("kernel")}


def test_square_kernels_go_with_their_siblings() -> None:
    """What is not square says in which order the source has its axes."""
    model = Model().add("Dense", "a", 3, 4).add("Dense", "b", 4, 4)
    torch = model.map(layer("a", 4, 3) | layer("b", 4, 4))
    assert permute(torch) == {"a/kernel": (1, 0), "b/kernel": (1, 0)}
    other = {"a.weight": (3, 4), "a.bias": (4,), "b.weight": (4, 4), "b.bias": (4,)}
    assert permute(model.map(other)) == {"a/kernel": (), "b/kernel": ()}


def test_square_kernels_alone_go_with_the_names() -> None:
    """``weight`` is PyTorch's word, ``kernel`` is TensorFlow's, and others say nothing."""
    model = chain("a", "b")
    assert permute(model.map(square("a", "b"))) == {"a/kernel": (1, 0), "b/kernel": (1, 0)}
    tf = {"a/kernel": (4, 4), "a/bias": (4,), "b/kernel": (4, 4), "b/bias": (4,)}
    assert permute(model.map(tf)) == {"a/kernel": (), "b/kernel": ()}
    found = model.map({"a/filter": (4, 4), "a/bias": (4,), "b/filter": (4, 4), "b/bias": (4,)})
    assert open_ones(found) == {"a/kernel", "b/kernel"}
    assert {each.variable for each in found.variables} == {"a/bias", "b/bias"}


def test_siblings_that_contradict_each_other_say_nothing() -> None:
    """One has PyTorch's order and one has TensorFlow's: what is square stays open."""
    model = Model().add("Dense", "a", 3, 4).add("Dense", "b", 4, 5).add("Dense", "c", 5, 5)
    found = model.map(layer("a", 4, 3) | {"b.weight": (4, 5), "b.bias": (5,)} | layer("c", 5, 5))
    assert permute(found) == {"a/kernel": (1, 0), "b/kernel": ()}
    [question] = found.open
    assert question.variables == ("c/kernel",)
    assert "both orders of axes" in question.why


def test_names_that_only_fit_with_foreign_axes_do_not_win() -> None:
    """A kernel that fits with the axes that its names have is that, and a contradiction is open."""
    model = Model().add("Dense", "dense", 4, 2, automatic=True, bias=False)
    model.add("Dense", "dense_1", 2, 4, automatic=True, bias=False)
    source = layer("dec", 4, 2, bias=False) | layer("enc", 2, 4, bias=False)
    assert to(model.map(source)) == {"dense": "enc", "dense_1": "dec"}
    source = layer("fc1", 4, 2, bias=False) | layer("fc2", 2, 4, bias=False)
    assert not model.map(source).variables


def test_convolutions_of_each_kind() -> None:
    """Plain, transposed, grouped and depthwise with a multiplier, all with square kernels."""
    model = Model().add("Conv2D", "c", 3, 3, 3, 3).add("Conv2DTranspose", "t", 3, 3, 3, 3)
    model.add("Conv2D", "g", 3, 3, 1, 3).add("DepthwiseConv2D", "d", 3, 3, 3, 2, bias=False)
    source = layer("c", 3, 3, 3, 3) | layer("t", 3, 3, 3, 3) | layer("g", 3, 1, 3, 3)
    found = model.map(source | layer("d", 6, 1, 3, 3, bias=False))
    changes = {each.variable: each.change for each in found.variables}
    assert changes["c/kernel"].permute == changes["t/kernel"].permute == (2, 3, 1, 0)
    assert changes["g/kernel"].permute == (2, 3, 1, 0)
    assert changes["d/kernel"].reshape == (3, 2, 3, 3)
    assert changes["d/kernel"].permute == (2, 3, 0, 1)


def test_what_was_flattened_has_its_channels_first() -> None:
    """The kernel is split into channels and window, and its channels go last."""
    model = Model().add("Dense", "fc", 24, 5, flattened=(2, 3, 4))
    [kernel, _] = model.map(layer("fc", 5, 24)).variables
    assert kernel.change.reshape == (5, 4, 2, 3)
    assert kernel.change.permute == (2, 3, 1, 0)
    assert kernel.change.shape == (24, 5)


def test_what_was_flattened_in_an_unknown_order_is_open() -> None:
    """Unless the source has the axes of TensorFlow."""
    variables = [VariableSpec("fc/kernel", (24, 5), "float32")]
    known = {"fc/kernel": LayerSpec("fc", "Dense", "kernel", 0, ("flattened", "out"))}
    found = mapped("s", "t", arrays({"fc.weight": (5, 24)}), variables, known)
    assert [each.variables for each in found.open] == [("fc/kernel",)]
    assert "flattened" in found.open[0].why
    assert mapped("s", "t", arrays({"fc/kernel": (24, 5)}), variables, known).is_complete


def test_embeddings_keep_their_axes() -> None:
    """Rows are tokens everywhere, and a square one is not turned."""
    model = Model().add("Embedding", "token_embedding", 4, 4).add("Dense", "out", 3, 4)
    found = model.map({"tok_emb.weight": (4, 4)} | layer("out", 4, 3))
    assert permute(found) == {"token_embedding/kernel": (), "out/kernel": (1, 0)}


# --- several arrays, parts, no weights ------------------------------------------------------------


def test_a_fused_projection_is_taken_apart() -> None:
    """in_proj_weight is query, key and value along the first axis, c_attn along the last one."""
    model = chain("query", "key", "value")
    found = model.map({"attn.in_proj_weight": (12, 4), "attn.in_proj_bias": (12,)})
    assert [(e.variable, e.axis, e.part, e.parts) for e in found.variables] == [
        (f"{name}/{role}", 0, part, 3)
        for part, name in enumerate(("query", "key", "value"))
        for role in ("kernel", "bias")
    ]
    found = model.map({"h.0.attn.c_attn.weight": (4, 12), "h.0.attn.c_attn.bias": (12,)})
    assert [(e.variable, e.axis) for e in found.variables if e.variable.endswith("kernel")] == [
        ("query/kernel", 1),
        ("key/kernel", 1),
        ("value/kernel", 1),
    ]


def test_a_fused_projection_stays_whole_if_the_target_has_such_a_layer() -> None:
    """GPT-2 in a model that fuses it as well."""
    model = Model().add("Dense", "attn/qkv", 4, 12)
    assert to(model.map(layer("attn.qkv", 12, 4))) == {"attn/qkv": "attn.qkv"}


def test_buffers_are_dropped() -> None:
    """Counters and tables that modules make anew are no weights."""
    source = square("a") | {"a.num_batches_tracked": (), "position_ids": (1, 9), "inv_freq": (3,)}
    found = chain("a").map(source)
    assert found.dropped == ("a.num_batches_tracked", "position_ids", "inv_freq")
    assert found.is_complete
    assert found.unused == ()


def test_tied_arrays_are_dropped_and_do_not_compete() -> None:
    """A head that is the same bytes as the embedding."""
    model = Model().add("Embedding", "embedding", 9, 4)
    source = {"emb.weight": (9, 4), "lm_head.weight": (9, 4)}
    found = model.map(source, same={"emb.weight": 0, "lm_head.weight": 0})
    assert found.is_complete
    assert found.tied == ("lm_head.weight",)


def test_batch_norm_beside_layer_norm() -> None:
    """One has statistics and the other one has not."""
    model = Model().norm("one", 4, "gamma", "beta", "mean", "variance").norm("two", 4)
    ln = {"z.weight": (4,), "z.bias": (4,)}
    bn = {f"y.{last}": (4,) for last in ("weight", "bias", "running_mean", "running_var")}
    found = {each.variable: each.arrays[0] for each in model.map(ln | bn).variables}
    assert found == {
        "one/gamma": "y.weight",
        "one/beta": "y.bias",
        "one/mean": "y.running_mean",
        "one/variance": "y.running_var",
        "two/gamma": "z.weight",
        "two/beta": "z.bias",
    }


def test_a_scale_with_axes_of_length_1() -> None:
    """ConvNeXt V2: the weight and the bias are (1, 1, 1, 8). In PyTorch, they stay so."""
    source = {"grn.weight": (1, 1, 1, 8), "grn.bias": (1, 1, 1, 8)}
    found = Model().norm("grn", 8).map(source)
    assert {e.variable: (e.arrays, e.change.shape) for e in found.variables} == {
        "grn/gamma": (("grn.weight",), (8,)),
        "grn/beta": (("grn.bias",), (8,)),
    }
    own = [VariableSpec(f"my.{name}", shape, "float32") for name, shape in source.items()]
    found = mapped("s", "t", arrays(source), own, {})
    assert {each.variable: each.arrays for each in found.variables} == {
        "my.grn.weight": ("grn.weight",),
        "my.grn.bias": ("grn.bias",),
    }
    assert not any(each.change for each in found.variables)


@pytest.mark.parametrize(
    ("count", "how", "gates", "bias"),
    [
        (1, "sum", (), (4,)),
        (4, "sum", ("torch-lstm", "keras-lstm"), (16,)),
        (3, "stack", ("torch-gru", "keras-gru"), (2, 12)),
    ],
    ids=["rnn", "lstm", "gru"],
)
def test_recurrent_layers(
    count: int, how: str, gates: tuple[str, ...], bias: tuple[int, ...]
) -> None:
    """Two biases become one, and gates change places."""
    size = count * 4
    known = {
        f"cell/{role}": LayerSpec("cell", "LSTMCell", role, 0, axes)
        for role, axes in (
            ("kernel", ("in", "gates")),
            ("recurrent_kernel", ("in", "gates")),
            ("bias", ("out",) if len(bias) == 1 else ()),
        )
    }
    shapes = {"kernel": (4, size), "recurrent_kernel": (4, size), "bias": bias}
    variables = [VariableSpec(f"cell/{r}", s, "float32") for r, s in shapes.items()]
    source = {f"rnn.{each}_l0": (size, 4) for each in ("weight_ih", "weight_hh")}
    source |= {f"rnn.{each}_l0": (size,) for each in ("bias_ih", "bias_hh")}
    found = mapped("s", "t", arrays(source), variables, known)
    assert found.is_complete
    by_name = {each.variable: each for each in found.variables}
    assert by_name["cell/bias"].arrays == ("rnn.bias_ih_l0", "rnn.bias_hh_l0")
    assert by_name["cell/bias"].how == how
    assert by_name["cell/kernel"].gates == gates
    assert by_name["cell/kernel"].change.permute == (1, 0)


def test_a_gru_that_resets_first_has_no_array_in_pytorch() -> None:
    """Without biases the shapes are equal, and it computes something else."""
    source = arrays({f"rnn.{each}_l0": (12, 4) for each in ("weight_ih", "weight_hh")})
    for last, complete in (("gates", True), ("gates_reset_first", False)):
        roles = ("kernel", "recurrent_kernel")
        known = {f"cell/{r}": LayerSpec("cell", "GRUCell", r, 0, ("in", last)) for r in roles}
        variables = [VariableSpec(name, (4, 12), "float32") for name in known]
        assert mapped("s", "t", source, variables, known).is_complete is complete
        keras = arrays({f"rnn/cell/{each}": (4, 12) for each in roles})
        assert mapped("s", "t", keras, variables, known).is_complete


@pytest.mark.parametrize("name", ["params/up", "params/ConvTranspose_0", "ConvTranspose_0", "up"])
@pytest.mark.parametrize(("ins", "outs"), [(3, 3), (3, 4)])
def test_the_window_of_flax_is_turned(name: str, ins: int, outs: int) -> None:
    """A transposed convolution of flax is open, unless its axes show that it was made with
    transpose_kernel. Its collection is enough to know flax, whatever the layer is called."""
    model = Model().add("Conv2DTranspose", "up", 2, 2, outs, ins, bias=False)
    found = model.map({f"{name}/kernel": (2, 2, outs, ins)})
    is_open = ins == outs and name != "up"
    assert [each.arrays for each in found.open] == ([(f"{name}/kernel",)] if is_open else [])
    assert found.is_complete is not is_open
    given = arrays({f"{name}/kernel": (2, 2, outs, ins)})
    found = mapped("s", "t", given, model.variables, model.layers, of_flax=True)
    assert found.is_complete is (ins != outs)


@pytest.mark.parametrize("last", ["weight", "kernel"])
@pytest.mark.parametrize("said", ["out, in", "in, out"])
def test_a_format_says_the_axes_of_square_kernels(last: str, said: str) -> None:
    """It knows better than the name and the siblings, which say nothing of another kernel."""
    model = Model().add("Dense", "a", 3, 4, bias=False).add("Dense", "b", 4, 4, bias=False)
    for other in ((3, 4), (4, 3)):
        source = arrays({f"a.{last}": other, f"b.{last}": (4, 4)})
        kernel_axes = {f"b.{last}": said}
        found = mapped("s", "t", source, model.variables, model.layers, kernel_axes=kernel_axes)
        by_name = {each.variable: each for each in found.variables}
        assert by_name["a/kernel"].change.permute == ((1, 0) if other == (4, 3) else ())
        # Written even if nothing moves, so that a restore does not doubt it.
        assert by_name["b/kernel"].change.permute == ((1, 0) if said == "out, in" else (0, 1))
        assert "axes as the file says" in by_name["b/kernel"].why


# --- the result -----------------------------------------------------------------------------------


def test_what_no_array_fits_is_missing_and_what_is_left_is_unused() -> None:
    """Both are said, and only the first one makes it incomplete."""
    found = Model().add("Dense", "a", 3, 4).map(layer("q", 9, 9) | layer("b", 4, 3))
    assert found.is_complete
    assert found.unused == ("q.weight", "q.bias")
    found = Model().add("Dense", "a", 3, 4).map(layer("q", 9, 9))
    assert found.missing == ("a/kernel", "a/bias")
    assert not found.is_complete


def test_it_is_json() -> None:
    """to_dict has everything, in types that JSON has."""
    found = chain("query", "key", "value").map({"attn.in_proj_weight": (12, 4), "x.inv_freq": (2,)})
    made = json.loads(json.dumps(found.to_dict()))
    assert made["complete"] is found.is_complete
    assert set(made) == {
        *("source", "target", "complete", "verdict", "variables"),
        *("open", "longer", "missing", "unused", "dropped", "tied", "first", "fused"),
    }
