"""The conformance kit for targets: the tests that every target should pass, for its author.

Subclass :class:`TargetContract` in a test module of your own, say which target it is, and write
three small methods. pytest then runs some thirty tests that you did not have to write. They
restore into your objects as a user does, and look at the values. The kit imports no framework.

.. code-block:: python

    import numpy as np
    from initreg.testing import TargetContract

    class TestDict(TargetContract):
        target = "mapping_target"  # the name of the entry point
        exempt = {"stranger dict": "a dict is what this target is for"}

        def make(self, values):
            return values

        def values(self, obj):
            return obj

        def change(self, obj, name):
            obj[name] += 1
"""

from __future__ import annotations

from initreg.testing.targets.asking import AskingTests
from initreg.testing.targets.failing import FailingTests
from initreg.testing.targets.writing import WritingTests


class TargetContract(AskingTests, WritingTests, FailingTests):
    """Subclass it as ``TestSomething``, set ``target``, and write ``make``, ``values``, ``change``.

    Write ``named``, ``aliases``, ``make_open``, ``strangers``, ``unwritable`` and ``failing``, too,
    if your target has such things. The plugin must be installed (``pip install -e .``), because it
    is found as users will find it.

    Attributes:
        target: the name of the target's entry point.
        dtypes: the dtypes that your variables can have, as :mod:`initreg.dtypes` names them. By
            default they are numpy's numbers and bool. Add ``"bfloat16"`` or ``"string"`` if you
            have them.
        exempt: what the target cannot have, each with the reason in words. The keys are
            ``"change"``, ``"order"``, and ``"stranger NAME"`` for an object of the kit's own that
            rightly is one of yours (``initreg.testing.targets.asking.strangers``).
    """
