"""A chain: sources in order, each with its options of opening, its rules and its policies."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from initreg.api.opening_options import Opening
from initreg.arrays.array_map import ArrayMap, RuledMap
from initreg.arrays.lazy_array import LazyArray
from initreg.errors import InitregError, RuleError
from initreg.names import NO_PATTERNS, Patterns
from initreg.plan.choices import By, Policy
from initreg.plugin.installed import default_registry
from initreg.plugin.part_names import part_sets
from initreg.plugin.source import Source
from initreg.records import record, replace
from initreg.rules.keywords import Rules
from initreg.rules.scope_rules import Scope
from initreg.storage.locating import is_url


class Typed(NamedTuple):
    """A call as the user typed it, for the code of a hint: its name and its keywords."""

    caller: str
    options: Mapping[str, Any]


# The options of SmartInit that are not rules. The code of a hint repeats them for the whole call.
OF_THE_CALL = (
    "ignore_mismatch",
    "on_missing",
    "on_unused",
    "expect_missing",
    "expect_unused",
    "ignore",
    "by",
    "atomic",
)


@record()
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
        by: by which of their names its arrays are matched, if the user chose.
        typed: the calls around it as the user typed them, from the innermost to the outermost, for
            the code of a hint. Options of opening are in ``opening``.
    """

    source: Any
    opening: Opening = Opening()
    rules: tuple[Rules, ...] = ()
    ignore_mismatch: bool = False
    on_unused: Policy = Policy.WARN
    expected: Patterns = NO_PATTERNS
    ignored: Patterns = NO_PATTERNS
    by: By | None = None
    typed: tuple[Typed, ...] = ()

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
            by=self.by or outer.by,
            typed=self.typed + outer.typed,
        )

    def onto(self, variables: Sequence[str]) -> Link:
        """This link for a target with these variables, which decide what a scope does."""
        link = self
        for rules in self.rules:
            if isinstance(rules, Scope):
                bound, ignored = rules.onto(variables)
                link = replace(
                    link,
                    rules=tuple(bound if each is rules else each for each in link.rules),
                    ignored=Patterns((*link.ignored, *ignored), "ignore"),
                )
        return link


@record()
class Step:
    """An initialiser that is not initreg's own, which is run between the links of a chain.

    Args:
        label: what messages call it.
        run: initialises the target.
        after: how many links come before it.
    """

    label: str
    run: Callable[[Any], object]
    after: int


class Chain:
    """Links in order. A chain is a source, too, so that it can be part of another chain."""

    links: tuple[Link, ...]
    steps: tuple[Step, ...] = ()


def some_links(source: Any, like: Link, verb: str) -> list[Link]:
    """The links of a source that has to have some.

    Raises:
        InitregError: the source is None, or empty.
    """
    found = [*flatten(source, like)]
    if not found:
        raise InitregError(f"{verb}: the source is empty. Give a file, arrays or a model")
    return found


def flatten(source: Any, like: Link) -> Iterator[Link]:
    """The links of a source. A list has several, and an empty source has none.

    The parts of a set, one after the other as a shell or ``glob`` lists them, are one link: each of
    them opens the whole set.

    Args:
        source: what the user passed.
        like: the options for each source that is not a chain of its own.
    """
    if isinstance(source, Chain):
        if source.steps:
            raise RuleError(
                f"{source!r} also runs {source.steps[0].label}, which is not a source of arrays. "
                "Only init() of a ChainInit can do that"
            )
        yield from (link.inside(like) for link in source.links)
    elif isinstance(source, (list, tuple)) and not _is_one(source):
        for before, each in itertools.pairwise((None, *source)):
            if not _are_of_one_set(before, each):
                yield from flatten(each, like)
    elif source is None or (isinstance(source, (str, Mapping)) and not _holds(source)):
        return
    else:
        yield replace(like, source=source)


def _is_one(source: Sequence[Any]) -> bool:
    """Whether a list or tuple is one source, such as the variables of a model, and not a chain.

    That is for formats to say. They are not asked if one of its elements is a source by itself,
    whoever else claims it.
    """
    if not source or any(map(_is_in_chain, source)):
        return False
    return bool(default_registry().probe(Source(source)).claims)


def _is_in_chain(source: Any) -> bool:
    """Whether it is a source that a chain may have, rather than a variable or a layer."""
    if isinstance(source, (list, tuple)):  # one with names for its elements is an object
        return not hasattr(source, "_fields")
    kinds = (str, bytes, os.PathLike, Mapping, Chain, type(None))
    if isinstance(source, kinds) or hasattr(source, "joinpath"):
        return True
    return hasattr(source, "read") and hasattr(source, "seek")


def _are_of_one_set(one: Any, other: Any) -> bool:
    """Whether two sources are parts of one set, by their names."""
    if not all(isinstance(each, (str, Path)) and str(each) for each in (one, other)):
        return False
    a, b = (_split(str(each)) for each in (one, other))
    is_part = bool(part_sets([a[1]])) and bool(part_sets([b[1]]))
    return is_part and a[0] == b[0] and len(part_sets([a[1], b[1]])) == 1


def _split(path: str) -> tuple[str, str]:
    """The folder and the name of a path or a URL."""
    if is_url(path):
        folder, _, name = path.rpartition("/")
        return folder, name
    absolute = Path(os.path.expanduser(path)).absolute()
    return str(absolute.parent), absolute.name


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
    links = list(links)
    for opening in {id(link.opening): link.opening for link in links}.values():
        opening.check_options(link.source for link in links if link.opening is opening)
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


def check(links: Iterable[Link]) -> None:
    """Look at the links now, rather than when they are restored: names and shapes, no values.

    A pickle is not opened, because that would unpickle all of it. Rules that depend on the
    variables of a target, and those after them, are not looked at.

    Raises:
        InitregError, RuleError: what :func:`open_chain` raises.
    """
    known = []
    unsure: list[Rules] = []  # whether they match an array cannot be said yet
    for link in links:
        scoped = next((i for i, each in enumerate(link.rules) if isinstance(each, Scope)), None)
        if link.opening.options.allow_pickle and not isinstance(link.source, ArrayMap):
            default_registry().choose(link.opening.source(link.source), link.opening.format)
            unsure += link.rules
        else:
            unsure += link.rules[scoped:] if scoped is not None else ()
            known.append(replace(link, rules=link.rules[:scoped]))
    with ExitStack() as stack:
        open_chain([_without(link, unsure) for link in known], stack)


def _without(link: Link, rules: Sequence[Rules]) -> Link:
    """The link up to the first of these rules, which later ones may build on."""
    sure = itertools.takewhile(lambda each: not any(each is r for r in rules), link.rules)
    return replace(link, rules=tuple(sure))


def merged(maps: Iterable[ArrayMap]) -> dict[str, LazyArray]:
    """The arrays of a chain by name. If several have the same name, the last one is used."""
    suppliers: dict[str, LazyArray] = {}
    for opened in maps:
        suppliers.update(opened.items())
    return suppliers
