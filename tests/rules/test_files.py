"""initreg.rules.files: rules from TOML, and errors that name the file and the line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg import RuleError, SmartInit, SourceNotFound
from initreg.rules.files import USAGE, read
from initreg.rules.options import ORDER

ARRAYS = {
    "model/fc/W": np.arange(6, dtype="f4").reshape(2, 3),
    "model/fc/b": np.arange(3, dtype="f4"),
    "model/emb": np.arange(8, dtype="f4").reshape(4, 2),
    "raw": np.arange(2, dtype="f4").view("V4"),
    "step": np.array(7, "i8"),
    "model/qk": np.arange(12, dtype="f4").reshape(4, 3),
    "model/qk_scale": np.full((1, 1), 3, "f4"),
    "model/ih": np.ones(3, "f4"),
    "model/hh": np.full(3, 2, "f4"),
    "model/conv": np.ones((2, 4), "f4"),
    "model/mean": np.zeros(2, "f4"),
    "model/var": np.ones(2, "f4"),
    "model/rows": np.arange(6, dtype="f4").reshape(2, 1, 3),
}
ALL = """\
# Every rule.
cast = "float64"
pad = { "net/emb" = { axis = 0, length = 4, fill = "mean" } }
split = { "net/qk" = { axis = 0, into = ["net/q", "net/k"], sizes = [1, 3] } }
slice = { "net/emb" = [1, 1, 3] }
transpose = "net/kernel"
prefix = "net/"
rename = [{ "fc/W" = "W" }, ["^W$", "kernel"]]
strip_prefix = "model/"
drop = [
    "*/b", # no biases
]
keep = ["model/*", "raw"]

[fold_batch_norm]
"net/conv" = { axis = 0, epsilon = 3, bias = "net/conv_b", mean = "net/mean", variance = "net/var" }

[sum]
"net/bias" = ["net/ih", "net/hh"]

[add]
"net/hh" = 0.5

[gates]
"net/conv" = { axis = 1, from = "i o f c", to = "keras-lstm" }

[unstack]
"net/rows" = { axis = 0, into = "net/row{i}" }

[stack]
"net/q2" = { axis = -1, of = ["net/q", "net/row1"] }

[concat."net/rk"]
axis = 0
sizes = [1, 3]
of = ["net/row0", "net/k"]

[scale]
"net/emb" = 2
"net/qk" = { by = "net/qk_scale", block = [4, 3] }

[reshape]
"net/rk" = [2, -1]

[take]
"net/rk" = { axis = 1, indices = [5, 0, 1] }

[view]
"net/raw" = "float32"

[permute]
"net/emb" = [1, 0]
"""
PYTHON = {
    "keep": ["model/*", "raw"],
    "drop": ["*/b"],
    "strip_prefix": "model/",
    "rename": [{"fc/W": "W"}, ("^W$", "kernel")],
    "prefix": "net/",
    "view": {"net/raw": "float32"},
    "scale": {"net/emb": 2, "net/qk": ("net/qk_scale", [4, 3])},
    "fold_batch_norm": {"net/conv": (0, 3, "net/conv_b", "net/mean", "net/var")},
    "split": {"net/qk": (0, ["net/q", "net/k"], [1, 3])},
    "unstack": {"net/rows": (0, "net/row{i}")},
    "add": {"net/hh": 0.5},
    "sum": {"net/bias": ["net/ih", "net/hh"]},
    "concat": {"net/rk": (0, ["net/row0", "net/k"], [1, 3])},
    "stack": {"net/q2": (-1, ["net/q", "net/row1"])},
    "transpose": "net/kernel",
    "gates": {"net/conv": (1, "i o f c", "keras-lstm")},
    "permute": {"net/emb": (1, 0)},
    "reshape": {"net/rk": (2, -1)},
    "take": {"net/rk": (1, [5, 0, 1])},
    "slice": {"net/emb": (1, 1, 3)},
    "pad": {"net/emb": (0, 4, "mean")},
    "cast": "float64",
}
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "rules.toml"
        path.write_text(text)
        return path

    return write


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether names, their order, dtypes, shapes and bits are the same."""
    return [(n, a.dtype, a.shape, a.tobytes()) for n, a in one.items()] == [
        (n, a.dtype, a.shape, a.tobytes()) for n, a in other.items()
    ]


def test_every_rule_can_be_written(write: Write) -> None:
    """A file with each of them, in any order, does what the keywords do."""
    assert set(PYTHON) == set(ORDER) == set(USAGE)
    found = initreg.load(ARRAYS, rules=write(ALL))
    assert list(found) == [
        *("net/kernel", "net/emb", "net/raw", "net/q2"),
        *("net/rk", "net/bias", "net/conv", "net/conv_b"),
    ]
    assert same(found, initreg.load(ARRAYS, **PYTHON))


