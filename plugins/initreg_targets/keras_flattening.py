"""In which order the numbers are that come into a layer, if several axes were made one before it.

PyTorch keeps the channels of images before height and width, Keras after them. What is flattened
there has another order here, and so has what comes after it until the next layer that mixes all of
it. Sequences are the same in both: ``(batch, time, channels)``, unless a convolution made them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from initreg_targets.frameworks import KERAS, is_a

Shape = tuple[int, ...]
Layout = Shape | None
PLAIN: Layout = ()
UNKNOWN: Layout = None

# What leaves each value where it is.
_ELEMENTWISE = (
    *("Dropout", "Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Identity", "GaussianNoise"),
    *("GaussianDropout", "AlphaDropout", "ActivityRegularization", "Softmax", "Rescaling"),
    *("BatchNormalization", "LayerNormalization", "RMSNormalization", "UnitNormalization"),
    *("GroupNormalization", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    "Normalization",
)
_MERGING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
# What keeps the channels last here, and first in PyTorch.
_OF_IMAGES = (
    *(f"{kind}{n}D" for n in (1, 2, 3) for kind in ("Conv", "MaxPooling", "AveragePooling")),
    *(f"{kind}{n}D" for n in (1, 2, 3) for kind in ("UpSampling", "ZeroPadding", "Cropping")),
    *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "SeparableConv1D"),
    *("SeparableConv2D", "DepthwiseConv1D", "DepthwiseConv2D", "Resizing", "CenterCrop"),
)
# What has the time before the channels in both.
_OF_SEQUENCES = (
    *("Embedding", "LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "MultiHeadAttention"),
    *("Dense", "EinsumDense", "GroupQueryAttention", "Attention", "AdditiveAttention"),
)
# What makes new features of all that come in.
_MIXING = (*_OF_IMAGES, *_OF_SEQUENCES)
_POOLING = tuple(f"Global{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3))
_OPERATIONS = frozenset(  # of keras.ops
    [
        "Relu",
        "Relu6",
        "Gelu",
        "Silu",
        "Sigmoid",
        "Tanh",
        "Elu",
        "Selu",
        "Celu",
        "LeakyRelu",
        "Softplus",
        "Softsign",
        "Softmax",
        "HardTanh",
        "HardSigmoid",
        "HardSilu",
        "Mish",
        "Exp",
        "Log",
        "Sqrt",
        "Square",
        "Absolute",
        "Abs",
        "Negative",
        "Cast",
        "Identity",
    ]
)
_DEEPEST = 300  # operations between a layer and what was flattened


class Flattening:
    """What was flattened before it came into a layer.

    Args:
        calls: for each operation, by its id, the tensors that each call of it got.
        makers: gives the operation that made a tensor.
        inner: for a model in the model, by its id, the tensors that it returns.
        given: for the input of a model in the model, by the id of the operation, what comes in.
        may_flatten: whether a layer of somebody's own may flatten what a convolution in it made
            into so many features.
    """

    def __init__(
        self,
        calls: Mapping[int, Sequence[Sequence[Any]]],
        maker: Any,
        inner: Mapping[int, Sequence[Any]],
        given: Mapping[int, Sequence[Any]],
        may_flatten: Callable[[Any, int], bool],
    ) -> None:
        self._calls, self._maker, self._inner, self._given = calls, maker, inner, given
        self._may_flatten = may_flatten
        self._known: dict[int, Layout] = {}  # by the id of a tensor, which its model keeps

    def into(self, operation: Any) -> Layout:
        """The shape, without the batch, of what was flattened before it came into an operation.

        The channels are last. () if nothing was that PyTorch has in another order. None if it is
        not known.
        """
        found = [self._layout(t, 0) for call in self._calls.get(id(operation), ()) for t in call]
        return _agreed(found)

    def _layout(self, tensor: Any, depth: int) -> Layout:
        if len(shape_of(tensor)) > 2:  # an image
            return PLAIN
        if id(tensor) not in self._known:
            # A layer that is called several times may get what it returned.
            self._known[id(tensor)] = PLAIN
            found = self._found(tensor, depth)
            if found != PLAIN:  # what was found with the assumption may be wrong
                self._known = {id(tensor): found}
            return found
        return self._known[id(tensor)]

    def _found(self, tensor: Any, depth: int) -> Layout:
        operation = self._maker(tensor)
        if operation is None or depth > _DEEPEST:
            return PLAIN if operation is None else UNKNOWN
        if id(operation) in self._inner:
            return _agreed([self._layout(t, depth + 1) for t in self._inner[id(operation)]])
        if id(operation) in self._given:
            return _agreed([self._layout(t, depth + 1) for t in self._given[id(operation)]])
        calls = self._calls.get(id(operation), ())
        tensors = [each for call in calls for each in call]
        if is_one_of(operation, ("SpectralNormalization",)):  # multiplies as the layer in it
            operation = operation.layer
        is_own = has_own_code(operation)
        if not tensors or (is_one_of(operation, _MIXING) and not is_own):
            return PLAIN
        shapes = [shape_of(each) for each in tensors]
        made = shape_of(tensor)
        if is_one_of(operation, ("Flatten", "Reshape")) or _kind(operation) == "Reshape":
            return _agreed(
                [self._reshaped(operation, t, made, depth + 1) for t in tensors],
            )
        # A layer that also gets something of the shape that it returns, such as masks beside it,
        # flattens nothing.
        keeps = any(len(shape) == len(made) and shape[-1:] == made[-1:] for shape in shapes)
        if not keeps and any(
            len(made) < len(shape) and _looks_flattened(made, shape) for shape in shapes
        ):
            return UNKNOWN
        is_smaller = len(made) == 1 and any(len(shape) > 1 for shape in shapes)
        if is_own and is_smaller and self._may_flatten(operation, made[0]):
            return UNKNOWN
        found = [self._layout(each, depth + 1) for each in tensors]
        if is_one_of(operation, (*_ELEMENTWISE, *_MERGING)) and not is_own:
            return _agreed(found)
        if _kind(operation) in _OPERATIONS and not is_own:
            return _agreed(found)
        if is_own and all(_makes_new(operation, shape, made) for shape in shapes):
            return PLAIN
        # It may scale each feature, add to them what it computes of them, or make new ones.
        return PLAIN if all(each == PLAIN for each in found) else UNKNOWN

    def _reshaped(self, operation: Any, tensor: Any, made: Shape, depth: int) -> Layout:
        shape = shape_of(tensor)
        if len(shape) == 1:
            return self._layout(tensor, depth)
        if getattr(operation, "data_format", None) == "channels_first":  # it moves them first
            shape = (*shape[1:], shape[0])
        if len(made) != 1 and made[-1:] == shape[-1:]:
            return self._layout(tensor, depth)
        if sum(axis != 1 for axis in shape) < 2 or shape[-1] == 1:
            return PLAIN
        order = self._channels(tensor, depth)
        if order is None or -1 in shape or len(made) != 1:
            return PLAIN if order is False else UNKNOWN
        return shape if order else PLAIN

    def _channels(self, tensor: Any, depth: int) -> bool | None:
        """Whether PyTorch has the last axis of a tensor before the others. None if that is not
        known."""
        operation = self._maker(tensor)
        if operation is None or depth > _DEEPEST:
            return None
        inside = self._inner.get(id(operation)) or self._given.get(id(operation))
        if inside:
            return _agreed_on([self._channels(each, depth + 1) for each in inside])
        if is_one_of(operation, _OF_IMAGES):
            return True
        size = len(shape_of(tensor))
        if is_one_of(operation, _OF_SEQUENCES):
            return False if size == 2 else None
        tensors = [each for call in self._calls.get(id(operation), ()) for each in call]
        if not tensors:  # an input: an image if it has three axes, rows if it has two
            return size > 2
        if (
            is_one_of(operation, (*_ELEMENTWISE, *_MERGING, "Concatenate"))
            or _kind(operation) in _OPERATIONS
        ):
            return _agreed_on([self._channels(each, depth + 1) for each in tensors])
        # Something else that keeps the length of the last axis, which no other axis has, does not
        # move it.
        made = shape_of(tensor)
        if len(made) < 2 or made[-1] in (-1, *made[:-1]) or _kind(operation) == "Reshape":
            return None
        kept = [t for t in tensors if len(shape_of(t)) == size and shape_of(t)[-1] == made[-1]]
        if kept:
            return _agreed_on([self._channels(each, depth + 1) for each in kept])
        last = [each for each in _layers_in(operation) if made[-1] in _sizes_of(each)]
        is_image = any(is_one_of(each, _OF_IMAGES) for each in last)
        return True if is_image else False if last and size == 2 else None


class Unflattening:
    """What is made of the features that a layer returns: an image, of which PyTorch has the
    channels first.

    Args:
        users: for each operation, by its id, those that get what it returns, the shape of that
            without the batch, and of what they return then. None stands for the outputs of the
            model.
        inside: for a model in the model, by its id, what gets its inputs in it.
        around: for what makes the output of a model in the model, by its id, that model.
    """

    def __init__(
        self,
        users: Mapping[int, Sequence[tuple[Any, Shape, Shape]]],
        inside: Mapping[int, Sequence[Any]],
        around: Mapping[int, Any],
    ) -> None:
        self._users, self._inside, self._around = users, inside, around

    def out_of(self, operation: Any) -> Layout:
        """The shape, without the batch, of the image that is made of what an operation returns.

        The channels are last. () if none is. None if it is not known in which order PyTorch has it.
        """
        return self._made_of(operation, set())

    def _of(self, operation: Any) -> Iterator[tuple[Any, Shape, Shape]]:
        """What gets that which an operation returns, the shape of that, and what is made of it."""
        for user, given, made in self._users.get(id(operation), ()):
            if id(user) not in self._inside:
                yield user, given, made
            for each in self._inside.get(id(user), ()):
                yield from self._of(each)
        if id(operation) in self._around:
            yield from self._of(self._around[id(operation)])

    def _made_of(self, operation: Any, seen: set[int]) -> Layout:
        seen.add(id(operation))
        found = []
        for user, given, made in self._of(operation):
            if user is None or id(user) in seen or len(given) != 1:
                continue
            is_own = has_own_code(user)
            if len(made) > 1:
                is_known = not is_own and (
                    is_one_of(user, ("Reshape",)) or _kind(user) == "Reshape"
                )
                image = self._reshaped(user, made) if _looks_flattened(given, made) else PLAIN
                found.append(image if is_known or image == PLAIN else UNKNOWN)
                continue
            if (is_one_of(user, _MIXING) and not is_own) or _makes_new(user, given, made):
                found.append(PLAIN)
                continue
            keeps = is_one_of(user, ("Flatten", "Reshape", *_ELEMENTWISE, *_MERGING))
            keeps = (keeps or _kind(user) in _OPERATIONS) and not is_own
            below = self._made_of(user, seen)
            found.append(below if keeps or below == PLAIN else UNKNOWN)
        return _agreed(found)

    def _reshaped(self, operation: Any, made: Shape) -> Layout:
        if sum(axis != 1 for axis in made) < 2 or made[-1] == 1:
            return PLAIN
        is_image = self._is_image(operation, len(made), set())
        if is_image is None or (is_image and -1 in made):
            return UNKNOWN
        return made if is_image else PLAIN

    def _is_image(self, operation: Any, size: int, seen: set[int]) -> bool | None:
        """Whether what gets a tensor takes it for an image with its channels last. None if that is
        not known."""
        seen.add(id(operation))
        found: list[bool | None] = []
        for user in [user for user, *_ in self._of(operation) if id(user) not in seen]:
            is_own = user is not None and has_own_code(user)
            if user is not None and is_one_of(user, (*_OF_IMAGES, *_POOLING)):
                found.append(getattr(user, "data_format", None) != "channels_first")
            elif user is not None and is_one_of(user, _OF_SEQUENCES) and not is_own:
                found.append(False)
            elif user is not None and (
                is_one_of(user, (*_ELEMENTWISE, *_MERGING, "Concatenate"))
                or _kind(user) in _OPERATIONS
            ):
                found.append(self._is_image(user, size, seen))
            else:  # two axes are a sequence, and the others may be anything
                found.append(False if size < 3 else None)
        return _agreed_on(found) if found else False


def is_one_of(operation: Any, kinds: Sequence[str]) -> bool:
    return any(is_a(operation, keras, f"layers.{kind}") for keras in KERAS for kind in kinds)


def has_own_code(operation: Any) -> bool:
    """Whether what an operation computes is not the code of Keras, but of somebody's own class."""
    code = getattr(type(operation), "call", None)
    return (getattr(code, "__module__", None) or "").partition(".")[0] not in KERAS


