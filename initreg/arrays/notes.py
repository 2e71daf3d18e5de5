"""What formats say of some of their arrays, in words."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import Any

from initreg.errors import PluginError
from initreg.names import normalise
from initreg.specs import ArraySpec


def texts(given: Any) -> dict[str, str]:
    """What a mapping of a format says of some of its arrays, by their normalised names.

    Raises:
        PluginError: it is not a mapping of str to str.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(
        isinstance(text, str) for item in given.items() for text in item
    ):
        raise PluginError(
            "its mapping's not_needed, copies, kernel_axes and reordered must be mappings of str "
            "to str"
        )
    return {normalise(name): text for name, text in given.items()}


def of_globs(given: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """What is said of each array.

    Args:
        given: what is said, by names or globs.
        names: the names of all arrays.
    """
    if not any(set("*?[") & set(each) for each in given):
        return {name: given[name] for name in names if name in given}
    return {
        name: text
        for name in names
        for glob, text in given.items()
        if name == glob or fnmatch.fnmatchcase(name, glob)
    }


def still_said(specs: Iterable[ArraySpec], known: Mapping[str, str]) -> dict[str, str]:
    """What a format says of the axes of arrays, as far as it holds after rules. Arrays whose axes a
    rule puts in an order, be it their own, are answered for.

    Args:
        specs: the arrays after the rules.
        known: as :meth:`ArrayMap.said_of`, of the arrays before the rules.
    """
    return {
        spec.name: known[origin]
        for spec in specs
        if spec.axes is None
        for origin in (spec.made_of or (spec.origin,))
        if origin in known
    }
