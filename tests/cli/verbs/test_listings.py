"""The order and the form of what ``ls`` and ``stats`` list: the same options, which do the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg.cli import main


@pytest.fixture
def npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Names with numbers, in an order of their own, of three dtypes."""
    monkeypatch.chdir(tmp_path)
    arrays = {
        f"net/layer_{i}/{part}": np.full(i + 1, i + 1, "f4") for i in (10, 2) for part in "wb"
    }
    np.savez("m.npz", **arrays, step=np.int64(7), half=np.ones((2, 2), "f2"))
    return "m.npz"


def names(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The first column of what is printed, between the heading and the totals."""
    assert main([*arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("NAME")
    return [line[: line.index("  ", len(line) - len(line.lstrip()))] for line in lines[1:-1]]


NATURAL = ["half", "net/layer_2/b", "net/layer_2/w", "net/layer_10/b", "net/layer_10/w", "step"]
FILE = ["net/layer_10/w", "net/layer_10/b", "net/layer_2/w", "net/layer_2/b", "step", "half"]


@pytest.mark.parametrize("verb", ["ls", "stats"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], FILE),
        (["--sort", "file"], FILE),
        (["--sort", "name"], NATURAL),
        (["--sort", "size"], [*NATURAL[3:5], *NATURAL[1:3], "half", "step"]),
        (["--sort", "dtype"], ["half", *NATURAL[1:5], "step"]),
        (["--keep", "*/w", "--sort", "name"], ["net/layer_2/w", "net/layer_10/w"]),
        (["--drop", "net/*"], ["step", "half"]),
        (["--depth", "1"], ["net/", "step", "half"]),
        (["--depth", "2"], ["net/layer_10/", "net/layer_2/", "step", "half"]),
        (["--depth", "1", "--sort", "name"], ["half", "net/", "step"]),
        (
            ["--tree"],
            [
                "net/",
                "  layer_10/",
                "    w",
                "    b",
                "  layer_2/",
                "    w",
                "    b",
                "step",
                "half",
            ],
        ),
        (["--tree", "--depth", "1"], ["net/", "step", "half"]),
        (
            ["--tree", "--depth", "2", "--sort", "name"],
            ["half", "net/", "  layer_2/", "  layer_10/", "step"],
        ),
        (
            ["--tree", "--depth", "2", "--sort", "size"],
            ["net/", "  layer_10/", "  layer_2/", "half", "step"],
        ),
        (["--fold"], ["net/layer_10/{w,b}", "net/layer_2/{w,b}", "step", "half"]),
        (["--fold", "--sort", "size"], ["net/layer_10/{b,w}", "net/layer_2/{b,w}", "half", "step"]),
    ],
    ids=str,
)
def test_orders_and_forms(
    verb: str, options: list[str], expected: list[str], npz: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both verbs have the same lines in the same order."""
    assert names(capsys, verb, npz, *options) == expected


@pytest.mark.parametrize("verb", ["ls", "stats"])
def test_a_file_in_the_order_of_its_names(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such an order says nothing, so that vars/2 comes before vars/10; --sort file keeps it."""
    ordered = sorted(f"vars/{i}" for i in range(12))
    np.savez(tmp_path / "m.npz", **{name: np.ones(1) for name in ordered})
    path = str(tmp_path / "m.npz")
    assert names(capsys, verb, path) == [f"vars/{i}" for i in range(12)]
    assert names(capsys, verb, path, "--sort", "file") == ordered


@pytest.mark.parametrize("verb", ["ls", "stats"])
def test_names_with_dots(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If no name has a slash, a dot separates the parts; a part alone is on the line below it."""
    arrays = {name: np.ones(2) for name in ("enc.layer.0.w", "enc.layer.0.b", "head.w")}
    np.savez(tmp_path / "m.npz", **arrays)
    path = str(tmp_path / "m.npz")
    assert names(capsys, verb, path, "--tree") == ["enc.layer.0.", "  w", "  b", "head.w"]
    assert names(capsys, verb, path, "--depth", "1") == ["enc.", "head.w"]


def test_sums(npz: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for several arrays has their number, dtypes and size, or their one shape."""
    assert main(["ls", npz, "--depth", "1", "--sort", "name"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME  SHAPE     DTYPE     SIZE",
        "half  (2, 2)    float16    8 B",
        "net/  4 arrays  float32  112 B",
        "step  ()        int64      8 B",
        "6 arrays, 33 numbers, 128 B",
    ]
    assert main(["ls", npz, "--fold", "--keep", "*/layer_2/*", "--bytes"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        *("net/layer_2/{w,b}", "2", "x", "(3,)", "float32", "24"),
    ]


def test_statistics_of_several(npz: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for several arrays is about all of their values, as if they were one array."""
    assert main(["stats", npz, "--tree", "--depth", "1", "--keep", "net/*"]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    values = np.concatenate([np.full(3, 3.0), np.full(11, 11.0)] * 2)
    assert row[:4] == ["net/", "4", "arrays", "float32"]
    assert [float(each) for each in row[4:9]] == pytest.approx(
        [values.mean(), values.std(), 3, 11, np.linalg.norm(values)], rel=1e-2
    )


def test_json_has_groups(npz: str, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON lists all arrays in the order that was asked for, and the groups beside them."""
    assert main(["ls", npz, "--json", "--depth", "1", "--sort", "name"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in answer["arrays"]] == NATURAL
    [group] = answer["groups"]
    assert (group["name"], group["nbytes"], group["dtypes"]) == ("net/", 112, ["float32"])
    assert group["arrays"] == NATURAL[1:5]


def test_several_sources(npz: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is listed with its own totals; names that are in several are counted at the end."""
    initreg.save("other.npz", {"step": np.int64(8), "new": np.ones(3, "f4")})
    assert main(["ls", npz, "other.npz", "--sort", "name"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "m.npz (npz)"
    assert lines[8:10] == ["6 arrays, 33 numbers, 128 B", ""]
    assert lines[10:] == [
        "other.npz (npz)",
        "NAME  SHAPE  DTYPE    SIZE",
        "new   (3,)   float32  12 B",
        "step  ()     int64     8 B",
        "2 arrays, 4 numbers, 20 B",
        "",
        "2 sources: 8 arrays, 37 numbers, 148 B; 1 name in several sources, of which a chain takes "
        "the last",
    ]
    assert main(["ls", npz, "other.npz", "--json", "--keep", "step", "--keep", "new"]) == 0
    found = json.loads(capsys.readouterr().out)["sources"]
    assert [{each["name"] for each in one["arrays"]} for one in found] == [
        {"step"},
        {"step", "new"},
    ]


def test_rules_of_one_source(npz: str, capsys: pytest.CaptureFixture[str]) -> None:
    """After --for, rules are for one source, which may be the one that they match in."""
    initreg.save("other.npz", {"w": np.ones(1)})
    assert main(["ls", npz, "other.npz", "--for", "other.npz", "--prefix", "net/", "--json"]) == 0
    one, other = json.loads(capsys.readouterr().out)["sources"]
    assert [each["name"] for each in one["arrays"]] == FILE
    assert [each["name"] for each in other["arrays"]] == ["net/w"]


@pytest.mark.parametrize("verb", ["ls", "stats"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--depth", "0"], "--depth 0: give a number of at least 1"),
        (["--fold", "--depth", "1"], "--fold and --depth: the first puts similar names"),
        (["--keep", "nett/*"], "--keep 'nett/*' matches no array"),
        (["--keep", "nett/*"], "Similar names: 'net/*'"),
    ],
)
def test_what_does_not_go_together(
    verb: str, options: list[str], said: str, npz: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and what to do."""
    assert main([verb, npz, *options]) == 2
    assert said in capsys.readouterr().err


def test_nothing_to_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A source without arrays has its totals."""
    np.savez(tmp_path / "m.npz")
    assert main(["ls", str(tmp_path / "m.npz"), "--tree"]) == 0
    assert capsys.readouterr().out == "0 arrays, 0 numbers, 0 B\n"