def test_steps_are_applied_from_top_to_bottom(write: Write) -> None:
    """Each sees the names that the one before it left; in a step, the order is that of options."""
    rules = write("""
        [[step]]
        transpose = "model/fc/W"
        [[step]]
        keep = "model/fc/*"
        rename = { "model/fc/W" = "w" }
        [[step]]
        drop = "*/b"
        [[step]]
        slice = { w = { axis = 0, start = 1 } }
    """)
    found = initreg.load(ARRAYS, rules=rules)
    assert {name: array.tolist() for name, array in found.items()} == {"w": [[1, 4], [2, 5]]}


def test_files_come_before_keywords(write: Write, tmp_path: Path) -> None:
    """Several files are applied in their order, and the keywords of the call after them."""
    first = write('strip_prefix = "model/"')
    second = tmp_path / "second.toml"
    second.write_text('keep = "fc/*"\nprefix = "net/"')
    assert list(initreg.load(ARRAYS, rules=[first, str(second)], drop="net/fc/b")) == ["net/fc/W"]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "step = []\n"])
def test_a_file_may_be_empty(text: str, write: Write) -> None:
    """It changes nothing."""
    assert same(initreg.load(ARRAYS, rules=write(text)), initreg.load(ARRAYS))


def test_it_is_taken_wherever_rules_are(write: Write, tmp_path: Path) -> None:
    """SmartInit, open, save, convert, and the methods of a map."""
    rules = write('keep = "step"\nrename = { step = "global_step" }')
    target = {"global_step": np.array(0, "i8")}
    assert [row.array for row in SmartInit(ARRAYS, rules=rules).init(target)][:1] == ["step"]
    assert target["global_step"] == 7
    with initreg.open(ARRAYS, rules=rules) as arrays:
        assert list(arrays) == ["global_step"]
    with initreg.open(ARRAYS) as arrays:
        assert list(arrays.apply(rules=rules, prefix="n/")) == ["n/global_step"]
    for call in (
        initreg.save(tmp_path / "a.npz", ARRAYS, rules=rules),
        initreg.convert(ARRAYS, tmp_path / "b.npz", rules=rules),
    ):
        assert list(initreg.load(call)) == ["global_step"]


def test_each_source_of_a_chain_has_its_own(write: Write, tmp_path: Path) -> None:
    """The rules of a source are applied to its names alone, and those of the chain afterwards."""
    encoder = write('rename = [["^model/", "encoder/"]]\nkeep = "model/emb"')
    decoder = tmp_path / "decoder.toml"
    decoder.write_text('rename = [["^model/", "decoder/"]]\nkeep = "model/emb"')
    chain = [SmartInit(ARRAYS, rules=encoder), SmartInit(ARRAYS, rules=decoder)]
    assert list(initreg.load(chain, prefix="net/")) == ["net/encoder/emb", "net/decoder/emb"]


