"""Which arrays of a source are in another order of axes than their variables.

Some do not fit, and would in the order of the other framework. Some fit either way, because they
are square: the other kernels of their source decide, the nearest ones first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum

from initreg import dtypes
from initreg.names import normalise
from initreg.plan.axes import (
    TENSORFLOW,
    Axes,
    Role,
    has_multiplier,
    last_part,
    layer,
    order,
    scope,
    squeeze,
)
from initreg.plan.axis_pairs import Pair, Reordered, Study
from initreg.plan.rows import Kind
from initreg.specs import LayerSpec, VariableSpec
from initreg.text.wording import GATES, printable

_MOST_SCOPES = 32  # of a name that are looked at, for names of strangers
_LONGEST = 120  # characters of a name in a sentence
_MISFIT = (Kind.MISMATCHED, Kind.PASSED_OVER)
# Under which flax has the arrays of a model, as they are called in its files.
_COLLECTIONS = ("params/", "params.", "batch_stats/", "batch_stats.")
Layers = Callable[[], Mapping[str, LayerSpec]]


def study(
    pairs: Iterable[Pair], variables: Mapping[str, VariableSpec], layers: Layers = dict
) -> Study:
    """Find the arrays of one source that are, or may be, in another order of axes.

    Args:
        pairs: the rows of the source that have a variable, in the order of the target.
        variables: all variables of the target by their normalised names.
        layers: returns what each variable is in its layer, by name, as far as the target knows. It
            is called if that matters.
    """
    pairs = [pair for pair in pairs if pair.kind is not Kind.OVERRIDDEN]
    found = Study()
    square: list[Reordered] = []
    moved: list[Pair] = []
    turned: list[Pair] = []
    for pair in pairs:
        is_misfit = pair.kind in _MISFIT
        if pair.array.axes is not None and not (is_misfit and pair.ndim == 2):
            moved.append(pair)
            continue
        orders = pair.orders()
        if not (orders or is_misfit):
            if pair.turned():
                turned.append(pair)
            continue
        each = Reordered(pair, orders)
        if is_misfit:
            why = _stuck(pair, variables)
            if why and (each.orders or has_multiplier(pair.array.shape, pair.variable.shape or ())):
                found.stuck.append((each.name, why))
            elif each.orders and dtypes.can_cast(pair.array.dtype, pair.variable.dtype or ""):
                found.needed.append(each)
        else:
            square.append(each)
    words = {_word(each.pair.variable.name) for each in square if turned}
    turned = [p for p in turned if p.role is Role.KERNEL or _word(p.variable.name) in words]
    if not (found.needed or moved or turned):
        square = [
            each for each in square if each.pair.says_pytorch or each.pair.kind is Kind.RESHAPED
        ]
    square = [each for each in square if not _stuck(each.pair, variables)]
    if found.needed or moved or square:
        _decide(found, pairs, square, moved, turned)
        _look_at_moved(found, moved, variables)
        _look_for_flatten(found, pairs, [*moved, *turned], variables, layers)
    _look_for_flax(found, pairs, layers)
    return found


def shown(name: str) -> str:
    """A name as it is shown within a sentence: escaped, and not too long."""
    name = printable(name)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]} ... {name[-20:]}"


def how(axes: Axes) -> str:
    """An order of axes in words."""
    is_reversed = axes == tuple(reversed(range(len(axes))))
    return "transposed" if is_reversed else f"with the axes in the order {axes}"


# --- what fits either way -------------------------------------------------------------------------


class _Answer(Enum):
    """Whether an array that fits either way is in another order."""

    YES = "yes"
    NO = "no"
    BOTH = "both"
    NOTHING_KNOWN = "nothing known"


class _Evidence:
    """Kernels whose order of axes is known: by their shapes, with or without axes of length 1, or
    because a rule moved the axes."""

    def __init__(self) -> None:
        self._known: dict[bool, list[tuple[Pair, bool]]] = {True: [], False: []}
        self._answers: dict[bool, set[bool]] = {True: set(), False: set()}
        self._near: dict[bool, dict[str, set[bool]]] = {}
        self.words: set[str] = set()  # the last parts of names of kernels in another order
        self.example = ""

    def add(self, pair: Pair, is_other: bool, example: str = "") -> None:
        self._known[pair.ndim > 2].append((pair, is_other))
        self._answers[pair.ndim > 2].add(is_other)
        if is_other:
            self.words.add(_word(pair.variable.name))
            self.example = self.example or example

    def of(self, pair: Pair) -> _Answer:
        """What the kernels of this source say: those with as many axes, if there are any, and the
        nearest ones, if they differ."""
        is_conv = pair.ndim > 2
        if not self._known[is_conv]:
            is_conv = not is_conv
        answers = self._answers[is_conv]
        if len(answers) > 1:
            near = self._near.get(is_conv)
            if near is None:
                near = self._near[is_conv] = _by_place(self._known[is_conv])
            answers = next(near[p] for p in _places(pair.variable.name) if p in near)
        if not answers:
            return _Answer.NOTHING_KNOWN
        if len(answers) > 1:
            return _Answer.BOTH
        return _Answer.YES if True in answers else _Answer.NO


def _word(name: str) -> str:
    """The last part of a name, without its numbers: ``fc#`` for ``fc1``."""
    last = last_part(normalise(name))
    return last if last.isalpha() else re.sub(r"\d+", "#", last)


