"""Write arrays into a file of any format, and convert files from one format to another.

A save is atomic: the file is complete, or nothing is changed.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack, cast

from initreg.api.chain import Link, flatten, merged, open_chain
from initreg.api.opening_options import Opening, SourceOptions, spelt_out, split, switch
from initreg.api.progressing import shown
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.lazy_array import LazyArray
from initreg.arrays.metadata import checked, joined
from initreg.arrays.saved import Progress, Saved
from initreg.errors import (
    InitregError,
    MetadataWarning,
    RuleError,
    UnknownFormat,
    UnwritableFile,
    warn,
)
from initreg.option_spelling import join, option
from initreg.plugin.hookspecs import SaveOptions
from initreg.plugin.installed import default_registry
from initreg.plugin.part_names import PartName
from initreg.rules.keywords import RuleOptions, Rules
from initreg.storage.destinations import destination_of
from initreg.storage.locating import is_remote
from initreg.storage.manifests import ENDING, ArrayDigest, Manifest, digest_of_array
from initreg.storage.output import Output
from initreg.storage.rehearsal import Enough, Rehearsal
from initreg.storage.uploading import written_to
from initreg.text.wording import plural

if TYPE_CHECKING:
    from zipfile import Path as ZipPath

_STEP = re.compile(r"-\d+$")  # the step of a training: "model.ckpt-1000"
_SHOWN = 10  # arrays, or keys of metadata, in a message
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{unit}I": 1024**power for power, unit in enumerate("KMGT", 1)}


@spelt_out(RuleOptions)
def save(
    path: str | os.PathLike[str] | BinaryIO | ZipPath,
    arrays: Any,
    *,
    format: str | None = None,
    compress: bool = False,
    shard_size: int | str | None = None,
    manifest: bool = False,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **rules: Unpack[RuleOptions],
) -> Path:
    """Write arrays to a file. The save is atomic: an existing file is replaced at the end.

    Args:
        path: the file, or the prefix of a checkpoint. It may be a URL, for which ``pip install
            'initreg[remote]'``. Files are then written on the disk, and uploaded complete. It may
            also be an open binary file, such as a ``BytesIO``, or a ``zipfile.Path`` of an archive
            that is open for writing: one file is written where the open file stands.
        arrays: arrays by name, in a dict that may be nested, or an open map, or what holds
            variables: a model, a session, a list of variables.
        format: the name of the format. By default the extension of the path decides, or that of
            the open file's name:
            ``.npz``, ``.safetensors``, ``.h5``, or ``.ckpt`` for a TensorFlow checkpoint with the
            files ``path.index`` and ``path.data-...``. A Keras model can also be saved as
            ``.weights.h5`` or ``.keras``, which Keras itself loads.
        compress: compress the arrays. For npz and HDF5 only.
        shard_size: the largest size of one file, as a number of bytes or as ``"5GB"``. For
            safetensors only.
        manifest: write the digests of the files and arrays beside the file, for
            :func:`initreg.verify`.
        metadata: texts by key to save beside the arrays, such as ``{"license": "mit"}``. For
            safetensors, and for formats of plugins that keep metadata. An open map brings its own,
            to which these are added.
        progress: a function that is called with the bytes that are done, and with all bytes. True
            shows a bar on a terminal or in a notebook.
        storage_options: if ``path`` is a URL: what fsspec's file system is made with.
        rules: as for :class:`initreg.SmartInit`: ``cast="float16"``, ``drop="head/*"``.

    Returns:
        The path to open the result with. If ``path`` is a URL, it is a URL, as a ``str``, and if it
        is an open file, it is that.

    Raises:
        UnwritableFile: the system cannot write the file, or its name is that of one part of
            several, such as ``m-00001-of-00003.npz``.
        UnknownFormat: no format has this extension or this name.
        InitregError: the format cannot store one of the arrays, or metadata. Nothing is changed
            then.
        RuleError: a rule matches nothing, or does not apply.

    >>> initreg.save("model.npz", {"fc/W": w})  # doctest: +SKIP
    """
    return convert(
        arrays,
        path,
        to=format,
        compress=compress,
        shard_size=shard_size,
        manifest=manifest,
        metadata=metadata,
        progress=progress,
        output_storage_options=storage_options,
        **_only_rules(rules),
    )


def _only_rules(options: Mapping[str, Any]) -> RuleOptions:
    """The keywords that are rules. Raises TypeError for any other, as Python does."""
    for name in options:
        if name not in RuleOptions.__annotations__:
            raise TypeError(f"save() got an unexpected keyword argument {name!r}")
    return options  # type: ignore[return-value]


@spelt_out(SourceOptions)
def convert(
    source: Any,
    path: str | os.PathLike[str] | BinaryIO | ZipPath,
    *,
    to: str | None = None,
    compress: bool = False,
    shard_size: int | str | None = None,
    manifest: bool = False,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | bool | None = None,
    reverse: bool = False,
    dry_run: bool = False,
    output_storage_options: Mapping[str, Any] | None = None,
    **options: Unpack[SourceOptions],
) -> Path:
    """Write the arrays of a source into one file, as :func:`save` does. A chain is merged.

    Arrays are streamed, so that only a few of them are in memory at a time. Names are kept.
    Aliases are not written. Metadata of the sources is kept if the format has a place for it, and
    there is a MetadataWarning otherwise. If the sources have different values for a key, the last
    one wins, with a MetadataWarning.

    Args:
        source: anything that :class:`initreg.SmartInit` takes.
        path: the file, or the prefix of a checkpoint. It may be a URL, for which ``pip install
            'initreg[remote]'``. Files are then written on the disk, and uploaded complete. It may
            also be an open file, as for :func:`save`.
        to: the name of the format to write. By default the extension of the path decides.
        compress: as for :func:`save`.
        shard_size: as for :func:`save`.
        manifest: as for :func:`save`.
        metadata: as for :func:`save`. It is added to that of the sources, and wins over it.
        progress: as for :func:`save`.
        reverse: undo the rules: take a model back to the names and axes that it came from. Those
            of sources that are SmartInits are applied as they are.
        dry_run: check all that can be checked without reading values, and write nothing: that the
            sources can be opened, that rules match, and that the format can store the arrays.
        output_storage_options: if ``path`` is a URL: what fsspec's file system is made with.
        options: ``format``, ``verify``, ``mmap``, ``allow_pickle``, ``native``,
            ``max_inflation`` and the rules, as for :class:`initreg.SmartInit`. They are about the
            source.

    Returns:
        The path to open the result with. If ``path`` is a URL, it is a URL, as a ``str``, and if it
        is an open file, it is that.

    Raises:
        InitregError: what :func:`initreg.open` and :func:`save` raise. Nothing is changed then.
        RuleError: a rule cannot be undone.

    >>> initreg.convert("model.ckpt-1000", "model.safetensors", drop="*/Adam*")  # doctest: +SKIP
    """
    opening, rules = split(options, "convert")
    opened = destination_of(path)
    if opened is not None:
        _refuse_several_files(opened.label, shard_size, manifest)
    text = path_text(path) if opened is None else opened.label
    name = to if to is not None else saver_for(path)
    saving = SaveOptions(switch(compress, "compress"), size_in_bytes(shard_size))
    made = Rules.of(**rules)
    if switch(reverse, "reverse"):
        if not made:
            raise RuleError(option("reverse", True) + ": there are no rules to undo")
        made = made.reversed()
    like = Link(None, opening, (made,))
    with ExitStack() as stack:
        digests: dict[str, str] | None = {} if switch(manifest, "manifest") else None
        maps = open_chain(flatten(source, like), stack)
        report = stack.enter_context(shown(progress))
        kept = _metadata(maps, metadata, name, text)
        arrays = Saved(merged(maps), report, digests, kept)
        _refuse_unreadable(arrays, text)
        if switch(dry_run, "dry_run"):
            is_elsewhere = opened is not None or is_remote(path)
            if opened is not None:
                opened.check()
            rehearsal = Rehearsal(text, is_elsewhere, opened is not None)
            with suppress(Enough):
                default_registry().save(name, arrays, rehearsal, saving)
            return cast("Path", path) if is_elsewhere else rehearsal.result
        with written_to(path, output_storage_options) as output:
            output.need(0 if compress else arrays.nbytes)
            output.needs_digests = digests is not None
            default_registry().save(name, arrays, output, saving)
            _refuse_part_name(output)
            _replace_manifest(output, arrays, digests)
    if opened is not None:
        return cast("Path", path)
    return cast("Path", output.url) if output.url else output.result


def _refuse_several_files(label: str, shard_size: object, manifest: object) -> None:
    """Raise InitregError for options that make several files, of which an open file takes one."""
    for name, given in (("shard_size", shard_size is not None), ("manifest", manifest)):
        if given:
            raise InitregError(
                f"{label}: an open file takes one file. Leave out "
                + option(name, python=name)
                + ", or save to a path or a URL"
            )


def _metadata(
    maps: Sequence[ArrayMap], given: Mapping[str, str] | None, format: str, label: str
) -> dict[str, str]:
    """The metadata to save: that of the sources, with what the user gave.

    Raises:
        InitregError: the user gave some, and the format has no place for it.
    """
    own = {} if given is None else checked(given)
    keepers = default_registry().keeping_metadata()
    if format in keepers:
        # A value that the user gave replaces those of the sources, which may then differ.
        left = (
            (each.label, {k: v for k, v in each.metadata.items() if k not in own}) for each in maps
        )
        return joined(left) | own
    found = {key: None for each in maps for key in each.metadata}
    if not (own or found):
        return {}
    endings = [end for end, name in default_registry().endings().items() if name in keepers]
    others = f", or save as {' or '.join(endings)}" if endings else ""
    if own:
        raise InitregError(
            f"{label}: the format {format!r} has no place for metadata. Leave out "
            + option("metadata", python="metadata")
            + others
        )
    if format in default_registry().savers():  # else the save says so
        labels = " + ".join(dict.fromkeys(each.label for each in maps if each.metadata))
        keys = ", ".join(map(repr, list(found)[:_SHOWN])) + ", ..." * (len(found) > _SHOWN)
        warn(
            f"{label}: the metadata of {labels} is not kept, because the format {format!r} has no "
            f"place for it: {keys}. To keep it, save as {' or '.join(endings) or 'another'}",
            MetadataWarning,
        )
    return {}


def _refuse_unreadable(arrays: Saved, label: str) -> None:
    """Raise InitregError if some arrays cannot be read. The file is not touched then.

    Formats refuse Python objects themselves, whether they can be read or not.
    """
    found = [a for a in arrays.values() if a.spec.unreadable and a.spec.dtype != "object"]
    if found:
        lines = [f"array {a.name!r} cannot be read: " + a.spec.unreadable for a in found[:_SHOWN]]
        lines += [f"and {len(found) - _SHOWN:,} more"] if len(found) > _SHOWN else []
        raise InitregError(
            f"{label}: {plural(len(found), 'array')} of the source cannot be read. Nothing was "
            "written:\n  " + join("\n  ", lines)
        )


def _refuse_part_name(output: Output) -> None:
    """Refuse to save a whole model under the name of one part of several: nothing would open it.

    Raises:
        UnwritableFile: it has such a name. The file is not touched then.
    """
    path = output.result
    part = PartName.of(path.name)
    if part is None or path.name not in output.files:  # the prefix of a checkpoint is no file
        return
    whole = f"{part.stem.rstrip('-_.')}{part.ending}"
    raise UnwritableFile(
        f"{output.label}: by this name it would be one part of {int(part.count):,}, and could not "
        f"be opened without the others. Call it {whole}. For several files, save as .safetensors "
        "with " + option("shard_size", "5GB") + ". Nothing was changed"
    )


def move(source: Path, output: Output) -> None:
    """Save the arrays of files that are not needed afterwards: their format may rename them.

    For savers of trainings, whose library has just written ``source``, under a hidden name in the
    folder of ``output``. What stands under the name of ``output`` stays complete until the new
    files are. ``output.path`` ends in the extension of their format.

    Args:
        source: the files, as :func:`initreg.open` takes them.
        output: the output, in a block of :func:`initreg.storage.output.written`.

    Raises:
        InitregError: the files cannot be read or saved.
    """
    with Opening().open(source) as opened:
        arrays = Saved(opened)
        saving = SaveOptions(move=source)
        default_registry().save(saver_for(output.path), arrays, output, saving)
        _refuse_part_name(output)
        _replace_manifest(output, arrays, None)


def _replace_manifest(output: Output, arrays: Saved, digests: Mapping[str, str] | None) -> None:
    """Remove the manifests of the files that are replaced, and write one if there are digests."""
    real = output.path.name if output.result == Path(output.label) else output.result.name
    for name in {output.path.name, real, *output.obsolete_names}:
        output.outdate(f"{name}{ENDING}")
    if digests is None:
        return
    files = output.digests()
    if not digests and arrays:
        # The format did not write these arrays itself, and may call them otherwise.
        with Opening().open(next(iter(output.files.values()))) as written:
            described = _described(written, digests)
    else:
        described = _described(arrays, digests)
    found = Manifest(files, described)
    output.file_after(f"{real}{ENDING}").write_text(found.to_text(), "utf-8")


def _described(
    arrays: Mapping[str, LazyArray], digests: Mapping[str, str]
) -> dict[str, ArrayDigest]:
    """The digests of arrays, which are read if that was not done while they were saved."""
    described = {}
    for name, array in arrays.items():
        digest = digests.get(name)
        if digest is None:  # it was not streamed
            values = array if array.spec.opaque is None else array.as_bytes()
            digest = digest_of_array(values.read())
        described[name] = ArrayDigest(array.shape, array.spec.dtype, digest)
    return described


def path_text(path: Any) -> str:
    """A path, or a URL that may be a UPath, as text."""
    return str(path) if is_remote(path) else os.fspath(path)


def saver_for(path: Any) -> str:
    """The format that the extension of a path asks for, or that of the name of an open file.

    A training step is not part of the extension: that of ``model.ckpt-1000`` is ``.ckpt``.

    Raises:
        UnknownFormat: no format has this extension.
    """
    endings = default_registry().endings()
    opened = destination_of(path)
    text = path_text(path) if opened is None else opened.name
    name = _STEP.sub("", Path(text).name.lower())
    fitting = [ending for ending in endings if name.endswith(ending)]
    if not fitting and opened is not None:
        raise UnknownFormat(
            f"{opened.label}: its name does not say in which format to save. Name the format: "
            f"{', '.join(sorted(set(endings.values())))}"
        )
    if not fitting:
        raise UnknownFormat(
            f"{text}: no format has this file extension. Use {' or '.join(endings)}, "
            f"or name the format: {', '.join(sorted(set(endings.values())))}"
        )
    return endings[max(fitting, key=len)]


def _size_text(size: int | str) -> str:
    """A size as text. An integer of thousands of digits, which Python refuses to write, is none."""
    try:
        return str(size).strip().upper()
    except ValueError:
        return ""


def size_in_bytes(size: int | str | None) -> int | None:
    """A size in bytes. ``"5GB"`` is 5,000,000,000, and ``"5GiB"`` is 5 x 1024**3.

    Raises:
        InitregError: it is not a size.
    """
    if size is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?|)B?", _size_text(size))
    number = float(found[1]) * _UNITS[found[2]] if found else 0
    count = int(number) if math.isfinite(number) else 0
    if count <= 0:
        raise InitregError(
            option("shard_size", size) + " is not a size: give a number of bytes, or '5GB'"
        )
    return count
