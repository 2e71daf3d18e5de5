"""initreg-gguf, installed into a folder; a block of a Llama as llama.cpp's converter writes it, and
the same layers in Keras."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from pages import ROOT, blocks_of

PLUGIN = Path(__file__).parents[3] / "plugins" / "initreg-gguf"
# Offline, with the build backend that the test group brings.
PIP = "-m pip install --quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check"
RANDOM = np.random.default_rng(0)
CODE = """from keras import Input, Model, layers


class Block(layers.Layer):
    def __init__(self):
        super().__init__(name="block_0")
        for name, size in (("query", 8), ("key", 4), ("value", 4), ("attention_output", 8)):
            setattr(self, name, layers.Dense(size, use_bias=False, name=name))
        for name, size in (("gate", 12), ("up", 12), ("down", 8)):
            name = f"feedforward_{name}"
            setattr(self, name, layers.Dense(size, use_bias=False, name=name))
        self.attention_norm = layers.RMSNormalization(name="attention_norm")
        self.feedforward_norm = layers.RMSNormalization(name="feedforward_norm")

    def build(self, shape):
        for layer in (self.query, self.key, self.value, self.attention_output):
            layer.build(shape)
        self.feedforward_gate.build(shape)
        self.feedforward_up.build(shape)
        self.feedforward_down.build((*shape[:-1], 12))
        self.attention_norm.build(shape)
        self.feedforward_norm.build(shape)


def build():
    tokens = Input((5,), dtype="int32")
    x = layers.Embedding(20, 8, name="token_embedding")(tokens)
    block = Block()
    block.build((None, 5, 8))
    x = layers.RMSNormalization(name="output_norm")(x)
    model = Model(tokens, layers.Dense(20, use_bias=False, name="output")(x))
    model.block = block
    return model
"""


def permuted(weight, heads):
    """As LlamaModel.permute of llama.cpp has it."""
    return weight.reshape(heads, 2, -1, 8).swapaxes(1, 2).reshape(weight.shape)


def given(page):
    subprocess.run([sys.executable, *PIP.split(), "--target", "site", str(PLUGIN)], check=True)
    site = os.path.abspath("site")
    sys.path += [site, os.getcwd()]
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), site])
    Path("llama.py").write_text(CODE)
    blocks = [b.text for b in blocks_of(ROOT / "docs" / "from-gguf.md") if b.language == "toml"]
    Path("rows.toml").write_text("".join(blocks))

    import gguf

    shapes = {"token_embd": (20, 8), "output_norm": (8,), "output": (20, 8)}
    shapes |= {"blk.0.attn_q": (8, 8), "blk.0.attn_k": (4, 8), "blk.0.attn_v": (4, 8)}
    shapes |= {"blk.0.attn_output": (8, 8), "blk.0.attn_norm": (8,), "blk.0.ffn_norm": (8,)}
    shapes |= {"blk.0.ffn_gate": (12, 8), "blk.0.ffn_up": (12, 8), "blk.0.ffn_down": (8, 12)}
    page.tensors = {name: RANDOM.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    writer = gguf.GGUFWriter("llama.gguf", "llama")
    writer.add_embedding_length(8)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    for name, array in page.tensors.items():
        heads = {"attn_q": 2, "attn_k": 1}.get(name.rpartition(".")[2])
        writer.add_tensor(f"{name}.weight", permuted(array, heads) if heads else array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def after(page):
    block = page.model.block
    for layer, name in ((block.query, "attn_q"), (block.key, "attn_k"), (block.value, "attn_v")):
        assert (np.asarray(layer.kernel) == page.tensors[f"blk.0.{name}"].T).all()
