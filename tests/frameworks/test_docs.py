"""The code of docs/from-pytorch.md, which needs torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from pages import ROOT, blocks_of, commands_of

PAGE = ROOT / "docs" / "from-pytorch.md"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Each block of Python runs, the outputs are the same, and so are the commands."""
    monkeypatch.chdir(tmp_path)
    blocks = [each for each in blocks_of(PAGE) if each.not_run]
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
