"""open and load: the arrays of a source, without a model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Unpack

from initreg.api.chain import Link, flatten, merged, open_chain
from initreg.api.collecting import gc_paused
from initreg.api.opening_options import SourceOptions, spelt_out, split
from initreg.api.progressing import Done, shown
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.saved import Progress
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
        source: a path, a mapping of names to arrays, or an object that a format claims, such as a
            model, a session or a list of variables.
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
    with gc_paused():
        opened = opening.open(source)
        try:
            return opened.apply(**rules) if rules else opened
        except BaseException:
            opened.close()
            raise


@spelt_out(SourceOptions)
def load(
    source: Any,
    *,
    part: Callable[[str, tuple[int, ...]], Any] | None = None,
    progress: Progress | bool | None = None,
    **options: Unpack[SourceOptions],
) -> dict[str, np.ndarray[Any, Any]]:
    """Read all arrays of one source, or of a chain, into a dict. Later sources win.

    Args:
        source: anything that :class:`initreg.SmartInit` takes.
        part: a function that is given the name and the shape of each array, after rules. It returns
            the index of the part to read, as for numpy: ``(slice(0, 8), ...)``. With None, all of
            the array is read. No more is read than the layout in the file asks for, so that the
            checksum of an array of which a part is read is not verified.
        progress: a function that is called with the bytes of entire arrays that are read, and with
            all of them. True shows a bar on a terminal or in a notebook.
        options: ``format``, ``verify``, ``mmap``, ``allow_pickle``, ``native``,
            ``max_inflation`` and the rules, as for :class:`initreg.SmartInit`. With ``mmap`` an
            array is a view of the file where that is possible. The file must then not change.
            Pages that are written become the process's own.

    Returns:
        The arrays by name. They belong to the caller: native byte order, C order, writable.

    Raises:
        InitregError: what :func:`initreg.open` raises.

    >>> initreg.load("base.npz")["fc/W"]  # doctest: +SKIP
    >>> initreg.load("base.npz", part=lambda name, shape: slice(0, 2))  # doctest: +SKIP
    """
    opening, rules = split(options, "load")
    like = Link(None, opening, (Rules.of(**rules),))
    with gc_paused(), ExitStack() as stack:
        suppliers = merged(open_chain(flatten(source, like), stack))
        names = sorted(suppliers, key=lambda name: position(suppliers[name]))
        if part is not None:
            indices = {name: part(name, suppliers[name].shape) for name in names}
            parts = {n: _part(suppliers[n], i) for n, i in indices.items() if i is not None}
            names = [name for name in names if name not in parts]
        else:
            parts = {}
        with shown(progress) as report:
            arrays = [suppliers[name] for name in names]
            done = Done(report, arrays)
            found = {}
            for i, array in stream(arrays):
                found[names[i]] = array
                done.add(arrays[i])
    found |= parts
    return {name: found[name] for name in suppliers}


def _part(array: LazyArray, index: Any) -> np.ndarray[Any, Any]:
    """The part of an array that an index asks for, in memory that nobody else holds."""
    import numpy as np

    found = np.asarray(array[index], order="C")
    held = getattr(found.base, "nbytes", 0)  # more than it needs, if it is a view of the whole
    return found.copy() if held > 2 * found.nbytes + 4096 else found
