"""From a folder to its arrays: the folder of a tree, of a step, or of a training."""

from __future__ import annotations

from typing import Any

from initreg import (
    AmbiguousSource,
    DamagedFile,
    InitregError,
    MissingLibrary,
    OpenOptions,
    Source,
)
from initreg.option_spelling import option

from initreg_jax.orbax import claiming

_SHOWN = 8


def open_folder(source: Source, options: OpenOptions) -> Any:
    """Every array by name.

    Raises:
        MissingLibrary: tensorstore is not installed.
        InitregError: the user has not allowed a library in C++ to parse the folder.
        AmbiguousSource: the folder holds several checkpoints, or several trees.
        DamagedFile: the checkpoint is not complete, or contradicts itself.
    """
    try:
        import tensorstore  # noqa: F401 - it takes a second, and is needed only here
    except ImportError:
        remedy = "pip install 'initreg-jax[orbax]'"
        raise MissingLibrary(
            "format 'jax', for Orbax checkpoints,", "tensorstore", remedy
        ) from None
    folder = _chosen(source)
    if not options.native:
        raise InitregError(
            f"{source.label}: an Orbax checkpoint, which tensorstore reads, a library in C++. "
            "Damaged files may crash it. If you trust the checkpoint, pass "
            + option("native", True)
        )
    from initreg_jax.orbax.stores import Stores

    return Stores(folder, source.label, options).open()


def _chosen(source: Source) -> Source:
    """The folder of the only tree that a folder means."""
    assert source.path is not None
    if claiming.UNFINISHED in source.path.name:
        raise DamagedFile(
            f"{source.label}: this checkpoint was not finished, or is being written. Give another "
            "step"
        )
    if claiming.has_tree(source) or claiming.is_aggregate(source):
        return source
    found = claiming.items(source)
    what = "trees"
    if not found:
        found, what = claiming.steps(source), "checkpoints"
    if len(found) != 1:
        shown = ", ".join(str(source.path / name) for name in found[-_SHOWN:]) or "none"
        more = "..., " if len(found) > _SHOWN else ""
        raise AmbiguousSource(
            f"{source.label}: which of its {what} is meant? Give one by its path: {more}{shown}"
        )
    inner = Source(source.path / found[0], of=source)
    return inner if what == "trees" else _chosen(inner)
