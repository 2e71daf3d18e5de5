"""map: the rules that take the weights of another framework into a target."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Unpack

from initreg.api.opening import open as open_source
from initreg.api.opening_options import OpeningOptions, spelt_out
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.lazy_array import LazyArray
from initreg.bridge.deriving import mapped
from initreg.bridge.mapped import Mapped
from initreg.plugin.installed import default_registry
from initreg.specs import Extent


@spelt_out(OpeningOptions)
def map(source: Any, target: Any, **options: Unpack[OpeningOptions]) -> Mapped:
    """Derive the rules with which the arrays of a source go into the variables of a target.

    The source may come from another framework: the names are compared by their words and numbers,
    and a target that knows its layers says what each axis is. Nothing is written. What two readings
    fit equally well is left open.

    Args:
        source: a path, an open map, or what else :func:`initreg.open` takes.
        target: a Keras model, a session, variables, a dict of arrays.
        options: ``format``, ``allow_pickle``, ``native`` and ``max_inflation``, as for
            :class:`initreg.SmartInit`.

    Returns:
        A :class:`Mapped`. Its text is a rule file.

    Raises:
        UnknownTarget, TargetError: the target cannot be restored into.
        What :func:`initreg.open` raises.

    >>> mapped = initreg.map("resnet50.pth", model)  # doctest: +SKIP
    >>> mapped.save("resnet50.toml")  # doctest: +SKIP
    >>> SmartInit("resnet50.pth", rules="resnet50.toml").init(model)  # doctest: +SKIP
    """
    found = default_registry().target(target)
    layers = getattr(found, "layers", None)
    with open_source(source, **options) as opened:
        return mapped(
            opened.label,
            found.label,
            opened.specs(),
            found.variables(),
            layers() if callable(layers) else {},
            _same(opened),
        )


def _same(opened: ArrayMap) -> dict[str, int]:
    """A number for each array, which is equal for arrays that are the same bytes of a file."""
    numbers: dict[Hashable, int] = {}
    found = {}
    for name, array in opened.items():
        at: Any = array
        while type(at) is LazyArray:  # of a map that was open before: arrays of arrays
            at = at.value
        if not isinstance(at, Extent):
            continue
        key = (at.file, at.offset, at.length, at.skip, at.shape, at.dtype, at.order)
        found[name] = numbers.setdefault(key, len(numbers))
    return found
