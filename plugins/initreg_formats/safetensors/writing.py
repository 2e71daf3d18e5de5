"""Writing safetensors: one file, or several and the index that names them.

Arrays whose length is a multiple of 64 bytes come first, and each begins at such a multiple: the
header is padded, as the format allows. The others follow, wide elements before narrow ones, so that
each is aligned for its dtype.

Source of the rules: ``safetensors/src/tensor.rs`` of the reference library. For the names of shards
and for the index: what ``huggingface_hub`` writes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from initreg import ArraySpec, InitregError, Output, Saved, SaveOptions, Source
from initreg.format_tools.indexes import weight_map
from initreg.option_spelling import option
from initreg_formats.safetensors.claiming import INDEX_SUFFIX, LONGEST_HEADER, METADATA, SUFFIX
from initreg_formats.safetensors.dtypes import NAMES, OPAQUE
from initreg_formats.shared.refusing import dtype_problem, name_problem, refuse

_SHARD = r"(\.\d+)?-\d{5,}-of-\d{5,}\.safetensors"  # after the base
_MOST_INDICES = 1000  # of other models in the folder, which are read
_ALIGNMENT = 64  # bytes


def save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    """Write ``arrays`` to one file, or to several files and an index.

    ``options.shard_size`` counts the bytes of the arrays, without headers, as Hugging Face does.
    Raises InitregError for names and dtypes that the format does not have.
    """
    name = output.path.name
    if options.compress:
        raise InitregError(
            f"{output.label}: safetensors are never compressed. Leave out "
            + option("compress", python="compress")
            + ", or save as .npz"
        )
    if name.lower().endswith(INDEX_SUFFIX):
        base = name[: -len(INDEX_SUFFIX)]
        raise InitregError(
            f"{output.label}: an index is not saved by itself. Give {base + SUFFIX!r} with a "
            + option("shard_size", python="shard_size")
            + ", and the index gets this name"
        )
    specs = [array.spec for array in arrays.values()]
    refuse({spec.name: _problem(spec) for spec in specs}, SUFFIX, output.label)
    base = name[: -len(SUFFIX)] if name.lower().endswith(SUFFIX) else name
    index = f"{base}{INDEX_SUFFIX}"
    shards = _shards(specs, options.shard_size)
    old = [] if output.is_free(index) else _shards_of_index(output.folder / index, base)
    like = [index, *old]
    if len(shards) == 1:
        _write(arrays, shards[0], output, output.file(like=like))
        output.obsolete(index)  # before its shards, without which it cannot be used
    else:
        names = _free_names(output, base, len(shards))
        for file, shard in zip(names, shards, strict=True):
            _write(arrays, shard, output, output.file(file, like))
        text = _index(names, shards, arrays.metadata)
        output.file(index, like).write_text(text, "utf-8")
        output.result = _beside(output, index)
        output.obsolete(name)
    for file in old:
        output.obsolete(file)


def _problem(spec: ArraySpec) -> str:
    """Why the format cannot store the array, and what to do; ``""`` if it can."""
    is_ours = spec.opaque is not None and spec.dtype in OPAQUE
    problem = "" if is_ours else dtype_problem(spec, SUFFIX)
    if problem:
        return problem
    if spec.name == METADATA:
        return "the format keeps that name for itself. Rename it"
    return name_problem(spec.name)


def _index(
    names: Sequence[str], shards: Sequence[Sequence[ArraySpec]], metadata: Mapping[str, str]
) -> str:
    """The index, as Hugging Face writes it, in the order of the arrays.

    ``total_size`` is the one of the index. Metadata of that name is in the shards alone.
    """
    size = {"total_size": sum(_size(spec) for shard in shards for spec in shard)}
    content = {
        "metadata": {**metadata, **size},
        "weight_map": {
            spec.name: name for name, shard in zip(names, shards, strict=True) for spec in shard
        },
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _beside(output: Output, name: str) -> Path:
    """The path of another file in the output's folder, as the user would spell it. If the user gave
    a link, the file lies beside the file that the link points to."""
    given = Path(output.label)
    if os.path.realpath(given.parent) == str(output.folder):
        return given.with_name(name)
    return output.folder / name


def _size(spec: ArraySpec) -> int:
    assert spec.nbytes is not None  # only strings have no size, and the format has no strings
    return spec.nbytes


def _shards(specs: Sequence[ArraySpec], most: int | None) -> list[list[ArraySpec]]:
    """The arrays of each file, in their order. An array larger than ``most`` gets its own file."""
    shards: list[list[ArraySpec]] = [[]]
    size = 0
    for spec in specs:
        if most is not None and shards[-1] and size + _size(spec) > most:
            shards.append([])
            size = 0
        shards[-1].append(spec)
        size += _size(spec)
    return shards


def _free_names(output: Output, base: str, count: int) -> list[str]:
    """Names for the shards that are all free. Existing shards are in use until the new index takes
    the place of the old one."""
    attempt = 0
    while True:
        stem = f"{base}.{attempt}" if attempt else base
        names = [f"{stem}-{i:05d}-of-{count:05d}{SUFFIX}" for i in range(1, count + 1)]
        if all(map(output.is_free, names)):
            return names
        attempt += 1


def _shards_of_index(path: Path, base: str) -> list[str]:
    """The shards that the previous save of this model left. Empty if the file is not an index.

    An index may be a copy of another model's, or come from a stranger. So a file that is not named
    like a shard of this model is left alone, and so is one that another index names.
    """
    shard = re.compile(re.escape(base) + _SHARD, re.IGNORECASE | re.DOTALL)
    names = {
        name
        for name in _named_by(path)
        if shard.fullmatch(name) and name == Path(name).name and (path.parent / name).is_file()
    }
    if names:
        others = [
            each
            for each in os.listdir(path.parent)
            # A hidden one is of a save that is running or was killed.
            if each.lower().endswith(INDEX_SUFFIX) and not each.startswith(".")
        ]
        for other in others[:_MOST_INDICES]:
            if other != path.name:
                names -= _named_by(path.parent / other)
        if len(others) > _MOST_INDICES:
            return []
    return sorted(names)


def _named_by(index: Path) -> set[str]:
    """The files that an index names. Empty if it is not one."""
    try:
        found = weight_map(Source(index)).values()
    except InitregError:
        return set()
    return {name for name in found if isinstance(name, str)}


def _write(arrays: Saved, specs: Sequence[ArraySpec], output: Output, path: Path) -> None:
    """Write one file. Raises InitregError if its header would be too long."""
    import numpy as np

    offsets: dict[str, int] = {}
    end = 0
    for spec in sorted(specs, key=lambda s: (_size(s) % _ALIGNMENT > 0, -_itemsize(s))):
        offsets[spec.name] = end
        end += _size(spec)
    fields: dict[str, Any] = {METADATA: arrays.metadata} if arrays.metadata else {}
    for spec in specs:
        fields[spec.name] = {
            "dtype": spec.dtype if spec.opaque is not None else NAMES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [offsets[spec.name], offsets[spec.name] + _size(spec)],
        }
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    if len(text) > LONGEST_HEADER:
        raise InitregError(
            f"{output.label}: {len(specs):,} arrays need a header of {len(text):,} bytes, with "
            f"their metadata, and safetensors have at most {LONGEST_HEADER:,}. Give "
            + option("shard_size", python="shard_size")
            + ", or save as .ckpt"
        )
    begin = at = 8 + len(text)
    with output.opened(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, values in arrays.stream(*offsets, opaque=True) if offsets else ():
            if at != begin + offsets[name]:  # not always, because seeking empties the buffer
                at = file.seek(begin + offsets[name])
            at += file.write(values.reshape(-1).view(np.uint8).data if values.size else b"")
            del values


def _itemsize(spec: ArraySpec) -> int:
    """Bytes of one element; 0 for an empty array, where it does not matter."""
    count = 1
    for axis in spec.shape:
        count *= axis
    return _size(spec) // count if count else 0
