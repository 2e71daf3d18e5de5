"""The conformance kits: tests for the authors of formats and of targets.

:class:`FormatContract` has the tests that every format should pass, and :class:`TargetContract`
those for every target. Subclass one of them in a test module of your own. :func:`check_damage`
changes the bytes of files thousands of times. The modules
``initreg.testing.formats`` and ``initreg.testing.targets`` show how. The kits are for test suites
only. They import pytest, and nothing else in initreg imports them.
"""

from __future__ import annotations

from initreg.testing.damaging import check_damage as check_damage
from initreg.testing.formats import FormatContract as FormatContract
from initreg.testing.formats.base import Sample as Sample
from initreg.testing.formats.base import same as same
from initreg.testing.targets import TargetContract as TargetContract

__all__ = ["FormatContract", "Sample", "TargetContract", "check_damage", "same"]
