"""Variables that are spread over devices and processes, as TensorFlow has them.

A *copy* is a variable that holds all of a box of the array, on one device: each replica of a
``MirroredStrategy`` has one. A *part* is such a box: each shard of a ``ShardedVariable`` is one.
TensorFlow's own ``assign`` of a distributed variable may read the value back, which makes all
workers wait for each other. So each copy is written by itself, as ``tf.train.Checkpoint.read``
does.

Sources: ``get_on_read_restore_ops`` and ``get_on_write_restore_ops`` in TensorFlow's
python/distribute/values_util.py; ``AggregatingVariable`` and ``CachingVariable`` in
python/distribute/ps_values.py; python/distribute/sharded_variable.py.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from initreg import PartSpec, PieceSpec, TargetError
from initreg_targets.frameworks import is_a, is_sharded

Box = tuple[tuple[int, ...], tuple[int, ...]]  # the start and the shape of a part
# The most bytes that go to another process in one message.
MOST_SENT = 32 << 20
_PART = re.compile(r"(.*)/part_\d+")
# Each has the variable that it wraps in this attribute.
_WRAPPERS = {
    "AggregatingVariable": "_v",
    "CachingVariable": "_v",
    "AutoCastVariable": "_variable",
}


def sharded(variable: Any) -> Any | None:
    """The sharded variable that this is, or that this is a shard of; None if it is neither."""
    return variable if is_sharded(variable) else whole_of(variable)


def whole_of(variable: Any) -> Any | None:
    """The sharded variable that this is a shard of; None if it is not a shard."""
    container = getattr(variable, "__dict__", {}).get("_sharded_container")
    return container() if callable(container) else None


def name_of_sharded(variable: Any) -> str:
    """The name of a sharded variable. Those that a strategy makes have it only in their shards."""
    names = [str(each.name).removesuffix(":0") for each in variable.variables]
    found = [_PART.fullmatch(name) for name in names]
    common = {match.group(1) for match in found if match is not None}
    if len(common) == 1 and None not in found:
        return common.pop()
    return str(variable.name)


def refuse_single_shards(variables: Sequence[Any], label: str) -> None:
    """Raise TargetError if only some of the shards of a variable are given."""
    given = set(map(id, variables))
    for variable in variables:
        whole = sharded(variable)
        if whole is None or whole is variable or id(whole) in given:
            continue
        missing = [each for each in whole.variables if id(each) not in given]
        if missing:
            raise TargetError(
                f"{label}: {variable.name!r} is one of the {len(whole.variables)} shards of "
                f"{name_of_sharded(whole)!r}, and {len(missing)} of them are not given. Give the "
                "sharded variable, or all of its shards"
            )


def holders(variable: Any) -> list[Any]:
    """The variables that hold a variable's values, each on one device: all copies of all parts that
    this process can write."""
    if is_sharded(variable):
        return [each for shard in variable.variables for each in holders(shard)]
    return copies(variable)


def copies(variable: Any) -> list[Any]:
    """The variables that hold copies of one box, one on each device of this process."""
    inner = unwrapped(variable)
    if _is_distributed(_kind(inner)):
        return [each for value in inner.values for each in copies(value)]
    return [inner]


def unwrapped(variable: Any) -> Any:
    while (attribute := _wraps(_kind(variable))) is not None:
        variable = getattr(variable, attribute)
    return variable


def _kind(obj: Any) -> Any:
    return type(obj)


@functools.lru_cache(256)
def _wraps(kind: Any) -> str | None:
    return next((_WRAPPERS[b.__name__] for b in kind.__mro__ if b.__name__ in _WRAPPERS), None)


@functools.lru_cache(256)
def _is_distributed(kind: Any) -> bool:
    return any(base.__name__ == "DistributedVariable" for base in kind.__mro__)


def share_of(variable: Any) -> int:
    """How many copies a value is divided among. It is 1 unless reading the variable gives the sum
    of its copies."""
    inner = unwrapped(variable)
    if not _is_distributed(_kind(inner)):
        return 1
    is_on_read = getattr(inner.synchronization, "name", "") == "ON_READ"
    is_sum = getattr(inner.aggregation, "name", "") == "SUM"
    return int(inner.distribute_strategy.num_replicas_in_sync) if is_on_read and is_sum else 1


def is_packed(variable: Any) -> bool:
    """Whether one handle stands for the copies on all devices, as on a TPU."""
    return getattr(unwrapped(variable), "_packed_variable", None) is not None


def is_dtensor(variable: Any) -> bool:
    """Whether it is a ``DVariable``, which is laid out over a mesh of devices."""
    return is_a(variable, "tensorflow", "experimental.dtensor.DVariable")


def parts_of(variable: Any) -> tuple[PartSpec, ...]:
    """The boxes that a variable is written in, () for one that is written in one go."""
    if is_sharded(variable):
        found = []
        start = 0
        for shard in variable.variables:
            shape = tuple(map(int, shard.shape))
            found.append(PartSpec((start,) + (0,) * (len(shape) - 1), shape, _place(shard)))
            start += shape[0]
        return tuple(found)
    if is_dtensor(variable):
        boxes = [box for _, box in dtensor_boxes(variable)]
        found = [PartSpec(*box) for box in dict.fromkeys(boxes)]
        return tuple(found) if len(found) > 1 else ()
    return ()


def _place(variable: Any) -> str:
    return str(getattr(variable, "device", "") or "")


def dtensor_boxes(variable: Any) -> list[tuple[int, Box]]:
    """For each device of this process, its number in the mesh, and the start and shape of its box
    of a DVariable."""
    layout = variable.layout
    shape = tuple(map(int, variable.shape))
    local = tuple(
        length // layout.num_shards(axis) if length else 0 for axis, length in enumerate(shape)
    )
    names = list(layout.mesh.dim_names)
    found = []
    for number, location in enumerate(layout.mesh.local_device_locations()):
        at = tuple(
            location[spec] * size if spec in names else 0
            for spec, size in zip(layout.sharding_specs, local, strict=True)
        )
        found.append((number, (at, local)))
    return found


def most_bytes_of(variable: Any) -> int:
    """The most bytes of a variable to write in one go; 0 if there is no limit.

    What is in another process gets its values as messages. TensorFlow holds several copies of one.
    """
    if is_dtensor(variable):
        return 0
    return MOST_SENT if any(map(is_remote, holders(variable))) else 0


def is_remote(variable: Any) -> bool:
    """Whether a variable on one device is in another process."""
    task = _task_at(str(getattr(variable, "device", "") or ""))
    return task is not None and task[0] != "localhost" and task != _own_task()


@functools.lru_cache(256)
def _task_at(device: str) -> tuple[str, str] | None:
    """The job and the task in the name of a device; None if it has none."""
    found = re.match(r"/job:([^/]+)(?:/replica:\d+)?/task:(\d+)", device)
    return None if found is None else (found.group(1), found.group(2))


def _own_task() -> tuple[str, str]:
    """The job and the task of this process, as TensorFlow calls them in the names of devices."""
    import tensorflow as tf

    with tf.device("CPU:0"):
        here = tf.constant(0).backing_device
    return _task_at(here) or ("localhost", "0")


def is_spread_out(variable: Any) -> bool:
    """Whether its values are on several devices, or in a variable inside of it."""
    return is_sharded(variable) or is_dtensor(variable) or holders(variable)[0] is not variable


def put_back(holder: Any, value: Any) -> None:
    """Give one of the :func:`holders` of a variable a value that was read from it."""
    import tensorflow as tf

    if is_dtensor(holder):
        holder.assign(value)
    else:
        tf.raw_ops.AssignVariableOp(resource=holder.handle, value=value)


def is_spread(variable: Any) -> bool:
    """Whether this process writes only a part of a variable, and others write the rest."""
    if not is_dtensor(variable):
        return False
    mesh = variable.layout.mesh
    return bool(mesh.size > len(mesh.local_device_locations()))


def write_whole(variable: Any, value: Any) -> None:
    """Write a variable, and each of its copies. ``value`` is a tensor or array of its dtype."""
    if is_dtensor(variable):
        write_boxes(variable, {box: value[_slices(box)] for _, box in dtensor_boxes(variable)})
        return
    for part in variable.variables if is_sharded(variable) else [variable]:
        start = 0 if part is variable else part_start(variable, part)
        write_part(
            part, value if part is variable else value[start : start + int(part.shape[0])], None
        )


def write_piece(variable: Any, piece: PieceSpec, value: Any) -> None:
    """Write a piece of a variable to all copies of the part that it belongs to."""
    part = variable.variables[piece.part] if is_sharded(variable) else variable
    is_all = tuple(map(int, part.shape)) == piece.shape
    write_part(part, value, None if is_all else piece.index_in_part)


def part_start(variable: Any, part: Any) -> int:
    """The index of the first row of a shard."""
    start = 0
    for shard in variable.variables:
        if shard is part:
            break
        start += int(shard.shape[0])
    return start


def write_part(part: Any, value: Any, index: tuple[slice, ...] | None) -> None:
    """Write all copies of one part of a variable.

    Args:
        part: a shard, or a variable that has no shards.
        value: an array or a tensor of its dtype.
        index: the region of the part that the value is for, None for all of it.
    """
    import tensorflow as tf

    count = share_of(part)
    if count > 1:  # as tf.train.Checkpoint.read divides it
        value = tf.cast(tf.convert_to_tensor(value) / count, value.dtype)
    for holder in copies(part):
        if index is None:
            tf.raw_ops.AssignVariableOp(resource=holder.handle, value=value)
            continue
        tf.raw_ops.ResourceStridedSliceAssign(
            ref=holder.handle,
            begin=[each.start for each in index],
            end=[each.stop for each in index],
            strides=[1] * len(index),
            value=value,
        )


def write_boxes(variable: Any, values: dict[Box, Any]) -> None:
    """Write a DVariable, which takes the boxes of all devices of this process at once."""
    import tensorflow as tf

    with tf.device("CPU:0"):
        tensors = {box: tf.convert_to_tensor(value) for box, value in values.items()}
        boxes = [tensors[box] for _, box in dtensor_boxes(variable)]
    variable.assign(tf.experimental.dtensor.pack(boxes, variable.layout))


def _slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(a, a + n) for a, n in zip(*box, strict=True))
