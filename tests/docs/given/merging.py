"""Two models that come from a base, one of them with other names, and an adapter of peft."""

import json
from pathlib import Path

import numpy as np

import initreg


def model(seed):
    own = np.random.default_rng(seed)
    shapes = {"block_0/kernel": (4, 6), "block_1/kernel": (4, 6), "head/kernel": (6, 2)}
    weights = {name: own.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    return {**weights, "step": np.int64(1000)}


def given(page):
    initreg.save("base.npz", model(0))
    initreg.save("a.safetensors", model(1))
    initreg.save("b.npz", model(2))
    initreg.save("wrapped.npz", {f"module.{name}": value for name, value in model(2).items()})
    own = np.random.default_rng(3)
    adapter = {}
    for i in range(2):
        for factor, shape in (("A", (2, 6)), ("B", (4, 2))):
            name = f"base_model.model.block_{i}.lora_{factor}.weight"
            adapter[name] = own.normal(size=shape).astype("f4")
    Path("adapter").mkdir()
    initreg.save("adapter/adapter_model.safetensors", adapter)
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    Path("adapter/adapter_config.json").write_text(json.dumps(config))


def after(page):
    base, one, other = model(0), model(1), model(2)
    found = initreg.load("soup.safetensors")["block_0/kernel"]
    np.testing.assert_allclose(
        found, (one["block_0/kernel"] + other["block_0/kernel"]) / 2, atol=1e-6
    )
    adapter = initreg.load("adapter")
    for i in range(2):
        b, a = (adapter[f"base_model.model.block_{i}.lora_{each}.weight"] for each in "BA")
        wanted = base[f"block_{i}/kernel"] + 2 * b @ a
        np.testing.assert_allclose(
            initreg.load("tuned.npz")[f"block_{i}/kernel"], wanted, atol=1e-5
        )
    assert (initreg.load("merged.npz")["head/kernel"] != base["head/kernel"]).any()
