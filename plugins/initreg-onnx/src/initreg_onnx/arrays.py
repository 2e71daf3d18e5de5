"""Where the bytes of each tensor are: extents, or objects that unpack what extents cannot say."""

from __future__ import annotations

import math
import re
from contextlib import ExitStack
from typing import Any

import numpy as np
from initreg import (
    Automatic,
    DamagedFile,
    DuplicateName,
    Extent,
    InitregError,
    OpaqueExtent,
    OpenOptions,
    RefusedFile,
    Source,
)
from initreg.dtypes import to_numpy
from initreg.format_tools.protobuf import Fault, Wire
from initreg.format_tools.values import Computed, OpaqueDtype, Unreadable

from initreg_onnx.external import Files, Place
from initreg_onnx.model import Model, Tensor
from initreg_onnx.packing import Unpackable, typed, unpacked
from initreg_onnx.types import DOUBLES, FLOATS, STRINGS, TYPES, Type

Array = np.ndarray[Any, Any]

# The names that torch.onnx gives to what it computed from several weights, or transposed.
_AUTOMATIC = re.compile(r"onnx::\w+_\d+")

_SHARED = 4  # how many times its size a file is read, as initreg has it for extents
_JUSTIFIED = 64 << 20  # bytes that may be read in any case


class Arrays(dict[str, Any]):
    """What initreg gets: names to arrays. It keeps the files open.

    Args:
        parameters: the initializers of the outermost graph.
        metadata: the notes of the model, and who made it.
        not_arrays: what else holds tensors, and is not read.
        kernel_axes: the order of the axes of what nodes multiply, by name.
    """

    def __init__(self, files: Files) -> None:
        super().__init__()
        self._files = files
        self.parameters: tuple[str, ...] = ()
        self.metadata: dict[str, str] = {}
        self.not_arrays: tuple[str, ...] = ()
        self.kernel_axes: dict[str, str] = {}

    def close(self) -> None:
        self._files.close()


def open_model(source: Source, options: OpenOptions) -> Arrays:
    """Every tensor by name. Raises DamagedFile, RefusedFile or DuplicateName."""
    if source.path is None:
        raise InitregError(f"{source.label} is not a file")
    if not source.exists:
        raise source.not_found()
    files = Files(source, options)
    arrays = Arrays(files)
    with ExitStack() as on_error:
        on_error.callback(files.close)
        try:
            model = Model(Wire(files.open(source), source.size))
        except Fault as error:
            raise DamagedFile(
                f"{source.label}: as an ONNX model, it {error}. The file is damaged, or is not "
                "one. Download or copy it again"
            ) from error
        maker = _Maker(files, options)
        for tensor in model.tensors:
            if tensor.name in arrays:
                raise DuplicateName(f"{source.label}: two tensors are called {tensor.name!r}")
            arrays[tensor.name] = maker.make(tensor)
        if maker.packed > _SHARED * files.size + _JUSTIFIED:
            raise DamagedFile(
                f"{source.label}: its arrays of less than 8 bits take {maker.packed:,} bytes of "
                f"its files, which have only {files.size:,}. They overlap, so that a small file "
                "could fill the memory. The file was made to do this, or its header is wrong"
            )
        RefusedFile.check_inflation(
            f"{source.label}: all of its arrays together",
            files.size,
            maker.total,
            options.max_inflation,
        )
        on_error.pop_all()
    arrays.parameters = tuple(tensor.name for tensor in model.tensors if tensor.is_parameter)
    arrays.metadata, arrays.not_arrays = model.metadata, model.not_read
    arrays.kernel_axes = model.kernel_axes
    return arrays


