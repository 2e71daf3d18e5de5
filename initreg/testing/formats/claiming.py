"""Is the format installed, and does it claim its own files and no others?"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import initreg
from initreg.plugin.claim import Confidence
from initreg.plugin.installed import default_registry
from initreg.plugin.registry import GROUP
from initreg.testing.formats.base import (
    EXEMPTIONS,
    FOREIGN,
    Base,
    Sample,
    fail,
    in_words,
    is_path,
    must_raise,
    suffix_of,
    what,
)
from initreg.testing.formats.files import foreign_contents, write_foreign

# Run in a fresh interpreter, so that nothing but the plugin can have imported anything.
_CLAIM_IN_SUBPROCESS = """
import sys
from importlib import metadata
from initreg.plugin.registry import GROUP, Registry
from initreg.plugin.source import Source
points = [p for p in metadata.entry_points(group=GROUP) if p.name == sys.argv[1]]
registry = Registry(points)
for path in sys.argv[2:]:
    registry.probe(Source(path))
print("\\n".join(sorted(sys.modules)))
"""


class ClaimingTests(Base):
    """The part of the contract that is about claiming."""

    def test_format_is_installed_and_whole(self) -> None:
        """The plugin is found by its entry point, keeps the contract, and has its libraries."""
        records = [r for r in default_registry().records if r.name == self.format]
        if not records:
            fail(
                f"no plugin is called {self.format!r}. Install yours ('pip install -e .') with "
                f'[project.entry-points.{GROUP}] {self.format} = "your_module" in its pyproject'
            )
        for record in records:
            if record.broken is not None:
                fail(f"plugin {self.format!r} ({record.module}) is broken: {record.broken}")
            if "format" not in record.kinds:
                fail(f"plugin {self.format!r} has no initreg_claim and initreg_open")
            if record.missing:
                fail(f"plugin {self.format!r} lacks {dict(record.missing)}: install it to test")

    def test_exemptions_are_known_and_have_reasons(self) -> None:
        """``exempt`` has only keys that the kit knows, each with a reason in words."""
        known = {*EXEMPTIONS, *(FOREIGN + name for name in foreign_contents())}
        for topic, reason in self.exempt.items():
            if topic not in known:
                fail(f"exempt has {topic!r}; what can be switched off is {sorted(known)}")
            if not in_words(reason):
                fail(f"exempt[{topic!r}] must say why, in words, not {reason!r}")

    def test_samples_are_claimed(self, made: list[Sample]) -> None:
        """Among all installed formats, this one wins each sample, with a reason in words."""
        for sample in made:
            probe = initreg.probe(sample.source)
            if self.format in probe.failed:
                fail(f"{what(sample)}: initreg_claim raised: {probe.failed[self.format]}")
            claims = dict(probe.claims)
            if self.format not in claims:
                fail(f"{what(sample)} is not claimed: make initreg_claim recognise it")
            if probe.winner != self.format:
                rivals = "; ".join(
                    f"{n}: {c.confidence.name}, {c.reason}" for n, c in claims.items()
                )
                fail(
                    f"{what(sample)} goes to {probe.winner or probe.tied}, by these claims: "
                    f"{rivals}. Claim with the confidence that your evidence has: EXACT if "
                    "nothing else looks like this"
                )
            if not in_words(claims[self.format].reason):
                fail(f"the claim's reason must say why in words: {claims[self.format].reason!r}")

    def test_claiming_is_cheap(self, made: list[Sample]) -> None:
        """Importing the plugin and claiming import neither numpy nor any library it requires."""
        points = [p for p in metadata.entry_points(group=GROUP) if p.name == self.format]
        requires = getattr(points[0].load(), "initreg_requires", {}) if points else {}
        paths = [os.fspath(sample.source) for sample in made if is_path(sample)]
        command = [sys.executable, "-c", _CLAIM_IN_SUBPROCESS, self.format, *paths]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            fail(f"claiming in a fresh interpreter failed:\n{run.stderr}")
        heavy = {"numpy", *requires} & set(run.stdout.split())
        if heavy:
            fail(f"claiming imports {sorted(heavy)}: import them inside initreg_open")

    def test_foreign_files_are_left_alone(self, tmp_path: Path) -> None:
        """Files of other formats are declined, or claimed with less than EXACT."""
        self._skip_if_exempt("files")
        (tmp_path / "folder").mkdir()
        for path, name in [*write_foreign(tmp_path), (tmp_path / "folder", "folder")]:
            if name == self.format or FOREIGN + name in self.exempt:
                continue
            probe = initreg.probe(path)
            if self.format in probe.failed:
                fail(f"{name}: initreg_claim raised: {probe.failed[self.format]}")
            claim = dict(probe.claims).get(self.format)
            if claim is not None and claim.confidence is Confidence.EXACT:
                fail(
                    f"{name} ({path.name}) is claimed with EXACT: {claim.reason}. Look at more "
                    "bytes, or claim with CONTENT or NAME"
                )

    def test_foreign_files_under_its_suffix_are_errors(
        self, made: list[Sample], tmp_path: Path
    ) -> None:
        """A file named like a sample, with other content or none, gives one InitregError."""
        self._skip_if_exempt("files")
        suffixes = {suffix_of(sample) for sample in made} - {""}
        for suffix in sorted(suffixes):
            for path, name in write_foreign(tmp_path / suffix, suffix):
                if name == self.format or FOREIGN + name in self.exempt:
                    continue
                must_raise(path.name, self._read_all, path, format=self.format)
                if initreg.probe(path).winner in (None, self.format):
                    must_raise(path.name, self._read_all, path)
