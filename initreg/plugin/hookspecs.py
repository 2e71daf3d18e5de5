"""The plugin contract.

A plugin is a module (or an object) that an entry point of the group ``initreg`` names. The name of
the entry point is the name of the format, everywhere::

    [project.entry-points.initreg]
    gguf = "initreg_gguf"

A *format* reads files. It implements ``initreg_claim`` and ``initreg_open``::

    from initreg import Claim, Confidence, Extent, hookimpl

    @hookimpl
    def initreg_claim(source):
        if source.head.startswith(b"RAW1"):
            return Claim(Confidence.EXACT, "begins with 'RAW1'")

    @hookimpl
    def initreg_open(source, options):  # four bytes of magic, then one array
        return {"w": Extent(source.path, 4, 24, (2, 3), "float32")}

A format that can also be written implements ``initreg_save`` and sets the file extensions that it
is saved under: ``initreg_endings = (".gguf",)``. With ``initreg_keeps_metadata = True`` it also
saves ``arrays.metadata``, which is empty otherwise. A *target* is what arrays are written into. It
implements ``initreg_target``, and may say in words what it takes, for the error about an object
that nobody takes: ``initreg_takes = "a TF1 session"``, or several such texts. A *wrapper* wraps
these hooks of other plugins, with ``hookimpl(wrapper=True)``; it need not implement any of its own.

A format that opens one file opens models in several files, too: initreg opens each part of a set,
such as ``m-00001-of-00003.gguf``, and puts the arrays together. A format that finds the other files
itself, by an index for instance, says so with ``initreg_finds_parts = True``.

A plugin that needs a library names it, with the command that installs it:
``initreg_requires = {"gguf": "pip install initreg-gguf"}``. Import it inside the hook that needs
it, never at module level: every format is asked about every file, so claiming must be cheap. Do
not call initreg at module level either: the plugins are still being loaded then.

initreg makes every call through pluggy, for one plugin at a time. The wrappers of all plugins
take part in each call, in the order of their plugins' names. ``tryfirst`` and ``trylast`` change
that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from initreg.plugin.claim import Claim
from initreg.records import record

if TYPE_CHECKING:
    from initreg.arrays.saved import Saved
    from initreg.plugin.source import Source
    from initreg.plugin.target import Target
    from initreg.specs import ArrayLike, Extent, SlicedExtent
    from initreg.storage.output import Output

PROJECT = "initreg"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@record()
class OpenOptions:
    """What the user asked for when opening. initreg sees to all but ``allow_pickle`` and ``native``
    itself for arrays that are extents."""

    allow_pickle: bool = False  # unpickling is allowed; it can run any code in the file
    native: bool = False  # a library in C may parse what initreg does not
    verify: bool = True  # compare checksums while reading
    mmap: bool = False  # map the file instead of reading it
    max_inflation: float = 1000  # refuse data that unpacks to more than this many times its size


@record()
class SaveOptions:
    """What the user asked for when saving. Raise InitregError for what your format cannot do.

    ``move`` is set by savers of trainings only. A format may ignore it.
    """

    compress: bool = False  # compress what can be compressed
    shard_size: int | None = None  # the most bytes in one file
    # Files of this format, in the folder of the output, that hold the same arrays. They are not
    # needed afterwards, so output.take() may give them their new names, and nothing is copied.
    move: Path | None = None


# Claims and targets are asked for one plugin at a time, so the first result is that plugin's own.
@hookspec(firstresult=True)
def initreg_claim(source: Source) -> Claim | None:
    """Return a ``Claim`` if ``source`` is in your format, None if it is not.

    Every format is asked, and the highest confidence wins. Two claims of the same confidence are
    an error that shows both reasons. Look at ``source.path``, ``.suffix``, ``.head`` (the first
    4096 bytes) and ``.obj`` (what the user passed, if it is not a path). Do not raise because a
    file is damaged: claim it, and let ``initreg_open`` say what is wrong.
    """


@hookspec(firstresult=True)
def initreg_open(  # type: ignore[empty-body]
    source: Source, options: OpenOptions
) -> Mapping[str, ArrayLike | Extent | SlicedExtent]:
    """Return all arrays of ``source`` by name. Read their names and shapes, but not their values.

    Only the format that won is called. A value is one of these:

    - an ``Extent``, if you know where the bytes are. initreg reads, checks and copies them;
    - a ``SlicedExtent``, if the bytes are in several places;
    - an ``OpaqueExtent``, if numpy does not have its dtype;
    - any object with ``.shape``, ``.dtype`` and ``__array__``.

    A value may have ``.aliases``, a tuple of other names, and ``.unreadable``: why it is listed
    although it cannot be read. The mapping may have ``.close()``, ``.not_arrays``, ``.reordered``,
    ``.metadata``: a mapping of str to str, or a tuple of one for each file,
    ``.parameters``: the names of the arrays that belong to the model and not to its training,
    ``.model_name``: what somebody called the model that all of them are of, and
    ``.label``: what messages call an object that is not a path, such as a model. Variables of such
    an object are ``initreg.format_tools.living.LivingArray``s.
    Raise ``DamagedFile`` or ``RefusedFile`` with the name of the file and what is wrong with it.
    """


@hookspec(firstresult=True)
def initreg_save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    """Write all ``arrays`` to ``output.file()``.

    ``arrays`` maps names to lazy arrays. ``arrays.stream()`` yields pairs of a name and a numpy
    array, a few at a time, in an order of its own. ``output.file()`` is a temporary path beside
    the final one. initreg renames the file once you return. A format of several files calls
    ``output.file(name)`` for each. The file that you ask for first becomes visible first, so ask
    for an index last.
    """


@hookspec(firstresult=True)
def initreg_target(obj: object) -> Target | None:
    """Return a ``Target`` that writes into ``obj``, or None if ``obj`` is not of your kind.

    Every target is asked. Two that both accept one object are an error that names both.
    """
