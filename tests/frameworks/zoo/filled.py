"""What a rule file leaves open, made by hand from what the code of both sides computes."""

from __future__ import annotations

import re

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


def per_head(arrays: Arrays, attention: str) -> Arrays:
    """BLOOM and Falcon: the query, the key and the value of each of four heads in turn."""
    found = {}
    for name, array in arrays.items():
        match = re.fullmatch(r"h\.(\d+)\.self_attention\.(query_key_value|dense)\.(\w+)", name)
        if match is None:
            continue
        block = f"transformer_layer_{match[1]}/{attention}"
        is_bias = match[3] == "bias"
        if match[2] == "dense":
            kind = "bias" if is_bias else "kernel"
            found[f"{block}/output_dense/{kind}"] = array if is_bias else array.T
            continue
        heads = array.reshape(4, 3, 8, *array.shape[1:])
        for at, part in enumerate(("query", "key", "value")):
            one = heads[:, at]
            if not is_bias:
                one = one.transpose(2, 0, 1)
            found[f"{block}/{part}_dense/{'bias' if is_bias else 'kernel'}"] = one
    return found


def bloom(arrays: Arrays) -> Arrays:
    return per_head(arrays, "self_attention")


def falcon(arrays: Arrays) -> Arrays:
    return {
        name: array.reshape(-1) if name.endswith("output_dense/bias") else array
        for name, array in per_head(arrays, "attention").items()
    }


def phi3(arrays: Arrays) -> Arrays:
    """The query has four heads of 8, the key and the value have two."""
    found = {}
    for at in range(3):
        block = f"transformer_layer_{at}"
        query, key, value = np.split(
            arrays[f"model.layers.{at}.self_attn.qkv_proj.weight"], [32, 48]
        )
        gate, up = np.split(arrays[f"model.layers.{at}.mlp.gate_up_proj.weight"], 2)
        for part, array in (("query", query), ("key", key), ("value", value)):
            found[f"{block}/attention/{part}/kernel"] = array.T.reshape(32, -1, 8)
        found[f"{block}/feedforward_gate_dense/kernel"] = gate.T
        found[f"{block}/feedforward_intermediate_dense/kernel"] = up.T
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
