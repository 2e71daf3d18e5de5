"""What a rule file leaves open, made by hand from what the code of both sides computes."""

from __future__ import annotations

import numpy as np

from tests.frameworks.zoo.pairs import Arrays


def roberta(arrays: Arrays) -> Arrays:
    """The first two rows are for padding. The only row of the segments is added to all others."""
    table = arrays["embeddings.position_embeddings.weight"][2:]
    segment = arrays["embeddings.token_type_embeddings.weight"]
    return {"embeddings/position_embedding/embeddings": table + segment}


def opt(arrays: Arrays) -> Arrays:
    table = arrays["decoder.embed_positions.weight"]
    return {"embeddings/position_embedding/embeddings": table[2:]}


def bart(arrays: Arrays) -> Arrays:
    return {
        f"{side}_position_embedding/embeddings": arrays[f"{side}.embed_positions.weight"][2:]
        for side in ("encoder", "decoder")
    }


def gpt_neox(arrays: Arrays) -> Arrays:
    """The query, the key and the value of each of four heads in turn, into kernels of two axes."""
    found = {}
    for at in range(2):
        theirs, ours = f"layers.{at}.attention", f"block_{at}_attention"
        for last, role in (("weight", "kernel"), ("bias", "bias")):
            fused = arrays[f"{theirs}.query_key_value.{last}"]
            heads = fused.reshape(4, 3, 8, *fused.shape[1:])
            for part, name in enumerate(("query", "key", "value")):
                found[f"{ours}/{name}/{role}"] = heads[:, part].reshape(32, *fused.shape[1:]).T
            found[f"{ours}/out/{role}"] = arrays[f"{theirs}.dense.{last}"].T
    return found


def deberta(arrays: Arrays) -> Arrays:
    norms = {
        "embeddings_layer_norm": "embeddings",
        "rel_embedding/rel_embeddings_layer_norm": "encoder",
    }
    for at in range(3):
        block = f"disentangled_attention_encoder_layer_{at}"
        norms[f"{block}/self_attention_layer_norm"] = f"encoder.layer.{at}.attention.output"
        norms[f"{block}/feedforward_layer_norm"] = f"encoder.layer.{at}.output"
    return {
        f"{ours}/{role}": arrays[f"{theirs}.LayerNorm.{last}"]
        for ours, theirs in norms.items()
        for role, last in (("gamma", "weight"), ("beta", "bias"))
    }


def segformer(arrays: Arrays) -> Arrays:
    """The layers have the numbers in which they are made: the norm of the patches, then in each
    block a norm, attention with a norm if it has fewer keys, and another norm; at last one more."""
    found, norm = {}, 0
    for stage in range(4):
        norm += 1  # of the patches
        for at in range(2):
            number = 2 * stage + at
            ours = f"hierarchical_encoder_{stage}_{at}"
            theirs = f"stages.{stage}.blocks.{at}"
            after = norm + (2 if stage < 3 else 1)
            for name, count in (("layernorm_before", norm), ("layernorm_after", after)):
                found[f"{ours}/layer_normalization_{count}/gamma"] = arrays[
                    f"{theirs}.{name}.weight"
                ]
                found[f"{ours}/layer_normalization_{count}/beta"] = arrays[f"{theirs}.{name}.bias"]
            norm = after + 1
            attention = f"{ours}/seg_former_multihead_attention{f'_{number}' if number else ''}"
            for part, name in enumerate(("q_proj", "k_proj", "v_proj", "o_proj"), 6 * number):
                dense = f"{attention}/dense{f'_{part}' if part else ''}"
                found[f"{dense}/kernel"] = arrays[f"{theirs}.attention.{name}.weight"].T
                found[f"{dense}/bias"] = arrays[f"{theirs}.attention.{name}.bias"]
        norm += 1
    return found


def dinov2(arrays: Arrays) -> Arrays:
    """keras-hub keeps the table twice: once for the size of the images."""
    table = arrays["embeddings.position_embeddings"]
    names = ("interpolated_position_embeddings", "position_embeddings")
    return {f"embeddings/{name}": table for name in names}


def clip(arrays: Arrays) -> Arrays:
    """keras-hub counts the positions in a variable, which is 0 until its own converter fills it."""
    return {"embedding/position_ids": np.arange(17)[None]}


def none(arrays: Arrays) -> Arrays:
    """Nothing is needed for what is computed."""
    return {}
