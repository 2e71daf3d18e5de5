"""Messages name options as they are typed: as flags on the command line, as keywords in Python."""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg.cli import VERBS, main, parser, verb_module
from initreg.cli.flags import message, typed
from initreg.option_spelling import either, join, option
from initreg.plugin.registry import Registry

ROOT = Path(__file__).parents[1]
# The keywords that the verbs have as options, and those that only functions have.
KEYWORDS = (
    "format|allow_pickle|max_inflation|verify|mmap|to|compress|shard_size|manifest|meta|inference|"
    "finite|limit|rules|keep|drop|strip_prefix|rename|prefix|scale|fold_batch_norm|split|unstack|"
    "add|sum|concat|stack|transpose|permute|reshape|gates|take|slice|pad|view|cast|metadata|"
    "ignore_mismatch|on_missing|on_unused|expect_missing|expect_unused|ignore|atomic"
)
PYTHON = re.compile(
    rf"(?<![-\w.])(?:{KEYWORDS})=|=(?:True|False|None)\b|SmartInit\(|to_text|\binitreg\.\w+\("
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    w, b = np.ones((3, 4), "f4"), np.full(4, 1e30, "f4")
    initreg.save(folder / "base.npz", {"fc/W": w, "fc/b": b, "old": np.zeros(9)})
    initreg.save(folder / "plain.safetensors", {"w": w, "nan": np.full(2, np.nan, "f4")})
    initreg.save(folder / "bf16.safetensors", {"w": w.astype(ml_dtypes.bfloat16)})
    initreg.save(folder / "wide.npz", {"fc/W": np.ones((3, 5), "f4"), "fc/b": b})
    # Names that do not fold, on one side only.
    many = {f"{chr(97 + i)}{'x' * i}": np.zeros(i + 1, "f4") for i in range(25)}
    initreg.save(folder / "many.npz", {**many, "fc/b": b})
    initreg.save(folder / "nans.npz", {n: np.full(a.shape, np.nan, "f4") for n, a in many.items()})
    np.save(folder / "zoo.npy", {"a": w})
    np.savez(folder / "objects.npz", a=np.array([{}], object), w=w)
    np.savez_compressed(folder / "zeros.npz", a=np.zeros(70_000_000, "u1"))
    np.savez(folder / "raw.npz", w=w.astype(ml_dtypes.bfloat16))
    (folder / "run").mkdir()
    np.save(folder / "run" / "model-7.npy", {"a": w})
    initreg.save_states(folder / "run" / "model-7.npy", step=7)
    return folder


CONVERT = "convert base.npz {out}/out.npz "
PLAN = "plan base.npz --onto "
# What is typed, and what is printed: errors, problems, hints, verdicts, warnings, and how to see
# the names that are left out.
SAID = [
    ("ls zoo.npy", "trust who did, pass --allow-pickle"),
    ("verify zoo.npy", "zoo.npy: cannot be opened\n  holds a pickle"),
    ("verify zoo.npy", "pass --allow-pickle"),
    ("verify objects.npz", "a: member 'a.npy': holds a pickle, which can run"),
    ("verify objects.npz", "pass --allow-pickle"),
    ("ls zeros.npz", "(an array of zeros packs this well), pass --max-inflation 10"),
    ("ls base.npz --max-inflation 0", "--max-inflation 0: give a number greater than 0"),
    (
        "verify plain.safetensors",
        "checksums of 0 of 2 arrays. To have digests, save with --manifest",
    ),
    ("verify nans.npz", "... and 5 names more: --all shows them all"),
    ("resume run", "pass --allow-pickle"),
    (CONVERT + "--keep typo/*", "--keep 'typo/*' matches no array"),
    (CONVERT + "--drop a --drop b", "--drop a and --drop b match no array"),
    (CONVERT + "--strip-prefix model/", "--strip-prefix model/ matches no array"),
    (CONVERT + "--strip-prefix=-m/", "--strip-prefix=-m/ matches no array"),
    (CONVERT + "--rename a 'b c'", "--rename a 'b c' matches no array"),
    (CONVERT + "--rename old fc/W", "--rename old fc/W gives two arrays the same name"),
    (CONVERT + "--rename-regex ( x", "--rename-regex '(' x: '(' is not a valid regex"),
    (CONVERT + r"--rename-regex o \7", r"--rename-regex o '\7': '\\7' is not a valid replacement"),
    (CONVERT + "--rename-regex .*old ''", "--rename-regex '.*old' '' makes the name 'old' empty"),
    (CONVERT + "--transpose typo", "--transpose typo matches no array"),
    (
        CONVERT + "--permute fc/W=0,x",
        "--permute fc/W=0,x: give the axes in their new order, as in ",
    ),
    (CONVERT + "--permute fc/W=0,x", "as in --permute 'conv*=2,3,1,0'"),
    (CONVERT + "--permute fc/W=0,2", "--permute fc/W=0,2: array 'fc/W': (0, 2) are not the axes"),
    (CONVERT + "--slice fc/W=x", "--slice fc/W=x: give AXIS,START,STOP, where an empty STOP is"),
    (CONVERT + "--slice fc/W=0,3,", "--slice fc/W=0,3,: array 'fc/W': the slice 3:3 is empty"),
    (CONVERT + "--pad fc/W=0", "--pad fc/W=0: give AXIS,LENGTH or AXIS,LENGTH,FILL, where FILL is"),
    (CONVERT + "--pad fc/W=0,2", "is already longer than 2: shorten it with --slice\n"),
    (CONVERT + "--cast float99", "--cast float99: 'float99' is not a dtype"),
    (CONVERT + "--cast old=float99", "--cast old=float99: 'float99' is not a dtype"),
    (CONVERT + "--cast typo=float16", "--cast typo=float16 matches no array"),
    (CONVERT + "--cast float16", "initreg: warning: fc/b: 4 values of float32 beyond the range of"),
    (CONVERT + "--shard-size foo", "--shard-size foo is not a size: give a number of bytes"),
    (
        CONVERT + "--shard-size 5GB",
        "an .npz is always one file. Leave out --shard-size, or save as",
    ),
    ("convert base.npz {out}/o.h5 --shard-size 5GB", "always one file. Leave out --shard-size, or"),
    (
        "convert base.npz {out}/o.safetensors --compress",
        "never compressed. Leave out --compress, or",
    ),
    (
        "convert base.npz {out}/o.safetensors.index.json --to safetensors",
        "with a --shard-size, and the index gets",
    ),
    (
        "convert base.npz {out}/o.ckpt --compress",
        "nor split. Leave out --compress, or save as .npz",
    ),
    (
        "convert base.npz {out}/o.ckpt --shard-size 1",
        "Leave out --shard-size, or save as .safetens",
    ),
    (
        "convert bf16.safetensors {out}/o.npz",
        "or store it cast: --cast w=float32, or drop it: --drop w. Nothing was",
    ),
    ("convert raw.npz {out}/o.npz", "say so: --view w=bfloat16 and --cast w=float32. Else drop"),
    ("convert raw.npz {out}/o.npz --cast w=float32", "Say what it is, with --view bfloat16"),
    (
        "convert raw.npz {out}/o.ckpt --view w=int8",
        "--view w=int8: array 'w': |V2 cannot be viewed",
    ),
    ("convert raw.npz {out}/o.ckpt --view bool", "--view bool: array 'w': |V2 cannot be viewed as"),
    ("plan raw.npz --onto bf16.safetensors", "if the raw bytes are bfloat16: --view w=bfloat16"),
    (CONVERT + "--metadata a=b", "has no place for metadata. Leave out --metadata, or save as"),
    (CONVERT + "--metadata ab", "--metadata ab: give a key, '=' and a text, as in --metadata l"),
    (CONVERT + "--metadata a=b --metadata a=c", "--metadata: the key 'a' is given twice: 'b'"),
    ("dump base.npz {out}/o.npz", "or pass --inference to drop the arrays that"),
    ("dump base.npz {out}/o.npz --meta base.npz", "Without a metagraph, pass --inference"),
    ("dump many.npz {out}/o.npz --inference", "... and 6 names more: --all shows them all"),
    (PLAN + "many.npz", "names more: --all shows them all"),
    (PLAN + "many.npz --on-missing error", "no source, which --on-missing error does not allow"),
    (PLAN + "many.npz --on-unused error", "no variable, which --on-unused error does not allow"),
    (PLAN + "base.npz --ignore x", "unmatched pattern: --ignore x\n"),
    (PLAN + "base.npz --expect-missing x/*", "unmatched pattern: --expect-missing 'x/*'\n"),
    (PLAN + "base.npz --expect-unused x/*", "unmatched pattern: --expect-unused 'x/*'\n"),
    (PLAN + "wide.npz --json", "Pass --ignore fc/W to leave these variables as they are, or"),
    (PLAN + "wide.npz --json", "--ignore-mismatch to restore all others"),
    (PLAN + "many.npz --on-missing error --json", "Pass --expect-missing GLOB if that is expected"),
    (
        PLAN + "many.npz --on-unused error --json",
        "Pass --expect-unused fc/W --expect-unused old if",
    ),
    (PLAN + "many.npz --drop fc/b --json", "1 array dropped by rules or --ignore"),
    (PLAN + "base.npz --drop hed/* --json", "--drop 'hed/*' matches no array"),
]


@pytest.mark.filterwarnings("always::initreg.CastWarning")  # the suite makes errors of warnings
@pytest.mark.parametrize(("line", "said"), SAID, ids=[f"{line}: {said}" for line, said in SAID])
def test_a_verb_names_options_as_they_are_typed(
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    said: str,
) -> None:
    """Whatever it prints has the flags, and no Python."""
    monkeypatch.chdir(files)
    main([each.format(out=tmp_path) for each in shlex.split(line.replace("\\", "\\\\"))])
    out, err = capsys.readouterr()
    if "--json" in line:  # all else in a plan is data, as plan.to_dict() has it
        out = json.loads(out)["message"]
    assert said in out + err
    assert PYTHON.findall(re.sub(r"--[\w-]+=", "", out + err)) == []


def test_what_is_typed_again_means_the_same(files: Path, tmp_path: Path) -> None:
    """An option that a message names can be pasted: it is parsed as what it was."""
    options = parser().parse_args(
        ["convert", "a", "b", *shlex.split(typed(option("pad", {"a b*": (0, 5, "mean")})))]
    )
    assert options.pad == ["a b*=0,5,mean"]
    for rules in (
        {"rename": {"a b": "'"}},
        {"rename": [(r"\.", "/")]},
        {"slice": {"w": (1, 2, None)}},
        {"cast": "float16"},
        {"cast": {"w": "int8", "*": "int16"}},
        {"view": "bfloat16"},
        {"view": {"w": "bfloat16", "*": "int16"}},
        {"keep": ["-x", "y z", "layer.0"]},
    ):
        from initreg.cli.options import rules_of

        said = "".join(typed(option(name, value)) for name, value in rules.items())
        again = rules_of(parser().parse_args(["convert", "a", "b", *shlex.split(said)]))
        assert again == rules if "rename" not in rules else again["rename"]


def test_a_tie_of_formats(files: Path) -> None:
    """It is resolved with --format here, and with format= in Python."""

    class Rival:
        @initreg.hookimpl
        def initreg_claim(self, source: initreg.Source) -> initreg.Claim:
            return initreg.Claim(initreg.Confidence.EXACT, "says so")

        @initreg.hookimpl
        def initreg_open(self, source: initreg.Source, options: Any) -> dict[str, Any]:
            return {}

    registry = Registry([])
    registry.register(Rival(), "left")
    registry.register(Rival(), "right")
    error = registry.probe(initreg.Source(files / "base.npz")).error()
    assert isinstance(error, initreg.AmbiguousSource)
    assert message(error).endswith("Choose one: --format left")
    assert str(error).endswith("Choose one: format='left'")


def test_python_reads_python(files: Path) -> None:
    """The same errors in Python name keywords."""
    with pytest.raises(initreg.RefusedFile, match=r"pass allow_pickle=True$"):
        initreg.open(files / "zoo.npy")
    with pytest.raises(initreg.RuleError, match=r"drop='a' and drop='b' match no array"):
        initreg.open(files / "base.npz", drop=["a", "b"])
    text = (
        initreg.SmartInit(files / "base.npz", ignore="x")
        .plan(initreg.open(files / "many.npz"))
        .to_text()
    )
    assert "more: plan.to_text(limit=None) shows them all" in text
    assert "unmatched pattern: ignore='x'" in text


def test_a_spelt_text_is_a_str() -> None:
    """It survives + and join, and is plain text for everything else."""
    text = "pass " + option("drop", "a\x1bb") + ", or " + either("this", "that") + "."
    assert (text, typed(text)) == (
        "pass drop='a\\x1bb', or this.",
        "pass --drop $'a\\033b', or that.",
    )
    assert typed(join(", ", ["a", text, text])) == f"a, {typed(text)}, {typed(text)}"
    assert type(join(", ", ["a", "b"])) is str
    assert json.loads(json.dumps(text)) == text
    error = initreg.InitregError(text)
    import pickle

    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == message(again)
    assert repr(error) == f"InitregError({str(text)!r})"


# --- no message is forgotten ----------------------------------------------------------------------


def _literals() -> Iterator[tuple[str, str, set[str]]]:
    """The strings of the code that can reach a verb, but docstrings: file, text, and the names of
    the functions that they are an argument of."""
    for folder in ("initreg", "plugins/initreg_formats", "plugins/initreg_targets"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if path.startswith(("initreg/trainers", "initreg/testing", "initreg/cli")):
                continue
            tree = ast.parse(file.read_text("utf-8"))
            skipped = {n.value for n in ast.walk(tree) if isinstance(n, ast.Expr)}
            calls: dict[ast.AST, set[str]] = {}
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                    for inner in ast.walk(node):
                        calls.setdefault(inner, set()).add(name)
            strings = (n for n in ast.walk(tree) if isinstance(n, ast.Constant))
            for node in strings:
                if isinstance(node.value, str) and node not in skipped:
                    yield path, node.value, calls.get(node, set())


# What no verb can print, since argparse accepts nothing that would be refused with these words.
ONLY_IN_PYTHON = {
    ("initreg/api/smart_init.py", "SmartInit("),  # and this is the code of a hint
    ("initreg/plan/rows.py", "SmartInit("),
    ("initreg/plan/rows.py", "SmartInit(["),
    ("initreg/arrays/lazy_array.py", " is not in memory: copy=False is not possible"),
    ("initreg/plugin/foreign.py", "torch.load(path, weights_only=True)"),  # it is PyTorch's
    ("initreg/plugin/foreign.py", "convert all parts together where they were made"),
    ("initreg/api/dumping.py", "meta= names the metagraph, and inference=True works without"),
    ("initreg/api/written.py", "With atomic=True, all is read before anything is "),
    ("initreg/plan/html.py", " more: plan.to_text(limit=None)"),
    (
        "initreg/rules/rename_rules.py",
        "the same name if nothing is to be renamed. To leave an array",
    ),
    ("initreg/rules/rename_rules.py", "rename="),
    ("initreg/rules/select_rules.py", "keep=() would keep no array. Give names or globs, or None"),
}


def test_every_message_that_names_an_option_carries_it() -> None:
    """A text with ``name=`` in it is made with option() or either(), or no verb can print it."""
    found = {
        (path, text)
        for path, text, calls in _literals()
        if PYTHON.search(text) and not calls & {"option", "option_text", "either", "_naming"}
    }
    allowed = {
        (path, text)
        for path, text in found
        if any(path == where and begins in text for where, begins in ONLY_IN_PYTHON)
    }
    assert found - allowed == set()
    assert len(allowed) == len(ONLY_IN_PYTHON)  # or the list is out of date


def test_every_option_that_a_message_names_can_be_typed() -> None:
    """It is an option of some verb."""
    verbs = next(
        a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)
    ).choices.values()
    flags = {flag for verb in verbs for a in verb._actions for flag in a.option_strings}
    named = set()
    for folder in ("initreg", "plugins/initreg_formats"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                name = getattr(getattr(node, "func", None), "id", "")
                if isinstance(node, ast.Call) and name in ("option", "option_text"):
                    named |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
    assert "allow_pickle" in named
    assert {name for name in named if f"--{name.replace('_', '-')}" not in flags} == set()


# --- help -----------------------------------------------------------------------------------------


def test_help_without_docstrings(files: Path) -> None:
    """``python -OO`` removes docstrings. Help, and errors, are as before."""
    command = [sys.executable, "-OO", "-m", "initreg"]
    top = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    for name in VERBS:
        assert f" {name} " in top
        found = subprocess.run(
            [*command, name, "--help"], capture_output=True, text=True, check=True
        )
        assert " ".join(verb_module(name).SUMMARY.split()) in " ".join(found.stdout.split())
    failed = subprocess.run(
        [*command, "ls", str(files / "zoo.npy")], capture_output=True, text=True, check=False
    )
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.endswith("pass --allow-pickle\n")
