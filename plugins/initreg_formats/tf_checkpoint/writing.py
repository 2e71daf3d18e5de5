"""Writing a V2 checkpoint, without TensorFlow: a data file, then the index that makes it one.

It is name-based, as ``tf.compat.v1.train.Saver`` writes it: an array's key is its name. One that
was object-based, written again, keeps the names that initreg gives it, without the ending
``/.ATTRIBUTES/VARIABLE_VALUE``, and has no object graph any more.

Source: TensorFlow's core/protobuf/tensor_bundle.proto and core/util/tensor_bundle/.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from initreg import InitregError, Source, UnwritableFile
from initreg_formats.tf_checkpoint import graph, leveldb
from initreg_formats.tf_checkpoint.entry import DTYPES, STRING
from initreg_formats.tf_checkpoint.proto import encode_bytes, encode_number, encode_varint
from initreg_formats.tf_checkpoint.table import mask, write_table

if TYPE_CHECKING:
    import numpy as np

    from initreg import LazyArray, Output, Saved, SaveOptions

_INDEX = ".index"
_ALIGNMENT = 64  # bytes: what TensorFlow and numpy want of memory, so that a mapped file can serve
_BUFFER = 1 << 18  # bytes; what is larger is written from where it lies
_MOST_AXES = 32  # as many as are read
_SHOWN = 10
_PRODUCER = 1  # kTensorBundleVersion
_QUANTISED = range(11, 17)  # qint8 to quint16, but for the 14: numpy has no dtypes of their own
_NUMBERS = {name: n for n, name in DTYPES.items() if n not in _QUANTISED or name == "bfloat16"}


def save_bundle(arrays: Saved, output: Output, options: SaveOptions) -> None:
    """Write ``arrays`` to the files of a prefix, and let ``output.result`` be the prefix.

    Every array begins at a multiple of 64 bytes of the data file. Where a checkpoint stands, the
    new data file gets a name that is free, so that the old one is whole until the new one is.
    Raises InitregError for names and dtypes that a checkpoint does not have.
    """
    if options.compress or options.shard_size is not None:
        asked = "compress" if options.compress else "shard_size"
        raise InitregError(
            f"{output.label}: a TensorFlow checkpoint is neither compressed nor split, so leave "
            f"out {asked}, or save as .npz, which is compressed, or .safetensors, which is split"
        )
    stem = _stem(output)
    _check(arrays, output.label)
    shards = _free_names(output, stem)
    data = output.file(shards[0])
    for name in shards[1:]:
        output.file(name)
    with open(data, "wb", _BUFFER) as file:
        entries = {name.encode(): entry for name, entry in _write_arrays(arrays, file, output)}
    with open(output.file(f"{stem}{_INDEX}"), "wb") as file:
        write_table(file, [(b"", _header(len(shards))), *sorted(entries.items())])
    for name in _data_files(output.folder, stem):
        if name not in shards:
            output.obsolete(name)
    output.result = _result(output, stem)


def _stem(output: Output) -> str:
    """The last part of the prefix. Raises UnwritableFile."""
    name = output.path.name
    if os.path.isdir(output.path):
        raise UnwritableFile(
            f"{output.label}: is a folder, and a checkpoint is called by the prefix of its files: "
            f"{os.path.join(output.label, 'model.ckpt')!r}"
        )
    if not output.label.endswith(_INDEX) or name == _INDEX:
        return name
    if os.path.islink(output.label):
        raise UnwritableFile(
            f"{output.label}: is a link, but the checkpoint's other files have other names there. "
            f"Give the prefix, {output.label.removesuffix(_INDEX)!r}, to replace the link"
        )
    return name.removesuffix(_INDEX)


def _result(output: Output, stem: str) -> Path:
    """What opens the checkpoint: the prefix, or the index where the prefix is another file."""
    # What is a link was followed, and nobody who opens a prefix does so.
    given = output.path if os.path.islink(output.label) else Path(output.label)
    prefix = given.with_name(stem)
    if not prefix.exists():
        return prefix
    first = leveldb.first_entry(Source(prefix))
    if first is not None and not first[0]:  # a checkpoint in one file, V1, of which this is the new
        output.obsolete(stem)
        return prefix
    return prefix.with_name(f"{stem}{_INDEX}")


def _data_files(folder: Path, stem: str) -> list[str]:
    """The data files of the checkpoint that stands there, and of saves that were killed."""
    pattern = re.compile(re.escape(stem) + r"\.data-\d{5,}-of-\d{5,}", re.DOTALL)
    return [name for name in os.listdir(folder) if pattern.fullmatch(name)]


def _free_names(output: Output, stem: str) -> list[str]:
    """The names of as few data files as are all free. The arrays lie in the first.

    The number of files is in their names, so it tells the new ones from the old. The others are
    empty: TensorFlow opens none that it reads nothing from, but whoever copies a checkpoint may
    look for all that the index counts.
    """
    count = 1
    while True:
        names = [f"{stem}.data-{n:05d}-of-{count:05d}" for n in range(count)]
        if all(map(output.is_free, names)):
            return names
        count += 1


def _check(arrays: Mapping[str, LazyArray], label: str) -> None:
    """Raise one InitregError for all arrays that a checkpoint has no place for."""
    problems = [
        f"{name!r}: {problem}"
        for name, array in arrays.items()
        if (problem := _problem(name, array.spec.dtype, array.ndim))
    ]
    if problems:
        more = f"\n  and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
        raise InitregError(
            f"{label}: a TensorFlow checkpoint has no place for {len(problems):,} of the arrays, "
            "and nothing was written. Cast, rename or drop them:\n  "
            + "\n  ".join(problems[:_SHOWN])
            + more
        )


def _problem(name: str, dtype: str, axes: int) -> str:
    if dtype not in _NUMBERS:
        return f"TensorFlow has no dtype {dtype}"
    if axes > _MOST_AXES:
        return f"{axes} axes; {_MOST_AXES} are the most"
    if not name:
        return "its name is empty, which is the key of the index's header"
    if graph.is_bookkeeping(name):
        return "a name that checkpoints keep for their own records, not a variable's"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is no valid Unicode"
    return ""


class _Place(NamedTuple):
    """Where bytes lie in the data file, and their crc32c."""

    offset: int
    size: int
    crc: int


def _write_arrays(arrays: Saved, file: BinaryIO, output: Output) -> Iterator[tuple[str, bytes]]:
    """Write each array as it comes; give its name and its entry."""
    import google_crc32c

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
            # As bytes: neither Python nor the checksum knows the buffer of a bfloat16.
            raw = _as_bytes(values)
            file.write(raw)
            crc = google_crc32c.extend(0, raw)
            size = raw.nbytes
            del raw
        del values  # before the next one is asked for
        yield name, _entry(number, shape, _Place(end, size, crc))
        end += size


def _as_bytes(values: np.ndarray[Any, Any]) -> Any:
    """A view of the array, or of a copy if it is not in C order."""
    import numpy as np

    return values.reshape(-1).view(np.uint8)


def _strings(name: str, values: np.ndarray[Any, Any], label: str) -> tuple[bytes, int]:
    """Strings as they are stored, and their checksum, which covers the lengths as integers:
    ``strings`` reads them."""
    import google_crc32c

    order: Any = sys.byteorder
    strings = [_encoded(element, name, label) for element in values.reshape(-1).tolist()]
    lengths = [len(string) for string in strings]
    spelt = b"".join(n.to_bytes(4 if n < 1 << 32 else 8, order) for n in lengths)
    crc = google_crc32c.value(spelt)
    body = b"".join((mask(crc).to_bytes(4, order), *strings))
    crc = google_crc32c.extend(crc, body)
    return b"".join(map(encode_varint, lengths)) + body, crc


def _encoded(element: Any, name: str, label: str) -> bytes:
    if isinstance(element, bytes):
        return element
    try:
        if isinstance(element, str):
            return element.encode()
        problem = f"{element!r}, which is neither bytes nor str"
    except UnicodeEncodeError:
        problem = f"{element!r}, which is no valid Unicode"
    raise InitregError(f"{label}: array {name!r} holds {problem}; nothing was written")


def _header(shards: int) -> bytes:
    """A ``BundleHeaderProto``."""
    version = encode_number(1, _PRODUCER)
    endianness = int(sys.byteorder == "big")
    return encode_number(1, shards) + encode_number(2, endianness) + encode_bytes(3, version)


def _entry(number: int, shape: tuple[int, ...], place: _Place) -> bytes:
    """A ``BundleEntryProto``. The file is the first, 0, so its number is not spelt."""
    axes = b"".join(encode_bytes(2, encode_number(1, axis)) for axis in shape)
    where = encode_number(4, place.offset) + encode_number(5, place.size)
    crc = mask(place.crc).to_bytes(4, "little")
    return encode_number(1, number) + encode_bytes(2, axes) + where + b"\x35" + crc  # 6, fixed32
