"""Where the bytes of each constant are: extents, or objects that make what extents cannot say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from initreg import (
    DamagedFile,
    DuplicateName,
    Extent,
    InitregError,
    OpenOptions,
    RefusedFile,
    Source,
)
from initreg.dtypes import itemsize, to_numpy
from initreg.format_tools.protobuf import Fault, Wire
from initreg.format_tools.values import Computed, OpaqueDtype, Unreadable, is_of_a_graph

from initreg_frozen_graph import claiming
from initreg_frozen_graph.graph import Graph, Variable
from initreg_frozen_graph.tensors import NOT_NUMBERS, TYPES, Tensor, Type
from initreg_frozen_graph.values import FIXED, packed_texts, repeated, texts, typed

Array = np.ndarray[Any, Any]

_AGAIN = "The file is damaged. Download or copy it again"
_POINTER = 8  # bytes that each text takes at least


class Arrays(dict[str, Any]):
    """What initreg gets: names to arrays.

    Args:
        parameters: the constants that are read as variables are, None if no node says so.
        not_needed: the constants that belong to the graph, each with the reason.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parameters: tuple[str, ...] | None = None
        self.not_needed: dict[str, str] = {}


def open_graph(source: Source, options: OpenOptions) -> Arrays:
    """Every constant by name. Raises DamagedFile, RefusedFile or DuplicateName."""
    if source.path is None:
        raise InitregError(f"{source.label} is not a file")
    if not source.exists:
        raise source.not_found()
    if claiming.is_text(source):
        raise InitregError(
            f"{source.label}: a graph in text form. Write it as a file of bytes: "
            "graph_def = google.protobuf.text_format.Parse(text, tf.compat.v1.GraphDef()), then "
            "graph_def.SerializeToString()"
        )
    if claiming.is_saved_model(source):
        raise InitregError(
            f"{source.label}: begins like a SavedModel, which has its variables beside it. Call it "
            "saved_model.pb, and open the folder that holds it and its variables"
        )
    try:
        with source.open() as file:
            graph = Graph(Wire(file, source.size))
    except Fault as error:
        raise DamagedFile(
            f"{source.label}: as a frozen graph, it {error}. The file is damaged, or is not one. "
            "Download or copy it again"
        ) from error
    arrays, maker = Arrays(), _Maker(source, options)
    for constant in graph.constants:
        _add(arrays, constant.name, maker.make(constant.name, constant.tensor), source.label)
    for variable in graph.variables:
        _add(arrays, variable.name, _not_frozen(variable, source.label), source.label)
    if not arrays:
        raise InitregError(
            f"{source.label}: a graph without constants and variables. There is nothing to restore"
        )
    RefusedFile.check_inflation(
        f"{source.label}: all of its arrays together",
        source.size,
        maker.total,
        options.max_inflation,
    )
    read = graph.read_as_variables
    if any(constant.name in read for constant in graph.constants):
        names = [constant.name for constant in graph.constants]
        arrays.parameters = tuple(name for name in names if name in read)
        arrays.not_needed = {
            name: "a number of the graph itself, such as a shape or an axis"
            for name in names
            if name not in read and is_of_a_graph(arrays[name].dtype, arrays[name].shape)
        }
    return arrays


def _add(arrays: Arrays, name: str, array: Any, label: str) -> None:
    if name in arrays:
        raise DuplicateName(f"{label}: two nodes are called {name!r}")
    arrays[name] = array


def _not_frozen(variable: Variable, label: str) -> Unreadable:
    kind = TYPES.get(variable.type)
    return Unreadable(
        variable.shape or (),
        kind.name if kind is not None else OpaqueDtype(f"type {variable.type}"),
        f"{label}: {variable.name!r} cannot be read: it is a variable, so that the graph is not "
        "frozen, and its values are in a checkpoint. Open that one",
    )


