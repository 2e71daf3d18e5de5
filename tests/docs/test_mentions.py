"""What exists is mentioned: names, errors, hooks, kinds of rows, verbs, formats, targets."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from importlib import metadata

import pytest
from pages import DOCS, GUIDE, README, ROOT, blocks_of, commands_of, text_of

import initreg
from initreg import cli, errors
from initreg.plan import Kind
from initreg.plugin.loading import HOOKS

TOUR = ROOT / "docs" / "tour.md"


def verbs() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in cli.parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def mentions(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


@pytest.mark.parametrize("name", initreg.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    """Each name of initreg.__all__ is in the README or on a page of docs/."""
    assert mentions(text_of(README, *DOCS), name)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, (errors.InitregError, Warning))
    ],
)
def test_every_error_and_warning_is_documented(name: str) -> None:
    """Each class of errors.py is explained in docs/matching.md, and is a public name."""
    assert mentions(text_of(ROOT / "docs" / "matching.md"), name)
    assert name in initreg.__all__


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented(name: str) -> None:
    """Each hook of the contract is in docs/writing-a-plugin.md."""
    assert mentions(text_of(GUIDE), name)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_row_is_documented(kind: Kind) -> None:
    """Each kind of row that a plan may have is named in docs/matching.md."""
    assert f"`{kind.value}`" in text_of(ROOT / "docs" / "matching.md")


@pytest.mark.parametrize("verb", [name for name, _ in verbs()])
def test_every_verb_and_option_is_documented(verb: str) -> None:
    """docs/cli.md has a section for each verb, with its arguments and options."""
    page = text_of(ROOT / "docs" / "cli.md")
    parser = dict(verbs())[verb]
    section = re.search(rf"^## `initreg {verb}\b.*?(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section is not None
    shared = page[page.index("## Rules and opening\n") :]  # said once, of all verbs
    for group in parser._action_groups:
        for action in group._group_actions:
            if not action.option_strings:
                assert str(action.metavar) in section[0]
            elif "--json" in action.option_strings:
                assert mentions(page, "--json")
            elif "--help" not in action.option_strings:
                is_own = group.title not in ("rules", "opening") or verb == "resume"
                is_own = is_own or "--reverse" in action.option_strings
                assert mentions(section[0] if is_own else shared, action.option_strings[-1])
    if any(group.title in ("rules", "opening") for group in parser._action_groups):
        assert "(#rules-and-opening)" in section[0]


def test_every_format_and_target_has_its_section() -> None:
    """Each format in the wheel has a section in docs/formats.md, each target in docs/targets.md."""
    formats = text_of(ROOT / "docs" / "formats.md")
    for point in metadata.entry_points(group="initreg"):
        if point.value.startswith("initreg_formats."):
            assert f"\n## {point.name}\n" in formats
    headings = re.findall(r"^## (.+)$", text_of(ROOT / "docs" / "targets.md"), re.MULTILINE)
    assert headings == [
        "A TF1 session",
        "TF variables",
        "Keras models",
        "A dict of numpy arrays",
        "Modules of PyTorch, and pytrees of JAX",  # of plugins that are distributions
    ]


def test_the_tour_shows_every_verb() -> None:
    """Each verb of the command line is shown once, with its real output."""
    blocks = [block for block in blocks_of(TOUR) if block.language == "console"]
    commands = [c for block in blocks for c in commands_of(block) if c.text.startswith("initreg ")]
    assert all(command.shown for command in commands)
    assert sorted(c.text.split()[1] for c in commands) == sorted(name for name, _ in verbs())
