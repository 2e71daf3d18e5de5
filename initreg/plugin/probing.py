"""What every plugin said about a source, and which format opens it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from initreg.errors import AmbiguousSource, InitregError, UnknownFormat
from initreg.option_spelling import option
from initreg.plugin.claim import Claim
from initreg.plugin.loading import PluginRecord
from initreg.records import record


@record()
class Probe:
    """Which format opens a source, and what every plugin said about it.

    Attributes:
        source: what the source is called in messages.
        winner: the name of the format that opens it, None if no format claims it or two tie.
        claims: pairs of a format's name and its :class:`Claim`, the highest confidence first.
        declined: the formats that do not claim it.
        failed: the plugins that raised while claiming, each with the reason. A wrapper that raised
            is here too. The formats were then asked without it.
        broken: the plugins that take no part at all. ``PluginRecord.broken`` says why.
        lacking: the plugins that need a library that is not installed.
        tied: the formats that share the highest confidence, if there are several.
        hint: what the source looks like, if no format claims it.
        wrappers: the plugins that wrap ``initreg_claim``, and so can change every claim.
    """

    source: str
    winner: str | None
    claims: tuple[tuple[str, Claim], ...]
    declined: tuple[str, ...]
    failed: Mapping[str, str]
    broken: tuple[PluginRecord, ...]
    lacking: tuple[PluginRecord, ...]
    tied: tuple[str, ...] = ()
    hint: str = ""
    wrappers: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "source": self.source,
            "winner": self.winner,
            "claims": [
                {"format": name, "confidence": claim.confidence.name, "reason": claim.reason}
                for name, claim in self.claims
            ],
            "tied": list(self.tied),
            "declined": list(self.declined),
            "failed": dict(self.failed),
            "broken": [record.to_dict() for record in self.broken],
            "lacking": [record.to_dict() for record in self.lacking],
            "hint": self.hint,
            "wrappers": list(self.wrappers),
        }

    def error(self) -> InitregError | None:
        """The error that opening the source would raise, or None if there is a winner."""
        if self.winner is not None:
            return None
        if self.tied:
            rivals = "; ".join(
                f"{name!r} ({claim.confidence.name}: {claim.reason})"
                for name, claim in self.claims
                if name in self.tied
            )
            files = [claim.file for name, claim in self.claims if name in self.tied]
            choice = "Choose one: "
            if all(files) and len(set(files)) > 1:
                shown = ", ".join(os.path.join(self.source, file) for file in files[:-1])
                choice = (
                    f"They may differ. Give the file that you mean: {shown} or "
                    f"{os.path.join(self.source, files[-1])}. Or choose a format: "
                )
            return AmbiguousSource(
                f"{self.source}: {len(self.tied)} formats claim it alike: {rivals}. {choice}"
                + option("format", self.tied[0])
            )
        message = f"{self.source}: no installed format claims it"
        if self.hint:
            message += f": {self.hint}"
        for name, reason in self.failed.items():
            kind = "Wrapper" if name in self.wrappers else "Format"
            message += f". {kind} {name!r} failed while claiming: {reason}"
        if self.broken:
            names = ", ".join(record.name for record in self.broken)
            message += f". Broken plugins took no part: {names}"
        working = [name for name in self.wrappers if name not in self.failed]
        if working:
            message += f". Claims pass through the wrappers {', '.join(working)}"
        return UnknownFormat(message + ". 'initreg plugins' lists the formats")
