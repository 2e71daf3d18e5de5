"""``initreg report``: a page from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import initreg
from initreg.cli import main


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    one = initreg.save(tmp_path / "a.npz", {"w": np.ones((2, 2)), "b": np.ones(2)})
    two = initreg.save(tmp_path / "b.npz", {"net/w": np.ones((2, 2)), "net/b": np.zeros(2)})
    return str(one), str(two)


def test_a_page_of_one_source(files: tuple[str, str], tmp_path: Path, capsys) -> None:
    """It says where the page is, and what it is about."""
    page = tmp_path / "r.html"
    assert main(["report", files[0], "-o", str(page)]) == 0
    said = capsys.readouterr().out
    assert said == f"{page}\n{files[0]}: npz, 2 arrays, 6 numbers, 48 B\n"
    assert page.read_text("utf-8") == initreg.report(files[0]).to_html()


def test_a_page_of_two(files: tuple[str, str], tmp_path: Path, capsys) -> None:
    """Rules are those of one source, and the plan is that of B."""
    page = tmp_path / "r.html"
    a, b = files
    rules = ["--for", b, "--strip-prefix", "net/"]
    assert main(["report", a, b, "-o", str(page), "--onto", a, *rules]) == 0
    said = capsys.readouterr().out
    assert "2 arrays: 1 different, 1 equal, bit by bit\nthe plan can be carried out\n" in said
    expected = initreg.report(a, initreg.SmartInit(b, strip_prefix="net/"), target=initreg.open(a))
    assert page.read_text("utf-8") == expected.to_html()


def test_json_needs_no_page(files: tuple[str, str], capsys) -> None:
    """It prints what the page would say."""
    assert main(["report", files[0], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == initreg.report(files[0]).to_dict()
    assert main(["report", files[0], "--json", "--no-values"]) == 0
    assert json.loads(capsys.readouterr().out)["arrays"][0]["values"] is None


def test_bad_usage_is_one_error(files: tuple[str, str], tmp_path: Path, capsys) -> None:
    """Before anything is read, and with what to type instead."""
    a, b = files
    for arguments, said in (
        ([a], "--output report.html"),
        ([a, "-o", b], "End its name in .html"),
        ([a, b, a, "-o", "r.html"], "these are 3"),
        ([a, b, "--no-values", "-o", "r.html"], "--no-values"),
    ):
        assert main(["report", *arguments]) == 2
        assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]
