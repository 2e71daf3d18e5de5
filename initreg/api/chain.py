"""A chain: sources in order, each with its options of opening, its rules and its policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from initreg.api.opening_options import Opening
from initreg.arrays.array_map import ArrayMap, RuledMap
from initreg.arrays.lazy_array import LazyArray
from initreg.names import NO_PATTERNS, Patterns
from initreg.plan.rows import Policy
from initreg.rules.options import Rules

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Link:
    """One source of a chain, with its options.

    Args:
        source: what the user passed.
        opening: how it is opened.
        rules: its own rules first, then those of the chains around it.
        ignore_mismatch: whether arrays that do not fit are skipped.
        on_unused: the policy for its arrays that no variable takes.
        expected: names that are expected to be unused.
        ignored: names that are not restored even though they match.
        typed: the keywords of each of its rules as the user typed them, for the code of a hint.
    """

    source: Any
    opening: Opening = field(default_factory=Opening)
    rules: tuple[Rules, ...] = ()
    ignore_mismatch: bool = False
    on_unused: Policy = Policy.WARN
    expected: Patterns = NO_PATTERNS
    ignored: Patterns = NO_PATTERNS
    typed: tuple[Mapping[str, Any], ...] = ()

    def inside(self, outer: Link) -> Link:
        """This link in a chain that has options, too.

        Its own rules are applied first. An option at its default becomes that of the chain. How it
        is opened does not change.
        """
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
    """Links in order. A chain is a source, too, so that it can be part of another chain."""

    links: tuple[Link, ...]


def flatten(source: Any, like: Link) -> Iterator[Link]:
    """The links of a source. A list has several, and an empty source has none.

    Args:
        source: what the user passed.
        like: the options for each source that is not a chain of its own.
    """
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
    """Whether it is a source. An open map is one even without arrays."""
    return isinstance(source, ArrayMap) or bool(source)


def open_chain(links: Iterable[Link], stack: ExitStack) -> list[ArrayMap]:
    """Open the links, and apply their rules.

    Args:
        links: the links.
        stack: it closes the sources that are opened here.

    Returns:
        One map for each link.

    Raises:
        InitregError: what :func:`initreg.open` raises.
        RuleError: a rule matches no array of any link that it applies to.
    """
    maps = []
    touched: dict[int, set[str]] = {}
    seen: dict[int, tuple[Rules, list[ArrayMap]]] = {}
    for link in links:
        opened: ArrayMap
        if isinstance(link.source, ArrayMap):
            opened = link.source  # the caller opened it, and closes it
        else:
            opened = link.opening.open(link.source)
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
    """The arrays of a chain by name. If several have the same name, the last one is used."""
    suppliers: dict[str, LazyArray] = {}
    for opened in maps:
        suppliers.update(opened.items())
    return suppliers
