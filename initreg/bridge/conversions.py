"""How a weight that one framework stores becomes that of a layer of another one.

PyTorch stores the axis of the outputs first and TensorFlow last, see :mod:`initreg.plan.axes`.
What the axes of a variable stand for is known from its layer, so square kernels are no guess once
it is known in which order the source stores its kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from initreg.plan.axes import PYTORCH, TENSORFLOW

Shape = tuple[int, ...]
CONVENTIONS = (PYTORCH, TENSORFLOW)


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to an array, in this order. None of it reads the values.

    Args:
        reshape: the shape that it gets first, () for its own.
        permute: the order of its axes then, () for the same.
        shape: the shape that it has in the end, () for the one that it has by then.
    """

    reshape: Shape = ()
    permute: Shape = ()
    shape: Shape = ()

    def __bool__(self) -> bool:
        return bool(self.reshape or self.permute or self.shape)


AS_IT_IS = Change()


@lru_cache(1 << 14)
def change(
    shape: Shape,
    wanted: Shape,
    axes: tuple[str, ...],
    convention: str,
    flattened: Shape = (),
    unflattened: Shape = (),
) -> Change | None:
    """How an array becomes a variable. None if it cannot.

    Args:
        shape: the shape of the array.
        wanted: the shape of the variable.
        axes: what the axes of the variable stand for, see :class:`initreg.LayerSpec`.
        convention: ``"PyTorch"`` or ``"TensorFlow"``: the order in which the array has its axes.
        flattened: what was flattened before it came into the layer. PyTorch has its channels first.
        unflattened: the image that is made of what the layer returns.

    >>> change((8, 3, 5, 5), (5, 5, 3, 8), ("window", "window", "in", "out"), "PyTorch")
    Change(reshape=(), permute=(2, 3, 1, 0), shape=())
    """
    if math.prod(shape) != math.prod(wanted):
        return None
    axes = tuple("in" if axis == "flattened" and len(axes) > 1 else axis for axis in axes)
    axes = tuple("out" if axis == "unflattened" else axis for axis in axes)
    kinds = set(axes)
    if axes[:1] == ("experts",):
        return _experts(shape, wanted, convention)
    if "in" in kinds and "out" in kinds:
        if "window" in kinds:
            return _convolution(shape, wanted, axes, convention)
        return _dense(shape, wanted, axes, convention, flattened, unflattened)
    if axes in (("in", "gates"), ("in", "gates_reset_first")):
        moved = shape[::-1] if convention == PYTORCH else shape
        order = (1, 0) if convention == PYTORCH else ()
        return Change(permute=order) if moved == wanted else None
    if "multiplier" in kinds:
        return _depthwise(shape, wanted, convention)
    if axes == ("width", "tokens"):
        return Change(permute=(1, 0)) if shape[::-1] == wanted else None
    image = flattened or unflattened
    if image and shape == wanted and len(shape) == 1 and convention == PYTORCH:
        *window, channels = image
        order = (*range(1, len(image)), 0)
        return Change((channels, *window), order, wanted)
    if kinds == {"out"} and len(shape) == 1:
        return _final(Change(), shape, wanted)
    if shape == wanted:
        return AS_IT_IS
    return Change(shape=wanted) if _squeezed(shape) == _squeezed(wanted) else None


def _channels_first(shape: Shape) -> Shape:
    return (*shape[-1:], *shape[:-1])


def _squeezed(shape: Shape) -> Shape:
    return tuple(axis for axis in shape if axis != 1)


def _final(found: Change, shape: Shape, wanted: Shape) -> Change:
    return found if shape == wanted else Change(found.reshape, found.permute, wanted)


def _permute(axes: Sequence[int]) -> Shape:
    return () if tuple(axes) == tuple(range(len(axes))) else tuple(axes)


