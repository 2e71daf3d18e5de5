"""open and load: the arrays of a source, without a model."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Unpack

from initreg.api.chain import Link, flatten, merged, open_chain
from initreg.api.opening_options import SourceOptions, spelt_out, split
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.streaming import position, stream
from initreg.rules.keywords import Rules

if TYPE_CHECKING:
    import numpy as np


@spelt_out(SourceOptions)
def open(  # the name that people know from gzip, zipfile and safetensors
    source: Any, **options: Unpack[SourceOptions]
) -> ArrayMap:
    """Open one source as a lazy map of its arrays. Use it in a ``with``.

    Args:
        source: a path, a mapping of names to arrays, or an object that a format claims.
        options: ``format``, ``verify``, ``mmap``, ``allow_pickle``, ``native``,
            ``max_inflation`` and the rules, as for :class:`initreg.SmartInit`.

    Returns:
        An :class:`ArrayMap`. Names, shapes and dtypes are known; values are read when asked for.

    Raises:
        SourceNotFound, UnknownFormat, AmbiguousSource, MissingLibrary, DamagedFile, RefusedFile:
            the source cannot be opened.
        RuleError: a rule matches nothing, or does not apply.

    >>> with initreg.open("base.npz", drop="head/*") as m:  # doctest: +SKIP
    ...     m["fc/W"].shape, np.asarray(m["fc/W"])
    """
    opening, rules = split(options, "open")
    opening.check_options([source])
    opened = opening.open(source)
    try:
        return opened.apply(**rules) if rules else opened
    except BaseException:
        opened.close()
        raise


@spelt_out(SourceOptions)
def load(source: Any, **options: Unpack[SourceOptions]) -> dict[str, np.ndarray[Any, Any]]:
    """Read all arrays of one source, or of a chain, into a dict. Later sources win.

    Args:
        source: anything that :class:`initreg.SmartInit` takes.
        options: ``format``, ``verify``, ``mmap``, ``allow_pickle``, ``native``,
            ``max_inflation`` and the rules, as for :class:`initreg.SmartInit`. With ``mmap`` an
            array is a view of the file where that is possible. The file must then not change.
            Pages that are written become the process's own.

    Returns:
        The arrays by name. They belong to the caller: native byte order, C order, writable.

    Raises:
        What :func:`initreg.open` raises.

    >>> initreg.load("base.npz")["fc/W"]  # doctest: +SKIP
    """
    opening, rules = split(options, "load")
    like = Link(None, opening, (Rules.of(**rules),))
    with ExitStack() as stack:
        suppliers = merged(open_chain(flatten(source, like), stack))
        names = sorted(suppliers, key=lambda name: position(suppliers[name]))
        found = {names[i]: array for i, array in stream([suppliers[name] for name in names])}
    return {name: found[name] for name in suppliers}
