"""One eager variable, of TensorFlow or of Keras 3: its spec, its names, and writing it."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from initreg import PieceSpec, TargetError, VariableSpec
from initreg_targets import distributed
from initreg_targets.frameworks import is_a, is_keras_variable, is_sharded, is_variable
from initreg_targets.tf_memory import Room, make_room, shared

# Classes whose handle names exactly one resource: no copies on several devices, no wrapper that
# casts. One op writes them, and `assign` takes four times as long.
_PLAIN = ("ResourceVariable", "UninitializedVariable")
_HERE = "/job:localhost/"  # how the devices of a program of one process are called
_FIRST_CPU = f"{_HERE}replica:0/task:0/device:CPU:0"
_WORTH_SHARING = 1 << 16  # bytes; smaller arrays are copied faster than they are shared


def is_plain(variable: Any) -> bool:
    """Whether it is a variable of TensorFlow with one handle, and no shard of another one."""
    if type(variable).__name__ not in _PLAIN:
        return False
    return "_sharded_container" not in variable.__dict__ or distributed.sharded(variable) is None


def unwrapped(variable: Any) -> Any:
    """The ``tf.Variable`` in a ``keras.Variable``, and the sharded variable that a shard belongs
    to; anything else as it is."""
    if is_plain(variable):
        return variable
    if is_keras_variable(variable):
        value = variable.value
        if is_sharded(value):
            return value
        return value if is_a(value, "tensorflow", "Variable") else variable
    return distributed.sharded(variable) or variable


def name_of(variable: Any) -> str:
    """The name of the variable without ``:0``. For a ``keras.Variable`` it is its path."""
    if is_plain(variable):
        return spelt(str(variable.name).removesuffix(":0"))
    if is_keras_variable(variable):
        return str(variable.path)  # in a file, too, whatever it ends in
    whole = distributed.sharded(variable)
    if whole is not None:
        return spelt(distributed.name_of_sharded(whole))
    return spelt(str(variable.name).removesuffix(":0"))


def spelt(name: str) -> str:
    """A name in such a spelling that initreg, which drops a ``:0``, does not drop a part of it."""
    return f"{name}:0" if name.endswith(":0") else name


def shape_of(shape: Any) -> tuple[int | None, ...] | None:
    """A ``tf.TensorShape`` or a tuple as a shape of :class:`initreg.VariableSpec`."""
    if getattr(shape, "rank", 0) is None:
        return None
    axes = shape.as_list() if hasattr(shape, "as_list") else shape
    return tuple(None if axis is None else int(axis) for axis in axes)


def dtype_of(dtype: Any) -> str:
    """The name that :mod:`initreg.dtypes` has for a ``tf.DType``, which may be that of a reference,
    or for a string of Keras."""
    if isinstance(dtype, str):
        return dtype
    return str(dtype.base_dtype.name)


def spec(variable: Any, name: str, **more: Any) -> VariableSpec:
    """What a plan needs to know about the variable. ``more`` are fields of the spec."""
    inner = unwrapped(variable)
    if type(inner).__name__ not in _PLAIN:
        more["parts"] = distributed.parts_of(inner)
        more["most_bytes"] = distributed.most_bytes_of(inner)
        more["elsewhere"] = distributed.is_spread(inner)
    elif distributed.is_remote(inner):
        more["most_bytes"] = distributed.MOST_SENT
    return VariableSpec(name, shape_of(inner.shape), dtype_of(inner.dtype), **more)


def others(name: str, *found: Sequence[str]) -> tuple[str, ...]:
    """The other names of a variable: all that were found, without positions in an order."""
    names = dict.fromkeys(each for names in found for each in names if not each.startswith("#"))
    names.pop(name, None)
    return tuple(names)


def check_writable(variables: Sequence[Any], label: str) -> None:
    """Raise TargetError if a variable belongs to a graph, or if a graph is being built.

    In both cases nothing would be written until a session runs the graph.
    """
    _check_eager(variables, label, "written at once. Call init()")


def check_readable(variables: Sequence[Any], label: str) -> None:
    """The same for values to be read, which are not there before a session runs the graph."""
    _check_eager(variables, label, "read. Do it")


def _check_eager(variables: Sequence[Any], label: str, what: str) -> None:
    tensorflow = [
        v
        for each in map(unwrapped, variables)
        for v in ([each] if type(each).__name__ in _PLAIN else distributed.holders(each))
        if type(v).__name__ in _PLAIN or is_a(v, "tensorflow", "Variable")
    ]
    if not tensorflow:
        return
    import tensorflow as tf

    for variable in tensorflow:
        if _is_of_graph(variable):
            raise TargetError(
                f"{label}: variable {variable.name!r} belongs to a TF1 graph, where only a session "
                "holds its value. Pass the session instead"
            )
    if not tf.executing_eagerly():
        raise TargetError(
            f"{label}: inside a graph or a tf.function nothing can be {what} outside of it"
        )


def _is_of_graph(variable: Any) -> bool:
    """Whether it was made in a TF1 graph. A reference variable has no handle."""
    kind: Any = type(variable)
    return _is_reference(kind) or bool(getattr(variable, "_in_graph_mode", False))


@functools.lru_cache(256)
def _is_reference(kind: Any) -> bool:
    return any(base.__name__ == "RefVariable" for base in kind.__mro__)


def is_one(variable: Any) -> bool:
    """Whether a variable has one value: it is neither sharded nor copied to several devices."""
    inner = unwrapped(variable)
    if type(inner).__name__ in _PLAIN:
        return True
    return not is_sharded(inner) and not is_a(inner, "tensorflow", "Variable")


def value_of(variable: Any) -> Any:
    """The value of a variable, which later writes do not change. None if it has none yet."""
    import numpy as np

    inner = unwrapped(variable)
    if type(inner).__name__ not in _PLAIN:
        return np.array(inner)
    import tensorflow as tf

    try:
        return inner.read_value()
    except tf.errors.FailedPreconditionError:  # it was not initialized
        return None


def assign(variable: Any, value: Any, piece: PieceSpec | None = None) -> None:
    """Write ``value``, an array or a tensor. Its dtype and shape must fit. An array is copied.

    Args:
        variable: the variable.
        value: all of its values, or a piece of them.
        piece: which piece that is.

    Raises:
        TargetError: the variable cannot be written.
    """
    inner = unwrapped(variable)
    is_single = type(inner).__name__ in _PLAIN
    if not is_single and (not is_variable(inner) or is_keras_variable(inner)):
        inner.assign(value)  # of another backend of Keras
        return
    import tensorflow as tf

    try:
        tensor = small_tensor(value, inner) if is_single and piece is None else None
        if tensor is not None:  # most of 10,000
            tf.raw_ops.AssignVariableOp(resource=inner.handle, value=tensor)
            return
        dtype = tf.as_dtype(inner.dtype).base_dtype
        if getattr(value.dtype, "kind", "") in ("O", "S", "U"):
            value = tf.convert_to_tensor(value, dtype=dtype)
        elif dtype.is_quantized and value.dtype != dtype:
            value = tf.bitcast(tf.convert_to_tensor(value), dtype)  # numpy has plain integers
        if is_single and piece is None:
            tf.raw_ops.AssignVariableOp(resource=inner.handle, value=value)
        elif distributed.is_packed(inner):
            inner.assign(value)
        elif piece is None:
            distributed.write_whole(inner, value)
        else:
            distributed.write_piece(inner, piece, value)
    except (tf.errors.OpError, RuntimeError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise TargetError(
            f"variable {name_of(variable)!r} cannot be written: {text[:500]}"
        ) from error


def small_tensor(value: Any, variable: Any) -> Any | None:
    """A tensor for a small array, made in a quarter of the time that an op takes to make one.

    The tensor may share memory with the array that it is made from, so that is a copy.

    Args:
        value: what is to be written.
        variable: a single variable of TensorFlow.

    Returns:
        None if the value is not a small array of a usual dtype, or if the variable is elsewhere.
    """
    import numpy as np

    if type(value) is not np.ndarray or value.nbytes >= _WORTH_SHARING:
        return None
    dtype, device = variable.dtype.base_dtype, variable.device
    is_usual = value.dtype.kind in "fiucb" and value.dtype == dtype.as_numpy_dtype
    if not is_usual or not device.startswith(_HERE) or "CPU" not in device:
        return None
    kind: Any = type(variable.handle)  # EagerTensor, which TensorFlow does not export
    # With None it is on the first CPU, too, and the text is not parsed, which takes most of it.
    return kind(value.copy(), None if device == _FIRST_CPU else device, dtype.as_datatype_enum)


class Memory:
    """Decides where the values of variables lie while they are restored.

    See :mod:`initreg_targets.tf_memory`.
    """

    def __init__(self) -> None:
        self._freed = 0  # bytes that this restore freed in TensorFlow's pool and has not used yet
        self._rooms: dict[int, Room] = {}  # by the id of the array, which the Room keeps
        # Of a variable that takes all of its boxes at once: those that were read, by its id.
        self._boxes: dict[int, dict[distributed.Box, Any]] = {}

    def room(self, variable: Any, shape: tuple[int, ...], nbytes: int) -> Any | None:
        """An array to be filled; None if fewer bytes were freed than it needs."""
        inner = unwrapped(variable)
        if not _WORTH_SHARING <= nbytes <= self._freed or not _is_in_main_memory(inner):
            return None
        room = make_room(inner.dtype.base_dtype, shape)
        if room is None:
            return None
        self._freed -= nbytes
        self._rooms[id(room.array)] = room
        return room.array

    def write(self, variable: Any, spec: VariableSpec, array: Any) -> bool:
        """Write an array, or a piece of one. Returns whether the variable is complete with it."""
        if not isinstance(spec, PieceSpec):
            self.assign(variable, array)
            return True
        inner = unwrapped(variable)
        if not distributed.is_dtensor(inner):
            assign(variable, array, spec)
            return spec.is_last
        held = self._boxes.setdefault(id(inner), {})
        held[spec.at, array.shape] = array
        if spec.is_last:
            distributed.write_boxes(inner, self._boxes.pop(id(inner)))
        return spec.is_last

    def assign(self, variable: Any, array: Any) -> None:
        """Write an array that :meth:`room` returned, or that nobody else holds."""
        nbytes = array.nbytes
        if nbytes < _WORTH_SHARING:
            assign(variable, array)
            return
        room = self._rooms.pop(id(array), None)
        inner = unwrapped(variable)
        value = array if room is None else room.tensor
        if room is None and _is_in_main_memory(inner):
            # A read-only array is a view of a mapped file.
            if self._freed < nbytes or not array.flags.writeable:
                tensor = shared(array, inner.dtype.base_dtype)
                value = array if tensor is None else tensor
            else:
                self._freed -= nbytes
        assign(variable, value)
        self._freed += nbytes

    def clear(self) -> None:
        """Release rooms that were not filled, and boxes of a variable that is not complete."""
        self._rooms.clear()
        self._boxes.clear()


def _is_in_main_memory(inner: Any) -> bool:
    """Whether it is a single variable of TensorFlow, in main memory."""
    return type(inner).__name__ in _PLAIN and "CPU" in inner.device


def unique(variables: Sequence[Any]) -> list[Any]:
    """Each variable once, in order. Shards of a variable are that variable."""
    variables = [v if is_plain(v) else distributed.sharded(v) or v for v in variables]
    return list({id(unwrapped(variable)): variable for variable in reversed(variables)}.values())[
        ::-1
    ]


def distinct(names: Sequence[str], others: Sequence[str | None]) -> list[str]:
    """The ``names``, where a name that occurs more than once is replaced by its ``others``."""
    chosen = list(names)
    while True:
        counts = Counter(chosen)
        clashing = [
            (index, other)
            for index, (name, other) in enumerate(zip(chosen, others, strict=True))
            if counts[name] > 1 and other is not None and other != name
        ]
        if not clashing:
            return chosen
        for index, other in clashing:
            chosen[index] = other
