"""The text of a rule file, from rules as keywords."""

from __future__ import annotations

from typing import Unpack

from initreg.api.opening_options import spelt_out, switch
from initreg.rules.keywords import RuleOptions, Rules
from initreg.rules.writing import file_text


@spelt_out(RuleOptions)
def rules_text(*, reverse: bool = False, **rules: Unpack[RuleOptions]) -> str:
    """The text of a rule file that does what these rules do.

    Args:
        reverse: the text is that of a file that undoes the rules.
        rules: as for :class:`initreg.SmartInit`. Those of rule files are in the text, too, but not
            their comments.

    Returns:
        TOML. Save it, and pass its path as ``rules=``.

    Raises:
        RuleError: a rule is wrong, cannot be undone, or a file cannot say it: a function, for
            instance.
        InitregError: what ``rules=`` raises for a rule file.

    >>> print(initreg.rules_text(drop="head/*", prefix="net/"))  # doctest: +SKIP
    drop = "head/*"
    prefix = "net/"
    """
    made = Rules.of(**rules)
    if switch(reverse, "reverse"):
        made = made.reversed()
    return file_text([(step.options, step.inverse) for step in made.steps])
