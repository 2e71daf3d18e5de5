"""Paths and numbers that no system takes end in one InitregError, from every function and verb."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import InitregError, RefusedFile, SmartInit, varmanip
from initreg.cli import main

DIGITS = "9" * 5000  # more than Python reads or writes as an integer (4,300)
PATHS = {
    "a loop": "loop",
    "into a loop": "loop/m.npz",
    "a long name": "a" * 300,
    "a long path": "/".join(["a" * 200] * 30),
    "NUL": "a\0b",
    "below a file": "m.npz/b",
    "a lone surrogate": "a\ud800b",
}
FUNCTIONS: dict[str, Callable[[str], Any]] = {
    "open": initreg.open,
    "load": initreg.load,
    "verify": lambda path: initreg.verify(path),
    "manifest": lambda path: initreg.verify("m.npz", manifest=path),
    "resume": initreg.resume,
    "dump": lambda path: initreg.dump(path, "out.npz"),
    "dump meta": lambda path: initreg.dump("m.npz", "out.npz", meta=path),
    "dump to": lambda path: initreg.dump("m.npz", path, inference=True, to="npz"),
    "convert": lambda path: initreg.convert(path, "out.npz"),
    "convert to": lambda path: initreg.convert("m.npz", path, to="npz"),
    "save": lambda path: initreg.save(path, {"a": np.ones(1)}, format="safetensors"),
    "SmartInit": lambda path: SmartInit(path).init({"a": np.zeros(1)}),
    "varmanip": lambda path: varmanip.get_all_checkpoints(path),
    "get_checkpoint_path": lambda path: varmanip.get_checkpoint_path(path),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    initreg.save("m.npz", {"a": np.ones(1)})
    return tmp_path


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_path_that_no_system_takes(function: Callable[[str], Any], path: str) -> None:
    """One InitregError, or nothing is found. A new folder or file is never made of it."""
    before = sorted(os.listdir())
    try:
        found = function(path)
    except InitregError:
        pass
    else:
        assert not getattr(found, "ok", False)  # verify() reports what it cannot open
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("path", [path for path in PATHS.values() if "\0" not in path], ids=str)
@pytest.mark.parametrize(
    "line",
    [
        ["ls", "{}"],
        ["probe", "{}"],
        ["resume", "{}"],
        ["verify", "{}"],
        ["verify", "m.npz", "--manifest", "{}"],
        ["convert", "m.npz", "{}", "--to", "npz"],
        ["convert", "{}", "out.npz"],
        ["dump", "{}", "out.npz"],
        ["plan", "m.npz", "--onto", "{}"],
        ["plan", "m.npz", "--onto", "{}.py:build"],
    ],
    ids=lambda line: " ".join(line),
)
def test_a_verb_says_it_in_one_line(
    line: list[str], path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Code 1 or 2, with the reason in a line."""
    if line[:2] == ["convert", "m.npz"] and path == "a\ud800b":
        pytest.skip("a name of raw bytes can be written")
    assert main([each.format(path) for each in line]) in (1, 2)
    said = capsys.readouterr()
    assert said.err.count("\n") <= 1
    assert said.out or said.err


@pytest.mark.parametrize("character", ["\n", "\t", "\\", "\x7f", "\x1b"])
@pytest.mark.parametrize(("ending", "size"), [(".ckpt", None), (".safetensors", "2kB")])
def test_what_is_saved_in_parts_is_opened(character: str, ending: str, size: str | None) -> None:
    """Parts may begin as the name that the user gave, whatever is in it, and not go on so."""
    arrays = {"w": np.ones(300), "v": np.zeros(300)}
    os.mkdir("parts")
    given = f"parts/m{character}{ending}"
    path = initreg.save(given, arrays, shard_size=size, manifest=True)
    assert {name: a.tolist() for name, a in initreg.load(path).items()} == {
        name: a.tolist() for name, a in arrays.items()
    }
    assert initreg.verify(path).ok
    assert initreg.save(given, arrays, shard_size=size, manifest=True) == path
    if size is not None:
        index = Path(str(path))
        parts = json.loads(index.read_text())["weight_map"]
        odd = parts["w"].replace("-of-", f"{character}-of-")
        index.write_text(json.dumps({"weight_map": {"w": odd, "v": odd}}))
        with pytest.raises(RefusedFile, match="not a plain file name"):
            initreg.load(path)


SIZES: dict[str, Callable[[], Any]] = {
    "shard_size of digits": lambda: initreg.save("o.npz", {"a": [1.0]}, shard_size=DIGITS),
    "shard_size": lambda: initreg.save("o.npz", {"a": [1.0]}, shard_size="9" * 400),
    "shard_size of an int": lambda: initreg.save("o.npz", {"a": [1.0]}, shard_size=-(10**5000)),
    "cast": lambda: initreg.load("m.npz", cast=DIGITS),
    "cast of one": lambda: initreg.load("m.npz", cast={"a": f"({DIGITS},)f4"}),
    "cast to a structure": lambda: initreg.load("m.npz", cast="f4,("),
    "pad": lambda: initreg.load("m.npz", pad={"a": (0, 1 << 62)}),
    "pad to more": lambda: initreg.load("m.npz", pad={"a": (0, 10**5000)}),
    "pad with": lambda: initreg.load("m.npz", pad={"a": (0, 9, 10**400)}),
    "pad with more": lambda: initreg.load("m.npz", pad={"a": (0, 9, 10**5000)}),
    "pad an axis": lambda: initreg.load("m.npz", pad={"a": (10**5000, 9)}),
    "slice": lambda: initreg.load("m.npz", slice={"a": (10**5000, 0, 1)}),
    "slice to": lambda: initreg.load("m.npz", slice={"a": (0, 0, 10**5000)}),
    "permute": lambda: initreg.load("m.npz", permute={"a": (10**5000,)}),
    "max_inflation": lambda: initreg.load("m.npz", max_inflation=-(10**5000)),
    "by": lambda: SmartInit("m.npz", by=10**5000),
}


@pytest.mark.parametrize("call", SIZES.values(), ids=SIZES)
def test_a_number_of_thousands_of_digits(call: Callable[[], Any]) -> None:
    """One InitregError, and nothing is written."""
    with pytest.raises(InitregError):
        call()
    assert sorted(os.listdir()) == ["loop", "m.npz"]


@pytest.mark.parametrize(
    "options",
    [
        ["--pad", f"a=0,{DIGITS}"],
        ["--slice", f"a=0,0,{DIGITS}"],
        ["--permute", f"a={DIGITS}"],
        ["--cast", DIGITS],
        ["--shard-size", DIGITS],
        ["--max-inflation", "-1" + "0" * 5000],
    ],
    ids=lambda options: options[0],
)
def test_such_a_number_on_the_command_line(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Code 2, in one line."""
    assert main(["convert", "m.npz", "o.npz", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(os.listdir()) == ["loop", "m.npz"]
