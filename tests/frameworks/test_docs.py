"""The blocks of the pages that need torch or JAX. tests/docs runs all others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from pages import PAGES, ROOT, blocks_of, commands_of

TAGGER = "docs/from-pytorch.md"
W = np.arange(6, dtype="float32").reshape(2, 3)
B = np.array([0.5, 1.5, 2.5], "float32")


def a_file_of_torch(page: dict[str, Any]) -> None:
    import safetensors.torch
    import torch

    torch.save({"w": torch.from_numpy(W)}, "model.pt")
    page.update(path="model.pt", torch=torch, safetensors=safetensors)


def it_is_converted(page: dict[str, Any]) -> None:
    assert (initreg.load("weights.safetensors")["w"] == W).all()


def a_sharding(page: dict[str, Any]) -> None:
    import jax

    initreg.save("model.safetensors", {"fc/W": W})
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    page.update(initreg=initreg, jax=jax, sharding=sharding)


def the_array_is_there(page: dict[str, Any]) -> None:
    assert isinstance(page["array"], page["jax"].Array)
    assert (np.asarray(page["array"]) == W).all()


def a_module(page: dict[str, Any]) -> None:
    import torch

    for name in ("bert", "resnet50"):
        path = initreg.save(f"{name}.h5", {"fc/kernel": W, "fc/bias": B})
        path.rename(f"{name}.weights.h5")
    names = {"fc/kernel": "fc.weight", "fc/bias": "fc.bias"}
    Path("to-torch.toml").write_text(
        initreg.rules_text(rename=names, transpose="fc.weight"), "utf-8"
    )
    module = torch.nn.Module()
    module.fc = torch.nn.Linear(2, 3)
    page.update(module=module, SmartInit=initreg.SmartInit)


def the_module_is_filled(page: dict[str, Any]) -> None:
    assert (page["module"].fc.weight.detach().numpy() == W.T).all()
    assert (page["module"].fc.bias.detach().numpy() == B).all()


def a_model_of_flax(page: dict[str, Any]) -> None:
    import flax.linen
    import initreg_jax
    import jax
    import torch

    for name in ("bert", "torch-bert"):
        arrays = {"weight": torch.from_numpy(W.T.copy()), "bias": torch.from_numpy(B)}
        torch.save(arrays, f"{name}.pt")
    names = {"weight": "params/kernel", "bias": "params/bias"}
    Path("to-flax.toml").write_text(
        initreg.rules_text(rename=names, transpose="params/kernel"), "utf-8"
    )
    page.update(
        model=flax.linen.Dense(3),
        key=jax.random.key(0),
        x=np.ones((1, 2), "float32"),
        initreg_jax=initreg_jax,
        SmartInit=initreg.SmartInit,
    )


def the_model_is_filled(page: dict[str, Any]) -> None:
    output = page["model"].apply(page["variables"], page["x"])
    assert np.allclose(output, W.sum(0) + B)


def both(page: dict[str, Any]) -> None:
    a_module(page)
    a_model_of_flax(page)


def both_are_filled(page: dict[str, Any]) -> None:
    the_module_is_filled(page)
    the_model_is_filled(page)


Step = Callable[[dict[str, Any]], None]
STEPS: dict[str, tuple[Step, Step]] = {  # before and after the block of a page
    "docs/formats.md": (a_file_of_torch, it_is_converted),
    "docs/many-machines.md": (a_sharding, the_array_is_there),
    "docs/targets.md": (both, both_are_filled),
    "plugins/initreg-jax/README.md": (a_model_of_flax, the_model_is_filled),
    "plugins/initreg-torch/README.md": (a_module, the_module_is_filled),
}


def marked() -> dict[str, list[Any]]:
    """The blocks of each page that tests/docs does not run."""
    found = {
        str(page.relative_to(ROOT)): [block for block in blocks_of(page) if block.not_run]
        for page in PAGES
    }
    return {page: blocks for page, blocks in found.items() if blocks}


def test_each_block_that_is_not_run_elsewhere_is_run_here() -> None:
    """No other page has such a block."""
    assert marked().keys() == {*STEPS, TAGGER}


@pytest.mark.parametrize("page", STEPS)
def test_a_block_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes to what the page says."""
    monkeypatch.chdir(tmp_path)
    (block,) = marked()[page]
    names: dict[str, Any] = {"__name__": "page"}
    before, after = STEPS[page]
    before(names)
    exec(compile(block.text, block.where, "exec"), names)
    after(names)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Each block of docs/from-pytorch.md runs, and so do its commands; the outputs are the same."""
    monkeypatch.chdir(tmp_path)
    blocks = marked()[TAGGER]
    code = [each for each in blocks if each.language == "python"]
    names: dict[str, Any] = {"__name__": "page"}
    for block in code:
        exec(compile(block.text, block.where, "exec"), names)
    assert "15 of 15 variables have their array" in capsys.readouterr().out
    [build] = [each.text for each in code if "def build" in each.text]
    Path("tagger.py").write_text(build)
    rules = Path("tagger.toml").read_text()
    Path("tagger.toml").unlink()
    commands = [c for each in blocks if each.language == "console" for c in commands_of(each)]
    assert [each.text.split()[1] for each in commands] == ["ls", "map"]
    for command in commands:
        words = command.text.split()
        subprocess.run([sys.executable, "-m", *words], check=True, env={**os.environ})
    assert Path("tagger.toml").read_text().count("\n") == rules.count("\n")
