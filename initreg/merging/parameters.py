"""The parameters of a merge: numbers for all arrays, or by their names."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from initreg.errors import RuleError
from initreg.merging.combined import Method
from initreg.names import Patterns
from initreg.option_spelling import option

RESCALES = ("density", "l1", "none")
_MOST = sys.float_info.max


class PerSource:
    """A parameter that has a number for each source, and maybe others for some arrays.

    Args:
        name: the name of the parameter.
        given: what the user passed: a number, one for each source, a dict of these by globs of
            names, or None for the default.
        count: how many sources there are. 0 for a parameter that has one number.
        default: the number for what is not given.
        low: the smallest number that it may be.
        high: the largest one.
        is_open: whether ``low`` itself is not allowed.

    Raises:
        RuleError: these are not such numbers.
    """

    def __init__(
        self,
        name: str,
        given: Any,
        count: int,
        default: float,
        *,
        low: float = -math.inf,
        high: float = math.inf,
        is_open: bool = False,
    ) -> None:
        self.name = name
        self._count = count
        self._range = (low, high, is_open)
        self._rules: list[tuple[str, Patterns, tuple[float, ...]]] = []
        self._used: set[str] = set()
        self._default = (default,) * max(count, 1)
        if isinstance(given, Mapping):
            for glob, value in given.items():
                if not isinstance(glob, str):
                    raise self._wrong(given)
                if glob == "*":
                    self._default = self._numbers(value, given)
                else:
                    self._rules.append((glob, Patterns((glob,), name), self._numbers(value, given)))
        elif given is not None:
            self._default = self._numbers(given, given)

    def _numbers(self, value: Any, given: Any) -> tuple[float, ...]:
        value = plain(value)
        is_one = not isinstance(value, Sequence) or isinstance(value, str)
        values = [value] * max(self._count, 1) if is_one else list(map(plain, value))
        low, high, is_open = self._range
        if len(values) != max(self._count, 1) or not all(
            isinstance(each, (int, float))
            and not isinstance(each, bool)
            and -_MOST <= each <= _MOST  # neither NaN, nor an integer that no float can hold
            and low <= each <= high
            and not (is_open and each == low)
            for each in values
        ):
            raise self._wrong(given)
        return tuple(float(each) for each in values)

    def _wrong(self, given: Any) -> RuleError:
        low, high, is_open = self._range
        what = "a number"
        if math.isfinite(low):
            what += f" {'above' if is_open else 'from'} {low:g}"
            what += f" and up to {high:g}" if is_open else f" to {high:g}"
        if self._count:
            what += f", or {self._count} of them, one for each source"
        return RuleError(named(self.name, given) + f": give {what}, or these by globs of names")

    def of(self, name: str) -> tuple[float, ...]:
        """The numbers for an array. The last glob that matches its name decides."""
        found = self._default
        for glob, patterns, values in self._rules:
            if patterns.hits(name):
                self._used.add(glob)
                found = values
        return found

    def refuse_unused(self) -> None:
        """Raise RuleError if a glob matched no array that is merged."""
        for glob, _, values in self._rules:
            if glob not in self._used:
                shown = list(values) if len(values) > 1 else values[0]
                raise RuleError(
                    named(self.name, {glob: shown})
                    + " matches no array that is merged. A glob must match at least one"
                )

    def to_dict(self) -> Any:
        """The numbers, by globs if there are some."""
        plain = list(self._default) if self._count else self._default[0]
        if not self._rules:
            return plain
        return {"*": plain} | {
            glob: list(values) if self._count else values[0] for glob, _, values in self._rules
        }

    def text(self) -> str:
        """The numbers in words."""

        def shown(values: Sequence[float]) -> str:
            same = len(set(values)) == 1
            return f"{values[0]:g}" if same else ", ".join(f"{each:g}" for each in values)

        others = "".join(f" ({glob}: {shown(values)})" for glob, _, values in self._rules)
        return f"{self.name} {shown(self._default)}{others}"


def named(name: str, given: Any) -> str:
    """A parameter as it is typed. On the command line, several numbers have commas between them."""
    if isinstance(given, list):
        return option(name, ",".join(map(_plain, given)), f"{name}={given!r}")
    return option(name, given)


def _plain(number: Any) -> str:
    return str(number).removesuffix(".0")


def plain(value: Any) -> Any:
    """The numbers of an array, a tensor or a scalar of numpy as those of Python. Others stay."""
    return value.tolist() if hasattr(value, "tolist") else value


class Parameters:
    """All parameters of a merge.

    Args:
        method: the method.
        count: how many sources there are besides the base.
        given: what the user passed, by name. None is the default.

    Raises:
        RuleError: the method does not have a parameter, or it has no such value.
    """

    def __init__(self, method: Method, count: int, given: Mapping[str, Any]) -> None:
        for name, value in given.items():
            if value is not None and name not in method.takes:
                takes = ", ".join(sorted(method.takes))
                raise RuleError(
                    option(name, value) + f": the method {method.name!r} has no such parameter. "
                    f"It has {takes}"
                )
        self._method = method
        self.weight = PerSource("weight", given.get("weight"), count, 1.0)
        self.density = PerSource(
            "density", given.get("density"), count, 1.0, low=0.0, high=1.0, is_open=True
        )
        self.t = PerSource("t", given.get("t"), 0, 0.5)
        self.decay = PerSource("decay", given.get("decay"), 0, 0.0, low=0.0, high=1.0)
        self.factor = PerSource("factor", given.get("factor"), 0, 1.0)
        self.normalize = _switch("normalize", given.get("normalize"), _normalizes(method))
        self.rescale = given.get("rescale") or "density"
        self.seed = 0 if given.get("seed") is None else plain(given["seed"])
        self.alpha = plain(given.get("alpha"))
        self.fan_in_fan_out = _switch("fan_in_fan_out", given.get("fan_in_fan_out"), None)
        if self.rescale not in RESCALES:
            raise RuleError(
                option("rescale", self.rescale) + f": give one of {', '.join(RESCALES)}"
            )
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise RuleError(option("seed", self.seed) + ": give an integer that is not negative")
        if self.alpha is not None:
            PerSource("alpha", self.alpha, 0, 1.0, low=0.0)
        if method.name == "ema" and given.get("decay") is None:
            raise RuleError(
                "the method 'ema' needs "
                + option("decay", 0.999, "decay=")
                + ": the part of the average that each further source leaves"
            )

        if "rescale" in method.takes and given.get("density") is None:
            raise RuleError(
                f"the method {method.name!r} needs "
                + option("density", 0.5, "density=")
                + ": the part of the changes that is kept"
            )

    @property
    def _shown(self) -> list[PerSource]:
        known = (self.weight, self.density, self.t, self.decay, self.factor)
        return [each for each in known if each.name in self._method.takes]

    def refuse_unused(self) -> None:
        """Raise RuleError if a glob of a parameter matched no array that is merged."""
        for each in self._shown:
            each.refuse_unused()

    def text(self) -> str:
        """The method and its parameters in words."""
        takes = self._method.takes
        shown = [each.text() for each in self._shown]
        if "normalize" in takes:
            shown.append("normalised" if self.normalize else "not normalised")
        if "seed" in takes:
            shown += [f"seed {self.seed}", f"rescaled by {self.rescale}"]
        return f"{self._method.words}: {', '.join(shown)}"

    def to_dict(self) -> dict[str, Any]:
        """The parameters that the method has."""
        takes = self._method.takes
        found: dict[str, Any] = {each.name: each.to_dict() for each in self._shown}
        others = ("normalize", "seed", "rescale", "alpha", "fan_in_fan_out")
        return found | {name: getattr(self, name) for name in others if name in takes}


def _normalizes(method: Method) -> bool:
    """Whether the sum is divided by the weights by default, as in mergekit."""
    return method.name in ("average", "ties")


def _switch(name: str, given: Any, default: Any) -> Any:
    if given is None:
        return default
    if not isinstance(given, bool):
        raise RuleError(option(name, given) + ": give True or False")
    return given
