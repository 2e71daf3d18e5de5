"""Architectures of both frameworks: both compute the same after initreg.map, or it says why not."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

import initreg
from initreg import SmartInit
from initreg.plugin.installed import default_registry
from tests.frameworks.zoo.pairs import Architecture, Pair, randomize
from tests.frameworks.zoo.table import ARCHITECTURES, table

PAGE = Path(__file__).parents[2] / "docs" / "from-pytorch.md"
# Warnings of libraries about what their configurations of this size lack, and about numpy 2.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Layer .* looks like it has unbuilt state:UserWarning"),
    pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask:UserWarning"),
]


def cases(*, complete: bool | None = None, converter: bool = False) -> list[Any]:
    return [
        pytest.param(each, id=each.make.__name__)
        for each in ARCHITECTURES
        if complete in (None, not each.left) and each.converter >= converter
    ]


@pytest.fixture(autouse=True)
def new_names() -> None:
    """Keras counts the names of layers anew for each model."""
    keras.backend.clear_session()


def saved(made: Architecture, folder: Path) -> tuple[Pair, Path]:
    """The pair with random weights, and PyTorch's file of them."""
    pair = made.make()
    randomize(pair)
    path = folder / "model.pth"
    torch.save(pair.theirs.state_dict(), path)
    return pair, path


def values(model: keras.Model) -> Mapping[str, np.ndarray]:
    """By the name of each variable."""
    target: Any = default_registry().target(model)
    specs = target.variables()[: len(target._variables)]
    return {
        spec.name: np.array(variable)
        for spec, variable in zip(specs, target._variables, strict=True)
        if not spec.not_needed
    }


def compare(pair: Pair) -> None:
    """Both compute the same, and it depends on what comes in."""
    with torch.no_grad():
        expected = np.asarray(pair.expected())
    found = np.asarray(pair.computed())
    scale = float(np.abs(expected).max())
    assert expected.std(0).mean() > 1e-2 * scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * scale)


def restore(pair: Pair, path: Path, rules: Path, **options: Any) -> None:
    """Do what the rule file says. Nothing is missing, unused or warned of."""
    source = SmartInit(path, rules=rules, on_missing="error", on_unused="error", **options)
    plan = source.init(pair.ours)
    assert not plan.doubtful


@pytest.mark.parametrize("made", cases(complete=True))
def test_a_complete_rule_file_gives_equal_outputs(made: Architecture, tmp_path: Path) -> None:
    """Every variable has its array, and the restored model computes what PyTorch's computes."""
    pair, path = saved(made, tmp_path)
    mapped = initreg.map(path, pair.ours)
    assert mapped.is_complete, mapped.verdict
    assert all(any(fnmatch.fnmatch(n, glob) for glob in made.unused) for n in mapped.unused)
    mapped.save(tmp_path / "rules.toml")
    options = {"expect_unused": list(made.unused)} if made.unused else {}
    restore(pair, path, tmp_path / "rules.toml", **options)
    compare(pair)


@pytest.mark.parametrize("made", cases(complete=False))
def test_an_open_rule_file_writes_nothing_wrong(made: Architecture, tmp_path: Path) -> None:
    """What is open or missing keeps its value and makes a restore fail. The rest is right: with
    what is made by hand for these variables alone, or beside keras-hub's converter."""
    pair, path = saved(made, tmp_path)
    mapped = initreg.map(path, pair.ours)
    assert not mapped.is_complete
    left = {*mapped.missing, *(name for each in mapped.open for name in each.variables)}
    text = mapped.to_text()
    assert all(name in text for name in left)
    mapped.save(tmp_path / "rules.toml")
    before = values(pair.ours)
    with pytest.raises(initreg.InitregError):
        restore(pair, path, tmp_path / "rules.toml")
    after = values(pair.ours)
    assert all((after[name] == before[name]).all() for name in before)
    plan = SmartInit(
        path, rules=tmp_path / "rules.toml", on_missing="ignore", on_unused="ignore"
    ).init(pair.ours)
    assert {row.name for row in plan.restored} == before.keys() - left
    after = values(pair.ours)
    assert all((after[name] == before[name]).all() for name in left)
    if made.fill is None:
        expected = values(converted(pair, tmp_path))
        for name in before.keys() - left:
            np.testing.assert_array_equal(after[name], expected[name], name)
        return
    by_hand = made.fill({name: np.asarray(a) for name, a in initreg.load(path).items()})
    by_hand = {name: array for name, array in by_hand.items() if name in left}
    if by_hand:
        SmartInit(dict(by_hand), on_missing="ignore", on_unused="error").init(pair.ours)
    compare(pair)


