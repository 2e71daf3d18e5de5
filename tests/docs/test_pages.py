"""Every page is run as its reader would: all blocks in order, in a new folder and a new process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import run_page
from pages import GUIDE, PAGES, ROOT, blocks_of

PROGRAM = Path(__file__).with_name("run_page.py")
RUN = [page for page in PAGES if page != GUIDE and any(block.is_run for block in blocks_of(page))]


@pytest.mark.parametrize("page", RUN, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_runs_as_shown(page: Path, tmp_path: Path) -> None:
    """Each block runs and prints what is shown, and comes to what ``given/`` expects of it."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(page)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout[-6000:]
    for block in blocks_of(page):
        assert not block.is_run or f"--- {block.where}\n" in done.stdout


def test_what_is_given_is_for_a_page() -> None:
    """Each file of given/ belongs to a page that is run."""
    given = set(PROGRAM.with_name("given").glob("*.py"))
    assert given <= {run_page.given_path(page) for page in RUN}
