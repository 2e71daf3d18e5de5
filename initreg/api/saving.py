"""Arrays into a file of any format, whole or not at all; and any format into any other."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from initreg.api.chain import Link, flatten, merged, open_chain
from initreg.arrays.saved import Progress, Saved
from initreg.errors import InitregError, UnknownFormat
from initreg.plugin.hookspecs import OpenOptions, SaveOptions
from initreg.plugin.registry import default_registry
from initreg.rules.rules import RuleOptions, Rules
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
    """Write arrays to ``path``: all of it, or nothing; what stood there is replaced at the end.

    ``arrays``: a dict by name, nested or not, or an open map. ``format``: by default that of the
    path's ending, ``.npz``, ``.safetensors``, ``.h5`` or ``.ckpt`` (a TF checkpoint, whose files
    are ``path.index`` and ``path.data-...``). ``compress``: of npz and h5. ``shard_size``: of
    safetensors, at most so many bytes in a file, as a number or as ``"5GB"``. ``manifest``: write
    the digests of files and arrays beside it, for :func:`initreg.verify`. ``progress`` is called
    with the bytes done and all bytes.

    Returns the path to open it by. Raises UnwritableFile, UnknownFormat, and InitregError for
    arrays that the format has no place for; nothing is changed then.

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


def convert(
    source: Any,
    path: str | os.PathLike[str],
    *,
    to: str | None = None,
    format: str | None = None,
    verify: bool = True,
    allow_pickle: bool = False,
    max_inflation: float = 1000,
    compress: bool = False,
    shard_size: int | str | None = None,
    manifest: bool = False,
    progress: Progress | None = None,
    **rules: Unpack[RuleOptions],
) -> Path:
    """Write what ``source`` holds, a chain merged on the way, as :func:`save` does.

    It is streamed: a few arrays are in memory at a time. ``to``: the format to write, by default
    that of the path's ending; ``format``, ``verify``, ``allow_pickle``, ``max_inflation``
    and rules as for :class:`initreg.SmartInit`. A converted checkpoint keeps the names that it
    has; their aliases are not written.

    >>> initreg.convert("model.ckpt-1000", "model.safetensors", drop="*/Adam*")  # doctest: +SKIP
    """
    registry = default_registry()
    name = to if to is not None else saver_for(path)
    options = SaveOptions(compress, size_in_bytes(shard_size))
    like = Link(
        None,
        format,
        OpenOptions(allow_pickle, verify, max_inflation=max_inflation),
        (Rules.of(**rules),),
    )
    with ExitStack() as stack:
        digests: dict[str, str] | None = {} if manifest else None
        arrays = Saved(merged(open_chain(flatten(source, like), stack)), progress, digests)
        with written(path) as output:
            output.need(0 if compress else arrays.nbytes)
            registry.save(name, arrays, output, options)
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
