"""stats: what the values of a source are like, array by array and together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import InitregError
from initreg.api import stating
from initreg.cli.verbs import stats as verb

ARRAYS: dict[str, Any] = {
    "encoder/layer_0/kernel": np.array([[1.0, -3.0], [0.0, 2.0]], "f4"),
    "encoder/layer_0/bias": np.zeros(3, "f4"),
    "encoder/layer_1/kernel": np.full((2, 2), 7.0, "f4"),
    "head/bias": np.array([np.nan, np.inf, 4.0], "f4"),
    "names": np.array(["a", "b"]),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return initreg.save(tmp_path / "m.h5", ARRAYS)


def test_each_array_in_the_order_of_the_source(path: Path) -> None:
    """Names, shapes and figures; strings have no figures."""
    found = initreg.stats(path)
    with initreg.open(path) as opened:
        assert [each.name for each in found.arrays] == list(opened)
    by_name = {each.name: each for each in found.arrays}
    kernel = by_name["encoder/layer_0/kernel"]
    assert kernel.values is not None
    assert (kernel.shape, kernel.values.min, kernel.values.zeros) == ((2, 2), -3.0, 1)
    assert by_name["names"].values is None
    assert (found.total.count, found.total.nan, found.total.inf) == (14, 1, 1)


def test_sorted(path: Path) -> None:
    """By name, or the largest figure first; what has none comes last."""
    found = initreg.stats(path)
    assert [each.name for each in found.sorted("norm").arrays][:2] == [
        "encoder/layer_1/kernel",
        "head/bias",
    ]
    assert found.sorted("size").arrays[0].name == "encoder/layer_0/kernel"
    assert found.sorted("max").arrays[-1].name == "names"
    assert [each.name for each in found.sorted("name").arrays] == sorted(ARRAYS)
    with pytest.raises(InitregError, match=r"sort='size_'.*give one of name, size"):
        found.sorted("size_")


def test_the_keys_that_can_be_typed() -> None:
    """The verb repeats the keys, because parsing imports no more than it needs."""
    assert verb._KEYS == stating.KEYS


def test_folded_by_layer(path: Path) -> None:
    """Arrays whose names begin alike are one line, with the figures of all their values."""
    found = {each.name: each for each in initreg.stats(path).to_depth(1).arrays}
    assert list(found) == ["encoder/", "head/bias", "names"]
    values = found["encoder/"].values
    assert values is not None
    whole = np.concatenate([a.ravel() for n, a in ARRAYS.items() if n.startswith("encoder")])
    assert (found["encoder/"].arrays, values.count) == (3, whole.size)
    assert values.mean == pytest.approx(whole.mean())
    assert list(initreg.stats(path).to_depth(9).arrays) == list(initreg.stats(path).arrays)
    for depth in (0, -1, 1.5, True):
        with pytest.raises(InitregError, match=r"depth=.*at least 1"):
            initreg.stats(path).to_depth(depth)  # type: ignore[arg-type]


def test_rules_and_chains(path: Path) -> None:
    """Rules apply, and the last array of a name counts."""
    found = initreg.stats([path, {"head/bias": np.ones(4)}], keep="head/*")
    (one,) = found.arrays
    assert one.values is not None
    assert (one.values.count, one.values.norm) == (4, 2.0)


def test_the_text(path: Path) -> None:
    """A table with a line for each array, and the totals."""
    lines = initreg.stats(path, keep="encoder/*").to_text().splitlines()
    assert lines[0].split() == [
        *("NAME", "SHAPE", "DTYPE", "MEAN", "STD", "MIN", "MAX", "NORM", "ZEROS", "HISTOGRAM"),
    ]
    assert len(lines) == 5
    assert lines[-1] == (
        "3 arrays, 11 numbers: mean 2.55, std 3.55, from -3 to 7, 4 zeros, 0 NaN, 0 infinite"
    )


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """An array whose values cannot be read is listed with the reason."""
    np.savez(tmp_path / "m.npz", a=np.ones(2), b=np.array([{"x": 1}], object))
    text = initreg.stats(tmp_path / "m.npz").to_text()
    assert "allow_pickle=True" in text
    assert text.splitlines()[-1].startswith("2 arrays, 2 numbers")


def run(*arguments: object, **environment: str) -> tuple[int, bytes, str]:
    command = [sys.executable, "-m", "initreg", "stats", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **environment})
    return done.returncode, done.stdout, done.stderr.decode()


def test_the_verb(path: Path) -> None:
    """The table, the options and JSON, also where the output has no blocks."""
    code, out, error = run(path, "--depth", 1, "--sort", "size", PYTHONIOENCODING="utf-8")
    assert (code, error) == (0, "")
    assert out.decode().splitlines()[1].startswith("encoder/")
    code, out, _ = run(path, PYTHONIOENCODING="ascii")
    assert code == 0
    assert b"\\u25" not in out
    code, out, _ = run("--json", path, "--drop", "names")
    assert code == 0
    assert {each["name"] for each in json.loads(out)["arrays"]} == set(ARRAYS) - {"names"}
    code, _, error = run(path, "--depth", 0)
    assert code == 2
    assert "--depth 0" in error


def test_a_source_without_numbers() -> None:
    """Nothing is said of the values of texts."""
    found = initreg.stats({"text": np.array(["a", "b"], object)})
    assert found.to_text().splitlines()[-1] == "1 array, 0 numbers"
    found = initreg.stats({"bad": np.array([np.nan, np.inf])})
    assert found.to_text().splitlines()[-1] == "1 array, 2 numbers: none of them is finite"
