"""The values of variables of TensorFlow and of Keras 3, for a model or variables as a source.

What is read is a copy, which a later training step does not change. A box is cut out where the
variable is, so that only the box comes from another device or process.

A variable with copies is read from its first one, unless its value is made of all of them, as for
one that each replica counts on its own. Then TensorFlow puts it together, which in several
processes all of them have to ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from initreg import TargetError, VariableSpec, dtypes
from initreg.format_tools.living import LivingArray, LivingArrays
from initreg_targets import distributed
from initreg_targets import variables as eager
from initreg_targets.frameworks import is_a, is_keras_variable, is_sharded

Box = tuple[slice, ...] | None  # None for all of it
Read = Callable[[Box], Any]


def living(
    label: str,
    specs: Sequence[VariableSpec],
    by_name: dict[str, Any],
    others: Callable[[VariableSpec], Read | None] = lambda spec: None,
    of: Any = None,
) -> LivingArrays:
    """The variables of a target as arrays.

    Args:
        label: what messages call the target.
        specs: what it says of its variables.
        by_name: the variables.
        others: returns what reads the value of a spec that is not that of a variable.
        of: the model that they are of, if it can save itself.
    """
    eager.check_readable(list(by_name.values()), label)
    found: list[tuple[str, LivingArray]] = []
    for spec in specs:
        variable = by_name.get(spec.name)
        if variable is not None:
            read = reader_of(variable, spec, label)
            shape = _shape_of(variable, spec, read)
            found.append((spec.name, LivingArray(spec, shape, read, identity(variable), of=of)))
            continue
        other = others(spec)
        if other is not None:
            found.append((spec.name, LivingArray(spec, tuple(other(None).shape), other, of=of)))
    training = (spec.name for spec in specs if spec.state is not None)
    return LivingArrays(label, found, training, next((s.model for s in specs if s.model), ""))


def identity(variable: Any) -> Hashable:
    """What only this variable has, however it is wrapped."""
    return "variable", id(eager.unwrapped(variable))


def identities(variables: Iterable[Any]) -> set[Hashable]:
    """Those of all these variables, and of the copies and shards that hold their values."""
    return set(map(identity, variables))


def _shape_of(variable: Any, spec: VariableSpec, read: Read) -> tuple[int, ...]:
    """The shape that a variable has now. Those that may change must be asked for their value."""
    if spec.shape is not None and None not in spec.shape:
        return tuple(axis for axis in spec.shape if axis is not None)
    return tuple(read(None).shape)


def reader_of(variable: Any, spec: VariableSpec, label: str) -> Read:
    """What reads a variable, or a box of it.

    Args:
        variable: the variable.
        spec: its name and dtype.
        label: what messages call the target.
    """
    what = f"{label}: variable {spec.name!r}"
    inner = eager.unwrapped(variable)

    def read(box: Box) -> Any:
        if not _is_tensorflow(inner):
            return _of_backend(inner, spec.dtype, box)
        import tensorflow as tf

        try:
            return _of_tensorflow(inner, spec, box, what)
        except tf.errors.FailedPreconditionError as error:
            raise TargetError(f"{what} is not initialized, so that it has no value yet") from error
        except (tf.errors.OpError, RuntimeError) as error:
            text = " ".join(str(error).split())[:500]
            raise TargetError(f"{what} cannot be read: {text}") from error

    return read


def _is_tensorflow(inner: Any) -> bool:
    return is_a(inner, "tensorflow", "Variable") or is_sharded(inner)


def _of_backend(inner: Any, dtype: str, box: Box) -> Any:
    """The value of a variable of Keras on another backend."""
    import numpy as np
    from keras import ops

    value = inner.value if is_keras_variable(inner) else inner
    found = np.array(ops.convert_to_numpy(value if box is None else value[box]))
    # Keras hands a bfloat16 of torch over as float32, which has all of its values.
    return found if dtype == dtypes.STRING else found.astype(dtypes.to_numpy(dtype), copy=False)


def _of_tensorflow(inner: Any, spec: VariableSpec, box: Box, what: str) -> Any:
    import numpy as np

    if is_sharded(inner):
        return _of_boxes(spec, box, _shards(inner))
    if distributed.is_dtensor(inner):
        if distributed.is_spread(inner):
            raise TargetError(
                f"{what} is spread over several processes, and this one has only a part of it"
            )
        return _of_boxes(spec, box, _local_boxes(inner))
    if distributed.is_packed(inner) or _is_made_of_copies(inner):
        found = _numpy(inner.read_value(), spec.dtype)
        return found if box is None else np.array(found[box])
    return _of_one(distributed.copies(inner)[0], spec, box)


def _is_made_of_copies(inner: Any) -> bool:
    """Whether the copies of a variable have values of their own, of which its value is made."""
    wrapped = distributed.unwrapped(inner)
    return (
        getattr(getattr(wrapped, "synchronization", None), "name", "") == "ON_READ"
        and len(distributed.copies(inner)) > 1
    )


def _of_one(variable: Any, spec: VariableSpec, box: Box) -> Any:
    """The value of a variable on one device, or a box of it.

    What is in another process comes in messages, of which several copies are in memory. So they are
    small.
    """
    import numpy as np
    import tensorflow as tf

    most = distributed.most_bytes_of(variable)
    shape = eager.shape_of(variable.shape) or ()
    lengths = [n.stop - n.start for n in box] if box is not None else [n or 0 for n in shape]
    nbytes = math.prod(lengths) * (dtypes.itemsize(spec.dtype) or 0)
    if most and nbytes > most and lengths:
        begin = 0 if box is None else box[0].start
        rest = tuple(slice(0, n) for n in lengths[1:]) if box is None else box[1:]
        rows = max(most * lengths[0] // nbytes, 1)
        found = np.empty(lengths, dtypes.to_numpy(spec.dtype))
        for start in range(0, lengths[0], rows):
            few = slice(begin + start, begin + min(start + rows, lengths[0]))
            found[start : start + rows] = _of_one(variable, spec, (few, *rest))
        return found
    with tf.device(variable.device):
        value = variable.read_value()
        value = value if box is None else value[box]
    return _numpy(value, spec.dtype)


def _numpy(tensor: Any, dtype: str) -> Any:
    """A tensor as an array with memory of its own."""
    import numpy as np

    if dtype == dtypes.STRING:
        found = np.empty(tuple(tensor.shape), object)
        found[...] = tensor.numpy()
        return found
    found = np.asarray(tensor.numpy())  # which copies
    plain = dtypes.QUANTISED.get(dtype)
    return found if plain is None else found.view(dtypes.to_numpy(plain))


def _shards(inner: Any) -> list[tuple[tuple[int, ...], tuple[int, ...], Any]]:
    """The start and the shape of each shard of a variable, and what reads a box of it."""
    found = []
    for part, shard in zip(distributed.parts_of(inner), inner.variables, strict=True):
        found.append((part.at, part.shape, shard))
    return found


def _local_boxes(inner: Any) -> list[tuple[tuple[int, ...], tuple[int, ...], Any]]:
    """The start and the shape of each box of a DVariable, and its values."""
    import tensorflow as tf

    values = tf.experimental.dtensor.unpack(inner.read_value())
    boxes = {box: values[number] for number, box in distributed.dtensor_boxes(inner)}
    return [(at, shape, value) for (at, shape), value in boxes.items()]


def _of_boxes(
    spec: VariableSpec, box: Box, parts: Sequence[tuple[tuple[int, ...], tuple[int, ...], Any]]
) -> Any:
    """A box of an array that lies in several boxes, each a variable or a tensor."""
    import numpy as np

    assert spec.shape is not None
    wanted = box or tuple(slice(0, axis) for axis in spec.shape)
    found = np.empty([each.stop - each.start for each in wanted], dtypes.to_numpy(spec.dtype))
    for at, shape, part in parts:
        ends = [
            (max(w.start, a), min(w.stop, a + n)) for w, a, n in zip(wanted, at, shape, strict=True)
        ]
        if any(start >= stop for start, stop in ends):
            continue
        inside = tuple(slice(b - a, e - a) for (b, e), a in zip(ends, at, strict=True))
        into = tuple(
            slice(b - w.start, e - w.start) for (b, e), w in zip(ends, wanted, strict=True)
        )
        if is_a(part, "tensorflow", "Variable"):
            found[into] = _of_one(distributed.copies(part)[0], spec, inside)
        else:
            found[into] = _numpy(part[inside], spec.dtype)
    return found
