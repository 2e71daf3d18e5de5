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
from collections.abc import Sequence
from pathlib import Path

from initreg import ArraySpec, InitregError, Output, Saved, SaveOptions
from initreg.option_spelling import option
from initreg_formats.safetensors.claiming import INDEX_SUFFIX, LONGEST_HEADER, SUFFIX
from initreg_formats.safetensors.dtypes import NAMES
from initreg_formats.shared.parts import LONGEST_INDEX
from initreg_formats.shared.refusing import OBJECTS, name_problem, refuse

_SHARD = re.compile(r"-\d{5,}-of-\d{5,}\.safetensors$", re.IGNORECASE)
_ALIGNMENT = 64  # bytes
_BUFFER = 1 << 18  # bytes; larger arrays are written without a copy


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
    old = [] if output.is_free(index) else _shards_of_index(output.folder / index)
    if len(shards) == 1:
        _write(arrays, shards[0], output.file(), output.label)
        output.obsolete(index)  # before its shards, without which it cannot be used
    else:
        names = _free_names(output, base, len(shards))
        for file, shard in zip(names, shards, strict=True):
            _write(arrays, shard, output.file(file), output.label)
        output.file(index).write_text(_index(names, shards), "utf-8")
        output.result = _beside(output, index)
        output.obsolete(name)
    for file in old:
        output.obsolete(file)


def _problem(spec: ArraySpec) -> str:
    """Why the format cannot store the array, and what to do; ``""`` if it can."""
    if spec.dtype == "object":
        return OBJECTS
    if spec.dtype not in NAMES:
        return (
            f"its dtype is {spec.dtype}, which the format does not have. Cast or drop it, or save "
            "as .ckpt"
        )
    if spec.name == "__metadata__":
        return "the format keeps that name for itself. Rename it"
    return name_problem(spec.name)


def _index(names: Sequence[str], shards: Sequence[Sequence[ArraySpec]]) -> str:
    """The index, as Hugging Face writes it, in the order of the arrays."""
    content = {
        "metadata": {"total_size": sum(_size(spec) for shard in shards for spec in shard)},
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


def _shards_of_index(path: Path) -> list[str]:
    """The shards in its folder that an existing index names. Empty if the file is not an index.

    A file that is not named like a shard may belong to somebody else, so it is left alone.
    """
    try:
        if path.stat().st_size > LONGEST_INDEX:
            return []
        names = set(json.loads(path.read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    return sorted(
        name
        for name in names
        if isinstance(name, str)
        and _SHARD.search(name)
        and name == Path(name).name
        and (path.parent / name).is_file()
    )


def _write(arrays: Saved, specs: Sequence[ArraySpec], path: Path, label: str) -> None:
    """Write one file. Raises InitregError if its header would be too long."""
    import numpy as np

    offsets: dict[str, int] = {}
    end = 0
    for spec in sorted(specs, key=lambda s: (_size(s) % _ALIGNMENT > 0, -_itemsize(s))):
        offsets[spec.name] = end
        end += _size(spec)
    fields = {
        spec.name: {
            "dtype": NAMES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [offsets[spec.name], offsets[spec.name] + _size(spec)],
        }
        for spec in specs
    }
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    if len(text) > LONGEST_HEADER:
        raise InitregError(
            f"{label}: {len(specs):,} arrays need a header of {len(text):,} bytes, and safetensors "
            f"have at most {LONGEST_HEADER:,}. Give "
            + option("shard_size", python="shard_size")
            + ", or save as .ckpt"
        )
    begin = at = 8 + len(text)
    with open(path, "wb", _BUFFER) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, values in arrays.stream(*offsets) if offsets else ():
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