def test_the_code_of_a_hint_has_the_file(write: Write) -> None:
    """What a plan advises to type goes on with the rules that were given."""
    rules = write('keep = "model/*"')
    plan = SmartInit(ARRAYS, rules=rules).plan({n[6:]: a for n, a in ARRAYS.items() if "/" in n})
    assert f'rules="{rules}"' in plan.hints[0].code
    assert (
        eval(plan.hints[0].code, {"SmartInit": SmartInit, "source": ARRAYS})
        .plan({n[6:]: a for n, a in ARRAYS.items() if "/" in n})
        .ok
    )


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("drop =\n", 1, "this is not valid TOML"),
        ('prefix = "a"\nprefix = "b"', 2, "this is not valid TOML"),
        ('\ndorp = "a"', 2, "'dorp' is not a rule. Did you mean drop?"),
        ('zzz = "a"', 1, "'zzz' is not a rule. There are add, cast, concat, drop, "),
        ("[[step]]\n[[step]]\n[step.renam]\n", 3, "'renam' is not a rule. Did you mean rename?"),
        ('[inverse]\nstep = "a"', 2, "'step' is not a rule"),
        ('prefix = "a"\n[inverse]\ninverse = {}', 3, "'inverse' is not a rule"),
        ('prefix = "a"\ninverse = 3', 2, "inverse: give a table of the options that undo the step"),
        ('[[step]]\n[rename]\na = "b"', 2, "rename stands outside of the [[step]] tables"),
        ('step = "a"', 1, "write [[step]], in double brackets"),
        ("keep = 3", 1, "keep: give a glob, or a list of globs"),
        ('drop = ["a",\n\n 3]', 3, "drop: give a glob, or a list of globs"),
        ("prefix = ['a']", 1, "prefix: give a text"),
        ('rename = [["a", "b"],\n["c"]]', 2, "rename: give a table of names, or a list of pairs"),
        ('[rename]\na = "b"\nc.d = "e"', 3, "rename: give a table of names"),
        ('rename = [\n["a", "b"],\n["(", ""]\n]', 3, "'(' is not a valid regex"),
        ('permute = { "a" = 3 }', 1, "permute: give a table of axes"),
        ("[permute]\na = [1, 0]\nb = [true, false]", 3, "permute: give a table of axes"),
        ("[slice]\na = [0, 1]", 2, "slice: give a table"),
        ("[slice]\na = { axis = 0 }", 2, "slice lacks start: give a table"),
        ("[slice]\na = { axis = 0, start = 0.5 }", 2, "slice: give a table"),
        (
            "[pad]\na = { axis = 0, lenght = 3 }",
            2,
            "'lenght' is not a part of pad. Did you mean le",
        ),
        ('cast = "float7"', 1, "cast = \"float7\": 'float7' is not a dtype"),
        ('[cast]\na = "int8"\nb = "float7"', 3, 'cast = { "b" = "float7" }: '),
        (
            '[split]\na = { axis = 0, of = ["b", "c"] }',
            2,
            "'of' is not a part of split. There are ax",
        ),
        ('[split]\na = { axis = 0, into = ["b"] }', 2, "give the names of at least two parts"),
        ('[split.a]\naxis = 0\ninto = ["b", 3]', 3, "split: give a table"),
        ('[concat.a]\naxis = 0\nof = ["b", "c"]\nsizes = "all"', 4, "concat: give a table"),
        ('[stack]\na = { of = "b{i}" }', 2, "stack lacks axis"),
        ('[stack]\n"*" = { axis = 0, of = "b{i}" }', 2, "'*' has 1 *, and 'b{i}' has 0"),
        ("[take]\na = { axis = 0 }", 2, "take: give a table"),
        ('[take]\na = { axis = 0, indices = [0], old = "b" }', 2, "take: give a table"),
        ('[take]\na = { axis = 0, old = "b", new = 3 }', 2, "take: give a table"),
        ('[scale]\na = { by = "b" }', 2, "scale lacks block"),
        ("[scale]\na = true", 2, "scale: give a number, the name of another array"),
        ('[scale]\n"a*" = "b"', 2, "must have as many *"),
        ("[reshape]\na = 3", 2, "reshape: give a table of shapes"),
        ("[view]\na = 3", 2, "view: give a dtype, or a table"),
    ],
)
def test_a_mistake_has_a_line(text: str, line: int, said: str, write: Write) -> None:
    """The error begins with the file and the line, before any source is opened."""
    rules = write(text)
    with pytest.raises(RuleError) as caught:
        SmartInit("gone.npz", rules=rules)
    assert str(caught.value).startswith(f"{rules}, line {line}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('drop = ["raw",\n"typo/*"]', 2, 'drop = "typo/*" matches no array'),
        ('[rename]\nraw = "a"\nstp = "b"', 3, "Similar names: 'step'"),
        ('rename = [\n["model", "m"],\n["zz", ""]]', 3, 'rename = [["zz", ""]] matches no array'),
        ('[[step]]\ndrop = "a"\n[[step]]\ndrop = "a"', 4, 'drop = "a" match no array'),
        ('rename = [["a",\n"b"],\n["^.*$", "x"]]', 3, "gives two arrays the same name"),
        ('[permute]\n"*/emb" = [0, 0]', 2, "(0, 0) are not the axes"),
        ('[split]\nraw = { axis = 0, into = ["a", "b", "c"] }', 2, "which are not 3 equal parts"),
        ('[cast]\n"*/emb" = "int8"\nstep = "bool"\nraw = "int8"', 4, "the array holds raw bytes"),
    ],
)
def test_a_rule_that_does_not_apply_has_a_line(
    text: str, line: int, said: str, write: Write
) -> None:
    """The error names the source, then the file, the line and the rule as it is typed there."""
    rules = write(text)
    with pytest.raises(RuleError) as caught:
        initreg.open(ARRAYS, rules=rules)
    assert f": {rules}, line {line}: " in str(
        caught.value
    ) or f" and {rules}, line {line}: " in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read(write: Write, tmp_path: Path) -> None:
    """Missing, a folder, no text, too deep: one error that names the file."""
    with pytest.raises(SourceNotFound, match=r"gone\.toml: no such file, in rules="):
        SmartInit(ARRAYS, rules=tmp_path / "gone.toml")
    with pytest.raises(initreg.InitregError, match="cannot be read: Is a directory"):
        SmartInit(ARRAYS, rules=tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'# fine\ndrop = "\xe9"\n')
    with pytest.raises(RuleError, match=r"latin.toml, line 2: this is not text in UTF-8"):
        SmartInit(ARRAYS, rules=tmp_path / "latin.toml")
    with pytest.raises(RuleError, match=r"rules.toml: its lists and tables are too deep"):
        read(str(write("drop = " + "[" * 100_000)))


@pytest.mark.parametrize("wrong", [{"drop": "a"}, 3, "", [3], [""]], ids=repr)
def test_rules_is_a_path(wrong: object) -> None:
    """Rules themselves are keywords, and the error says so."""
    with pytest.raises(RuleError, match=r"give the path of a rule file, or a list of them"):
        SmartInit(ARRAYS, rules=wrong)
