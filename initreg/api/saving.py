"""Arrays into a file of any format, whole or not at all; and any format into any other."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from initreg.api.chain import Link, flatten, merged, open_chain
from initreg.api.opening import SourceOptions, spelt_out, split
from initreg.arrays.saved import Progress, Saved
from initreg.errors import InitregError, UnknownFormat
from initreg.plugin.hookspecs import SaveOptions
from initreg.plugin.installed import default_registry
from initreg.rules.rules import Rules
from initreg.storage.manifests import ENDING, ArrayDigest, Manifest, digest_of_array, digest_of_file
from initreg.storage.output import Output, written

if TYPE_CHECKING:
    pass

_STEP = re.compile(r"-\d+$")  # of training: "model.ckpt-1000"
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
    """Write arrays to ``path``. A file that was there is replaced at the end, or not at all.

    Args:
        path: the file, or a checkpoint's prefix.
        arrays: a dict by name, nested or not, or an open map.
        format: by default that of the path's ending, ``.npz``, ``.safetensors``, ``.h5`` or
            ``.ckpt`` (a TF checkpoint, whose files are ``path.index`` and ``path.data-...``).
        compress: pack what can be packed; of npz and h5.
        shard_size: the most bytes of one file, as a number or as ``"5GB"``; of safetensors.
        manifest: write the digests of files and arrays beside it, for :func:`initreg.verify`.
        progress: is called with the bytes done and the bytes in all.

    Returns:
        The path to open it by.

    Raises:
        UnwritableFile: the system does not let it be written.
        UnknownFormat: no format has this ending, or this name.
        InitregError: the format cannot hold one of the arrays. Nothing is changed then.

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
    """Write the arrays of ``source`` into one file, as :func:`save` does; a chain is merged.

    Arrays are streamed: a few of them are in memory at a time. The names that a checkpoint has are
    kept; aliases are not written.

    Args:
        source: what :class:`initreg.SmartInit` takes.
        path: the file, or a checkpoint's prefix.
        to: the format to write, by default that of the path's ending.
        compress, shard_size, manifest, progress: as for :func:`save`.
        options: ``format``, ``verify``, ``mmap``, ``allow_pickle``, ``max_inflation`` and the
            rules, as for :class:`initreg.SmartInit`.

    Returns:
        The path to open it by.

    Raises:
        What :func:`initreg.open` and :func:`save` raise. Nothing is changed then.

    >>> initreg.convert("model.ckpt-1000", "model.safetensors", drop="*/Adam*")  # doctest: +SKIP
    """
    opening, rules = split(options, "convert")
    name = to if to is not None else saver_for(path)
    saving = SaveOptions(compress, size_in_bytes(shard_size))
    like = Link(None, opening, (Rules.of(**rules),))
    with ExitStack() as stack:
        digests: dict[str, str] | None = {} if manifest else None
        arrays = Saved(merged(open_chain(flatten(source, like), stack)), progress, digests)
        with written(path) as output:
            output.need(0 if compress else arrays.nbytes)
            default_registry().save(name, arrays, output, saving)
            _replace_manifest(output, arrays, digests)
    return output.result


def _replace_manifest(output: Output, arrays: Saved, digests: Mapping[str, str] | None) -> None:
    """Take away what manifest is there of what is replaced, and write one if there are digests."""
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
    """The format that a path's ending asks for. A training step is no part of it:
    ``model.ckpt-1000`` ends in ``.ckpt``. Raises UnknownFormat."""
    endings = default_registry().endings()
    name = _STEP.sub("", Path(path).name.lower())
    fitting = [ending for ending in endings if name.endswith(ending)]
    if not fitting:
        raise UnknownFormat(
            f"{os.fspath(path)}: no format is saved under such a name. End it in "
            f"{' or '.join(endings)}, or name one of {', '.join(sorted(set(endings.values())))}"
        )
    return endings[max(fitting, key=len)]


def size_in_bytes(size: int | str | None) -> int | None:
    """``"5GB"`` is 5,000,000,000, ``"5GiB"`` 5 x 1024**3. Raises InitregError."""
    if size is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?|)B?", str(size).strip().upper())
    count = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if count <= 0:
        raise InitregError(f"shard_size={size!r} is no size; give a number of bytes, or '5GB'")
    return count
