"""initreg.rules.reversing: what undoes rules, and what cannot be undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import initreg
from initreg import RuleError
from initreg.rules.keywords import Rules

# A model as another program saved it, with square arrays, and what brings it into ours.
THEIRS = {
    "encoder.layers.0.attn.in_proj.weight": (12, 4),
    "encoder.layers.0.attn.in_proj.bias": (12,),
    "encoder.layers.1.attn.in_proj.weight": (12, 4),
    "encoder.layers.1.attn.in_proj.bias": (12,),
    "encoder.conv.weight": (4, 4, 4, 4),
    "encoder.experts.w": (3, 4, 4),
    "encoder.gate": (5,),
    "encoder.up": (7,),
    "cls.a": (2, 2),
    "cls.b": (2, 2),
}
RULES = """
# From them to us.
[[step]]
rename = [["[.]", "/"]]  # theirs are dotted
[step.inverse]
rename = [["/", "."]]

[[step]]
prefix = "net/"
transpose = ["net/cls/a", "net/encoder/layers/*/attn/*/weight"]
[step.rename]
"encoder/gate" = "gate"
"encoder/up" = "up"
"cls/a" = "cls/b"  # they change places
"cls/b" = "cls/a"
[step.permute]
"net/encoder/conv/weight" = [2, 3, 1, 0]
[step.split."net/encoder/layers/*/attn/in_proj/*"]
axis = 0
into = [
    "net/encoder/layers/*/attn/q/*",
    "net/encoder/layers/*/attn/k/*",
    "net/encoder/layers/*/attn/v/*",
]
[step.concat."net/gate_up"]
axis = -1
of = ["net/gate", "net/up"]
sizes = [5, 7]
[step.unstack."net/encoder/experts/w"]
axis = 0
into = "net/encoder/experts/{i}"

[[step]]
[step.stack."net/cls/ab"]
axis = 1
of = ["net/cls/b", "net/cls/a"]

[[step]]
drop = "net/nothing/*"
inverse = {}

[[step]]
reshape = { "net/gate_up" = [3, -1] }
inverse = { reshape = { "net/gate_up" = [-1] } }
"""


@pytest.fixture
def theirs() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {name: random.random(shape, "f4") for name, shape in THEIRS.items()} | {
        "nothing.x": np.zeros(1, "f4")
    }


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".ckpt", ".h5"])
def test_there_and_back(ending: str, theirs: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Converted with rules, and back again: the same names, shapes, dtypes and bits."""
    rules = write(tmp_path / "rules.toml", RULES)
    ours = initreg.convert(theirs, tmp_path / f"ours{ending}", rules=rules)
    found = initreg.load(ours)
    assert "net/encoder/layers/1/attn/k/weight" in found
    assert found["net/encoder/experts/2"].shape == (4, 4)
    assert np.array_equal(found["net/cls/ab"][:, 0], theirs["cls.a"])
    back = initreg.convert(ours, tmp_path / f"back{ending}", rules=rules, reverse=True)
    del theirs["nothing.x"]
    assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in initreg.load(back).items()} == {
        n: (a.dtype, a.shape, a.tobytes()) for n, a in theirs.items()
    }


