"""initreg map: the rule file, exit codes, JSON, and the check of what a model computes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.cli import main

RANDOM = np.random.default_rng(0)
CODE = """
import keras

def build():
    inputs = keras.Input((6, 6, 3), name="image")
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = keras.layers.Flatten(name="flat")(keras.layers.ReLU(name="act")(x))
    return keras.Model(inputs, keras.layers.Dense(5, name="head")(x))
"""


def values(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype("f4")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with weights under PyTorch's names, and targets for them; we are in it."""
    monkeypatch.chdir(tmp_path)
    np.savez("torch.npz", **{"fc.weight": values(4, 3), "fc.bias": values(4)})
    np.savez("model.npz", **{"fc/kernel": np.zeros((3, 4), "f4"), "fc/bias": np.zeros(4, "f4")})
    more = {"fc/kernel": (3, 4), "fc/bias": (4,), "x/kernel": (9, 9)}
    np.savez("more.npz", **{name: np.zeros(shape, "f4") for name, shape in more.items()})
    np.savez("twins.npz", **{"left.weight": values(4, 3), "right.weight": values(4, 3)})
    zeros = np.zeros((3, 4), "f4")
    np.savez("two.npz", **{"a/kernel": zeros, "b/kernel": zeros})
    return tmp_path


def run(*arguments: str) -> int:
    return main(["map", *arguments])


def test_it_prints_a_rule_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0. The verdict is beside it, and nothing is written."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run("torch.npz", "--onto", "model.npz") == 0
    told = capsys.readouterr()
    assert told.err == "torch.npz: 2 of 2 variables have their array\n"
    rules = initreg.map("torch.npz", initreg.load("model.npz")).to_text()
    assert tomllib.loads(told.out) == tomllib.loads(rules)
    assert "fc.weight" in tomllib.loads(told.out)["step"][0]["rename"]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_it_writes_a_rule_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--output replaces a file as a whole. What it says can be typed restores the target."""
    Path("rules.toml").write_text("x" * 10_000)
    assert run("torch.npz", "--onto", "model.npz", "--output", "rules.toml") == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "torch.npz: 2 of 2 variables have their array. To restore it: "
        "SmartInit('torch.npz', rules='rules.toml')"
    ]
    target = initreg.load("model.npz")
    source = initreg.load("torch.npz")
    initreg.SmartInit("torch.npz", rules="rules.toml", on_missing="error").init(target)
    np.testing.assert_array_equal(target["fc/kernel"], source["fc.weight"].T)
    np.testing.assert_array_equal(target["fc/bias"], source["fc.bias"])
    assert {"rules.toml"} == {path.name for path in folder.iterdir()} - {
        *("torch.npz", "model.npz", "more.npz", "twins.npz", "two.npz")
    }


@pytest.mark.parametrize("output", ["nowhere/rules.toml", "."])
def test_it_cannot_be_written(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one error, no rules."""
    assert run("torch.npz", "--onto", "model.npz", "--output", output) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("initreg: ")


def test_open_and_missing_are_1(capsys: pytest.CaptureFixture[str]) -> None:
    """The rules are there all the same, with the questions in comments, also in a file."""
    assert run("twins.npz", "--onto", "two.npz") == 1
    told = capsys.readouterr()
    assert "# OPEN: several readings fit as well." in told.out
    assert "0 of 2 variables have their array; 2 are open" in told.err
    assert run("torch.npz", "--onto", "more.npz", "--output", "rules.toml") == 1
    assert "2 of 3 variables have their array; 1 have none in the source" in capsys.readouterr().err
    tomllib.loads(Path("rules.toml").read_text())


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The answer of to_dict(), complete or not."""
    assert run("torch.npz", "--onto", "model.npz", "--json") == 0
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert told.err == ""
    assert (answer["complete"], answer["source"], answer["open"]) == (True, "torch.npz", [])
    [kernel] = [each for each in answer["variables"] if each["variable"] == "fc/kernel"]
    assert (kernel["arrays"], kernel["permute"]) == (["fc.weight"], [1, 0])
    assert "check" not in answer
    assert run("twins.npz", "--onto", "two.npz", "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["complete"] is False
    assert [sorted(each["arrays"]) for each in answer["open"]] == [["left.weight", "right.weight"]]


@pytest.mark.parametrize("check", ["x.npz", "=y.npz", "x.npz=", "="])
def test_a_bad_check_is_2(check: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It takes two files."""
    assert run("torch.npz", "--onto", "model.npz", "--check", check) == 2
    assert f"--check {check}: give two files, as in x.npz=y.npz" in capsys.readouterr().err


