"""Writing a V2 checkpoint without TensorFlow: first the data file, then the index.

The checkpoint is name-based, as ``tf.compat.v1.train.Saver`` writes it: an array's key is its name.
If an object-based checkpoint is read and written again, its variables keep the names that initreg
gives them, without ``/.ATTRIBUTES/VARIABLE_VALUE``, and the object graph is lost.

Source: TensorFlow's core/protobuf/tensor_bundle.proto and core/util/tensor_bundle/.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from initreg import InitregError, Source, UnwritableFile
from initreg.option_spelling import option
from initreg_formats.shared.protobuf import encode_bytes, encode_number, encode_varint
from initreg_formats.shared.refusing import dtype_problem, name_problem, refuse
from initreg_formats.shared.tf_dtypes import DTYPES, STRING
from initreg_formats.tf_checkpoint import bundle, graph, leveldb
from initreg_formats.tf_checkpoint.table import mask, write_table

if TYPE_CHECKING:
    import numpy as np

    from initreg import ArraySpec, Output, Saved, SaveOptions

_INDEX = ".index"
_ALIGNMENT = 64  # bytes; TensorFlow and numpy want memory so, and the file may be mapped
_MOST_AXES = 32  # as many as are read
_PRODUCER = 1  # kTensorBundleVersion
_NUMBERS = {name: number for number, name in DTYPES.items()}


def save_bundle(arrays: Saved, output: Output, options: SaveOptions) -> None:
    """Write ``arrays`` to the files of a prefix, and set ``output.result`` to the prefix.

    Every array begins at a multiple of 64 bytes of the data file. If a checkpoint exists already,
    the new data file gets a free name, so that the old checkpoint is complete until the new one is.
    Raises InitregError for names and dtypes that a checkpoint does not have. With
    ``options.move`` the data files of another checkpoint become those of this one.
    """
    if options.move is not None:
        _move(options.move, output)
        return
    if options.compress or options.shard_size is not None:
        name = "compress" if options.compress else "shard_size"
        other = ".npz" if options.compress else ".safetensors"
        raise InitregError(
            f"{output.label}: a TensorFlow checkpoint is neither compressed nor split. Leave out "
            + option(name, python=name)
            + f", or save as {other}"
        )
    stem = _stem(output)
    problems = {name: _problem(array.spec) for name, array in arrays.items()}
    refuse(problems, "a TensorFlow checkpoint", output.label)
    shards = _free_names(output, stem)
    index = f"{stem}{_INDEX}"
    like = [index, *_data_files(output.folder, stem)]
    data = output.file(shards[0], like)
    for name in shards[1:]:
        output.file(name, like)
    with output.opened(data) as file:
        entries = {name.encode(): entry for name, entry in _write_arrays(arrays, file, output)}
    with open(output.file(index, like), "wb") as file:
        write_table(file, [(b"", _header(len(shards))), *sorted(entries.items())])
    for name in _data_files(output.folder, stem):
        if name not in shards:
            output.obsolete(name)
    output.result = _result(output, stem)


def _move(prefix: Path, output: Output) -> None:
    """Give the files of the checkpoint ``prefix``, in the folder of ``output``, the names of
    ``output``.

    Everything that the index lists stays as it is, also what is not an array. The data files get
    free names, as in :func:`save_bundle`. The number of files is part of these names and of the
    header, so the index is written again if that number changes.
    """
    stem = _stem(output)
    index = Path(f"{prefix}{_INDEX}")
    with leveldb.Table(Source(index), verify=True) as table:
        entries = list(table.entries())
    count = bundle.shards_of(entries, str(index))
    shards = _free_names(output, stem, count)
    like = [f"{stem}{_INDEX}", *_data_files(output.folder, stem)]
    for number, name in enumerate(shards):
        data = Path(f"{prefix}.data-{number:05d}-of-{count:05d}")
        if number < count and data.exists():  # TensorFlow makes none for a shard without arrays
            output.take(data, name, like)
        else:
            output.file(name, like)
    if len(shards) == count:
        output.take(index, f"{stem}{_INDEX}", like)
    else:
        header = entries[0][1] + encode_number(1, len(shards))  # the last value of a field counts
        with open(output.file(f"{stem}{_INDEX}", like), "wb") as file:
            write_table(file, [(bundle.HEADER_KEY, header), *entries[1:]])
    for name in _data_files(output.folder, stem):
        if name not in shards:
            output.obsolete(name)
    output.result = _result(output, stem)


def _stem(output: Output) -> str:
    """The last part of the prefix. Raises UnwritableFile."""
    name = output.path.name
    if os.path.isdir(output.path):
        raise UnwritableFile(
            f"{output.label}: is a folder. Give the prefix of the checkpoint's files, such as "
            f"{os.path.join(output.label, 'model.ckpt')!r}"
        )
    if not output.label.endswith(_INDEX) or name == _INDEX:
        return name
    if os.path.islink(output.label):
        raise UnwritableFile(
            f"{output.label}: is a link, and the checkpoint's other files are named differently "
            f"where it leads. Give the prefix {output.label.removesuffix(_INDEX)!r} to replace the "
            "link"
        )
    return name.removesuffix(_INDEX)


def _result(output: Output, stem: str) -> Path:
    """The path that opens the checkpoint: its prefix, or its index if another file has the name of
    the prefix."""
    # If the prefix was a link, the output followed it. Opening a prefix does not follow links.
    given = output.path if os.path.islink(output.label) else Path(output.label)
    prefix = given.with_name(stem)
    if not prefix.exists():
        return prefix
    first = leveldb.first_entry(Source(prefix))
    if first is not None and not first[0]:  # a V1 checkpoint in one file, which this one replaces
        output.obsolete(stem)
        return prefix
    return prefix.with_name(f"{stem}{_INDEX}")


def _data_files(folder: Path, stem: str) -> list[str]:
    """The data files of an existing checkpoint, and those that killed saves left."""
    pattern = re.compile(re.escape(stem) + r"\.data-\d{5,}-of-\d{5,}", re.DOTALL)
    return [name for name in os.listdir(folder) if pattern.fullmatch(name)]


def _free_names(output: Output, stem: str, count: int = 1) -> list[str]:
    """Names for the data files, all of them free, as few as possible, and at least ``count``. The
    arrays lie in the first ``count`` files.

    The names contain the number of files, so another number gives new names. The other files are
    empty. TensorFlow does not open them, but a tool that copies checkpoints may look for all files
    that the index counts.
    """
    while True:
        names = [f"{stem}.data-{n:05d}-of-{count:05d}" for n in range(count)]
        if all(map(output.is_free, names)):
            return names
        count += 1


def _problem(spec: ArraySpec) -> str:
    """Why a checkpoint cannot store the array, and what to do; ``""`` if it can."""
    problem = dtype_problem(spec, ".ckpt")
    if problem:
        return problem
    name, axes = spec.name, len(spec.shape)
    if axes > _MOST_AXES:
        return f"it has {axes} axes, and at most {_MOST_AXES} are possible. Save as .npz"
    if not name:
        return "its name is empty, and that is the key of the index's header. Rename it"
    if graph.is_bookkeeping(name):
        return "checkpoints keep that name for their own records. Rename or drop it"
    return name_problem(name)


class _Place(NamedTuple):
    """Where bytes lie in the data file, and their crc32c."""

    offset: int
    size: int
    crc: int


def _write_arrays(arrays: Saved, file: BinaryIO, output: Output) -> Iterator[tuple[str, bytes]]:
    """Write each array as it comes, and yield its name and its entry in the index."""
    from fastcrc import crc32

    end = 0
    for name, values in arrays.stream():
        number = _NUMBERS[arrays[name].spec.dtype]
        shape = values.shape
        padding = -end % _ALIGNMENT
        if padding:
            file.write(bytes(padding))
            end += padding
        if number == STRING:
            stored, crc = _strings(name, values, output.label)
            file.write(stored)
            size = len(stored)
        else:
            # As bytes, because neither Python nor the checksum takes a buffer of bfloat16.
            raw = _as_bytes(values)
            file.write(raw)
            crc = crc32.iscsi(raw)
            size = raw.nbytes
            del raw
        del values  # before the next one is asked for
        yield name, _entry(number, shape, _Place(end, size, crc))
        end += size


def _as_bytes(values: np.ndarray[Any, Any]) -> Any:
    """A view of the array, or of a copy of it if it is not in C order."""
    import numpy as np

    return values.reshape(-1).view(np.uint8)


def _strings(name: str, values: np.ndarray[Any, Any], label: str) -> tuple[bytes, int]:
    """Strings as they are stored (``strings`` reads them), and their checksum, which covers the
    lengths as integers."""
    from fastcrc import crc32

    order: Any = sys.byteorder
    strings = [_encoded(element, name, label) for element in values.reshape(-1).tolist()]
    lengths = [len(string) for string in strings]
    spelt = b"".join(n.to_bytes(4 if n < 1 << 32 else 8, order) for n in lengths)
    crc = crc32.iscsi(spelt)
    body = b"".join((mask(crc).to_bytes(4, order), *strings))
    crc = crc32.iscsi(body, crc)
    return b"".join(map(encode_varint, lengths)) + body, crc


def _encoded(element: Any, name: str, label: str) -> bytes:
    if isinstance(element, bytes):
        return element
    try:
        if isinstance(element, str):
            return element.encode()
        problem = f"{element!r}, which is neither bytes nor str"
    except UnicodeEncodeError:
        problem = f"{element!r}, which is not valid Unicode"
    raise InitregError(f"{label}: array {name!r} holds {problem}. Nothing was written")


def _header(shards: int) -> bytes:
    """A ``BundleHeaderProto``."""
    version = encode_number(1, _PRODUCER)
    endianness = int(sys.byteorder == "big")
    return encode_number(1, shards) + encode_number(2, endianness) + encode_bytes(3, version)


def _entry(number: int, shape: tuple[int, ...], place: _Place) -> bytes:
    """A ``BundleEntryProto``. The number of the data file is left out, because it is 0."""
    axes = b"".join(encode_bytes(2, encode_number(1, axis)) for axis in shape)
    where = encode_number(4, place.offset) + encode_number(5, place.size)
    crc = mask(place.crc).to_bytes(4, "little")
    return encode_number(1, number) + encode_bytes(2, axes) + where + b"\x35" + crc  # 6, fixed32
