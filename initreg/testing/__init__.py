"""The conformance kits: the tests that every format, and every target, passes, for its author.

Subclass :class:`FormatContract` in a test module of your own, say which format it is, and write a
few small samples; pytest then runs some thirty tests that you did not have to write, a dozen of
them about saving, if the format has ``initreg_save``. It is for test suites alone: it imports
pytest, and nothing else in initreg imports it. The kit for targets is
:class:`~initreg.testing.targets.TargetContract`.

.. code-block:: python

    from pathlib import Path

    import numpy as np
    from initreg.testing import FormatContract, Sample

    class TestNpy(FormatContract):
        format = "npy"  # the name of the entry point

        def samples(self, folder: Path):
            w = np.arange(6, dtype=np.float32).reshape(2, 3)
            np.save(folder / "w.npy", w)
            yield Sample(folder / "w.npy", {"w": w})
"""

from __future__ import annotations

from initreg.testing.base import Sample as Sample
from initreg.testing.base import same as same
from initreg.testing.claiming import ClaimingTests
from initreg.testing.damage import DamageTests
from initreg.testing.reading import ReadingTests
from initreg.testing.saving import SavingTests
from initreg.testing.targets import TargetContract as TargetContract

__all__ = ["FormatContract", "Sample", "TargetContract", "same"]


class FormatContract(ClaimingTests, ReadingTests, DamageTests, SavingTests):
    """Subclass it as ``TestSomething``, set ``format`` and write ``samples``.

    ``format``: the name of the format's entry point. ``options``: what the samples need to be
    opened, as for ``initreg.open``: ``{"allow_pickle": True}``. ``exempt``: what the format cannot
    have, and why, in words: ``{"truncation": "a text file may end after any line"}``. The keys are
    ``"files"``, ``"lazy"``, ``"truncation"``, ``"memory"``, and ``"foreign NAME"`` for a file of
    the kit's own (``initreg.testing.files``) that rightly is one of yours. ``flips``: how often
    each sample is opened with bytes changed at random. The plugin must be installed
    (``pip install -e .``), for it is found as users will find it.
    """
