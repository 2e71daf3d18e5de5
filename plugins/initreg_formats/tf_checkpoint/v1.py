"""The checkpoints of 2015 and 2016, V1: tables whose values are the tensors. TensorFlow's own
reader opens them.

Source: TensorFlow's core/util/saved_tensor_slice.proto and core/util/tensor_slice_reader.cc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from initreg import DamagedFile, MissingLibrary, OpenOptions, Source
from initreg_formats.tf_checkpoint.entry import DTYPES
from initreg_formats.tf_checkpoint.leveldb import Table

_PART = re.compile(r"(.+)-(?:\d{5}|\?{5})-of-(\d{5})")


def parts(path: Path) -> list[Path]:
    """The files of the checkpoint that ``path`` is one file of. Raises DamagedFile if one of them
    is missing."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match[2])
    files = [path.with_name(f"{match[1]}-{n:05d}-of-{match[2]}") for n in range(count)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise DamagedFile(
            f"{path}: {len(missing)} of the {count} files missing: {', '.join(missing[:5])}"
        )
    return files


def open_v1(path: Path, options: OpenOptions) -> Mapping[str, Any]:
    """Every variable by its name. Raises MissingLibrary, DamagedFile."""
    files = parts(path)
    for file in files if options.verify else ():  # TensorFlow's reader trusts what it reads
        with Table(Source(file), verify=True) as table:
            table.check()
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingLibrary(
            "format 'tf_checkpoint'", "tensorflow", "pip install 'initreg[tensorflow]'"
        ) from error
    return _Arrays(tf, path, _pattern(path))


def _pattern(path: Path) -> str:
    """The path as TensorFlow's file pattern that matches it, and its other parts, alone."""
    match = _PART.fullmatch(path.name)
    name = path.name if match is None else match[1]
    escaped = re.sub(r"([*?\[\]\\])", r"\\\1", str(path.with_name(name)))
    return escaped if match is None else f"{escaped}-?????-of-{match[2]}"


class _Array:
    """One variable, read when it is asked for."""

    def __init__(self, owner: _Arrays, name: str, shape: tuple[int, ...], dtype: str) -> None:
        self.shape = shape
        self.dtype = dtype
        self._owner = owner
        self._name = name

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._owner.read(self._name, self.shape)


class _Arrays(Mapping[str, _Array]):
    def __init__(self, tf: Any, path: Path, pattern: str) -> None:
        self._tf = tf
        self._path = path
        self._pattern = pattern
        try:
            self._reader = tf.train.load_checkpoint(pattern)
            shapes = self._reader.get_variable_to_shape_map()
            self._dtypes = self._reader.get_variable_to_dtype_map()
        except (tf.errors.OpError, ValueError, RuntimeError) as error:
            raise DamagedFile(f"{path}: TensorFlow cannot open it: {error}") from error
        self._arrays = {
            name: _Array(
                self, name, tuple(shapes[name]), DTYPES[self._dtypes[name].as_datatype_enum]
            )
            for name in sorted(shapes)
        }

    def __getitem__(self, name: str) -> _Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def read(self, name: str, shape: tuple[int, ...]) -> Any:
        """The values of one variable. Raises DamagedFile."""
        import numpy as np

        tf = self._tf
        try:
            return np.asarray(self._reader.get_tensor(name))  # a 0-d one comes as a scalar
        except (tf.errors.OpError, ValueError, RuntimeError):
            pass  # it reads neither slices nor half floats; the op that restores them does
        spec = ""
        if shape:
            spec = f"{' '.join(map(str, shape))} {':'.join('-' for _ in shape)}"
        # A graph of its own: nothing is added to the caller's.
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            try:
                restored = tf.raw_ops.RestoreSlice(
                    file_pattern=self._pattern,
                    tensor_name=name,
                    shape_and_slice=spec,
                    dt=self._dtypes[name],
                )
                return np.asarray(session.run(restored))
            except (tf.errors.OpError, ValueError, RuntimeError) as error:
                raise DamagedFile(
                    f"{self._path}: TensorFlow cannot read array {name!r}: {error}"
                ) from error
