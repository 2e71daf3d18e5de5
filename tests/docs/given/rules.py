"""Files and models for each of the rules that are shown."""

from pathlib import Path

import ml_dtypes
import numpy as np
from pages import ROOT, blocks_of

import initreg
from initreg import SmartInit


def given(page):
    page.initreg, page.SmartInit = initreg, SmartInit
    initreg.save("base.npz", {"model/fc/W": [1.0, 2.0], "head/W": [3.0]})
    page.model = {"fc/W": np.zeros(2), "head/W": np.zeros(1)}


def the_prefix_is_gone_and_the_head_is_left(page, again):
    def model():
        return {name: array.tolist() for name, array in page.model.items()}

    assert model() == {"fc/W": [1, 2], "head/W": [0]}
    page.model["fc/W"][:] = 0
    again('SmartInit("base.npz", strip_prefix="model/", drop="head/*").init(model)\n', "")
    assert model() == {"fc/W": [1, 2], "head/W": [0]}


def two_models(page):
    initreg.save("bert.npz", {"bert/W": [1.0], "cls/W": [2.0]})
    initreg.save("gpt.npz", {"gpt/W": [3.0]})
    page.model = {"encoder/W": np.zeros(1), "decoder/W": np.zeros(1)}


def both_are_in_the_model(page, again):
    assert page.model == {"encoder/W": [1], "decoder/W": [3]}


def layers(page):
    shapes = {"conv1/kernel": (3, 3, 1, 2), "fc1/kernel": (4, 8), "fc1/bias": (8,)}
    page.model = {name: np.zeros(shape, "f4") for name, shape in shapes.items()}
    page.model["head/kernel"] = np.zeros((8, 3), "f4")
    page.larger = {"embedding/table": np.zeros((32_000, 2), "f4")}
    base = {name: np.full(shape, 2, "f4") for name, shape in shapes.items()}
    base["head/kernel"] = np.ones((8, 10), "f4")
    base["embedding/table"] = np.array([[1, 2], [3, 6]], "f4")
    initreg.save("base.npz", base)
    random = np.random.default_rng(0)
    page.torch = {
        "conv1.weight": random.random((2, 1, 3, 3), "f4"),
        "fc1.weight": random.random((8, 4), "f4"),
    }
    initreg.save("torch.safetensors", page.torch)


def each_recipe_is_in_its_model(page, again):
    model = page.model
    assert (model["head/kernel"] == 0).all()
    assert (model["fc1/bias"] == 2).all()
    assert (model["fc1/kernel"] == page.torch["fc1.weight"].T).all()
    assert (model["conv1/kernel"] == page.torch["conv1.weight"].transpose(2, 3, 1, 0)).all()
    table = page.larger["embedding/table"]
    assert table[:3].tolist() == [[1, 2], [3, 6], [2, 4]]
    assert (table[2:] == [2, 4]).all()


def a_rule_file(page):
    text = next(b.text for b in blocks_of(ROOT / "docs" / "rules.md") if b.language == "toml")
    Path("bert.toml").write_text(text)
    page.torch = {
        "bert.embeddings.weight": np.arange(8, dtype="f2").reshape(4, 2),
        "bert.embeddings.position_ids": np.arange(4),
        "bert.fc.bias": np.ones(3, "f2"),
    }
    initreg.save("torch-bert.npz", page.torch)
    page.encoder = {"embeddings/kernel": np.zeros((2, 32_000), "f4"), "fc/bias": np.zeros(3, "f4")}


def the_file_did_what_it_says(page, again):
    kernel = page.encoder["embeddings/kernel"]
    assert (kernel[:, :4] == page.torch["bert.embeddings.weight"].T).all()
    assert (kernel[:, 4:] == [[3], [4]]).all()
    assert page.encoder["fc/bias"].tolist() == [1, 1, 1]


def fused(page):
    page.fused = {"layer_0/qkv/kernel": np.arange(12, dtype="f4").reshape(6, 2)}
    page.fused |= {f"expert_{i}/kernel": np.full((2, 2), i, "f4") for i in range(3)}
    initreg.save("fused.npz", page.fused)
    page.moe = {f"layer_0/{part}/kernel": np.zeros((2, 2), "f4") for part in "qkv"}
    page.halves = {"ab": np.zeros(2)}
    page.moe["experts/kernel"] = np.zeros((3, 2, 2), "f4")


def they_are_apart_and_together(page, again):
    parts = [page.moe[f"layer_0/{part}/kernel"] for part in "qkv"]
    assert np.array_equal(np.concatenate(parts), page.fused["layer_0/qkv/kernel"])
    assert [expert.tolist() for expert in page.moe["experts/kernel"]] == [
        [[i, i], [i, i]] for i in range(3)
    ]


