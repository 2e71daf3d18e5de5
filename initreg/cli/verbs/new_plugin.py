"""The verb ``new-plugin``."""

from __future__ import annotations

import argparse

from initreg.cli.flags import quote
from initreg.cli.printing import show, show_json

SUMMARY = "Make the folder of a plugin that works: a format, a target or a verb, with its tests."
EXAMPLES = (
    ("initreg new-plugin rawz", "a format for .rawz files"),
    ("initreg new-plugin my-library --target", "a target"),
    ("initreg new-plugin my-verb --verb", "a verb"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        metavar="NAME",
        help="what the plugin is called, such as rawz: the folder is initreg-rawz, and the format "
        "reads files that end in .rawz",
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--target",
        action="store_true",
        help="make a target, which weights are restored into, instead of a format",
    )
    kinds.add_argument(
        "--verb",
        action="store_true",
        help="make a verb of the command line instead of a format",
    )
    parser.add_argument(
        "--directory",
        metavar="DIR",
        default=".",
        help="make the folder in this one (default: the working folder)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0."""
    from initreg.cli.scaffolding import new_plugin

    kind = "target" if options.target else "verb" if options.verb else "format"
    made = new_plugin(options.name, kind, options.directory, tuple(options.top.verbs))
    if options.json:
        show_json(made.to_dict())
        return 0
    lines = [f"{made.folder}: a {made.kind} called {made.name}, with its tests"]
    lines += [f"  {path}" for path in made.files]
    lines += [
        "Install it and run its tests:",
        f"  cd {quote(str(made.folder))}",
        "  pip install --editable . pytest",
        "  pytest",
    ]
    show("\n".join(lines))
    return 0