def _places(name: str) -> Iterator[str]:
    """The scopes that a name is in, the innermost first and the whole model last."""
    place = scope(name)
    for _ in range(_MOST_SCOPES):
        if not place:
            break
        yield place
        place = scope(place[:-1])
    yield ""


def _by_place(known: Iterable[tuple[Pair, bool]]) -> dict[str, set[bool]]:
    found: dict[str, set[bool]] = {}
    for pair, is_other in known:
        for place in _places(pair.variable.name):
            found.setdefault(place, set()).add(is_other)
    return found


def _decide(
    found: Study,
    pairs: Sequence[Pair],
    square: Sequence[Reordered],
    moved: Sequence[Pair],
    turned: Sequence[Pair],
) -> None:
    """Say of each array that fits either way which way it is meant."""
    evidence = _Evidence()
    for pair in moved:
        axes = pair.array.axes or ()
        if _is_moved(axes) and pair.is_restored and pair.ndim > 1 and pair.role is not Role.OTHER:
            evidence.add(pair, True, f"{shown(pair.name)} is {_participle(axes)}")
    for each in found.needed:
        is_evidence = each.pair.array.axes is None and not each.is_reshaped
        if is_evidence and each.pair.role is not Role.OTHER:
            axes = next(iter(each.orders.values()))
            evidence.add(each.pair, True, f"{shown(each.pair.name)} only fits {how(axes)}")
    if not square:
        return
    for pair in turned:
        order_of = how(pair.turned() or ())
        evidence.add(pair, True, f"{shown(pair.name)} needs no reshape if it is {order_of}")
    known = {id(each.pair) for each in square} | {id(pair) for pair in (*moved, *turned)}
    for pair in pairs:
        if (
            pair.is_restored
            and len(squeeze(pair.array.shape)) > 1
            and id(pair) not in known
            and pair.role is Role.KERNEL
        ):
            evidence.add(pair, False)
    for each in square:
        pair, kind = each.pair, each.pair.role
        if kind is Role.OTHER:
            continue
        answer = evidence.of(pair)
        is_kernel = kind is Role.KERNEL or _word(pair.variable.name) in evidence.words
        axes = next(iter(each.orders.values()))
        doubt = f"fits {how(axes)} as well"
        if answer in (_Answer.YES, _Answer.BOTH):
            certain = is_kernel and answer is _Answer.YES
            (found.along if certain else found.asked).append(each)
            found.doubts[pair.name] = f"{doubt}, and {evidence.example}"
        elif answer is _Answer.NOTHING_KNOWN:
            if is_kernel and pair.says_pytorch:
                found.along.append(each)
                origin = shown(pair.array.origin)
                found.doubts[pair.name] = f"{doubt}, as {origin!r} of PyTorch would"
            elif pair.kind is Kind.RESHAPED and is_kernel:
                found.asked.append(each)
                found.doubts[pair.name] = doubt


