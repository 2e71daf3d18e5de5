"""What the names and the configuration of an adapter say."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from initreg.errors import InitregError, RuleError
from initreg.merging.adapters import (
    Module,
    bases_of,
    is_adapter,
    parse_config,
    read_names,
    refuse_unknown,
)

BEFORE = "base_model.model."


def test_names_of_peft() -> None:
    """Factors, embeddings, magnitudes and biases, with or without the name of the adapter."""
    found = read_names(
        [
            f"{BEFORE}a.q.lora_A.weight",
            f"{BEFORE}a.q.lora_B.weight",
            f"{BEFORE}a.q.lora_B.bias",
            f"{BEFORE}a.q.lora_magnitude_vector",
            f"{BEFORE}emb.lora_embedding_A",
            f"{BEFORE}emb.lora_embedding_B",
            f"{BEFORE}head.weight",
            f"{BEFORE}norm.modules_to_save.default.weight",
            f"{BEFORE}a.q.base_layer.bias",
        ]
    )
    assert found.unknown == {}
    q, emb = found.modules
    assert (q.name, q.is_embedding, emb.name, emb.is_embedding) == ("a.q", False, "emb", True)
    assert q.arrays == {
        "down": f"{BEFORE}a.q.lora_A.weight",
        "up": f"{BEFORE}a.q.lora_B.weight",
        "bias": f"{BEFORE}a.q.lora_B.bias",
        "magnitude": f"{BEFORE}a.q.lora_magnitude_vector",
    }
    assert found.replaced == {
        "head.weight": f"{BEFORE}head.weight",
        "norm.weight": f"{BEFORE}norm.modules_to_save.default.weight",
        "a.q.bias": f"{BEFORE}a.q.base_layer.bias",
    }


def test_the_state_of_a_model_with_one_adapter() -> None:
    """The name of the adapter is inside the names. Two adapters in one file cannot be told."""
    names = [f"{BEFORE}q.lora_{each}.default.weight" for each in "AB"]
    found = read_names([*names, f"{BEFORE}q.lora_magnitude_vector.default.weight"])
    assert not found.unknown
    assert found.modules[0].arrays["magnitude"].endswith(".default.weight")
    both = read_names([*names, *(name.replace("default", "other") for name in names)])
    assert any("several adapters" in why for why in both.unknown.values())


def test_names_of_kohya() -> None:
    """Factors and alphas, whose modules are joined by underscores."""
    found = read_names(
        [
            "lora_unet_down_blocks_0_to_q.alpha",
            "lora_unet_down_blocks_0_to_q.lora_down.weight",
            "lora_unet_down_blocks_0_to_q.lora_up.weight",
        ]
    )
    [module] = found.modules
    assert module.is_flat
    assert set(module.arrays) == {"alpha", "down", "up"}
    assert not found.unknown
    assert not found.replaced


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("lora_unet_x.hada_w1_a", "not of LoRA"),
        ("lora_unet_x.lokr_w1", "not of LoRA"),
        ("lora_unet_x.lora_mid.weight", "not of LoRA"),
        ("lora_unet_x.dora_scale", "not of LoRA"),
        (f"{BEFORE}x.lora_E", "not of LoRA"),
        ("x.weight", "no name of LoRA's"),
        (f"{BEFORE}x.lora_A.weight", "has no lora_B"),
        ("lora_unet_x.alpha", "has no lora_B or lora_up"),
    ],
)
def test_what_is_not_understood_is_refused(name: str, why: str) -> None:
    """Other kinds of adapters, and halves of factors, are an error that names them."""
    found = read_names([name])
    with pytest.raises(RuleError, match=why):
        refuse_unknown(found, "a.safetensors")


def test_a_model_is_not_an_adapter() -> None:
    """Only factors make a file one."""
    assert not is_adapter(["a.weight", "a.alpha", "lora/kernel"])
    assert is_adapter(["a.weight", f"{BEFORE}q.lora_A.weight"])
    assert is_adapter(["lora_te_x.lora_up.weight"])


MODEL = [
    "unet.down_blocks.0.attn_1.to_q.weight",
    "unet.down_blocks.0.attn_1.to_q.bias",
    "unet.down.blocks_0.weight",
    "unet.down_blocks.0.weight",
    "text_encoder.layers.0.fc1.weight",
    "text_encoder_2.layers.0.fc1.weight",
    "other.layers.0.fc1.weight",
]


def flat(name: str) -> list[str]:
    return bases_of(Module(name, is_flat=True), MODEL)


def test_names_of_kohya_are_mapped_where_one_fits() -> None:
    """A name whose parts are joined by underscores, whole or without its root; or all readings."""
    assert flat("lora_unet_down_blocks_0_attn_1_to_q") == [MODEL[0]]
    assert flat("lora_te1_layers_0_fc1") == ["text_encoder.layers.0.fc1.weight"]
    assert flat("lora_te2_layers_0_fc1") == ["text_encoder_2.layers.0.fc1.weight"]
    assert flat("lora_unet_layers_0_fc1") == MODEL[4:]  # nothing says which
    assert flat("lora_unet_down_blocks_0") == MODEL[2:4]
    assert flat("lora_unet_q") == []  # no whole part of a name


def test_names_of_peft_are_mapped_exactly() -> None:
    """A module has its weight under its own name, in the spelling of PyTorch or of Keras."""
    assert bases_of(Module("a.q"), ["x.a.q.weight", "a.q.weight"]) == ["a.q.weight"]
    assert bases_of(Module("a.q"), ["a/q/kernel", "a/q/bias"]) == ["a/q/kernel"]
    assert bases_of(Module("a.q"), ["a.q.weight", "a/q/kernel"]) == ["a.q.weight", "a/q/kernel"]
    assert bases_of(Module("a.q"), ["b.q.weight"]) == []


def config(**given: Any) -> Any:
    return parse_config(json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 16, **given}), "c")


def test_scales() -> None:
    """alpha by rank, or by its square root, with other ranks and alphas for some modules."""
    assert config().scale_of("a.q") == 2.0
    assert config(use_rslora=True).scale_of("a.q") == pytest.approx(16 / math.sqrt(8))
    patterns = config(rank_pattern={"q": 4}, alpha_pattern={"a.*": 4})
    assert (patterns.rank_of("a.q"), patterns.scale_of("a.q")) == (4, 1.0)
    assert (patterns.rank_of("b.qq"), patterns.scale_of("b.qq")) == (8, 2.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "not JSON"),
        ("[1]", "not an object"),
        ('{"peft_type": "LOHA"}', "only LORA can be merged"),
        ('{"r": 0, "lora_alpha": 1}', "ranks at least 1"),
        ('{"r": 2, "lora_alpha": "x"}', "have to be numbers"),
        ('{"r": 2, "lora_alpha": NaN}', "have to be numbers"),
        ('{"r": 2, "lora_alpha": 1' + "0" * 400 + "}", "have to be numbers"),
        ('{"r": 2, "lora_alpha": 1, "rank_pattern": {"(": 2}}', "not a regex"),
        ('{"r": 2, "lora_alpha": 1, "alpha_pattern": {"(a+)+b": 2}}', "could take very long"),
        ('{"r": 2, "lora_alpha": 1, "rank_pattern": {"a*a*a*a*b": 2}}', "could take very long"),
        ('{"r": 2, "lora_alpha": 1, "layer_replication": [[0, 1]]}', "layer_replication changes"),
        ('{"r": 2, "lora_alpha": 1, "kasa_config": {"beta": 1}}', "kasa_config changes"),
        ('{"r": 2, "lora_alpha": 1, "init_lora_weights": "pissa"}', "changes the weights of"),
        ('{"r": 2, "lora_alpha": 1, "init_lora_weights": "pissa_niter_4"}', "changes the weights"),
        ('{"r": 2, "lora_alpha": 1, "init_lora_weights": "olora"}', "changes the weights of"),
        ('{"r": 2, "lora_alpha": 1, "init_lora_weights": "loftq"}', "changes the weights of"),
        ('{"r": 2, "lora_alpha": 1, "init_lora_weights": ["x"]}', "changes the weights of"),
    ],
)
def test_a_configuration_that_is_not_known(text: str, why: str) -> None:
    """What is no configuration of LoRA is one error that says so."""
    with pytest.raises(InitregError, match=f"^c: .*{why}"):
        parse_config(text, "c")


@pytest.mark.parametrize("start", [None, True, False, "gaussian", "orthogonal", "eva", "mica"])
def test_adapters_that_begin_beside_the_model(start: Any) -> None:
    """These ways to begin a training leave the weights of the model as they are."""
    assert config(init_lora_weights=start).scale_of("a.q") == 2.0
