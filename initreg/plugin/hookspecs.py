"""The plugin contract, whole.

A plugin is a module (or object) named by an entry point of the group ``initreg``; the entry
point's name is the format's name::

    [project.entry-points.initreg]
    gguf = "initreg_gguf"

A *format* implements ``initreg_claim`` and ``initreg_open``, and ``initreg_save`` if it can be
written: then ``initreg_endings = (".gguf",)`` are the endings of the paths it is saved under. A
*target* implements ``initreg_target``. Either may set ``initreg_requires = {"gguf": "pip install
initreg-gguf"}``: the libraries it imports inside those functions, and the command that installs
each. Neither imports such a library at module level: claiming a file must stay cheap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

from initreg.plugin.claim import Claim

if TYPE_CHECKING:
    from initreg.arrays.saved import Saved
    from initreg.plugin.source import Source
    from initreg.plugin.target import Target
    from initreg.specs import ArrayLike, Extent, SlicedExtent
    from initreg.storage.output import Output

PROJECT = "initreg"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """What the user asked for. ``allow_pickle``: unpickle, which can run any code in the file. For
    ``Extent``s the kernel does the rest: checks sums, maps files, refuses what inflates more."""

    allow_pickle: bool = False
    verify: bool = True
    mmap: bool = False
    max_inflation: float = 1000


@dataclass(frozen=True, slots=True)
class SaveOptions:
    """What the user asked for: to pack what can be packed, and at most so many bytes in one file.
    Raise InitregError for what your format cannot do."""

    compress: bool = False
    shard_size: int | None = None


@hookspec
def initreg_claim(source: Source) -> Claim | None:
    """Say whether ``source`` is yours, how surely and why; None if it is not.

    Look at ``source.path``, ``.suffix``, ``.head`` and ``.obj``. Never raise because the file is
    odd: a damaged file of yours is still yours, and ``initreg_open`` says what is wrong with it.
    """


@hookspec(firstresult=True)
def initreg_open(  # type: ignore[empty-body]
    source: Source, options: OpenOptions
) -> Mapping[str, ArrayLike | Extent | SlicedExtent]:
    """Return every array of ``source`` by name, having read no more than names and shapes.

    A value is an ``Extent`` where you know the bytes (initreg then reads, checks and copies them),
    a ``SlicedExtent`` where they lie in several places, or anything with ``.shape``, ``.dtype``
    and ``__array__``; it may have ``.aliases``, a tuple of other names. The mapping may have
    ``.close()``, and ``.parameters``, the names of what is the model's rather than its training's.
    Called for the winner alone. Raise ``DamagedFile`` or ``RefusedFile``, naming what is wrong.
    """


@hookspec(firstresult=True)
def initreg_save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    """Write all ``arrays``, lazy arrays by name, to ``output.file()``, a path beside the final one,
    which takes its place once you return. Of several, the first asked for is visible first.
    ``arrays.stream()`` gives names and numpy arrays, a few at a time, in an order of its own."""


@hookspec
def initreg_target(obj: object) -> Target | None:
    """Return a ``Target`` that writes into ``obj``, or None if ``obj`` is not yours."""