def test_what_cannot_be_done_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Files that are missing, targets that cannot be run, and open questions before a check."""
    assert run("no.npz", "--onto", "model.npz") == 2
    assert "initreg: no.npz: no such file" in capsys.readouterr().err
    assert run("torch.npz", "--onto", "no.npz") == 2
    assert "no.npz" in capsys.readouterr().err
    assert run("torch.npz", "--onto", "model.npz", "--check", "no.npz=model.npz") == 2
    assert "no.npz: no such file" in capsys.readouterr().err
    assert run("torch.npz", "--onto", "model.npz", "--check", "model.npz=model.npz") == 2
    assert "cannot be run. --check takes Keras models" in capsys.readouterr().err
    assert run("twins.npz", "--onto", "two.npz", "--check", "model.npz=model.npz") == 2
    assert "Nothing was checked: answer the open questions" in capsys.readouterr().err
    for arguments in (["torch.npz"], ["--onto", "model.npz"]):
        with pytest.raises(SystemExit) as caught:
            run(*arguments)
        assert caught.value.code == 2


@pytest.fixture
def convolved(folder: Path) -> dict[str, Any]:
    """Code of a Keras model, PyTorch's arrays for it, an input, and what the layers compute."""
    Path("build.py").write_text(CODE)
    kernel, bias = values(4, 3, 3, 3), values(4)
    head, head_bias = values(5, 64), values(5)
    np.savez(
        "conv.npz",
        **{"c.weight": kernel, "c.bias": bias, "fc.weight": head, "fc.bias": head_bias},
    )
    x = values(2, 6, 6, 3)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    conv = np.einsum("bhwcij,ocij->bhwo", windows, kernel) + bias
    act = np.maximum(conv, 0)
    output = act.transpose(0, 3, 1, 2).reshape(2, -1) @ head.T + head_bias
    np.savez("x.npz", x=x)
    return {"conv": conv, "act": act, "output": output}


ONTO = ("conv.npz", "--onto", "build.py:build")


