"""A chain: sources in order, each with how to open it, its rules and its policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Unpack

from initreg.arrays.map import ArrayMap, LazyArray, RuledMap
from initreg.arrays.streaming import position, stream
from initreg.names import NO_PATTERNS, Patterns
from initreg.plan.rows import Policy
from initreg.plugin.hookspecs import OpenOptions
from initreg.plugin.registry import default_registry
from initreg.plugin.source import Source
from initreg.rules.rules import RuleOptions, Rules

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Link:
    """One source of a chain. ``rules`` are its own first, then those of the chains around it.

    ``opening`` and ``typed`` are how the user typed how to open it, and each of the rules: for the
    code of a hint.
    """

    source: Any
    format: str | None = None
    options: OpenOptions = field(default_factory=OpenOptions)
    rules: tuple[Rules, ...] = ()
    ignore_mismatch: bool = False
    on_unused: Policy = Policy.WARN
    expected: Patterns = NO_PATTERNS
    ignored: Patterns = NO_PATTERNS
    opening: Mapping[str, Any] = field(default_factory=dict)
    typed: tuple[Mapping[str, Any], ...] = ()

    def inside(self, outer: Link) -> Link:
        """This link in a chain with options: its rules go first, and what it leaves at its default
        is the chain's. How it is opened is its own."""
        return replace(
            self,
            rules=self.rules + outer.rules,
            ignore_mismatch=self.ignore_mismatch or outer.ignore_mismatch,
            on_unused=outer.on_unused if self.on_unused is Policy.WARN else self.on_unused,
            expected=Patterns((*self.expected, *outer.expected), "expect_unused"),
            ignored=Patterns((*self.ignored, *outer.ignored), "ignore"),
            typed=self.typed + outer.typed,
        )


class Chain:
    """Links in order, which are a source again."""

    links: tuple[Link, ...]


def flatten(source: Any, like: Link) -> Iterator[Link]:
    """The links of a source: one, those of a list, none if there is nothing. Each that is plain
    gets the options of ``like``."""
    if isinstance(source, Chain):
        yield from (link.inside(like) for link in source.links)
    elif isinstance(source, (list, tuple)):
        for each in source:
            yield from flatten(each, like)
    elif source is None or (isinstance(source, (str, Mapping)) and not _holds(source)):
        return
    else:
        yield replace(like, source=source)


def _holds(source: str | Mapping[str, Any]) -> bool:
    """Whether there is something; an open map without arrays is a source that has none."""
    return isinstance(source, ArrayMap) or bool(source)


def open_chain(links: Iterable[Link], stack: ExitStack) -> list[ArrayMap]:
    """The map of each link as its rules leave it; ``stack`` closes what was opened here.

    Raises what opening raises, and RuleError: a rule must touch an array of some link it is for.
    """
    registry = default_registry()
    maps = []
    touched: dict[int, set[str]] = {}
    seen: dict[int, tuple[Rules, list[ArrayMap]]] = {}
    for link in links:
        opened: ArrayMap
        if isinstance(link.source, ArrayMap):
            opened = link.source  # the caller opened it, and closes it
        else:
            opened = registry.open(Source(link.source), link.options, link.format)
            stack.enter_context(opened)
        for rules in filter(None, link.rules):
            seen.setdefault(id(rules), (rules, []))[1].append(opened)
            opened = ruled = RuledMap(opened, rules)
            touched.setdefault(id(rules), set()).update(ruled.touched)
        maps.append(opened)
    for key, (rules, given) in seen.items():
        names = [name for each in given for name in each]
        rules.refuse_untouched(touched[key], names, " + ".join(each.label for each in given))
    return maps


def merged(maps: Iterable[ArrayMap]) -> dict[str, LazyArray]:
    """The arrays of a chain by name: of those of one name, the last."""
    suppliers: dict[str, LazyArray] = {}
    for opened in maps:
        suppliers.update(opened.items())
    return suppliers


def open(  # the name that people know from gzip, zipfile and safetensors
    source: Any,
    *,
    format: str | None = None,
    verify: bool = True,
    mmap: bool = False,
    allow_pickle: bool = False,
    max_inflation: float = 1000,
    **rules: Unpack[RuleOptions],
) -> ArrayMap:
    """Open one source as a lazy map of its arrays; use it in a ``with``.

    Options and rules as for :class:`initreg.SmartInit`. Raises SourceNotFound, UnknownFormat,
    AmbiguousSource, MissingLibrary, DamagedFile, RefusedFile, RuleError.

    >>> with initreg.open("base.npz", drop="head/*") as m:  # doctest: +SKIP
    ...     m["fc/W"].shape, np.asarray(m["fc/W"])
    """
    options = OpenOptions(allow_pickle, verify, mmap, max_inflation)
    opened = default_registry().open(Source(source), options, format)
    try:
        return opened.apply(**rules) if rules else opened
    except BaseException:
        opened.close()
        raise


def load(
    source: Any,
    *,
    format: str | None = None,
    verify: bool = True,
    mmap: bool = False,
    allow_pickle: bool = False,
    max_inflation: float = 1000,
    **rules: Unpack[RuleOptions],
) -> dict[str, np.ndarray[Any, Any]]:
    """Read all arrays of one source, or of a chain, into a dict; later sources win.

    Options and rules as for :class:`initreg.SmartInit`. Every array is the caller's own: native
    byte order, C order, writable.
    With ``mmap`` it is a view of the file where that is possible, which must then stay as it is;
    pages that are written become the process's own.
    """
    options = OpenOptions(allow_pickle, verify, mmap, max_inflation)
    like = Link(None, format, options, (Rules.of(**rules),))
    with ExitStack() as stack:
        suppliers = merged(open_chain(flatten(source, like), stack))
        names = sorted(suppliers, key=lambda name: position(suppliers[name]))
        found = {names[i]: array for i, array in stream([suppliers[name] for name in names])}
    return {name: found[name] for name in suppliers}
