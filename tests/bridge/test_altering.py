"""Arrays that other arrays of the source change are no weights as they stand."""

from __future__ import annotations

import pytest

from initreg import ArraySpec, LayerSpec, Mapped, VariableSpec
from initreg.bridge.deriving import mapped

Source = dict[str, tuple[tuple[int, ...], str]]


def map_dense(source: Source, *extra: VariableSpec) -> Mapped:
    """Into a dense layer of 8 inputs and 6 outputs."""
    variables = [
        VariableSpec("fc/kernel", (8, 6), "float32"),
        VariableSpec("fc/bias", (6,), "float32"),
        *extra,
    ]
    known = {
        "fc/kernel": LayerSpec("fc", "Dense", "kernel", 0, ("in", "out")),
        "fc/bias": LayerSpec("fc", "Dense", "bias", 0, ("out",)),
    }
    arrays = [ArraySpec(name, shape, dtype) for name, (shape, dtype) in source.items()]
    return mapped("s", "t", arrays, variables, known)


def fc(name: str = "fc.weight", dtype: str = "float32") -> Source:
    layer = name.rpartition(".")[0]
    return {name: ((6, 8), dtype), f"{layer}.bias": ((6,), "float32")}


@pytest.mark.parametrize(
    ("dtype", "scale", "shape", "rule"),
    [
        ("float8_e4m3fn", "fc.weight_scale", (), 'scale={"*.weight": "*.weight_scale"}'),
        ("float8_e4m3fn", "fc.weight_scale", (6, 1), 'scale={"*.weight": "*.weight_scale"}'),
        (
            *("float8_e5m2", "fc.weight_scale_inv", (2, 2)),
            'scale={"*.weight": ("*.weight_scale_inv", BLOCK)}',
        ),
        ("int8", "fc.weight_scale", (6, 1), 'scale={"*.weight": "*.weight_scale"}'),
        ("int8", "fc.SCB", (6,), ""),
        ("float8_e4m3fn", "fc.weight_scale", (6,), ""),
    ],
)
def test_a_quantised_weight_is_open(
    dtype: str, scale: str, shape: tuple[int, ...], rule: str
) -> None:
    """Its values are not those of the model without its scales. The bias needs none."""
    found = map_dense(fc(dtype=dtype) | {scale: (shape, "float32")})
    assert [each.variable for each in found.variables] == ["fc/bias"]
    assert [each.arrays for each in found.open] == [("fc.weight",)]
    assert found.open[0].why.startswith("quantised, with its scales in another array")
    assert rule in found.open[0].why
    assert ("rule" in found.open[0].why) == bool(rule)


def test_a_weight_of_more_than_one_byte_needs_no_scale() -> None:
    """Norms of some models have a weight and a scale, too."""
    assert map_dense(fc() | {"fc.weight_scale": ((), "float32")}).is_complete


def test_integers_are_open() -> None:
    """Without a rule they are not cast, so that the restore would fail."""
    found = map_dense(fc(dtype="int8"))
    assert "int8 is not cast to float32" in found.open[0].why


@pytest.mark.parametrize("name", ["fc.weight", "fc.base_layer.weight"])
def test_a_layer_with_an_adapter_is_open(name: str) -> None:
    """It computes with the factors of the adapter, too, unless a rule drops them."""
    factors: Source = {
        "fc.lora_A.default.weight": ((2, 8), "float32"),
        "fc.lora_B.default.weight": ((6, 2), "float32"),
    }
    found = map_dense(fc(name) | factors)
    assert [each.arrays for each in found.open] == [(name,)]
    assert 'drop="*lora_*"' in found.open[0].why
    assert map_dense(fc(name)).is_complete


def test_a_factor_of_an_adapter_is_no_kernel() -> None:
    """Even if it has the shape of one, and nothing else does."""
    source: Source = {
        "fc.lora_A.weight": ((6, 8), "float32"),
        "fc.lora_B.weight": ((6, 6), "float32"),
        "fc.bias": ((6,), "float32"),
    }
    variables = [VariableSpec("fc/kernel", (8, 6), "float32")]
    known = {"fc/kernel": LayerSpec("fc", "Dense", "kernel", 0, ("in", "out"))}
    arrays = [ArraySpec(name, shape, dtype) for name, (shape, dtype) in source.items()]
    found = mapped("s", "t", arrays, variables, known)
    assert not found.variables
    assert found.open[0].arrays == ("fc.lora_A.weight",)


@pytest.mark.parametrize(
    "names",
    [
        ("emb.weight_v", "emb.weight_g"),
        ("emb.parametrizations.weight.original1", "emb.parametrizations.weight.original0"),
        ("emb.weight_orig", "emb.weight_u"),
        ("emb.weight_orig", "emb.weight_mask"),
    ],
)
def test_a_table_that_is_computed_from_several_arrays_is_open(names: tuple[str, str]) -> None:
    """weight_norm, spectral_norm, prune: the array is not what the module looks up."""
    table, other = names
    arrays = [ArraySpec(table, (9, 4), "float32"), ArraySpec(other, (9, 1), "float32")]
    variables = [VariableSpec("e/embeddings", (9, 4), "float32")]
    known = {"e/embeddings": LayerSpec("e", "Embedding", "kernel", 0, ("tokens", "width"))}
    found = mapped("s", "t", arrays, variables, known)
    assert not found.variables
    assert "several arrays" in found.open[0].why
    same = [VariableSpec(each.name, each.shape, "float32") for each in arrays]
    assert mapped("s", "t", arrays, same, {}).is_complete  # a module with the same parts


def test_parameters_that_end_alike_are_weights() -> None:
    """x_g and x_v of RWKV are two parameters of their own."""
    arrays = [ArraySpec(f"att.x_{each}", (1, 1, 8), "float32") for each in "gv"]
    variables = [VariableSpec(each.name, each.shape, "float32") for each in arrays]
    assert mapped("s", "t", arrays, variables, {}).is_complete


@pytest.mark.parametrize(
    ("kernel", "others"),
    [
        ("params/fc/kernel", ["params/fc/kernel/scale"]),
        ("params/Dense_0/kernel", ["params/WeightNorm_0/Dense_0/kernel/scale"]),
        (
            "params/a/Dense_0/kernel",
            [f"batch_stats/a/SpectralNorm_0/Dense_0/kernel/{each}" for each in ("sigma", "u")],
        ),
    ],
)
def test_a_kernel_that_flax_normalises_is_open(kernel: str, others: list[str]) -> None:
    """WeightNorm and SpectralNorm of flax keep the kernel as it is before they are applied."""
    bias = kernel.replace("kernel", "bias")
    source: Source = {kernel: ((8, 6), "float32"), bias: ((6,), "float32")}
    assert map_dense(source).is_complete
    found = map_dense(source | dict.fromkeys(others, ((), "float32")))
    assert [each.arrays for each in found.open] == [(kernel,)]
    assert "of flax computes this weight anew" in found.open[0].why
