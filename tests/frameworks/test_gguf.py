"""A file of llama.cpp into Keras: the rows of queries and keys are in another order there, which no
shape shows. It is asked for, and rules undo it."""

from __future__ import annotations

from pathlib import Path

import gguf
import keras
import numpy as np
import pytest
import torch

import initreg
from initreg import SmartInit
from tests.frameworks.test_zoo import compare
from tests.frameworks.zoo import decoders
from tests.frameworks.zoo.pairs import Pair, randomize

HEADS, GROUPS, WIDTH = 4, 2, 32
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
ROWS = f"""
[[step]]
[step.reshape]
"blk.*.attn_q.weight" = [{HEADS}, -1, 2, {WIDTH}]
"blk.*.attn_k.weight" = [{GROUPS}, -1, 2, {WIDTH}]

[[step]]
permute = {{ "blk.*.attn_[qk].weight" = [0, 2, 1, 3] }}

[[step]]
reshape = {{ "blk.*.attn_[qk].weight" = [-1, {WIDTH}] }}
"""


def permuted(weight: np.ndarray, heads: int) -> np.ndarray:
    """Pairs of rows that are half a head apart become neighbours, as llama.cpp rotates them."""
    halves = weight.reshape(heads, 2, -1, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def written(pair: Pair, path: Path, architecture: str = "llama") -> Path:
    """What llama.cpp's converter makes of a Llama of transformers."""
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 3)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_embedding_length(WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    for name, tensor in pair.theirs.state_dict().items():
        array = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:
            array = permuted(array, HEADS if "q_proj" in name else GROUPS)
        writer.add_tensor(names.get_name(name, (".weight",)), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def pair() -> Pair:
    keras.backend.clear_session()
    made = decoders.llama()
    randomize(made)
    return made


def test_the_permuted_rows_are_asked_for(pair: Pair, tmp_path: Path) -> None:
    """Every other array is mapped. A restore without an answer fails."""
    path = written(pair, tmp_path / "m.gguf")
    mapped = initreg.map(path, pair.ours)
    assert {name for each in mapped.open for name in each.arrays} == {
        f"blk.{layer}.attn_{part}.weight" for layer in range(3) for part in "qk"
    }
    assert not mapped.missing
    assert all("another order" in each.why for each in mapped.open)
    assert any(f"[{HEADS}, -1, 2, {WIDTH}]" in each.why for each in mapped.open)
    mapped.save(tmp_path / "rules.toml")
    with pytest.raises(initreg.InitregError):
        SmartInit(path, rules=tmp_path / "rules.toml", on_missing="error").init(pair.ours)


def test_rules_undo_it(pair: Pair, tmp_path: Path) -> None:
    """With the rules of the page, the map is complete, and both models compute the same."""
    path = written(pair, tmp_path / "m.gguf")
    (tmp_path / "llama-rows.toml").write_text(ROWS)
    mapped = initreg.map(path, pair.ours, rules=tmp_path / "llama-rows.toml")
    assert mapped.is_complete, mapped.to_text()
    mapped.save(tmp_path / "rules.toml")
    source = SmartInit(path, rules=tmp_path / "rules.toml", on_missing="error", on_unused="error")
    source.init(pair.ours)
    compare(pair)


def test_it_can_be_said_that_they_are_right_as_they_are(pair: Pair, tmp_path: Path) -> None:
    """With their axes in their own order, as in any plan. For this model that is wrong: its
    outputs differ, so the rules are needed."""
    path = written(pair, tmp_path / "m.gguf")
    mapped = initreg.map(path, pair.ours, permute={"blk.*.attn_[qk].weight": (0, 1)})
    assert mapped.is_complete
    mapped.save(tmp_path / "rules.toml")
    SmartInit(path, rules=tmp_path / "rules.toml", on_missing="error").init(pair.ours)
    with pytest.raises(AssertionError):
        compare(pair)


def test_other_architectures_are_as_they_are(pair: Pair, tmp_path: Path) -> None:
    """A file of qwen2 has the rows of Hugging Face, and nothing is asked."""
    path = written(pair, tmp_path / "m.gguf", "qwen2")
    assert initreg.map(path, pair.ours).is_complete
    assert torch.is_tensor(pair.theirs.lm_head.weight)