@pytest.mark.framework
@pytest.mark.parametrize("called", ["output", "outputs", "arr_0", "logits"])
def test_a_model_that_computes_the_same(
    called: str, convolved: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0: kernels are turned, and what is flattened is too. One output has any name."""
    np.savez("y.npz", **{called: convolved["output"]})
    assert run(*ONTO, "--output", "rules.toml", "--check", "x.npz=y.npz") == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == "1 output compared: the same"
    assert told.out.splitlines()[1].startswith(f"  same  '{called}' (2, 5): largest difference ")
    assert run(*ONTO, "--json", "--check", "x.npz=y.npz") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["check"]["ok"] is True
    assert [each["name"] for each in answer["check"]["outputs"]] == [called]


@pytest.mark.framework
def test_the_first_layer_that_differs_is_named(
    convolved: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of computation, whatever the order in the file. Exit code 1."""
    wrong = convolved["act"] + 1
    np.savez("y.npz", output=convolved["output"] + 1, act=wrong, conv=convolved["conv"])
    assert run(*ONTO, "--output", "rules.toml", "--check", "x.npz=y.npz") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 outputs compared: the first that differs is 'act'"
    assert [line.split(" (")[0] for line in lines[1:]] == [
        *("  same  'conv'", "  DIFFERENT  'act'", "  DIFFERENT  'output'")
    ]
    tolerant = ("--rtol", "0", "--atol", "1.5")
    assert run(*ONTO, "--check", "x.npz=y.npz", *tolerant) == 0
    capsys.readouterr()
    assert run(*ONTO, "--check", "x.npz=y.npz", "--json") == 1
    answer = json.loads(capsys.readouterr().out)["check"]
    assert [each["ok"] for each in answer["outputs"]] == [True, False, False]


@pytest.mark.framework
def test_one_array_that_is_called_like_a_layer(
    convolved: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is compared with what that layer computes, not with the output of the model."""
    np.savez("y.npz", conv=convolved["conv"])
    assert run(*ONTO, "--output", "rules.toml", "--check", "x.npz=y.npz") == 0
    assert capsys.readouterr().out.splitlines()[0] == "1 output compared: the same"


@pytest.mark.framework
def test_what_the_model_does_not_take_or_have(
    convolved: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, with the shapes of the inputs, or the layers that there are."""
    np.savez("y.npz", output=convolved["output"])
    np.savez("flat.npz", x=values(2, 7))
    assert run(*ONTO, "--check", "flat.npz=y.npz") == 2
    assert "cannot be run on 'x' (2, 7)" in capsys.readouterr().err
    np.savez("y.npz", output=convolved["output"], cnov=convolved["conv"])
    assert run(*ONTO, "--check", "x.npz=y.npz") == 2
    assert "has no layer 'cnov' with one output. Its layers: image, conv" in capsys.readouterr().err


@pytest.mark.framework
def test_a_model_whose_outputs_have_names(
    convolved: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """They are compared by their names, beside those of layers. A name of neither is an error."""
    code = CODE.replace('keras.layers.Dense(5, name="head")(x))', "heads(x))")
    code += """
def heads(x):
    logits = keras.layers.Dense(5, name="head")(x)
    return {"logits": logits, "top": keras.layers.ReLU()(logits)}
"""
    Path("build.py").write_text(code)
    logits = convolved["output"]
    np.savez("y.npz", top=np.maximum(logits, 0) + 1, logits=logits, conv=convolved["conv"])
    assert run(*ONTO, "--json", "--check", "x.npz=y.npz") == 1
    answer = json.loads(capsys.readouterr().out)["check"]
    found = {each["name"]: each["ok"] for each in answer["outputs"]}
    assert found == {"conv": True, "logits": True, "top": False}
    np.savez("y.npz", output=logits)
    assert run(*ONTO, "--check", "x.npz=y.npz") == 2
    assert "has no layer 'output' with one output" in capsys.readouterr().err


def test_rules_come_first_in_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--strip-prefix and --drop are applied before names are compared. The file alone restores."""
    arrays = {"module.fc.weight": values(4, 3), "module.fc.bias": values(4), "junk": values(4)}
    np.savez("ddp.npz", **arrays)
    options = ("--strip-prefix", "module.", "--drop", "junk")
    assert run("ddp.npz", "--onto", "model.npz", "--output", "rules.toml", *options) == 0
    assert "To restore it: SmartInit('ddp.npz', rules='rules.toml')" in capsys.readouterr().err
    assert tomllib.loads(Path("rules.toml").read_text())["step"][0] == {
        "drop": ["junk"],
        "strip_prefix": "module.",
    }
    target = initreg.load("model.npz")
    initreg.SmartInit("ddp.npz", rules="rules.toml", on_missing="error", on_unused="error").init(
        target
    )
    np.testing.assert_array_equal(target["fc/kernel"], arrays["module.fc.weight"].T)
    assert run("ddp.npz", "--onto", "model.npz", "--drop", "nothing*") == 2
    assert "--drop 'nothing*' matches no array" in capsys.readouterr().err
