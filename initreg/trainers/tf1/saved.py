"""What a ``tf.compat.v1.train.Saver`` restores, as the ops say that it has added to the graph.

A Saver adds ``RestoreV2``, whose outputs are the arrays of a checkpoint, and for each variable,
table, iterator or ``SaveableObject`` the ops that take them. So the graph says everything, also of
a Saver that was imported with the graph. Nothing is added to it here.

Source: ``BaseSaverBuilder`` in TensorFlow's python/training/saver.py, and ``TensorSlice::Parse`` in
core/framework/tensor_slice.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from initreg.errors import TargetError
from initreg.names import normalise

# What session.run cannot be fed, and what is not an array in a checkpoint: iterators.
_OPAQUE = ("variant", "resource")


@dataclass(frozen=True, slots=True)
class Read:
    """An array that is read from the checkpoint, or a slice of one.

    Attributes:
        tensor: the output of ``RestoreV2``.
        key: the name of the array.
        region: "" for all of it, or its shape and the slice, as in ``"6 0,3"``.
        dtype: a name as in :mod:`initreg.dtypes`.
    """

    tensor: Any
    key: str
    region: str
    dtype: str

    @property
    def is_opaque(self) -> bool:
        """Whether only TensorFlow can read it."""
        return self.dtype in _OPAQUE

    @property
    def full_shape(self) -> tuple[int, ...] | None:
        """The shape of the whole array, None if all of it is read."""
        return tuple(map(int, self.region.split()[:-1])) if self.region else None

    @property
    def part_shape(self) -> tuple[int, ...] | None:
        """The shape of what is read, None if all of the array is."""
        whole = self.full_shape
        if whole is None:
            return None
        return tuple(len(range(*each.indices(n))) for each, n in zip(self.box, whole, strict=True))

    @property
    def box(self) -> tuple[slice, ...]:
        """Which part of the array is read."""
        parts = self.region.split()[-1].split(":") if self.region else []
        ends = [None if part == "-" else tuple(map(int, part.split(","))) for part in parts]
        return tuple(slice(None) if e is None else slice(e[0], e[0] + e[1]) for e in ends)


@dataclass(frozen=True, slots=True)
class Taker:
    """An op that takes arrays: it assigns a variable, or fills a table.

    Attributes:
        op: the op.
        reads: what it takes.
        destination: the name of the op of what it fills: of a variable, a table, an iterator.
        variable: the same if all that the op does is to assign one array to a variable.
    """

    op: Any
    reads: tuple[Read, ...]
    destination: str
    variable: str | None


def takers(graph: Any, saver_def: Any) -> list[Taker]:
    """The ops that a Saver runs to restore.

    Args:
        graph: the graph.
        saver_def: what ``as_saver_def()`` of the Saver returns.

    Raises:
        TargetError: the Saver does not say in the graph which arrays it reads.
    """
    pending = [graph.get_operation_by_name(saver_def.restore_op_name)]
    seen: set[str] = set()
    found: list[Taker] = []
    outputs: dict[str, list[Read]] = {}
    while pending:
        op = pending.pop()
        if op.name in seen:
            continue
        seen.add(op.name)
        if op.type == "NoOp":  # a group
            pending += op.control_inputs
            continue
        inputs = op.inputs
        assigned = _assigned(op, inputs)
        reads = []
        for tensor in _sources(op, "RestoreV2") if assigned is None else [assigned]:
            if tensor.op.name not in outputs:
                outputs[tensor.op.name] = _reads(tensor.op)
            reads.append(outputs[tensor.op.name][tensor.value_index])
        filled = str(inputs[0].op.name) if inputs else str(op.type)
        found.append(Taker(op, tuple(reads), filled, None if assigned is None else filled))
    return found[::-1]


def saved_shapes(graph: Any, saver_def: Any) -> dict[str, tuple[int | None, ...]]:
    """The shapes of the arrays that a Saver saves, by key, as far as the graph says them.

    Args:
        graph: the graph.
        saver_def: what ``as_saver_def()`` of the Saver returns.
    """
    found: dict[str, tuple[int | None, ...]] = {}
    save = graph.get_tensor_by_name(saver_def.save_tensor_name).op
    for op in ancestors(save, lambda each: each.type == "SaveV2"):
        names = tf.get_static_value(op.inputs[1]) if op.type == "SaveV2" else None
        for name, tensor in zip(names if names is not None else (), op.inputs[3:], strict=False):
            if tensor.shape.rank is not None:
                found[name.decode()] = tuple(tensor.shape.as_list())
    return found


def variable_name(variable: Any) -> str:
    """The name under which a session is filled: for a part of a partitioned variable that of the
    entire variable."""
    info = getattr(variable, "_save_slice_info", None)
    return normalise(variable.name if info is None else info.full_name)


def table_value_shape(taker: Taker) -> tuple[int | None, ...] | None:
    """The shape of the values of a table that the op fills, None if it does not tell.

    TensorFlow compares it only while it fills the table, when variables have been written.
    """
    if taker.op.type != "LookupTableImportV2":
        return None
    try:
        shape = taker.op.inputs[0].op.get_attr("value_shape")
    except ValueError:  # the values are single numbers
        return None
    axes = [axis.size for axis in shape.dim]
    return (None, *axes) if axes and not shape.unknown_rank else None


def _reads(op: Any) -> list[Read]:
    """The outputs of a ``RestoreV2``."""
    names, regions = tf.get_static_value(op.inputs[1]), tf.get_static_value(op.inputs[2])
    if names is None or regions is None:
        raise TargetError(
            f"TF1 session: the op {op.name!r} does not say which arrays it reads, so that a resume "
            "cannot compare them with the checkpoint. Give the ModelSaver a var_list"
        )
    return [
        Read(tensor, name.decode(), region.decode(), tensor.dtype.base_dtype.name)
        for tensor, name, region in zip(op.outputs, names, regions, strict=True)
    ]


def _sources(op: Any, kind: str) -> list[Any]:
    """The outputs of ops of a kind that an op depends on, directly or through others."""
    found = {
        tensor.name: tensor
        for each in ancestors(op, lambda each: each.type == kind)
        for tensor in each.inputs
        if tensor.op.type == kind
    }
    return list(found.values())


def ancestors(op: Any, is_end: Callable[[Any], bool] = lambda each: False) -> Iterator[Any]:
    """An op and all that it depends on, without what the ops depend on where this ends.

    Args:
        op: the op.
        is_end: whether not to ask what an op depends on.
    """
    pending, seen = [op], {op.name}
    while pending:
        each = pending.pop()
        yield each
        if each is not op and is_end(each):
            continue
        for other in [*(tensor.op for tensor in each.inputs), *each.control_inputs]:
            if other.name not in seen:
                seen.add(other.name)
                pending.append(other)


def _assigned(op: Any, inputs: Any) -> Any:
    """The output of a ``RestoreV2`` that an op assigns to a variable as it is, and nothing else."""
    if op.type not in ("Assign", "AssignVariableOp") or op.control_inputs:
        return None
    value = inputs[1]
    while (of := value.op).type == "Identity":
        value = of.inputs[0]
    return value if of.type == "RestoreV2" else None
