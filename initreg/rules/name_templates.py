"""Names in which a part stands for any text: those of the arrays that are taken apart or put
together, and of what they become."""

from __future__ import annotations

import re
from collections.abc import Sequence

from initreg.errors import RuleError
from initreg.names import normalise
from initreg.specs import ArraySpec
from initreg.text.wording import printable

NUMBER = "{i}"
_WILD = re.compile(r"(\*|\{i\})")
_MOST_STARS = 8


class Template:
    """A name with ``*`` for any text, and ``{i}`` for a number that counts from 0.

    Args:
        text: the name.
        clause: the rule that it is in, for errors.

    Raises:
        RuleError: it has more than one ``{i}``, or very many ``*``.

    >>> Template("layers.*.experts.{i}.w", "").matched("layers.3.experts.0.w")
    (('3',), 0)
    """

    def __init__(self, text: str, clause: str) -> None:
        self.text = normalise(text)
        self._clause = clause
        self._pieces = _WILD.split(self.text)
        self.stars = self._pieces.count("*")
        self.is_numbered = NUMBER in self._pieces
        if self._pieces.count(NUMBER) > 1:
            raise RuleError(clause + f": {text!r} has {NUMBER} more than once")
        if self.stars > _MOST_STARS:
            raise RuleError(clause + f": {text!r} has more than {_MOST_STARS} *")
        self._greedy, self._lazy = self._compiled("(.*)"), self._compiled("(.*?)")

    def _compiled(self, star: str) -> re.Pattern[str]:
        kinds = {"*": star, NUMBER: "(?P<i>0|[1-9][0-9]{0,8})"}
        return re.compile(
            "".join(kinds.get(each) or re.escape(each) for each in self._pieces), re.S
        )

    def matched(self, name: str) -> tuple[tuple[str, ...], int | None] | None:
        """The texts that the ``*`` stand for in a name, and the number. None if it does not match.

        Raises:
            RuleError: they may stand for this or for that.
        """
        if not self.stars and not self.is_numbered:
            return ((), None) if name == self.text else None
        found = self._greedy.fullmatch(name)
        if found is None:
            return None
        other = self._lazy.fullmatch(name)
        if other is not None and other.groups() != found.groups():
            one, two = (" and ".join(map(repr, each.groups())) for each in (other, found))
            raise RuleError(
                self._clause + f": {self.text!r} matches {printable(name)!r} in several ways: its "
                f"wildcards may stand for {one}, or for {two}"
            )
        texts = [text for at, text in enumerate(found.groups(), 1) if at != self._at_number(found)]
        return tuple(texts), int(found["i"]) if self.is_numbered else None

    @staticmethod
    def _at_number(found: re.Match[str]) -> int | None:
        return found.re.groupindex.get("i")

    def found_in(self, spec: ArraySpec) -> tuple[tuple[str, ...], int | None] | None:
        """What :meth:`matched` says of the first name of an array that matches."""
        for name in (spec.name, *spec.aliases):
            found = self.matched(name)
            if found is not None:
                return found
        return None

    def filled(self, stars: Sequence[str], number: int | None = None) -> str:
        """The name with these texts for the ``*``, in order, and this number."""
        texts = iter(stars)
        return "".join(
            next(texts) if each == "*" else str(number) if each == NUMBER else each
            for each in self._pieces
        )
