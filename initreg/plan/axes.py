"""In which order frameworks store the axes of a kernel, and what names say of it.

TensorFlow and Keras store the window of a kernel first, and PyTorch stores it last:

=====================  =================================  ==================================
kernel                 PyTorch                            TensorFlow
=====================  =================================  ==================================
dense                  (out, in)                          (in, out)
convolution            (out, in, *window)                 (*window, in, out)
transposed             (in, out, *window)                 (*window, out, in)
depthwise              (channels * m, 1, *window)         (*window, channels, m)
=====================  =================================  ==================================

The multiplier ``m`` of a depthwise kernel is usually 1. If it is not, no order of axes is right,
because one axis has to be split into two.

Sources: the documentation of ``torch.nn.Linear``, ``Conv1d`` to ``Conv3d``, ``ConvTranspose1d`` to
``ConvTranspose3d``; ``tf.nn.convolution``, ``tf.nn.conv2d_transpose``, ``tf.nn.depthwise_conv2d``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache

Axes = tuple[int, ...]
Shape = Sequence[int | None]

PYTORCH, TENSORFLOW = "PyTorch", "TensorFlow"
FRAMEWORKS = (PYTORCH, TENSORFLOW)  # that an array may come from, the likelier one first

# By the number of axes: axis i of the variable is axis axes[i] of the array. The tables of kernels
# with all axes come first. Those of depthwise kernels are for an axis of length 1, see _IS_ONE.
_KERNEL: dict[str, dict[int, Axes]] = {
    PYTORCH: {2: (1, 0), 3: (2, 1, 0), 4: (2, 3, 1, 0), 5: (2, 3, 4, 1, 0)},
    TENSORFLOW: {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1), 5: (4, 3, 0, 1, 2)},
}
_DEPTHWISE: dict[str, dict[int, Axes]] = {
    PYTORCH: {3: (2, 0, 1), 4: (2, 3, 0, 1)},
    TENSORFLOW: {3: (1, 2, 0), 4: (2, 3, 0, 1)},
}
_IS_ONE = {PYTORCH: 1, TENSORFLOW: -1}  # the axis of a depthwise kernel with multiplier 1

_REMEMBERED = 4096  # shapes and ends of names, of which a model has few


# --- shapes ---------------------------------------------------------------------------------------


def squeeze(shape: Shape) -> tuple[int | None, ...]:
    """The shape without its axes of length 1."""
    return tuple(axis for axis in shape if axis != 1)


def moves(shape: Shape, axes: Axes) -> bool:
    """Whether an order of axes moves values, and not only axes of length 1."""
    kept = [axis for axis in axes if shape[axis] != 1]
    return kept != sorted(kept)


def order(shape: Shape, wanted: Shape, framework: str) -> Axes | None:
    """The order in which a kernel of the framework fits a variable of the other one.

    Args:
        shape: the shape of the array.
        wanted: the shape of the variable. If it has more or fewer axes, it may differ by axes of
            length 1: a convolution with a window of 1 may be meant for a dense layer.
        framework: where the array comes from.

    Returns:
        The axes, as numpy's ``transpose`` takes them, or None if the kernel does not fit.

    >>> order((8, 3, 5, 5), (5, 5, 3, 8), PYTORCH)
    (2, 3, 1, 0)
    """
    ndim = len(shape)
    tables = [_KERNEL] if ndim < 3 or shape[_IS_ONE[framework]] != 1 else [_KERNEL, _DEPTHWISE]
    for table in tables:
        axes = table[framework].get(ndim)
        if axes is None:
            continue
        new = tuple(shape[axis] for axis in axes)
        if new == tuple(wanted) if ndim == len(wanted) else squeeze(new) == squeeze(wanted):
            return axes
    return None


@lru_cache(_REMEMBERED)
def orders(
    shape: tuple[int, ...], wanted: tuple[int | None, ...], frameworks: tuple[str, ...]
) -> Mapping[str, Axes]:
    """For each framework that the array may come from, the order in which it fits and moves values.

    A framework whose order would move none, or whose kernels do not fit, is left out.
    """
    found = {each: order(shape, wanted, each) for each in frameworks}
    return {each: axes for each, axes in found.items() if axes and moves(shape, axes)}


def hidden_order(shape: Shape, wanted: Shape, variable: str, array: str) -> tuple[str, Axes] | None:
    """An order of axes that a reshape by axes of length 1 would hide.

    A kernel of a depthwise layer with three channels and a window of 3 x 3 is ``(3, 1, 3, 3)`` in
    PyTorch and ``(3, 3, 3, 1)`` in TensorFlow. It could be reshaped, and would be wrong.

    Args:
        shape: the shape of the array.
        wanted: the shape of the variable, which has as many axes.
        variable: the name of the variable.
        array: the name of the array in its source.

    Returns:
        The framework that the array may come from, and the axes. None if nothing is hidden.
    """
    if len(shape) != len(wanted) or role(variable, array) is Role.OTHER:
        return None
    for framework in frameworks(variable, array):
        axes = order(shape, wanted, framework)
        if axes is not None:
            return (framework, axes) if moves(shape, axes) else None
    return None


def kept_order(shape: Shape, wanted: Shape) -> Axes:
    """The order of axes that does what a reshape does: it moves only axes of length 1."""
    others = iter([i for i, axis in enumerate(shape) if axis != 1])
    ones = iter([i for i, axis in enumerate(shape) if axis == 1])
    return tuple(next(ones if axis == 1 else others) for axis in wanted)


def has_multiplier(shape: Shape, wanted: Shape) -> bool:
    """Whether these are the shapes of a depthwise kernel whose multiplier is not 1, in PyTorch and
    in TensorFlow, or the other way round."""
    if len(shape) != len(wanted) or len(shape) not in (3, 4):
        return False
    for torch, tf in ((shape, wanted), (wanted, shape)):
        first, one, *window = torch
        *others, channels, multiplier = tf
        if None in (first, channels, multiplier) or one != 1 or window != others:
            continue
        if first == (channels or 0) * (multiplier or 0) and 1 not in (channels, multiplier):
            return True
    return False


# --- names ----------------------------------------------------------------------------------------


class Role(Enum):
    """What an array is in its layer, as far as its name says."""

    KERNEL = "kernel"  # its axes are in another order in the other framework
    OTHER = "other"  # never transposed: an embedding, a bias, a statistic
    UNKNOWN = "unknown"


# The last part of a name.
_KERNEL_NAME = re.compile(r"(?!chain_).*kernel.*", re.I)  # chain_kernel: transitions of a CRF
_WEIGHT_NAME = re.compile(r"(.*_)?(weights?|filters?)(_[ih]h_.*)?", re.I)
_SHORT_NAME = re.compile(r"(?:w|[kquvo]$)[a-z]?_?[a-z]?\d*", re.I)  # W, w1, wq, W_o, q
_OTHER_NAME = re.compile(
    r"(?:.*_)?emb.*|.*(?:embed|bias|offset|beta|gamma|alpha|scale|mean|varian|running|moving|token"
    r"|position).*|wte|wpe|var|stddev",
    re.I,
)
# The part before it, if the last one is only `weight`.
_OTHER_LAYER = re.compile(
    r"(?:.*_)?emb.*|.*(?:embed|vocab|lookup|codebook|position|norm).*|tok(?:en)?s?(?:_.*)?|wte|wpe"
    r"|(?:ln|bn)_?\w?\d*",
    re.I,
)
_DENSE_LAYER = re.compile(r".*(?:proj|dense|linear|fc|_out).*", re.I)  # embed_out, emb_projection


def scope(name: str) -> str:
    """The name without its last part, which follows a ``/`` or ``.``.

    >>> scope("net/fc/kernel"), scope("w")
    ('net/fc/', '')
    """
    return name[: max(name.rfind("/"), name.rfind(".")) + 1]


def last_part(name: str) -> str:
    """The last part of a name: what it is in its layer."""
    return name[max(name.rfind("/"), name.rfind(".")) + 1 :]


def layer(name: str) -> str:
    """The part before the last one, "" if there is none."""
    return last_part(scope(name)[:-1])


@lru_cache(_REMEMBERED)
def _role(layer: str, last: str) -> Role:
    if _KERNEL_NAME.fullmatch(last):
        return Role.KERNEL
    if _OTHER_NAME.fullmatch(last):
        return Role.OTHER
    if _WEIGHT_NAME.fullmatch(last) or _SHORT_NAME.fullmatch(last):
        is_other = _OTHER_LAYER.fullmatch(layer) and not _DENSE_LAYER.fullmatch(layer)
        return Role.OTHER if is_other else Role.KERNEL
    return Role.UNKNOWN


def role(*names: str) -> Role:
    """What an array is, according to all names that it and its variable have.

    The names of the variable come first. A variable that is called a kernel is one.
    """
    first = Role.UNKNOWN
    for name in names:
        found = _role(layer(name), last_part(name))
        if found is Role.KERNEL and _KERNEL_NAME.fullmatch(last_part(name)):
            return found if first is not Role.OTHER else first
        if first is Role.UNKNOWN or found is Role.OTHER:
            first = found
    return first


def is_pytorchs(name: str) -> bool:
    """Whether a kernel has a name of PyTorch."""
    last = last_part(name)
    return last == "weight" or re.fullmatch(r"weight_[ih]h_l\d+(_reverse)?", last) is not None


def _is_tensorflows(name: str) -> bool:
    last = last_part(name)
    return (
        last == "kernel" or re.fullmatch(r".*kernel.*|w|weights|filters?", last, re.I) is not None
    )


def frameworks(variable: str, array: str) -> tuple[str, ...]:
    """The frameworks that an array may come from, the likelier one first.

    Args:
        variable: the name of the variable.
        array: the name of the array in its source.
    """
    if _is_tensorflows(variable) or (is_pytorchs(array) and not is_pytorchs(variable)):
        return (PYTORCH,)
    if is_pytorchs(variable) and _is_tensorflows(array):
        return (TENSORFLOW,)
    return FRAMEWORKS
