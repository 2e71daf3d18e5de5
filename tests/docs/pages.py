"""The pages of the documentation, their fenced blocks, and the commands in these."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, *sorted((ROOT / "plugins").glob("*/README.md"))]

# This page is a project that the reader makes: files, an installation, tests. So it is run, every
# block of it, in an environment of its own, by tests/plugin/test_third_party.py.
GUIDE = ROOT / "docs" / "writing-a-plugin.md"

RUN = ("python", "pycon", "console")  # the languages of blocks that are run
SHOWN = ("text", "toml", "json")  # and of those that are read only

# Commands that are shown and not run, by how they begin, and why.
NOT_RUN = {
    "make": "it makes an environment of its own first, which takes minutes and the network",
    "source": "it changes the shell in which it is typed, to one that finds initreg",
    "pip install": "it would change the environment that the tests run in",
    "pytest": "tests/plugin/test_third_party.py runs the tests of initreg-gguf where that is",
}


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int  # of its first line in the page, from 1
    language: str
    text: str
    not_run: str | None  # the reason in `<!-- not run: reason -->` before it

    @property
    def where(self) -> str:
        return (
            f"{self.page.relative_to(ROOT) if ROOT in self.page.parents else self.page}:{self.line}"
        )

    @property
    def is_run(self) -> bool:
        return self.language in RUN and self.not_run is None


@dataclass(frozen=True)
class Command:
    """``$ command`` in a console block, and what the page shows that it prints."""

    text: str
    shown: str

    @property
    def prefix(self) -> str | None:
        """Its key in NOT_RUN, if it has one."""
        words = self.text.split()
        for prefix in NOT_RUN:
            if words[: len(prefix.split())] == prefix.split():
                return prefix
        return None


def text_of(*paths: Path) -> str:
    return "\n".join(path.read_text("utf-8") for path in paths)


_BLOCK = re.compile(
    r"(?:^ *<!-- not run:(?P<reason>(?:(?!-->).)*)-->\n\n?)?"
    r"^(?P<indent> *)(?P<fence>```+|~~~+)(?P<language>[^\n]*)\n"
    r"(?P<text>.*?)^(?P=indent)(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of the page, in order, those in lists too."""
    text = text_of(page)
    found = []
    for match in _BLOCK.finditer(text):
        reason = match["reason"]
        found.append(
            Block(
                page,
                text[: match.start("text")].count("\n") + 1,
                match["language"].strip(),
                textwrap.dedent(match["text"]),
                None if reason is None else " ".join(reason.split()),
            )
        )
    return found


def commands_of(block: Block) -> Iterator[Command]:
    """The commands of a console block; a command may go on after a backslash."""
    for entry in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        match = re.match(r"((?:.*\\\n)*.*)\n?", entry)
        assert match is not None
        yield Command(match[1], entry[match.end() :])