def _participle(axes: Axes) -> str:
    is_reversed = axes == tuple(reversed(range(len(axes))))
    return "transposed" if is_reversed else "permuted"


# --- what no order of axes makes right ------------------------------------------------------------

# The layers of attention, whose kernels have an axis for heads.
_HEADS = frozenset({"query", "key", "value", "attention_output"})


def _stuck(pair: Pair, variables: Mapping[str, VariableSpec]) -> str:
    """Why no order of axes makes this kernel of the other framework right, "" if one may."""
    shape, wanted = pair.array.shape, pair.variable.shape or ()
    if has_multiplier(shape, wanted):
        why = (
            "is a depthwise kernel whose multiplier is not 1. PyTorch has channels and multiplier "
            "in one axis, so that no order of axes is right"
        )
        if shape[1] != 1:
            return why
        split, axes = (*wanted[-2:], *shape[2:]), (*range(2, len(shape)), 0, 1)
        return f"{why}. Give array.reshape{split}.transpose{axes}"
    return _gates(pair, variables) or _heads(pair, variables)


def _gates(pair: Pair, variables: Mapping[str, VariableSpec]) -> str:
    """Why the kernel of a recurrent layer is not only transposed, "" if it is or is none."""
    recurrent = _sibling(pair, "recurrent_kernel", variables)
    shape = recurrent.shape if recurrent is not None else None
    if shape is None or len(shape) < 2 or None in shape or pair.role is not Role.KERNEL:
        return ""
    units, gates = shape[-2] or 0, shape[-1] or 0
    if len(shape) > 2:
        return (
            "is a kernel of a recurrent convolution. PyTorch has no such layer, so the order of "
            "its gates is not known"
        )
    if gates == 3 * units:
        return (
            "is a kernel of a GRU, whose gates are in the order z, r, h in Keras, and r, z, n in "
            "PyTorch: reorder them, too, with the rule gates"
        )
    return ""


def _heads(pair: Pair, variables: Mapping[str, VariableSpec]) -> str:
    """Why a kernel of attention is not put in another order, "" if its lengths leave no choice."""
    if pair.ndim != 3 or len(set(pair.variable.shape or ())) == 3:
        return ""
    bias = _sibling(pair, "bias", variables)
    if layer(pair.variable.name) not in _HEADS and (bias is None or len(bias.shape or ()) < 2):
        return ""
    return "is a kernel of attention, two axes of which have the same length"


def _sibling(pair: Pair, last: str, variables: Mapping[str, VariableSpec]) -> VariableSpec | None:
    """The variable of the same layer that is called so, if there is one."""
    return variables.get(scope(normalise(pair.variable.name)) + last)


# --- what rules moved -----------------------------------------------------------------------------


def _look_at_moved(
    found: Study, moved: Iterable[Pair], variables: Mapping[str, VariableSpec]
) -> None:
    """Doubt axes that a rule reversed where the other framework has another order, and gates."""
    for pair in moved:
        axes, wanted = pair.array.axes or (), pair.variable.shape
        if not pair.is_restored or wanted is None or not _is_moved(axes):
            continue
        if len(axes) > 3 and axes == tuple(reversed(range(len(axes)))):
            before = tuple(reversed(pair.array.shape))
            for framework in pair.frameworks:
                other = order(before, wanted, framework)
                if other is not None and other != axes:
                    found.doubts[pair.name] = (
                        "its axes are reversed, so that height and width change places. "
                        f"The order of a kernel from {framework} is {other}"
                    )
                    break
        why = _gates(pair, variables)
        is_said = any(text.startswith(GATES) for text in pair.array.changes)
        if why and len(axes) == 2 and not is_said:
            found.doubts[pair.name] = why


