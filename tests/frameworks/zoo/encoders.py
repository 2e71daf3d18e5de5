"""Encoders, and encoders with decoders, of transformers and of keras-hub."""

from __future__ import annotations

from typing import Any

import keras_hub.models as hub
import numpy as np
import transformers as hf

from tests.frameworks.zoo.pairs import (
    IDS,
    SEGMENTS,
    TOKENS,
    Pair,
    seq2seq,
    tensor,
)

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 24,
}
HUB_SIZES = (50, 3, 4, 32, 64)  # vocabulary, layers, heads, width, width of the feed-forward layers
LENGTH = {"max_sequence_length": 24, "dropout": 0}


def _encoder(theirs: Any, ours: Any, given: Any = TOKENS, key: str | None = None) -> Pair:
    def computed() -> Any:
        found = ours(given)
        return found[key] if key else found

    return Pair(theirs, ours, lambda: theirs(tensor(IDS)).last_hidden_state, computed)


def bert() -> Pair:
    """With feed-forward layers as wide as the others, so that all kernels are square."""
    theirs = hf.BertModel(
        hf.BertConfig(**{**SIZES, "intermediate_size": 32}, hidden_act="gelu_pytorch_tanh")
    )
    ours = hub.BertBackbone(50, 3, 4, 32, 32, **LENGTH)
    return _encoder(theirs, ours, SEGMENTS, "sequence_output")


def roberta() -> Pair:
    theirs = hf.RobertaModel(
        hf.RobertaConfig(**{**SIZES, "max_position_embeddings": 26, "type_vocab_size": 1}),
        add_pooling_layer=False,
    )
    return _encoder(theirs, hub.RobertaBackbone(*HUB_SIZES, **LENGTH))


def xlm_roberta() -> Pair:
    theirs = hf.XLMRobertaModel(
        hf.XLMRobertaConfig(**{**SIZES, "max_position_embeddings": 26, "type_vocab_size": 1}),
        add_pooling_layer=False,
    )
    return _encoder(theirs, hub.XLMRobertaBackbone(*HUB_SIZES, **LENGTH))


def distilbert() -> Pair:
    config = hf.DistilBertConfig(
        vocab_size=50, dim=32, n_layers=3, n_heads=4, hidden_dim=64, max_position_embeddings=24
    )
    return _encoder(hf.DistilBertModel(config), hub.DistilBertBackbone(*HUB_SIZES, **LENGTH))


def albert() -> Pair:
    theirs = hf.AlbertModel(hf.AlbertConfig(embedding_size=16, **SIZES))
    ours = hub.AlbertBackbone(50, 3, 4, 16, 32, 64, **LENGTH)
    return _encoder(theirs, ours, SEGMENTS, "sequence_output")


def electra() -> Pair:
    theirs = hf.ElectraModel(
        hf.ElectraConfig(embedding_size=16, hidden_act="gelu_pytorch_tanh", **SIZES)
    )
    ours = hub.ElectraBackbone(50, 3, 4, 32, 16, 64, **LENGTH)
    return _encoder(theirs, ours, SEGMENTS, "sequence_output")


def deberta() -> Pair:
    config = hf.DebertaV2Config(
        **{**SIZES, "max_position_embeddings": 24},
        relative_attention=True,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        type_vocab_size=0,
        layer_norm_eps=1e-7,
    )
    ours = hub.DebertaV3Backbone(*HUB_SIZES, **LENGTH, bucket_size=8)
    return _encoder(hf.DebertaV2Model(config), ours)


def esm() -> Pair:
    config = hf.EsmConfig(
        **SIZES, position_embedding_type="rotary", pad_token_id=1, token_dropout=False
    )
    ours = hub.ESMBackbone(*HUB_SIZES, use_pre_layer_norm=False, dropout=0)
    return _encoder(hf.EsmModel(config, add_pooling_layer=False), ours, {"token_ids": IDS})


def fnet() -> Pair:
    config = hf.FNetConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        intermediate_size=64,
        max_position_embeddings=24,
    )
    ours = hub.FNetBackbone(50, 3, 32, 64, **LENGTH)
    given = {"token_ids": IDS, "segment_ids": SEGMENTS["segment_ids"]}
    return _encoder(hf.FNetModel(config), ours, given, "sequence_output")


def t5() -> Pair:
    config = hf.T5Config(
        vocab_size=50,
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
    )
    config.dense_act_fn = "gelu"  # as keras-hub computes it; "gated-gelu" makes it an approximation
    theirs = hf.T5Model(config)
    ours = hub.T5Backbone(
        50, 2, 4, 32, 64, dropout=0, key_value_dim=8, activation="gelu", use_gated_activation=True
    )
    return Pair(
        theirs,
        ours,
        lambda: theirs(input_ids=tensor(IDS), decoder_input_ids=tensor(IDS)).last_hidden_state,
        lambda: ours(seq2seq())["decoder_sequence_output"],
    )


def bart() -> Pair:
    config = hf.BartConfig(
        vocab_size=50,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=24,
    )
    theirs = hf.BartModel(config)
    ours = hub.BartBackbone(50, 2, 4, 32, 64, **LENGTH)
    return Pair(
        theirs,
        ours,
        lambda: theirs(input_ids=tensor(IDS), decoder_input_ids=tensor(IDS)).last_hidden_state,
        lambda: ours(seq2seq())["decoder_sequence_output"],
    )


def whisper() -> Pair:
    config = hf.WhisperConfig(
        vocab_size=50,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=16,
        max_source_positions=20,
        max_target_positions=24,
        pad_token_id=1,
        bos_token_id=1,
        eos_token_id=1,
        decoder_start_token_id=1,
    )
    theirs = hf.WhisperModel(config)
    ours = hub.WhisperBackbone(
        50,
        2,
        4,
        32,
        64,
        num_mels=16,
        dropout=0,
        max_encoder_sequence_length=40,
        max_decoder_sequence_length=24,
    )
    sound = np.random.default_rng(0).normal(size=(2, 40, 16)).astype("float32")
    given = {
        "encoder_features": sound,
        "decoder_token_ids": IDS,
        "decoder_padding_mask": np.ones_like(IDS),
    }
    return Pair(
        theirs,
        ours,
        lambda: (
            theirs(
                input_features=tensor(sound.transpose(0, 2, 1)), decoder_input_ids=tensor(IDS)
            ).last_hidden_state
        ),
        lambda: ours(given)["decoder_sequence_output"],
    )
