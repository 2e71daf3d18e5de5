"""Names as they are compared, and patterns that stand for many of them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator

from initreg.errors import RuleError

_ATTRIBUTE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_MAGIC = re.compile(r"[*?\[]")


def normalise(name: str) -> str:
    """The name as it is compared, on both sides: without ``:0`` and without the attribute suffix
    of object-based checkpoints. Nothing else is guessed."""
    return name.removesuffix(":0").removesuffix(_ATTRIBUTE_SUFFIX)


class Patterns:
    """Globs over names: ``*`` is any run of characters, ``/`` among them, ``?`` is one character,
    ``[ab]`` one of these. A name also matches itself, whatever characters it has.

    ``given`` is one glob or several, ``option`` what the user calls them: ``"drop"``. Raises
    RuleError for anything else.
    """

    def __init__(self, given: str | Iterable[str] | None, option: str) -> None:
        globs = [given] if isinstance(given, str) else given
        try:
            self.globs = tuple(dict.fromkeys(globs or ()))
        except TypeError:
            self.globs = (None,)  # type: ignore[assignment]
        if not all(isinstance(glob, str) for glob in self.globs):
            raise RuleError(
                f"{option}={given!r}: give a name or a glob as a str, or a list of such"
            )
        self.option = option
        self._place = {glob: i for i, glob in enumerate(self.globs)}
        self._exact: dict[str, list[str]] = {}
        self._compiled: list[tuple[re.Pattern[str], str]] = []
        for glob in self.globs:
            self._exact.setdefault(normalise(glob), []).append(glob)
            if _MAGIC.search(glob):
                self._compiled.append((re.compile(fnmatch.translate(normalise(glob))), glob))

    def __bool__(self) -> bool:
        return bool(self.globs)

    def __iter__(self) -> Iterator[str]:
        return iter(self.globs)

    def __repr__(self) -> str:
        return f"Patterns({list(self.globs)!r}, {self.option!r})"

    def clause(self, glob: str) -> str:
        """One of the globs as the user typed it: ``drop='fc/*'``."""
        return f"{self.option}={glob!r}"

    def hits(self, *names: str) -> list[str]:
        """The globs that match one of the (normalised) names, of one array, in their order."""
        if not self.globs:
            return []
        found = {glob for name in names for glob in self._exact.get(name, ())}
        for compiled, glob in self._compiled:
            if any(compiled.match(name) for name in names):
                found.add(glob)
        return sorted(found, key=self._place.__getitem__) if len(found) > 1 else list(found)


NO_PATTERNS = Patterns((), "")
