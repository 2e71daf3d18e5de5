"""The conformance kit for formats: the tests that every format should pass, for its author.

Subclass :class:`FormatContract` in a test module of your own, name the format, and write a few
small samples. pytest then runs some thirty-five tests that you did not have to write. A dozen of
them are about saving, and run if the format has ``initreg_save``. If a source may have several
files, give a sample with its ``parts``: the kit then takes one part away, puts a git-lfs pointer or
a link in its place, and opens one part alone.

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

from initreg.testing.formats.base import Sample as Sample
from initreg.testing.formats.base import same as same
from initreg.testing.formats.claiming import ClaimingTests
from initreg.testing.formats.damage import DamageTests
from initreg.testing.formats.parts import PartsTests
from initreg.testing.formats.reading import ReadingTests
from initreg.testing.formats.saving import SavingTests
from initreg.testing.formats.stores import StoresTests
from initreg.testing.formats.unreadable import UnreadableTests


class FormatContract(
    ClaimingTests,
    ReadingTests,
    UnreadableTests,
    DamageTests,
    PartsTests,
    StoresTests,
    SavingTests,
):
    """Subclass it as ``TestSomething``, set ``format`` and write ``samples``. If your format lists
    arrays that cannot be read, write ``unreadable``, too.

    The plugin must be installed (``pip install -e .``), because it is found as users will find it.

    Attributes:
        format: the name of the format's entry point.
        options: what the samples need to be opened, as for ``initreg.open``:
            ``{"allow_pickle": True}``.
        exempt: what the format cannot have, each with the reason in words:
            ``{"truncation": "a text file may end after any line"}``. The keys are ``"files"``,
            ``"stores"``, ``"lazy"``, ``"truncation"``, ``"memory"``, and ``"foreign NAME"`` for a
            file of the kit's own (``initreg.testing.formats.files``) that rightly is one of yours.
        flips: how often each sample is opened with bytes changed at random.
    """
