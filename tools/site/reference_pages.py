"""The reference pages of the site: which public name is on which page. Reads files only."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Page:
    """One page of the reference."""

    file: str
    title: str
    intro: str
    names: tuple[str, ...]  # as mkdocstrings takes them
    whole: bool = False  # each name is a module, with all of its public members


# The comments in initreg/__init__.py under which the names are listed there, with their pages.
GROUPS = {
    "restore, look, save": ("verbs", "Verbs", "What you call: `from initreg import ...`."),
    "what these return and take": (
        "results",
        "Results",
        "What the [verbs](verbs.md) return and take.",
    ),
    "for plugin authors": (
        "plugins",
        "For plugins",
        "What [a plugin](../writing-a-plugin.md) imports from `initreg`.",
    ),
    "the names of tensorpack": (
        "tensorpack-names",
        "Names of tensorpack",
        "What tensorpack's users know, over the same machinery.",
    ),
    "errors": ("errors", "Errors", "Each is an `InitregError`, and names the file and the remedy."),
    "warnings": (
        "warnings",
        "Warnings",
        "Each is an `InitregWarning`. [Matching](../matching.md) says when they are given.",
    ),
}

MODULES = (
    Page(
        "trainers",
        "Trainers",
        "Savers and resuming for each framework: see [resuming](../resuming.md).",
        (
            "initreg.trainers.keras",
            "initreg.trainers.tf_keras",
            "initreg.trainers.tensorpack",
            "initreg.trainers.tf1",
        ),
        whole=True,
    ),
    Page(
        "dtypes",
        "dtypes",
        "dtypes by name. A plugin may import this module.",
        ("initreg.dtypes",),
        whole=True,
    ),
    Page(
        "testing",
        "Testing plugins",
        "The conformance kits: see [writing a plugin](../writing-a-plugin.md#4-testing).",
        ("initreg.testing",),
        whole=True,
    ),
)


def groups() -> dict[str, list[str]]:
    """The public names of initreg by the comment above them."""
    text = (ROOT / "initreg" / "__init__.py").read_text("utf-8")
    table = re.search(r"^_HOME = \{\n(.*?)^\}", text, re.DOTALL | re.MULTILINE)
    assert table is not None
    found: dict[str, list[str]] = {}
    for line in table[1].splitlines():
        if line.strip().startswith("#"):
            names = found.setdefault(line.strip("# "), [])
        else:
            names += ast.literal_eval("{" + line.strip() + "}")
    return found


def public_names() -> list[str]:
    """All public names of initreg."""
    return [name for names in groups().values() for name in names]


def pages() -> list[Page]:
    """All pages, in the order of the navigation."""
    found = groups()
    assert found.keys() == GROUPS.keys(), "a group of names in initreg/__init__.py has no page"
    named = [
        Page(*GROUPS[group], tuple(f"initreg.{name}" for name in names))
        for group, names in found.items()
    ]
    return [*named, *MODULES]


def text_of(page: Page) -> str:
    """The page in Markdown, for mkdocstrings."""
    blocks = [f"# {page.title}\n\n{page.intro}\n"]
    blocks += [f"::: {name}\n" for name in page.names]
    return "\n".join(blocks)