class _Maker:
    """Makes arrays of tensors. ``total`` counts their bytes, because tensors may share them, and
    ``packed`` those of the tensors that are not extents, which initreg counts."""

    def __init__(self, files: Files, options: OpenOptions) -> None:
        self._files, self._options, self.total, self.packed = files, options, 0, 0

    def make(self, tensor: Tensor) -> Any:
        """The array of a tensor. Raises DamagedFile or RefusedFile."""
        what = f"{self._files.source.label}: array {tensor.name!r}"
        kind = TYPES.get(tensor.type)
        shown = kind.label if kind else f"type {tensor.type}"
        stored = [each for each, runs in tensor.runs.items() if any(b < e for b, e in runs)]
        if why := _why_not(tensor, kind, stored):
            return Unreadable(tensor.shape, OpaqueDtype(shown), f"{what} cannot be read: {why}")
        assert kind is not None
        count = math.prod(tensor.shape)
        if kind.name == "string":
            return self._strings(tensor, count, what)
        nbytes = -(-count * kind.bits // 8)
        self.total += nbytes
        aliases = (Automatic(tensor.name),) if _AUTOMATIC.fullmatch(tensor.name) else ()
        if tensor.external is None and tensor.raw is None and stored:
            place = self._typed(tensor, kind, count, what)
            if place is None:
                return self._varints(tensor, kind, count, aliases, what)
        else:
            place = self._raw(tensor, nbytes, what)
        try:
            to_numpy(kind.name)
        except TypeError as error:
            reason = f"{what} cannot be read: {error}"
            return OpaqueExtent(
                place.path, place.offset, nbytes, tensor.shape, kind.label, reason, aliases
            )
        if kind.bits < 8:
            self.packed += nbytes

            def read() -> Array:
                found = unpacked(kind, self._files.read(place, what), count)
                return found.reshape(tensor.shape)

            return Computed(tensor.shape, kind.name, read, aliases)
        return Extent(place.path, place.offset, nbytes, tensor.shape, kind.name, aliases=aliases)

    def _raw(self, tensor: Tensor, nbytes: int, what: str) -> Place:
        if tensor.external is not None:
            return self._files.place(tensor.external, nbytes, what)
        begin, end = tensor.raw or (0, 0)
        if end - begin != nbytes:
            raise DamagedFile(
                f"{what} has {end - begin:,} bytes, but its shape {tensor.shape} and dtype take "
                f"{nbytes:,}. The file is damaged. Download or copy it again"
            )
        return Place(self._files.source, begin, nbytes)

    def _typed(self, tensor: Tensor, kind: Type, count: int, what: str) -> Place | None:
        """Where the values of a typed field lie as numpy has them. None if they do not.

        Raises:
            DamagedFile: there are too few bytes, or too many.
        """
        runs = tensor.runs[kind.field]
        stored = sum(end - begin for begin, end in runs)
        if kind.field in (FLOATS, DOUBLES):
            fewest = most = count * kind.bits // 8
        else:
            fewest = count if kind.bits >= 6 else -(-count * kind.bits // 8)
            most = 10 * fewest
        if not fewest <= stored <= most:
            raise DamagedFile(
                f"{what} has {stored:,} bytes of values, but its shape {tensor.shape} takes "
                f"{fewest:,}{'' if fewest == most else ' or more'}. The file is damaged. Download "
                "or copy it again"
            )
        if kind.field in (FLOATS, DOUBLES) and len(runs) == 1:
            return Place(self._files.source, runs[0][0], stored)
        return None

    def _varints(
        self, tensor: Tensor, kind: Type, count: int, aliases: tuple[str, ...], what: str
    ) -> Any:
        try:
            to_numpy(kind.name)
        except TypeError as error:
            return Unreadable(
                tensor.shape, OpaqueDtype(kind.label), f"{what} cannot be read: {error}"
            )
        runs = tensor.runs[kind.field]

        def read() -> Array:
            try:
                data = b"".join(self._pieces(runs, what))
                return typed(kind, data, count).reshape(tensor.shape)
            except (Fault, Unpackable) as error:
                raise DamagedFile(
                    f"{what} {error}. The file is damaged. Download or copy it again"
                ) from error

        return Computed(tensor.shape, kind.name, read, aliases)

    def _strings(self, tensor: Tensor, count: int, what: str) -> Computed:
        runs = tensor.runs.get(STRINGS, [])
        if len(runs) != count:
            raise DamagedFile(
                f"{what} has {len(runs):,} texts, but its shape {tensor.shape} takes {count:,}. "
                "The file is damaged. Download or copy it again"
            )

        def read() -> Array:
            found = np.empty(count, object)
            found[:] = self._pieces(runs, what)
            return found.reshape(tensor.shape)

        return Computed(tensor.shape, "string", read)

    def _pieces(self, runs: list[tuple[int, int]], what: str) -> list[bytes]:
        """Runs of bytes. They are read at once, because there may be one for each element."""
        if not runs:
            return []
        first, last = runs[0][0], runs[-1][1]
        data = self._files.read(Place(self._files.source, first, last - first), what)
        return [data[begin - first : end - first] for begin, end in runs]


def _why_not(tensor: Tensor, kind: Type | None, stored: list[int]) -> str:
    """Why a tensor cannot be read, and what to do. "" if it can."""
    if tensor.is_sparse:
        return "it is sparse. Save it as a dense initializer where the model was made"
    if tensor.is_segment:
        return "only a segment of it is in the file. Merge the segments where it was made"
    if kind is None:
        return (
            f"its dtype has the number {tensor.type}, which ONNX 1.23 does not have. A newer "
            "initreg-onnx may read it"
        )
    has_raw = tensor.raw is not None and tensor.raw[0] < tensor.raw[1]
    if len(stored) + has_raw + (tensor.external is not None) > 1:
        return "its values are in the file twice, and may differ. Save it again with onnx.save"
    if stored and stored[0] != kind.field:
        return f"its values are not in the field of {kind.label}. Save it again with onnx.save"
    return ""
