"""Names as they are compared, and patterns that stand for many of them."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from initreg.errors import RuleError
from initreg.option_spelling import option as option_text

_TENSOR_SUFFIX = ":0"
_ATTRIBUTE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_SUFFIXES = (_TENSOR_SUFFIX, _ATTRIBUTE_SUFFIX)
_MAGIC = re.compile(r"[*?\[]")
_NUMBER = re.compile(r"(\d+)")


def normalise(name: str) -> str:
    """A name as it is compared, on both sides. Nothing else about a name is guessed.

    A trailing ``:0`` is removed, and so is the suffix that object-based checkpoints add. Each is
    removed once: what ends in one of them even then is another name, and gets it back. So a name
    that is normalised already does not change any more, and can be saved, typed and read again.

    >>> normalise("dense/kernel:0"), normalise("a:0:0"), normalise("a:0/.ATTRIBUTES/VARIABLE_VALUE")
    ('dense/kernel', 'a:0:0', 'a:0:0')
    """
    if not name.endswith(_SUFFIXES):  # most names, of which there may be 100,000
        return name
    short = name.removesuffix(_TENSOR_SUFFIX).removesuffix(_ATTRIBUTE_SUFFIX)
    for suffix in _SUFFIXES:
        if short.endswith(suffix):
            return short + suffix
    return short


def normalised(names: Iterable[str]) -> list[str]:
    """Each name as it is compared, for many of them."""
    return [normalise(name) if name.endswith(_SUFFIXES) else name for name in names]


def natural(name: str) -> tuple[Any, ...]:
    """The key by which names are sorted as people read them: ``vars/2`` before ``vars/10``.

    >>> sorted(["vars/10", "vars/2", "vars"], key=natural)
    ['vars', 'vars/2', 'vars/10']
    """
    # A name comes before those that it begins. Texts and numbers take turns.
    pieces: list[Any] = _NUMBER.split(name.replace("/", "\0"))
    numbers = [digits.lstrip("0") for digits in pieces[1::2]]
    pieces[1::2] = [(len(digits), digits) for digits in numbers]
    return tuple(pieces), name


def as_read(names: Sequence[str]) -> list[str]:
    """Names in the order in which they are listed: that of the file, if it means something.

    Many files have their names sorted, with ``vars/10`` before ``vars/2``. Such an order says
    nothing about the model, and the natural one is easier to read.

    >>> as_read(["a/1", "a/10", "a/2"]), as_read(["conv", "bias"])
    (['a/1', 'a/2', 'a/10'], ['conv', 'bias'])
    """
    keys: tuple[Callable[[str], Any], ...] = (
        str,
        lambda name: name.split("/"),
        lambda name: f"{name}/",
    )
    for key in keys:
        if all(key(a) <= key(b) for a, b in itertools.pairwise(names)):
            return sorted(names, key=natural)
    return list(names)


def separator(names: Iterable[str]) -> str:
    """What separates the parts of names: ``/``, or ``.`` if no name has a ``/``.

    >>> separator(["encoder.layer.0.weight", "head.bias"])
    '.'
    """
    return "/" if any("/" in name for name in names) else "."


def plain(value: Any) -> Any:
    """Convert what a user passed to Python's own types, so that it can be compared, iterated more
    than once, and shown as code.

    Arrays of numpy, pandas or TensorFlow become lists, and their scalars become numbers. Sets and
    iterators become lists. Any other object is returned as it is.

    >>> plain({"w": range(2)})
    {'w': [0, 1]}
    """
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {plain(k) if isinstance(k, str) else k: plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value), key=repr)  # in the same order each time
    if hasattr(type(value), "__array__"):
        import numpy as np

        value = np.asarray(value).tolist()
        return list(map(plain, value)) if isinstance(value, list) else value
    if isinstance(value, Iterable) and not isinstance(value, (bytes, type)):
        return list(map(plain, value))
    return value


class Patterns:
    """Globs that match names.

    ``*`` matches any run of characters, including ``/``. ``?`` matches one character, and ``[ab]``
    matches one of these. A name also matches itself, whatever characters it has.

    Args:
        given: a glob, several globs, or None.
        option: the option that they were given for, such as ``"drop"``.

    Raises:
        RuleError: something else than strings was given.

    >>> Patterns(["head/*", "step"], "drop").hits("head/kernel")
    ['head/*']
    """

    def __init__(self, given: str | Iterable[str] | None, option: str) -> None:
        given = plain(given)
        globs = [given] if isinstance(given, str) else given or ()
        if not isinstance(globs, Iterable) or not all(isinstance(glob, str) for glob in globs):
            raise RuleError(
                f"{option}={given!r}: give a name or a glob as a str, or a list of them"
            )
        self.globs = tuple(dict.fromkeys(globs))
        self.option = option
        self._place = {glob: i for i, glob in enumerate(self.globs)}
        self._clauses = {glob: option_text(option, glob) for glob in self.globs}
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
        """A glob as the user typed it, with its option: ``drop='fc/*'``."""
        return self._clauses[glob]

    def hits(self, *names: str) -> list[str]:
        """The globs that match an array, in the order in which they were given.

        Args:
            *names: all names of the array, normalised.
        """
        if not self.globs:
            return []
        found = {glob for name in names for glob in self._exact.get(name, ())}
        for compiled, glob in self._compiled:
            if any(compiled.match(name) for name in names):
                found.add(glob)
        return sorted(found, key=self._place.__getitem__) if len(found) > 1 else list(found)


NO_PATTERNS = Patterns((), "")