def test_what_was_trained_goes_back(theirs: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Values that changed since are at the places of those that they replace."""
    rules = write(tmp_path / "rules.toml", RULES)
    ours = initreg.load(theirs, rules=rules)
    trained = {name: array * 2 for name, array in ours.items()}
    found = initreg.load(initreg.convert(trained, tmp_path / "b.npz", rules=rules, reverse=True))
    assert all((found[name] == theirs[name] * 2).all() for name in THEIRS)


def test_the_text_of_what_undoes_a_file(theirs: dict[str, np.ndarray], tmp_path: Path) -> None:
    """rules_text writes it, as a file that is used like any other."""
    rules = write(tmp_path / "rules.toml", RULES)
    back = write(tmp_path / "back.toml", initreg.rules_text(rules=rules, reverse=True))
    found = initreg.load(initreg.load(theirs, rules=rules), rules=back)
    assert all(np.array_equal(found[name], theirs[name]) for name in THEIRS)


def test_keywords_are_undone_as_well(tmp_path: Path) -> None:
    """In the order that is opposite to that of their application."""
    source = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.arange(2)}
    rules: dict[str, Any] = {"rename": {"a": "c"}, "prefix": "n/", "transpose": "n/c"}
    ours = initreg.load(source, **rules)
    assert ours["n/c"].shape == (3, 2)
    found = initreg.load(initreg.convert(ours, tmp_path / "x.npz", reverse=True, **rules))
    assert {n: a.tolist() for n, a in found.items()} == {n: a.tolist() for n, a in source.items()}


@given(data=st.data())
def test_any_order_of_axes_and_any_parts_are_undone(data: st.DataObject) -> None:
    """Orders of axes, parts, and new axes, one after the other."""
    ndim = data.draw(st.integers(1, 4))
    shape = tuple(data.draw(st.integers(1, 4)) for _ in range(ndim))
    array = np.arange(int(np.prod(shape))).reshape(shape)
    order = data.draw(st.permutations(range(ndim)))
    axes = [axis - ndim * data.draw(st.booleans()) for axis in order]
    first, new = data.draw(st.integers(-ndim, ndim - 1)), data.draw(st.integers(-ndim - 1, ndim))
    steps: list[dict[str, Any]] = [
        {"permute": {"?": axes}, "transpose": ["x", "y"]},
        {"unstack": {"x": (first, "p/{i}")}, "rename": {"y": "z"}},
        {"stack": {"w": (first, "p/{i}")}},
        {"stack": {"zw": (new, ["z", "w"])}},
        {"split": {"zw": (first, "part/{i}", 1)}},
        {"concat": {"whole": (first, "part/{i}", 1)}},
    ]
    moved = initreg.open({"x": array, "y": -array})
    undoing: list[dict[str, Any]] = []
    for step in steps:
        moved = moved.apply(**step)
        undoing = [dict(each.options) for each in Rules.of(**step).reversed().steps] + undoing
    assert list(moved) == ["whole"]
    for step in undoing:
        moved = moved.apply(**step)
    assert {name: found.read().tolist() for name, found in moved.items()} == {
        "x": array.tolist(),
        "y": (-array).tolist(),
    }


# --- what cannot be undone ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines", "said"),
    [
        ('keep = "a"', [1], "the arrays that it leaves out are gone"),
        ('prefix = "x"\ndrop = [\n"a",\n"b"]', [3, 4], "the arrays that it leaves out are gone"),
        ('strip_prefix = "m/"', [1], "it does not say which names had the prefix"),
        ('rename = [["a", "b"],\n["c", "d"]]', [1, 2], "does not say which names it came from"),
        ('rename = ["a", "b"]', [1], "does not say which names it came from"),
        ('[rename]\na = "c"\nb = "c"', [3], "'a' is called 'c', too"),
        ('view = "bfloat16"', [1], "it does not say the dtype"),
        ('[cast]\n"a" = "int8"\n"b" = "int8"', [2, 3], "it does not say the dtype"),
        ("[reshape]\na = [2, 3]", [2], "it does not say the shape"),
        ("[slice]\na = { axis = 0, start = 1 }", [2], "what it cuts off is gone"),
        ("[pad]\na = { axis = 0, length = 9 }", [2], "it does not say the length"),
        ('[concat]\nx = { axis = 0, of = ["a", "b"] }', [2], 'such as "equal"'),
        ('[concat]\nx = { axis = 0, of = "{i}", sizes = "equal" }', [2], "how many parts {i} st"),
    ],
)
def test_the_error_has_the_lines(text: str, lines: list[int], said: str, tmp_path: Path) -> None:
    """Each rule that cannot be undone, with the reason and what to write; nothing is read."""
    rules = write(tmp_path / "rules.toml", text)
    with pytest.raises(RuleError) as caught:
        initreg.convert("gone.npz", tmp_path / "x.npz", rules=rules, reverse=True)
    for line in lines:
        assert f"{rules}, line {line}: " in str(caught.value)
    assert said in str(caught.value)
    assert str(caught.value).count("cannot be undone: ") == len(lines)
    assert "in [inverse]: " in str(caught.value)
    fixed = write(tmp_path / "rules.toml", f"{text}\n[inverse]\n")
    assert initreg.rules_text(rules=fixed, reverse=True) == ""


def test_all_faults_are_listed_at_once(tmp_path: Path) -> None:
    """Those of all steps."""
    text = '[[step]]\ndrop = "a"\n[[step]]\nprefix = "b"\n[[step]]\ncast = "int8"'
    with pytest.raises(RuleError, match=r"^2 rules cannot be undone:\n") as caught:
        initreg.rules_text(rules=write(tmp_path / "r.toml", text), reverse=True)
    assert "in [step.inverse]: " in str(caught.value)


def test_a_function_cannot_be_undone() -> None:
    """Of keywords, the error has what was typed."""
    with pytest.raises(RuleError, match=r"^rename=.* cannot be undone: a function does not say"):
        initreg.rules_text(rename=str.lower, reverse=True)


def test_no_rules_to_undo(tmp_path: Path) -> None:
    """reverse=True without rules is probably a mistake."""
    with pytest.raises(RuleError, match="reverse=True: there are no rules to undo"):
        initreg.convert({"a": np.zeros(1)}, tmp_path / "x.npz", reverse=True)
    assert not (tmp_path / "x.npz").exists()


def test_an_error_in_reverse_says_so(tmp_path: Path) -> None:
    """The line is that of the rule which is undone, and the clause is what undoes it."""
    rules = write(tmp_path / "r.toml", 'transpose = "b"\n[rename]\na = "b"')
    with pytest.raises(RuleError) as caught:
        initreg.convert({"c": np.zeros(1)}, tmp_path / "x.npz", rules=rules, reverse=True)
    said = str(caught.value)
    assert f'{rules}, line 1, in reverse: transpose = "b" and ' in said
    assert f'{rules}, line 3, in reverse: rename = {{ "b" = "a" }} match no array' in said