def _convolution(
    shape: Shape, wanted: Shape, axes: Sequence[str], convention: str
) -> Change | None:
    ndim = len(wanted)
    if axes[0] == "out":  # a variable of PyTorch: (out, in, *window)
        return _into_pytorch(shape, wanted, convention)
    if len(shape) == 2 and all(axis == 1 for axis in wanted[:-2]):  # a dense layer of a window of 1
        order = (1, 0) if convention == PYTORCH else (0, 1)
        moved = tuple(shape[axis] for axis in order)
        if axes[-2:] != ("in", "out") or moved != wanted[-2:]:
            return None
        return _final(Change(permute=_permute(order)), moved, wanted)
    if len(shape) != ndim:
        return None
    if convention == TENSORFLOW:
        return AS_IT_IS if shape == wanted else None
    # PyTorch has (out, in, *window), and (in, out, *window) if the convolution is transposed, for
    # which the variable has (*window, out, in).
    order = (*range(2, ndim), 1, 0)
    moved = tuple(shape[axis] for axis in order)
    return Change(permute=order) if moved == wanted else None


def _experts(shape: Shape, wanted: Shape, convention: str) -> Change | None:
    if convention == TENSORFLOW:
        return AS_IT_IS if shape == wanted else None
    if len(shape) != 3 or (shape[0], shape[2], shape[1]) != wanted:
        return None
    return Change(permute=(0, 2, 1))


def _into_pytorch(shape: Shape, wanted: Shape, convention: str) -> Change | None:
    if convention == PYTORCH:
        return AS_IT_IS if shape == wanted else None
    ndim = len(wanted)
    if len(shape) != ndim:
        return None
    order = (ndim - 1, ndim - 2, *range(ndim - 2))
    if tuple(shape[axis] for axis in order) == wanted:
        return Change(permute=order)
    *window, channels, multiplier = shape
    if wanted == (channels * multiplier, 1, *window):  # a depthwise kernel
        order = (ndim - 2, ndim - 1, *range(ndim - 2))
        return Change(permute=order, shape=() if multiplier == 1 else wanted)
    return None


def _depthwise(shape: Shape, wanted: Shape, convention: str) -> Change | None:
    *window, channels, multiplier = wanted
    ndim = len(wanted)
    if len(shape) != ndim:
        return None
    if convention == PYTORCH:
        if shape != (channels * multiplier, 1, *window):
            return None
        order = (*range(2, ndim), 0, 1)
        split = () if multiplier == 1 else (channels, multiplier, *window)
        return Change(reshape=split, permute=order)
    if shape == wanted:
        return AS_IT_IS
    if shape == (*window, 1, channels * multiplier):  # flax, with a group for each channel
        return Change(shape=wanted)
    return None


def _dense(
    shape: Shape,
    wanted: Shape,
    axes: Sequence[str],
    convention: str,
    flattened: Shape,
    unflattened: Shape,
) -> Change | None:
    """A kernel that is multiplied, such as that of a dense layer or of a head of attention."""
    ins = tuple(size for size, axis in zip(wanted, axes, strict=True) if axis == "in")
    outs = tuple(size for size, axis in zip(wanted, axes, strict=True) if axis == "out")
    size_in, size_out = math.prod(ins), math.prod(outs)
    if convention == TENSORFLOW:
        if shape == wanted and list(axes) == sorted(axes):  # in before out
            return AS_IT_IS
        if shape != (size_in, size_out):
            return AS_IT_IS if shape == wanted and len(wanted) > 2 else None
        if list(axes) == sorted(axes):
            return Change(shape=wanted)
        if list(axes) == sorted(axes, reverse=True):
            return _final(Change(permute=(1, 0)), (size_out, size_in), wanted)
        return None
    if len(shape) > 2 and all(axis == 1 for axis in shape[2:]):  # a convolution of a window of 1
        shape = shape[:2]
        squeezed = True
    else:
        squeezed = False
    if shape != (size_out, size_in):
        return None
    if (flattened or unflattened) and len(wanted) == 2:
        made, coming = _channels_first(unflattened or outs), _channels_first(flattened or ins)
        at = len(made)
        order = (*range(at + 1, at + len(coming)), at, *range(1, at), 0)
        return Change((*made, *coming), order, wanted)
    ndim = len(wanted)
    order_in = [i for i, axis in enumerate(axes) if axis == "in"]
    order_out = [i for i, axis in enumerate(axes) if axis == "out"]
    if order_in + order_out == list(range(ndim)):
        return _final(
            Change(reshape=(size_out, size_in) if squeezed else (), permute=(1, 0)),
            (size_in, size_out),
            wanted,
        )
    if order_out + order_in == list(range(ndim)):
        return _final(Change(), (size_out, size_in), wanted)
    came = order_out + order_in
    return Change((*outs, *ins), _permute([came.index(i) for i in range(ndim)]))