def _look_for_flatten(
    found: Study,
    pairs: Sequence[Pair],
    moved: Iterable[Pair],
    variables: Mapping[str, VariableSpec],
    layers: Layers,
) -> None:
    """Doubt dense kernels behind a convolution that have several inputs for each of its channels,
    unless the target knows that nothing was flattened. And those of which it knows that an image is
    made of their outputs.

    PyTorch flattens (channels, height, width), and TensorFlow (height, width, channels). A kernel
    with one output is put in order by a rule, or by a reshape.
    """
    in_order = {id(p) for p in moved if _is_moved(p.array.axes or p.turned() or ())}
    reordered = in_order | {id(each.pair) for each in (*found.needed, *found.along)}
    if not any(id(pair) in reordered and pair.ndim > 2 for pair in pairs):
        return
    known: Mapping[str, LayerSpec] | None = None
    channels = 0  # of the convolution just before
    for pair in pairs:
        if pair.ndim > 2 and id(pair) in reordered:
            channels = _channels(pair, variables)
        if pair.ndim != 2 or pair.role is Role.OTHER:
            continue
        if id(pair) not in reordered:
            channels = 0
            continue
        known = layers() if known is None else known
        _look_for_images(found, pair, known.get(pair.variable.name), id(pair) in in_order)
        wanted = pair.variable.shape or ()
        inputs = wanted[1 if pair.frameworks == (TENSORFLOW,) else 0] or 0
        if 1 < channels < inputs and inputs % channels == 0:
            if _is_not_flattened(known.get(pair.variable.name)):
                channels = 0
                continue
            found.flattened.append(pair)
            if id(pair) in in_order and pair.is_restored:
                found.doubts.setdefault(
                    pair.name,
                    f"its {inputs} inputs are {inputs // channels} for each of {channels} channels."
                    " If they are flattened, PyTorch has the channels first, and TensorFlow last",
                )
        channels = 0


def _look_for_images(found: Study, pair: Pair, spec: LayerSpec | None, is_moved: bool) -> None:
    """Doubt a kernel if the target knows that an image is made of what its layer returns."""
    if spec is None or not (spec.unflattened or "unflattened" in spec.axes):
        return
    found.unflattened.append(pair)
    if is_moved and pair.is_restored:
        found.doubts.setdefault(
            pair.name,
            "an image is made of what its layer returns. PyTorch has the channels of it first, and "
            "TensorFlow last. Its bias has the same order",
        )


def _look_for_flax(found: Study, pairs: Sequence[Pair], layers: Layers) -> None:
    """Doubt the kernels of transposed convolutions of flax, which has their windows the other way
    round, whatever their shapes are.

    Source: ``conv_transpose`` in jax/_src/lax/convolution.py, with ``transpose_kernel=False``.
    """
    if not pairs or not pairs[0].array.origin.startswith(_COLLECTIONS):
        return
    known: Mapping[str, LayerSpec] | None = None
    for pair in pairs:
        axes = pair.array.axes
        is_said = axes is not None and not _is_moved(axes)
        if pair.ndim < 3 or not pair.is_restored or pair.role is Role.OTHER or is_said:
            continue
        known = layers() if known is None else known
        spec = known.get(pair.variable.name)
        kinds = () if spec is None else spec.axes
        is_transposed = kinds[:1] == ("window",) and kinds[-2:] == ("out", "in")
        if is_transposed or "ConvTranspose" in pair.array.origin:
            found.doubts[pair.name] = (
                "flax computes a transposed convolution with its window the other way round, "
                "unless it was made with transpose_kernel. No rule turns a window"
            )


def _is_not_flattened(spec: LayerSpec | None) -> bool:
    """Whether it is known of a kernel that nothing was flattened before its layer."""
    return spec is not None and "in" in spec.axes and not spec.flattened


def _channels(pair: Pair, variables: Mapping[str, VariableSpec]) -> int:
    """How many channels a convolution gives, 0 if it is something else with three axes."""
    bias = _sibling(pair, "bias", variables)
    if bias is not None and bias.shape is not None:
        return (bias.shape[0] or 0) if len(bias.shape) == 1 else 0
    wanted = pair.variable.shape or ()
    if pair.frameworks == (TENSORFLOW,):
        return wanted[0] or 0
    return (wanted[-2] if wanted[-1] == 1 else wanted[-1]) or 0


def _is_moved(axes: Axes) -> bool:
    return list(axes) != sorted(axes)
