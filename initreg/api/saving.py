"""Write arrays into a file of any format, and convert files from one format to another.

A save is atomic: the file is complete, or nothing is changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Unpack

from initreg.api.chain import Link, flatten, merged, open_chain
from initreg.api.opening_options import SourceOptions, spelt_out, split, switch
from initreg.arrays.saved import Progress, Saved
from initreg.errors import InitregError, UnknownFormat
from initreg.option_spelling import option
from initreg.plugin.hookspecs import SaveOptions
from initreg.plugin.installed import default_registry
from initreg.rules.keywords import Rules
from initreg.storage.manifests import ENDING, ArrayDigest, Manifest, digest_of_array, digest_of_file
from initreg.storage.output import Output, written

_STEP = re.compile(r"-\d+$")  # the step of a training: "model.ckpt-1000"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{unit}I": 1024**power for power, unit in enumerate("KMGT", 1)}


def save(
    path: str | os.PathLike[str],
    arrays: Mapping[str, Any],
    *,
    format: str | None = None,
    compress: bool = False,
    shard_size: int | str | None = None,
    manifest: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write arrays to a file. The save is atomic: an existing file is replaced at the end.

    Args:
        path: the file, or the prefix of a checkpoint.
        arrays: arrays by name, in a dict that may be nested, or an open map.
        format: the name of the format. By default the extension of the path decides:
            ``.npz``, ``.safetensors``, ``.h5``, or ``.ckpt`` for a TensorFlow checkpoint with the
            files ``path.index`` and ``path.data-...``.
        compress: compress the arrays. For npz and HDF5 only.
        shard_size: the largest size of one file, as a number of bytes or as ``"5GB"``. For
            safetensors only.
        manifest: write the digests of the files and arrays beside the file, for
            :func:`initreg.verify`.
        progress: a function that is called with the bytes that are done, and with all bytes.

    Returns:
        The path to open the result with.

    Raises:
        UnwritableFile: the system cannot write the file.
        UnknownFormat: no format has this extension or this name.
        InitregError: the format cannot store one of the arrays. Nothing is changed then.

    >>> initreg.save("model.npz", {"fc/W": w})  # doctest: +SKIP
    """
    return convert(
        arrays,
        path,
        to=format,
        compress=compress,
        shard_size=shard_size,
        manifest=manifest,
        progress=progress,
    )


@spelt_out(SourceOptions)
def convert(
    source: Any,
    path: str | os.PathLike[str],
    *,
    to: str | None = None,
    compress: bool = False,
    shard_size: int | str | None = None,
    manifest: bool = False,
    progress: Progress | None = None,
    **options: Unpack[SourceOptions],
) -> Path:
    """Write the arrays of a source into one file, as :func:`save` does. A chain is merged.

    Arrays are streamed, so that only a few of them are in memory at a time. Names are kept.
    Aliases are not written.

    Args:
        source: anything that :class:`initreg.SmartInit` takes.
        path: the file, or the prefix of a checkpoint.
        to: the name of the format to write. By default the extension of the path decides.
        compress: as for :func:`save`.
        shard_size: as for :func:`save`.
        manifest: as for :func:`save`.
        progress: as for :func:`save`.
        options: ``format``, ``verify``, ``mmap``, ``allow_pickle``, ``max_inflation`` and the
            rules, as for :class:`initreg.SmartInit`. They are about the source.

    Returns:
        The path to open the result with.

    Raises:
        What :func:`initreg.open` and :func:`save` raise. Nothing is changed then.

    >>> initreg.convert("model.ckpt-1000", "model.safetensors", drop="*/Adam*")  # doctest: +SKIP
    """
    opening, rules = split(options, "convert")
    name = to if to is not None else saver_for(path)
    saving = SaveOptions(switch(compress, "compress"), size_in_bytes(shard_size))
    like = Link(None, opening, (Rules.of(**rules),))
    with ExitStack() as stack:
        digests: dict[str, str] | None = {} if switch(manifest, "manifest") else None
        arrays = Saved(merged(open_chain(flatten(source, like), stack)), progress, digests)
        with written(path) as output:
            output.need(0 if compress else arrays.nbytes)
            default_registry().save(name, arrays, output, saving)
            _replace_manifest(output, arrays, digests)
    return output.result


def _replace_manifest(output: Output, arrays: Saved, digests: Mapping[str, str] | None) -> None:
    """Remove the manifests of the files that are replaced, and write one if there are digests."""
    real = output.path.name if output.result == Path(output.label) else output.result.name
    for name in {output.path.name, real, *output.obsolete_names}:
        output.outdate(f"{name}{ENDING}")
    if digests is None:
        return
    files = {name: digest_of_file(file) for name, file in output.files.items()}
    described = {}
    for name, array in arrays.items():
        digest = digests.get(name) or digest_of_array(array.read())  # if it was not streamed
        described[name] = ArrayDigest(array.shape, array.spec.dtype, digest)
    found = Manifest(files, described)
    output.file_after(f"{real}{ENDING}").write_text(found.to_text(), "utf-8")


def saver_for(path: str | os.PathLike[str]) -> str:
    """The format that the extension of a path asks for.

    A training step is not part of the extension: that of ``model.ckpt-1000`` is ``.ckpt``.

    Raises:
        UnknownFormat: no format has this extension.
    """
    endings = default_registry().endings()
    name = _STEP.sub("", Path(path).name.lower())
    fitting = [ending for ending in endings if name.endswith(ending)]
    if not fitting:
        raise UnknownFormat(
            f"{os.fspath(path)}: no format has this file extension. Use {' or '.join(endings)}, "
            f"or name the format: {', '.join(sorted(set(endings.values())))}"
        )
    return endings[max(fitting, key=len)]


def size_in_bytes(size: int | str | None) -> int | None:
    """A size in bytes. ``"5GB"`` is 5,000,000,000, and ``"5GiB"`` is 5 x 1024**3.

    Raises:
        InitregError: it is not a size.
    """
    if size is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?|)B?", str(size).strip().upper())
    count = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if count <= 0:
        raise InitregError(
            option("shard_size", size) + " is not a size: give a number of bytes, or '5GB'"
        )
    return count
