"""What formats cost over HTTP is what the page says, and opening costs little."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import initreg
from tests.storage.counting import KINDS, measured
from tests.storage.web_server import WebServer

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "remote-files.md"
_MEGABYTE = 1 << 20


def test_the_page_has_every_format() -> None:
    """The table has the rows of the program that prints it."""
    text = PAGE.read_text()
    assert "python tests/storage/counting.py" in text
    assert [kind for kind in KINDS if f"\n| {kind} |" not in text] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_cost_of_a_format(kind: str, tmp_path: Path) -> None:
    """Requests, rounds and bytes are at most a little more than the table says."""
    row = measured(tmp_path, kind)
    line = next(
        each
        for each in PAGE.read_text().splitlines()
        if each.startswith(f"| {kind} |") and " MB |" in each
    )
    said = re.findall(r"(\d+) requests? in (\d+) rounds?, ([\d.]+) ([kM])B", line)
    assert len(said) == 2
    for cost, (requests, rounds, sent, unit) in zip((row.opening, row.reading), said, strict=True):
        assert cost.requests <= 1.1 * int(requests) + 1
        assert cost.rounds <= 1.5 * int(rounds) + 2  # on a busy machine a round may be cut in two
        assert cost.sent <= 1.1 * float(sent) * {"k": 1e3, "M": 1e6}[unit] + 1e5
    if kind != "Keras 3, `.keras`":
        assert row.opening.sent < _MEGABYTE
    assert row.opening.sent + row.reading.sent < 1.1 * row.size


@pytest.mark.parametrize(("side", "bound"), [(16, 1.1), (64, 1.05)])
def test_many_groups(side: int, bound: float, tmp_path: Path, web: WebServer) -> None:
    """HDF5 of very many groups is opened by few rounds, and hardly a byte is sent twice."""
    arrays = {f"layer_{i}/w": np.full((side, side), i, "f4") for i in range(4000)}
    initreg.save(tmp_path / "m.h5", arrays)
    web.gathers = True
    found = initreg.load(f"{web.url}m.h5")
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
    assert web.rounds <= 12
    assert len(web.requests) < 150
    assert web.sent < bound * (tmp_path / "m.h5").stat().st_size
