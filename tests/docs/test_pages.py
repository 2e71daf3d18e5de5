"""Every page is run as its reader would: all blocks in order, in a new folder and a new process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import run_page
from pages import GUIDE, PAGES, ROOT, blocks_of

PROGRAM = Path(__file__).with_name("run_page.py")
RUN = [page for page in PAGES if page != GUIDE and any(block.is_run for block in blocks_of(page))]


_FRAMEWORK = re.compile(
    r"^\s*(?:>>> )?(?:import|from) (?:tensorflow|keras|tf_keras|gguf)\b", re.MULTILINE
)


def _marked(page: Path) -> object:
    """The page, with the marker if it, or what is given for it, imports what only a full
    environment has."""
    given = run_page.given_path(page)
    texts = [path.read_text("utf-8") for path in (page, given) if path.is_file()]
    is_full = any(map(_FRAMEWORK.search, texts))
    marks = [pytest.mark.framework, pytest.mark.slow] if is_full else []
    return pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks)


@pytest.mark.parametrize("page", [_marked(page) for page in RUN])
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
