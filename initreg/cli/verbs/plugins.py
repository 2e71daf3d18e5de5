"""The verb ``plugins``."""

from __future__ import annotations

import argparse

from initreg.cli.printing import show, show_json
from initreg.cli.verbs.probe import broken_text, lacking_text

SUMMARY = "List the installed plugins, and what each provides."
EXAMPLES = (("initreg plugins", "formats, targets and verbs"),)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments. There is only --json."""


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0, or 1 if a plugin is broken, or its verbs are."""
    from initreg.cli.added_verbs import faults_of, show_faults
    from initreg.plugin.installed import default_registry
    from initreg.text.wording import table

    records = default_registry().records
    faults = faults_of(options.added)
    broken = [record for record in records if record.broken is not None]
    if options.json:
        show_json([r.to_dict() for r in records])
        show_faults(options.added)
        return 1 if broken or faults else 0
    working = [record for record in records if record.broken is None]
    rows = [
        (r.name, ", ".join(r.kinds), f"{r.distribution} {r.version}".strip(), r.module)
        for r in working
    ]
    if rows:
        show("\n".join(table([("NAME", "KIND", "DISTRIBUTION", "MODULE"), *rows])))
    for record in working:
        if record.missing:
            show(f"lacks a library  {lacking_text(record)}")
    for record in broken:
        show(f"broken  {broken_text(record)}")
    for line in faults:
        show(f"verbs   {line}")
    return 1 if broken or faults else 0
