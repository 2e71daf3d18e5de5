"""The sources of a merge: opened, with their arrays by the names of the result."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from initreg.api.chain import Link, flatten, open_chain
from initreg.api.restoring import Restore
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.lazy_array import LazyArray
from initreg.errors import AmbiguousNames, InitregError, MetadataWarning, RuleError, warn
from initreg.merging.adapters import (
    CONFIG,
    Config,
    is_adapter,
    parse_config,
    read_names,
    refuse_unknown,
)
from initreg.merging.adding import OpenAdapter
from initreg.names import NO_PATTERNS
from initreg.option_spelling import either, option
from initreg.plan.choices import By
from initreg.plan.rows import RESTORED, Kind, Policy
from initreg.plugin.installed import default_registry
from initreg.plugin.training import inference
from initreg.storage import small_files
from initreg.storage.paths import real
from initreg.text.wording import printable

_PAIRS = RESTORED | {Kind.MISMATCHED, Kind.PASSED_OVER}
_LARGEST = 1 << 20  # bytes of a configuration of an adapter
_STEP = re.compile(r"\d+")
_WHOLE = either("initreg.convert", "initreg convert")


def open_sources(sources: Sequence[Any], like: Link, stack: ExitStack) -> list[ArrayMap]:
    """Open the sources of a merge.

    Args:
        sources: what the user passed, the base first if there is one.
        like: the options for each of them.
        stack: it closes what is opened here.

    Raises:
        InitregError: what :func:`initreg.open` raises, or a source is empty or a chain.
    """
    links = []
    for source in sources:
        found = [*flatten(source, like)]
        if len(found) != 1:
            what = "is a chain" if found else "is empty"
            raise InitregError(
                f"{source!r}: a source of a merge {what}. Each has to be one file or mapping; make "
                "one of a chain with " + _WHOLE
            )
        links += found
    maps = open_chain(links, stack)  # together, for rules that only one of them needs
    _refuse_twice(maps)
    return maps


def _refuse_twice(maps: Sequence[ArrayMap]) -> None:
    """Raise InitregError if two paths open the same files, as two parts of one set do: that would
    count twice."""
    seen: dict[frozenset[Any], str] = {}
    for each in maps:
        files = frozenset(map(real, each.files))
        other = seen.setdefault(files, each.label) if files else each.label
        if other != each.label:
            raise InitregError(
                f"{other} and {each.label}: both are the same source, which would count twice. "
                "Give it once, and by one of its paths"
            )


def arrays_of(
    maps: Sequence[ArrayMap], by: By | None, stack: ExitStack
) -> tuple[list[dict[str, LazyArray]], list[str]]:
    """The arrays of each source by their names in the first one, and how these were found.

    Names are matched as if each source were restored into the first one. What only another source
    has keeps its name.
    """
    first, *others = maps
    found: list[dict[str, LazyArray]] = [dict(first)]
    notes: list[str] = []
    for each in others:
        link = Link(each, on_unused=Policy.IGNORE, by=by)
        restore = Restore(
            [link], each, first, stack, on_missing=Policy.IGNORE, expect_missing=NO_PATTERNS
        )
        pairs: dict[str, LazyArray] = {}
        used: set[str] = set()
        for row in restore.plan:
            if row.kind in _PAIRS and row.array is not None:
                array = restore.array_of(row)
                pairs[row.name] = array
                used.add(array.name)
        for name, array in each.items():
            # State of optimizers, and whatever else no restore takes, has equal names.
            if name in used:
                continue
            if name in pairs:
                raise AmbiguousNames(
                    f"{each.label}: array {name!r} has no counterpart in {first.label}, where this "
                    f"name is that of {pairs[name].name!r}. Rename it with a rule, or choose how "
                    "names are matched with " + option("by", "name")
                )
            pairs[name] = array
        notes += [f"{printable(each.label)}: {way}" for way in restore.plan.ways if str(way)]
        found.append(pairs)
    return found, list(dict.fromkeys(notes))


def states_of(arrays: ArrayMap) -> Mapping[str, str]:
    """The arrays that are not weights of the model, each with what they are."""
    return inference(default_registry(), arrays.specs()).dropped


def refuse_adapters(maps: Sequence[ArrayMap], method: str) -> None:
    """Raise RuleError if a source is an adapter, whose arrays are not those of a model."""
    for each in maps:
        if is_adapter(each):
            raise RuleError(
                f"{each.label}: these are the factors of an adapter (LoRA), and {method!r} merges "
                "models. To merge the adapter into its model, pass "
                + option("method", "lora")
                + " and the model as "
                + option("base", python="base=")
            )


def refuse_other_order(maps: Sequence[ArrayMap]) -> None:
    """Raise RuleError if sources are not in the order of the steps that their names end in.

    A shell lists ``model-1000`` before ``model-200``. Sources in memory have no such names.
    """
    if not all(each.files for each in maps):
        return
    labels = [each.label for each in maps]
    found = [_STEP.findall(label.rstrip("/").rpartition("/")[2]) for label in labels]
    if not all(found):
        return
    steps = [int(each[-1]) for each in found]
    if steps == sorted(steps):
        return
    ordered = [label for _, label in sorted(zip(steps, labels, strict=True))]
    raise RuleError(
        "the sources are not in the order of their numbers, and a moving average depends on it. "
        f"As given: {', '.join(labels)}. By their numbers: {', '.join(ordered)}. Give them in the "
        "second order, or pass " + option("as_given", True)
    )


def open_adapter(opened: ArrayMap) -> OpenAdapter:
    """An adapter: what its names say, and what the configuration beside it says.

    Raises:
        RuleError: it is not an adapter, or some of its arrays are not understood.
        InitregError: the configuration cannot be read.
    """
    if not is_adapter(opened):
        raise RuleError(
            f"{opened.label}: no array is called like one of an adapter: they end in "
            ".lora_A.weight, .lora_down.weight, or such. The model is given as "
            + option("base", python="base=")
        )
    names = read_names(opened)
    refuse_unknown(names, opened.label)
    return OpenAdapter(opened.label, opened, names, _config(opened))


def _config(opened: ArrayMap) -> Config | None:
    files = opened.files
    if not files:
        return None
    beside = files[0].parent / CONFIG
    if not beside.exists():
        return None
    data = small_files.content(beside, _LARGEST, "the configuration of an adapter")
    return parse_config(data.decode(errors="replace"), str(beside))


def common_metadata(maps: Sequence[ArrayMap], given: Mapping[str, str]) -> dict[str, str]:
    """The metadata that no two sources contradict.

    One MetadataWarning says which keys are left out, unless the user gave a value.
    """
    found: dict[str, str] = {}
    lost: dict[str, list[str]] = {}
    for each in maps:
        for key, value in each.metadata.items():
            if key in given:
                continue
            if found.setdefault(key, value) != value:
                lost.setdefault(key, [found[key]]).append(value)
    for key in lost:
        del found[key]
    if lost:
        key, values = next(iter(lost.items()))
        more = f" and {len(lost) - 1:,} more keys" if len(lost) > 1 else ""
        warn(
            f"{' + '.join(each.label for each in maps)}: they have different metadata, which is "
            f"not kept: {key!r} is {values[0]!r:.60} and {values[1]!r:.60}{more}. To set a key, "
            "pass " + option("metadata", {key: "..."}),
            MetadataWarning,
        )
    return found