def tuned(page):
    blocks = [b.text for b in blocks_of(ROOT / "docs" / "rules.md") if b.language == "toml"]
    Path("theirs.toml").write_text(next(text for text in blocks if "theirs.toml" in text))
    page.kernel = np.arange(6.0).reshape(2, 3)


def it_is_theirs_again(page, again):
    found = initreg.load("theirs.npz")
    assert list(found) == ["encoder.weight"]
    assert np.array_equal(found["encoder.weight"], page.kernel.T)
    theirs = {**found, "position_ids": np.arange(3)}
    ours = initreg.load(theirs, rules="theirs.toml")
    assert list(ours) == ["encoder/kernel"]
    assert np.array_equal(ours["encoder/kernel"], page.kernel)


def vocabularies(page):
    initreg.save("table.npz", {"emb": np.array([[1.0], [2.0], [6.0]])})
    Path("old.txt").write_text("a\nb\nc\n")
    Path("new.txt").write_text("c\nd\na\n")
    page.chatbot = {"emb": np.zeros((3, 1))}


def rows_follow_their_tokens(page, again):
    assert page.chatbot["emb"].tolist() == [[6], [3], [1]]


def quantised(page):
    random = np.random.default_rng(0)
    page.fp8 = random.standard_normal((200, 128)).astype(ml_dtypes.float8_e4m3fn)
    page.scales = np.array([[0.5], [4]], "f4")
    arrays = {"fc.weight": page.fp8, "fc.weight_scale_inv": page.scales, "norm.weight": np.ones(2)}
    initreg.save("fp8.safetensors", arrays)
    page.decoder = {"fc.weight": np.zeros((200, 128), "f4"), "norm.weight": np.zeros(2)}


def the_weights_are_scaled(page, again):
    wanted = page.fp8.astype("f4")
    wanted[:128] *= 0.5
    wanted[128:] *= 4
    assert np.array_equal(page.decoder["fc.weight"], wanted)
    assert page.decoder["norm.weight"].tolist() == [1, 1]


def with_a_norm(page):
    page.trained = {"conv/kernel": np.ones((3, 3, 1, 2)), "norm/gamma": np.array([2.0, 4])}
    page.trained |= {"norm/beta": np.array([1.0, 0]), "norm/moving_mean": np.array([0, 3.0])}
    page.trained["norm/moving_variance"] = np.array([1, 4]) - 1e-3
    initreg.save("trained.npz", page.trained)
    page.deployed = {"conv/kernel": np.zeros((3, 3, 1, 2)), "conv/bias": np.zeros(2)}


def the_norm_is_folded(page, again):
    np.testing.assert_allclose(page.deployed["conv/kernel"][0, 0, 0], [2, 2])
    np.testing.assert_allclose(page.deployed["conv/bias"], [1, -6])


def raw_bytes(page):
    np.savez("jax.npz", w=np.array([1.5, -2], ml_dtypes.bfloat16))
    assert np.load("jax.npz")["w"].dtype == "V2"
    page.np, page.ml_dtypes = np, ml_dtypes
    page.model = {"w": np.zeros(2, ml_dtypes.bfloat16)}
    words = {"emb": np.array([3, 4], ml_dtypes.bfloat16).view("u2")}
    np.savez("words.npz", **words, **{"q/w": np.array([1, 2], ml_dtypes.float8_e4m3fn)})
    page.other = {"emb": np.zeros(2, "f4"), "q/w": np.zeros(2, "f4")}


def they_are_numbers_again(page, again):
    assert page.model["w"].tolist() == [1.5, -2]
    assert {n: a.tolist() for n, a in page.other.items()} == {"emb": [3, 4], "q/w": [1, 2]}


BEFORE = {
    ".init(deployed)": with_a_norm,
    '"fp8.safetensors"': quantised,
    ".init(chatbot)": vocabularies,
    '"theirs.npz"': tuned,
    '"fused.npz"': fused,
    '"bert.npz"': two_models,
    '"torch.safetensors"': layers,
    '"torch-bert.npz"': a_rule_file,
    "typo.toml": lambda page: Path("typo.toml").write_text('drop = []\n\ntranspos = "*"\n'),
    '"jax.npz"': raw_bytes,
}
AFTER = {
    ".init(deployed)": the_norm_is_folded,
    '"fp8.safetensors"': the_weights_are_scaled,
    ".init(chatbot)": rows_follow_their_tokens,
    '"theirs.npz"': it_is_theirs_again,
    '"fused.npz"': they_are_apart_and_together,
    '"torch-bert.npz"': the_file_did_what_it_says,
    '"jax.npz"': they_are_numbers_again,
    '.strip_prefix("model/")': the_prefix_is_gone_and_the_head_is_left,
    '"bert.npz"': both_are_in_the_model,
    '"torch.safetensors"': each_recipe_is_in_its_model,
}