class _Maker:
    """Makes arrays of tensors. ``total`` counts their bytes, because few values may be many."""

    def __init__(self, source: Source, options: OpenOptions) -> None:
        self._source, self._options, self.total = source, options, 0

    def make(self, name: str, tensor: Tensor) -> Any:
        """The array of a tensor. Raises DamagedFile or RefusedFile."""
        what = f"{self._source.label}: array {name!r}"
        kind, shape, count = TYPES.get(tensor.type), tensor.shape, math.prod(tensor.shape)
        if kind is None:
            label = NOT_NUMBERS.get(tensor.type, f"type {tensor.type}")
            why = (
                f"it is a {label} of TensorFlow, and not an array"
                if tensor.type in NOT_NUMBERS
                else f"its dtype has the number {tensor.type}, which TensorFlow 2.21 does not have"
            )
            return Unreadable(shape, OpaqueDtype(label), f"{what} cannot be read: {why}. Drop it")
        try:
            to_numpy(kind.name)
        except TypeError as error:
            return Unreadable(shape, OpaqueDtype(kind.name), f"{what} cannot be read: {error}")
        runs = tensor.runs.get(kind.field, [])
        stored = sum(end - begin for begin, end in runs)
        if tensor.content is not None:
            stored = tensor.content[1] - tensor.content[0]
        nbytes = count * (itemsize(kind.name) or _POINTER)
        RefusedFile.check_inflation(what, stored, nbytes, self._options.max_inflation)
        self.total += nbytes
        if kind.name == "string":
            return self._strings(tensor, runs, what)
        if tensor.content is not None:
            return self._content(tensor.content, kind, shape, nbytes, what)
        others = [each for each in tensor.runs if each != kind.field]
        if others or (not kind.field and count):
            return Unreadable(
                shape,
                kind.name,
                f"{what} cannot be read: its values are not in the field of {kind.name}. Save the "
                "graph again with TensorFlow",
            )
        if len(runs) == 1 and stored == nbytes and kind.field in FIXED:
            assert self._source.path is not None
            return Extent(self._source.path, runs[0][0], nbytes, shape, kind.name)

        def read() -> Array:
            try:
                return typed(kind, b"".join(self._pieces(runs, what)), count).reshape(shape)
            except Fault as error:
                raise DamagedFile(f"{what} {error}. {_AGAIN}") from error

        return Computed(shape, kind.name, read)

    def _content(
        self, span: tuple[int, int], kind: Type, shape: tuple[int, ...], nbytes: int, what: str
    ) -> Any:
        begin, end = span
        if end - begin != nbytes:
            raise DamagedFile(
                f"{what} has {end - begin:,} bytes, but its shape {shape} and dtype {kind.name} "
                f"take {nbytes:,}. {_AGAIN}"
            )
        if kind.name != "bool":
            assert self._source.path is not None
            return Extent(self._source.path, begin, nbytes, shape, kind.name)

        def read() -> Array:  # TensorFlow refuses other bytes than 0 and 1
            found = np.frombuffer(self._pieces([span], what)[0], np.uint8)
            if found.size and found.max() > 1:
                raise DamagedFile(f"{what} has bytes that are neither true nor false. {_AGAIN}")
            return repeated(found, found.size, np.bool_).reshape(shape)

        return Computed(shape, "bool", read)

    def _strings(self, tensor: Tensor, runs: list[tuple[int, int]], what: str) -> Computed:
        count = math.prod(tensor.shape)

        def read() -> Array:
            try:
                if tensor.content is not None:
                    data = self._pieces([tensor.content], what)[0]
                    return packed_texts(data, count).reshape(tensor.shape)
                return texts(self._pieces(runs, what), count).reshape(tensor.shape)
            except Fault as error:
                raise DamagedFile(f"{what} {error}. {_AGAIN}") from error

        return Computed(tensor.shape, TYPES[7].name, read)

    def _pieces(self, runs: list[tuple[int, int]], what: str) -> list[bytes]:
        """Runs of bytes. They are read at once, because there may be one for each element."""
        if not runs:
            return []
        first, last = runs[0][0], runs[-1][1]
        data = self._source.read(first, last - first)
        if len(data) < last - first:
            raise DamagedFile(f"{what}: the file became shorter while it was read. Open it again")
        return [data[begin - first : end - first] for begin, end in runs]
