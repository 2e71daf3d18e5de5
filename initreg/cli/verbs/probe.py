"""The verb ``probe``."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from initreg.cli.flags import flags, message
from initreg.cli.printing import show_json
from initreg.cli.screen import show_fitted

if TYPE_CHECKING:
    from initreg.plugin.loading import PluginRecord
    from initreg.plugin.probing import Probe

SUMMARY = "Show which format claims a file, and why."
EXAMPLES = (
    ("initreg probe weights.bin", "what is this file?"),
    ("initreg probe weights.bin --json", "the same for a program"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", metavar="PATH", help="a file, a folder, a checkpoint's prefix, or the URL of one"
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb. Returns 0 if a format claims it, 1 if none does, 2 if it is ambiguous."""
    from initreg.plugin.installed import default_registry
    from initreg.plugin.source import Source

    registry = default_registry()
    probe = registry.probe(Source(options.path))
    if options.json:
        answer: dict[str, Any] = probe.to_dict()
        error = probe.error()
        if error is not None:
            answer |= {"error": type(error).__name__, "message": message(error)}
        show_json(answer)
    else:
        targets = {record.name for record in registry.records if "target" in record.kinds}
        show_fitted(text(probe, targets))
    if probe.winner is not None:
        return 0
    return 2 if probe.tied else 1


def text(probe: Probe, targets: Collection[str] = ()) -> str:
    """The answer first, then what the other formats said.

    Args:
        probe: the answer.
        targets: plugins that take objects of Python, and decline every file.
    """
    lines: list[str] = []
    claims = dict(probe.claims)
    if probe.winner is not None:
        claim = claims[probe.winner]
        lines.append(f"{probe.source}: {probe.winner} ({claim.confidence.name}: {claim.reason})")
    elif probe.tied:
        choice = flags({"format": probe.tied[0]})
        lines.append(f"{probe.source}: ambiguous. Choose one of these, such as {choice}:")
        lines += [
            f"  {name} ({claims[name].confidence.name}: {claims[name].reason})"
            for name in probe.tied
        ]
    else:
        lines.append(f"{probe.source}: no installed format claims it")
        if probe.hint:
            lines.append(f"  it looks like this: {probe.hint}")
    others = [
        f"  {name} ({claim.confidence.name}: {claim.reason})"
        for name, claim in probe.claims
        if name != probe.winner and name not in probe.tied
    ]
    if others:
        lines += ["also claimed by", *others]
    if declined := [name for name in probe.declined if name not in targets]:
        lines.append(f"declined by  {', '.join(declined)}")
    lines += [f"failed while claiming  {name}: {why}" for name, why in probe.failed.items()]
    if probe.wrappers:
        lines.append(f"claims pass through the wrappers  {', '.join(probe.wrappers)}")
    lines += [f"broken  {broken_text(record)}" for record in probe.broken]
    lines += [f"lacks a library  {lacking_text(record)}" for record in probe.lacking]
    return "\n".join(lines)


def broken_text(record: PluginRecord) -> str:
    where = f" (of {record.distribution} {record.version})" if record.distribution else ""
    return f"{record.name}{where}: {record.broken}"


def lacking_text(record: PluginRecord) -> str:
    needs = "; ".join(f"{library}: {remedy}" for library, remedy in record.missing.items())
    return f"{record.name} needs {needs}"
