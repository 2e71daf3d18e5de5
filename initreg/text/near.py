"""Names that a name may be a misspelling of."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

_WORD = re.compile(r"[^/.:*?\[\]\s]+")
_MAGIC = re.compile(r"[*?\[]")
_COMPARED = 5_000  # names or words that difflib looks at: half a second at most


def near(typed: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The names, or globs of names, that a typed name or glob may have been meant to be.

    Args:
        typed: a name or a glob that is not known.
        known: the names that there are.
        count: how many to return at most, the likeliest first.

    >>> near("hed/kernel", ["head/kernel", "body/kernel"], 1), near("hed/*", ["head/kernel"])
    (['head/kernel'], ['head/*'])
    >>> near("kernel", ["head/kernel"]), near("Head.Kernel", ["head/kernel"])
    (['head/kernel'], ['head/kernel'])
    """
    names = [name for name in dict.fromkeys(known) if name != typed]
    found = [name for name in names if _squashed(name) == _squashed(typed)]
    if len(found) < count:
        found += _with_one_word_changed(typed, names)
    if len(found) < count and typed and not _MAGIC.search(typed):
        lower = typed.lower()
        found += [n for n in names if n.lower().endswith((f"/{lower}", f".{lower}"))][:count]
        if not found and len(typed) > 2:
            found += [name for name in names if lower in name.lower()][:count]
        if not found:
            import difflib  # few processes have a name to explain

            found += difflib.get_close_matches(typed, names[:_COMPARED], n=count)
    return list(dict.fromkeys(found))[:count]


def did_you_mean(typed: str, known: Iterable[str], shown: Callable[[str], str] = str) -> str:
    """The end of a message about a name that is not known, or "" if none is near.

    >>> did_you_mean("plna", ["plan", "plugins", "ls"])
    ' Did you mean plan?'
    """
    found = [shown(name) for name in near(typed, known, 2)]
    return f" Did you mean {' or '.join(found)}?" if found else ""


class NoSuchName(KeyError):
    """A name that a mapping lacks. The message says which one may have been meant.

    It looks for that only when it is printed: ``mapping.get(name)`` costs nothing.

    Args:
        message: what is wrong.
        typed: the name.
        known: the names that there are.

    >>> print(NoSuchName("m.npz has no array 'hed/w'", "hed/w", ["head/w"]))
    m.npz has no array 'hed/w'. Did you mean 'head/w'?
    """

    def __init__(self, message: str, typed: object, known: Iterable[str]) -> None:
        super().__init__(message)
        self._typed, self._known = typed, known

    def __str__(self) -> str:
        near = did_you_mean(self._typed, self._known, repr) if isinstance(self._typed, str) else ""
        return str(self.args[0]) + (near and f".{near}")

    def __reduce__(self) -> tuple[type[KeyError], tuple[str]]:
        return KeyError, (str(self),)  # it goes to another process without the names


def _squashed(name: str) -> str:
    """The name without its case and its separators."""
    return re.sub(r"[-_./:\s]", "", name).lower()


def _with_one_word_changed(typed: str, names: Sequence[str]) -> list[str]:
    """What ``typed`` becomes with one word replaced by a similar one, if that is or matches a name.

    A word is a part between separators. Long names that differ in one word would otherwise hide
    behind others that differ in a short one.
    """
    import difflib

    words = Counter(word for name in names for word in _WORD.findall(name))
    frequent = [word for word, _ in words.most_common(_COMPARED)]
    found: list[tuple[float, str]] = []
    known = frozenset(names)
    for word in _WORD.finditer(typed):
        if word[0] in words:
            continue
        for other in difflib.get_close_matches(word[0], frequent, n=3):
            text = typed[: word.start()] + other + typed[word.end() :]
            if text in known or (_MAGIC.search(text) and fnmatch.filter(names, text)):
                ratio = difflib.SequenceMatcher(None, word[0], other).ratio()
                found.append((-ratio, text))
    return [text for _, text in sorted(found)]