def test_a_longer_table_is_asked_for_and_can_be_sliced(tmp_path: Path) -> None:
    """OPT's table of positions has two more rows. The comment of the rule file has both shapes,
    and the lines that it shows take the right rows."""
    [made] = [each for each in ARCHITECTURES if each.name == "OPT"]
    pair, path = saved(made, tmp_path)
    mapped = initreg.map(path, pair.ours)
    [table_of] = mapped.longer
    assert (table_of.shape, table_of.array_shape) == ((24, 32), (26, 32))
    text = mapped.to_text()
    assert "(24, 32)" in text
    assert "decoder.embed_positions.weight (26, 32)" in text
    lines = text.splitlines()
    at = lines.index("#     [step.slice]")
    rename, sliced = lines[at - 1].lstrip("# "), lines[at + 1].lstrip("# ")
    lines.insert(lines.index("[step.rename]") + 1, rename)
    lines += ["", "[[step]]", "", "[step.slice]", sliced]
    (tmp_path / "rules.toml").write_text("\n".join(lines) + "\n")
    restore(pair, path, tmp_path / "rules.toml")
    compare(pair)


def test_a_fused_array_is_asked_for_and_can_be_taken_apart(tmp_path: Path) -> None:
    """GPT-NeoX has the query, the key and the value of each head in turn, and no layer of the
    target says how many heads there are. With the number, the lines of the comment are rules, and
    with these everything is found."""
    [made] = [each for each in ARCHITECTURES if each.make.__name__ == "gpt_neox_flat"]
    pair, path = saved(made, tmp_path)
    mapped = initreg.map(path, pair.ours)
    assert [(each.array, each.count) for each in mapped.fused] == [
        ("layers.*.attention.query_key_value.weight", 2)
    ]
    lines = mapped.to_text().splitlines()
    at = lines.index("# If it has those of each head in turn:") + 1
    shown = lines[at : lines.index("#", at)]
    mine = "\n".join(line.removeprefix("#     ") for line in shown).replace("HEADS", "4")
    (tmp_path / "mine.toml").write_text(mine)
    mapped = initreg.map(path, pair.ours, rules=tmp_path / "mine.toml")
    assert mapped.is_complete, mapped.verdict
    mapped.save(tmp_path / "rules.toml")
    restore(pair, path, tmp_path / "rules.toml")
    compare(pair)


def converted(pair: Pair, folder: Path) -> keras.Model:
    """What keras-hub makes of the same weights with its own converter. Some converters want the
    names of a model with a head."""
    pair.theirs.save_pretrained(folder / "hub")
    path = folder / "hub" / "model.safetensors"
    arrays = {name: np.asarray(array) for name, array in initreg.load(path).items()}
    prefix = pair.theirs.base_model_prefix
    arrays |= {f"{prefix}.{n}": a for n, a in arrays.items() if not n.startswith(f"{prefix}.")}
    initreg.save(path, arrays, metadata={"format": "pt"})
    return type(pair.ours).from_preset(str(folder / "hub"))


@pytest.mark.parametrize("made", cases(complete=True, converter=True))
def test_the_values_are_those_of_the_converter_of_keras_hub(
    made: Architecture, tmp_path: Path
) -> None:
    """Each variable is bit for bit what keras-hub's own converter of this architecture makes."""
    pair, path = saved(made, tmp_path)
    initreg.map(path, pair.ours).save(tmp_path / "rules.toml")
    restore(pair, path, tmp_path / "rules.toml")
    found, expected = values(pair.ours), values(converted(pair, tmp_path))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, name)


def test_the_table_of_the_page() -> None:
    """docs/from-pytorch.md has the table that these tests check."""
    assert table() in PAGE.read_text("utf-8")
