"""The blocks of the pages: none escapes from being run but those that say why."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from pages import GUIDE, NOT_RUN, PAGES, ROOT, RUN, SHOWN, blocks_of, commands_of, text_of

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@every_page
def test_every_fence_is_that_of_a_block(page: Path) -> None:
    """Each line that looks like a fence begins or ends a block, and each block has a language that
    says whether it is run or only read."""
    blocks = blocks_of(page)
    fences = re.findall(r"^[ >]*(?:```|~~~).*$", text_of(page), re.MULTILINE)
    assert len(fences) == 2 * len(blocks)
    assert {block.language for block in blocks} <= {*RUN, *SHOWN}


@every_page
def test_python_blocks_compile(page: Path) -> None:
    """Every Python block of a page is Python; '# from ...' heads an excerpt of a function."""
    for block in blocks_of(page):
        if block.language == "python":
            text = block.text
            head, _, rest = text.partition("\n")
            if head.startswith("# from "):
                text = "def excerpt():\n" + textwrap.indent(textwrap.dedent(rest), "    ")
            compile(text, block.where, "exec")


def test_what_is_not_run_here_is_run_elsewhere() -> None:
    """Few blocks of all, each with its reason in a comment that no reader sees. They need libraries
    that the tests do not install. tests/frameworks/test_docs.py is run where these are, and fails
    if it does not run each of them."""
    marked = {(block.where.partition(":")[0], block.not_run) for block in BLOCKS if block.not_run}
    where = "and tests/frameworks/test_docs.py runs it where"
    assert marked == {
        ("docs/formats.md", f"it needs torch, {where} torch is"),
        ("docs/many-machines.md", f"it needs JAX, {where} JAX is"),
        ("docs/from-pytorch.md", f"it needs torch, {where} torch is"),
        ("docs/targets.md", f"it needs torch and JAX, {where} they are"),
        ("plugins/initreg-jax/README.md", f"it needs JAX, {where} JAX is"),
        ("plugins/initreg-torch/README.md", f"it needs torch, {where} torch is"),
    }


@every_page
def test_a_reason_is_before_its_block(page: Path) -> None:
    """Each comment about what is not run has a reason, and a block that would be run below it."""
    marked = [block for block in blocks_of(page) if block.not_run is not None]
    assert len(marked) == len(re.findall(r"<!--\s*not run", text_of(page)))
    for block in marked:
        assert block.not_run, f"{block.where}: why is it not run?"
        assert block.language in RUN, f"{block.where}: a {block.language!r} block never is"


def test_commands_that_are_not_run_are_shown_somewhere() -> None:
    """Each entry of the table is of use for a page that is run, and has a reason."""
    found = {
        command.prefix
        for block in BLOCKS
        if block.language == "console" and block.is_run and block.page != GUIDE
        for command in commands_of(block)
    }
    assert found - {None} == set(NOT_RUN)
    assert all(len(reason.split()) > 3 for reason in NOT_RUN.values())
    assert not any(prefix.startswith(("initreg", "python")) for prefix in NOT_RUN)
