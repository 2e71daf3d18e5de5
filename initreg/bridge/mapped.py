"""Which array is meant for which variable: the result of :func:`initreg.map`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from initreg.bridge.conversions import Change
from initreg.bridge.lines import FusedArray, LongerTable, MappedVariable, OpenQuestion
from initreg.bridge.text import rule_text
from initreg.storage.uploading import written_to
from initreg.text.markup import folding, notebook, text, verdict
from initreg.text.wording import plural

_SHOWN = 400  # lines of the rules in a notebook


@dataclass(frozen=True, slots=True)
class Mapped:
    """What :func:`initreg.map` found.

    Args:
        source: what messages call the source.
        target: what messages call the target.
        variables: the variables whose arrays are known, in the order of the target.
        open: what two readings fit equally well. Nothing is chosen.
        missing: the variables for which the source has no array that fits.
        unused: the arrays that fit no variable, or are left over.
        dropped: the arrays that are no weights, such as ``num_batches_tracked``.
        tied: the arrays that are the same as one that a variable takes.
        longer: for variables in ``missing``, arrays in ``unused`` that are as wide and have more
            rows. Which rows are meant is not known, so none are taken.
        first: the text of the rules that were given, which come first in the rule file.
        fused: arrays in ``unused`` that hold several weights by their names, if variables are left.
            In which order they have them is not known.
    """

    source: str
    target: str
    variables: tuple[MappedVariable, ...]
    open: tuple[OpenQuestion, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    dropped: tuple[str, ...]
    tied: tuple[str, ...] = ()
    longer: tuple[LongerTable, ...] = ()
    first: str = ""
    fused: tuple[FusedArray, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every variable has its array."""
        return not (self.open or self.missing)

    @property
    def verdict(self) -> str:
        """The result in a line: ``"320 of 320 variables have their array"``."""
        total = len(self.variables) + len(self.missing)
        total += sum(len(each.variables) for each in self.open)
        text = f"{len(self.variables):,} of {total:,} variables have their array"
        if self.open:
            undecided = sum(len(each.variables) for each in self.open)
            text += f"; {undecided:,} {'is' if undecided == 1 else 'are'} open"
        if self.missing:
            text += f"; {len(self.missing):,} have none in the source"
        return text

    def to_text(self) -> str:
        """The rule file: what ``rules=`` takes. What is open is in its comments."""
        return rule_text(
            [f"{self.source} for {self.target}", f"{self.verdict}."],
            self.variables,
            self.open,
            missing=self.missing,
            unused=self.unused,
            dropped=self.dropped,
            tied=self.tied,
            longer=self.longer,
            first=self.first,
            fused=self.fused,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rule file, whole or not at all.

        Args:
            path: where to: a path or a URL. A file that is there is replaced.

        Raises:
            UnwritableFile: it cannot be written.
        """
        with written_to(path, alone=True) as output:
            output.file().write_text(self.to_text(), "utf-8")

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {
            "source": self.source,
            "target": self.target,
            "complete": self.is_complete,
            "verdict": self.verdict,
            "variables": [
                {
                    "variable": each.variable,
                    "arrays": list(each.arrays),
                    "layer": each.layer,
                    "why": each.why,
                    **(
                        {
                            "split": {
                                "axis": each.axis,
                                "part": each.part,
                                "parts": each.parts,
                                **({"heads": list(each.heads)} if each.heads else {}),
                                **({"sizes": list(each.sizes)} if each.sizes else {}),
                            }
                        }
                        if each.axis >= 0
                        else {}
                    ),
                    **({each.how: {"axis": each.along}} if each.how == "concat" else {}),
                    **({each.how: True} if each.how in ("sum", "stack") else {}),
                    **({"gates": list(each.gates)} if each.gates else {}),
                    **_changes(each.change),
                }
                for each in self.variables
            ],
            "open": [
                {
                    "variables": list(each.variables),
                    "arrays": list(each.arrays),
                    "why": each.why,
                    "readings": [
                        {"what": r.what, "lines": list(r.lines), "words": list(r.words)}
                        for r in each.readings
                    ],
                }
                for each in self.open
            ],
            "missing": list(self.missing),
            "unused": list(self.unused),
            "dropped": list(self.dropped),
            "tied": list(self.tied),
            "longer": [
                {
                    "variable": each.variable,
                    "shape": list(each.shape),
                    "array": each.array,
                    "array_shape": list(each.array_shape),
                }
                for each in self.longer
            ],
            "first": self.first,
            "fused": [
                {
                    "array": each.array,
                    "shape": list(each.shape),
                    "count": each.count,
                    "in_a_row": list(each.in_a_row),
                    "by_head": list(each.by_head),
                }
                for each in self.fused
            ],
        }

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        """The verdict, red if a variable has no array, and the rules, for a notebook."""
        lines = self.to_text().splitlines()
        shown = "\n".join(lines[:_SHOWN])
        hidden = len(lines) - _SHOWN
        more = f"... and {plural(hidden, 'line')} more: print(mapped)" if hidden > 0 else ""
        return notebook(
            verdict(self.verdict, is_bad=not self.is_complete),
            folding("the rules", f"<pre>{text(shown)}</pre>", is_open=hidden <= 0),
            f'<p class="faint">{text(more)}</p>' if more else "",
        )


def _changes(change: Change) -> dict[str, list[int]]:
    parts = {"reshape": change.reshape, "permute": change.permute, "shape": change.shape}
    return {name: list(value) for name, value in parts.items() if value}