def _kind(operation: Any) -> str:
    return type(operation).__name__


def _makes_new(operation: Any, shape: Shape, made: Shape) -> bool:
    """Whether a layer of somebody's own makes new features of those that come in: it returns
    another number of them, and has kernels along both."""
    if len(shape) != 1 or len(made) != 1 or shape == made:
        return False
    weights = getattr(operation, "weights", None) or ()
    kernels = [tuple(w.shape) for w in weights if len(tuple(w.shape)) == 2]
    return all(any(size in kernel for kernel in kernels) for size in (shape[0], made[0]))


def _layers_in(layer: Any) -> list[Any]:
    flatten = getattr(layer, "_flatten_layers", None)
    return list(flatten()) if callable(flatten) else []


def _sizes_of(layer: Any) -> set[Any]:
    """The numbers of features that a layer of Keras says it returns."""
    return {getattr(layer, name, None) for name in ("filters", "units", "output_dim")}


def shape_of(tensor: Any) -> Shape:
    """The shape without the batch, -1 for an axis of any size."""
    return tuple(-1 if axis is None else int(axis) for axis in tuple(tensor.shape)[1:])


def _looks_flattened(made: Shape, shape: Shape) -> bool:
    if sum(axis != 1 for axis in shape) < 2:
        return False
    if made[-1:] == shape[-1:] != (-1,):  # one row is taken, or all are pooled
        return False
    return -1 in shape or -1 in made or math.prod(made) == math.prod(shape)


def _agreed(found: Sequence[Layout]) -> Layout:
    """What all say, None if they contradict each other."""
    if not found:
        return PLAIN
    return found[0] if all(each == found[0] for each in found) else UNKNOWN


def _agreed_on(found: Sequence[bool | None]) -> bool | None:
    return found[0] if found and all(each is found[0] for each in found) else None
