"""tensorpack's ``prefix=``: a scope that depends on the variables of the target.

Source: tensorpack 0.11, ``SaverRestore`` and ``tfutils/varmanip.py: get_savename_from_varname``. A
variable in the scope is restored from the array of its name without the scope, any other variable
from the array of its own name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from initreg.errors import RuleError, UnmetWarning, warn
from initreg.names import NO_PATTERNS, Patterns, normalise
from initreg.option_spelling import option
from initreg.rules.keywords import Rules
from initreg.rules.rename_rules import Rename, put_before


class Scope(Rules):
    """A rule that can be applied only once the variables of the target are known.

    Args:
        scope: the scope, without ``/`` at its end.
        ignore: names or globs of arrays, without the scope, that are not restored.

    Raises:
        RuleError: the scope is not a str.

    >>> scope, variables = Scope("net"), {"net/fc/W", "global_step"}
    >>> scope.places("fc/W", variables), scope.places("global_step", variables)
    (['net/fc/W'], ['global_step'])
    """

    def __init__(self, scope: str, ignore: Patterns = NO_PATTERNS) -> None:
        if not isinstance(scope, str):
            raise RuleError(option("prefix", scope) + ": give a str, such as 'model'")
        super().__init__([put_before(f"{scope}/")])  # for what has no variables, as initreg.load
        self._scope = scope
        self._clause = option("prefix", scope)
        self._ignore = ignore

    def places(self, name: str, variables: Collection[str]) -> list[str]:
        """The names of the variables that the array ``name`` may be for. Two are a conflict."""
        inside = f"{self._scope}/{name}"
        outside = name in variables and not name.startswith(f"{self._scope}/")
        return [inside, name] if outside and inside in variables else [name if outside else inside]

    def onto(self, variables: Iterable[str]) -> tuple[Rules, Patterns]:
        """The rule, and the names that are not restored, for a target with these variables.

        The rule raises RuleError for an array that two variables would take.
        """
        names = {normalise(name) for name in variables}
        ignored = {normalise(name) for name in self._ignore}
        if not any(name.startswith(f"{self._scope}/") for name in names):
            warn(
                self._clause + f": no variable begins with {self._scope + '/'!r}. Is the scope "
                "misspelt? Each array is restored to the variable of its own name",
                UnmetWarning,
            )

        def to(name: str) -> tuple[str, str]:  # also of a name that stays: so it is kept
            place, *others = self.places(name, names)
            if others and name not in ignored:
                raise self._conflict(name, place)
            return place, self._clause

        left_out = [place for name in ignored for place in self.places(name, names)]
        # Without clauses, because the scope need not touch an array. The warning above says that.
        return Rules([Rename((), to)]), Patterns(left_out, "ignore")

    def _conflict(self, name: str, inside: str) -> RuleError:
        return RuleError(
            self._clause + f": the array {name!r} may be meant for the variable {inside!r} or for "
            f"the variable {name!r}. Pass "
            + option("ignore", [name])
            + " to restore neither. To restore only the first, use SmartInit, with "
            + option("prefix", f"{self._scope}/")
        )
