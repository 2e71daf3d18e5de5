"""Decoders of transformers and of keras-hub."""

from __future__ import annotations

from typing import Any

import keras_hub.models as hub
import transformers as hf

from tests.frameworks.zoo.pairs import IDS, TOKENS, Pair, tensor

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
GROUPED = {**SIZES, "num_key_value_heads": 2, "rms_norm_eps": 1e-6}
HUB_GROUPED = {
    "vocabulary_size": 50,
    "num_layers": 3,
    "num_query_heads": 4,
    "hidden_dim": 32,
    "intermediate_dim": 48,
    "num_key_value_heads": 2,
}
SHORT = {"max_sequence_length": 24, "dropout": 0}


def _decoder(theirs: Any, ours: Any) -> Pair:
    body = getattr(theirs, "model", theirs)
    return Pair(
        theirs, ours, lambda: body(tensor(IDS)).last_hidden_state, lambda: ours(dict(TOKENS))
    )


def gpt2() -> Pair:
    config = hf.GPT2Config(vocab_size=50, n_embd=32, n_layer=3, n_head=4, n_positions=24)
    return _decoder(hf.GPT2Model(config), hub.GPT2Backbone(50, 3, 4, 32, 128, **SHORT))


def gpt_neox() -> Pair:
    theirs = hf.GPTNeoXModel(hf.GPTNeoXConfig(**SIZES, hidden_act="gelu_pytorch_tanh"))
    return _decoder(theirs, hub.GPTNeoXBackbone(50, 3, 4, 32, 48, **SHORT))


def opt() -> Pair:
    config = hf.OPTConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        ffn_dim=64,
        max_position_embeddings=24,
        word_embed_proj_dim=32,
    )
    return _decoder(hf.OPTModel(config), hub.OPTBackbone(50, 3, 4, 32, 64, **SHORT))


def bloom() -> Pair:
    config = hf.BloomConfig(vocab_size=50, hidden_size=32, n_layer=3, n_head=4)
    return _decoder(hf.BloomModel(config), hub.BloomBackbone(50, 3, 4, 32, 128, dropout=0))


def falcon() -> Pair:
    config = hf.FalconConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        alibi=True,
        bias=True,
        multi_query=False,
        new_decoder_architecture=False,
        parallel_attn=False,
    )
    ours = hub.FalconBackbone(
        50, 3, 4, 32, 128, attention_dropout_rate=0, feedforward_dropout_rate=0
    )
    return _decoder(hf.FalconModel(config), ours)


def llama() -> Pair:
    config = hf.LlamaConfig(**GROUPED, tie_word_embeddings=False)
    return _decoder(hf.LlamaForCausalLM(config), hub.LlamaBackbone(**HUB_GROUPED))


def llama3() -> Pair:
    config = hf.LlamaConfig(
        **GROUPED,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
    )
    ours = hub.Llama3Backbone(**HUB_GROUPED, tie_word_embeddings=True, rope_max_wavelength=500000)
    return _decoder(hf.LlamaForCausalLM(config), ours)


def mistral() -> Pair:
    config = hf.MistralConfig(**GROUPED, sliding_window=64)
    return _decoder(
        hf.MistralForCausalLM(config), hub.MistralBackbone(**HUB_GROUPED, sliding_window=64)
    )


def mixtral() -> Pair:
    config = hf.MixtralConfig(
        **GROUPED,
        num_local_experts=4,
        num_experts_per_tok=2,
        sliding_window=64,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    ours = hub.MixtralBackbone(**HUB_GROUPED, num_experts=4, top_k=2, sliding_window=64)
    return _decoder(hf.MixtralForCausalLM(config), ours)


def qwen2() -> Pair:
    config = hf.Qwen2Config(**GROUPED, tie_word_embeddings=True)
    return _decoder(
        hf.Qwen2ForCausalLM(config), hub.QwenBackbone(**HUB_GROUPED, tie_word_embeddings=True)
    )


def qwen3() -> Pair:
    config = hf.Qwen3Config(**GROUPED, tie_word_embeddings=True, head_dim=8)
    ours = hub.Qwen3Backbone(
        50, 3, 4, 2, 8, 32, 48, tie_word_embeddings=True, rope_max_wavelength=10000
    )
    return _decoder(hf.Qwen3ForCausalLM(config), ours)


def smollm3() -> Pair:
    config = hf.SmolLM3Config(**GROUPED, tie_word_embeddings=True, pad_token_id=0)
    ours = hub.SmolLM3Backbone(
        50, 32, 48, 3, 4, 2, False, 0.0, [True] * 3, config.layer_types, False, 1e-6, 64, 2e6, 1.0
    )
    return _decoder(hf.SmolLM3ForCausalLM(config), ours)


def phi3() -> Pair:
    config = hf.Phi3Config(**GROUPED, pad_token_id=0)
    return _decoder(hf.Phi3ForCausalLM(config), hub.Phi3Backbone(**HUB_GROUPED))


def gemma() -> Pair:
    config = hf.GemmaConfig(**GROUPED, head_dim=8)
    ours = hub.GemmaBackbone(**{**HUB_GROUPED, "intermediate_dim": 96}, head_dim=8)
    return _decoder(hf.GemmaForCausalLM(config), ours)


def gemma2() -> Pair:
    config = hf.Gemma2Config(**GROUPED, head_dim=8, query_pre_attn_scalar=8, sliding_window=64)
    ours = hub.GemmaBackbone(
        **{**HUB_GROUPED, "intermediate_dim": 96},
        head_dim=8,
        query_head_dim_normalize=True,
        use_post_ffw_norm=True,
        use_post_attention_norm=True,
        final_logit_soft_cap=30,
        attention_logit_soft_cap=50,
        sliding_window_size=64,
        use_sliding_window_attention=True,
    )
    return _decoder(hf.Gemma2Model(config), ours)


def gemma3() -> Pair:
    config = hf.Gemma3TextConfig(**GROUPED, head_dim=8, query_pre_attn_scalar=8, sliding_window=64)
    ours = hub.Gemma3Backbone(
        vocabulary_size=50,
        image_size=16,
        num_layers=3,
        num_query_heads=4,
        num_key_value_heads=2,
        hidden_dim=32,
        intermediate_dim=48,
        head_dim=8,
        query_head_dim_normalize=True,
        use_query_key_norm=True,
        use_post_ffw_norm=True,
        use_post_attention_norm=True,
        sliding_window_size=64,
        use_sliding_window_attention=True,
    )
    return _decoder(hf.Gemma3TextModel(config), ours)
