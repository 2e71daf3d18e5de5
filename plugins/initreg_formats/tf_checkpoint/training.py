"""Which arrays of a checkpoint only training needs, as the checkpoint itself shows.

Names alone would be guesswork. A slot counts as one only if its variable is in the checkpoint too,
and a counter or a rate only if it is a single number. What is not recognised belongs to the model.

Source: the names that the optimisers of ``slots.py`` give, tensorpack 0.11
(``tfutils/varmanip.py``, ``tfutils/optimizer.py``, ``tfutils/summary.py``), Keras 3 and tf_keras,
in their own files and in object-based checkpoints; those of loss scales in TensorFlow's
``python/training/experimental/loss_scale.py``, ``tf.contrib.mixed_precision`` and both Keras.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from initreg import ArraySpec, Inference
from initreg_formats.tf_checkpoint.slots import (
    fits,
    scope_of_slot,
    variable_of_slot,
    without_an_axis,
)

SLOT = "optimiser slot"
NUMBER = "a number of the optimiser's"
STEP = "a counter of training"
RATE = "learning rate"
SUMMARY = "moving average of a summary"
METRIC = "state of a metric"
LOSS_SCALE = "state of a loss scale"

# Many models are published with averaged weights, so these are not dropped as slots.
_AVERAGES = re.compile(r"(?:.*[/_])?(?:average|ema|ExponentialMovingAverage)(?:_\d+)?")
_AVERAGES_OF = re.compile(r"(?:\w+/)?(?:average|ema)/")
_PART = re.compile(r".+/part_\d+/[^/]+")

# Each of these is a single number.
_INTEGERS = (
    (re.compile(r"global_step|save_counter"), STEP),
    (re.compile(r"(?:.*/)?AccumGrad(?:_\d+)?/counter"), STEP),
    (re.compile(r"(?:.*/)?(?:num_)?(?:good|bad)_steps"), LOSS_SCALE),
    (re.compile(r"(?:.*/)?loss_scale_optimizer\w*/step_counter"), LOSS_SCALE),
    (re.compile(r"(?:.*/)?(?:SGD|sgd)(?:_\d+)?/iter(?:ation)?"), STEP),  # it may have no slots
)
_FLOATS = (
    (re.compile(r"learning_rate"), RATE),
    (re.compile(r"(?:.*/)?beta\d?_power(?:_\d+)?"), NUMBER),
    # Not <layer>/mean/EMA, which is what batch normalisation in tensorpack is computed with.
    (re.compile(r"(?:.*/)?EMA/.+"), SUMMARY),
    (re.compile(r"(?:.*/)?metrics/\w+/vars/\d+"), METRIC),
    (re.compile(r"(?:.*/)?current_loss_scale"), LOSS_SCALE),
    (re.compile(r"(?:.*/)?loss_scale_optimizer\w*/dynamic_scale"), LOSS_SCALE),
)
# Such a number belongs to training only beside a counter of a loss scale.
_LOSS_SCALE = re.compile(r"(?P<scope>(?:.*/)?)loss_scale")

# All variables of an optimiser of Keras are in its scope, which has a counter of steps.
_COUNTER = re.compile(r"(?P<scope>(?:.*/)?)(?:_?iterations?|iter)")
_LISTED = re.compile(
    r"(?P<scope>(?:.*/)?\w*optimizer/)(?:optimizers/\w+/)?(?:_variables|vars)/(?P<place>\d+)"
)
_OPTIMISER = re.compile(r"(?:.*/)?\w*optimizer/")
# In an object-based checkpoint a variable may be called by its place in a list: the weights of a
# compiled Keras model are in optimizer/_trainable_variables.
_IN_LIST = re.compile(r"(?:.*/)?\w*variables/\d+")
_NO_NAME = re.compile(r".* of \d+|(?:.*/)?\w*variables/\d+")
_MOST_SCOPES = 8  # nested in each other
_MOST_WORDS = 16  # in the name of a slot; "accumulated_delta_var" has three
_HYPERPARAMETER = re.compile(
    r"_?(?:iterations?|iter|learning_rate|decay|beta_[12]|momentum|rho|epsilon|momentum_cache)"
)
# Directly in the scope of an optimiser, every single number is its own: optimizer/_u_product.
_SCALAR = re.compile(r"(?!_trainable_variables/)\w+(?:/\d+)?")
# What tf_keras calls the slots of an optimiser that is not in a scope: m/dense/kernel.
_LOOSE = frozenset(
    (
        *("m", "v", "u", "r", "c", "velocity", "momentum", "accumulator", "linear", "vhat"),
        *("accumulated_grad", "accumulated_delta_var", "average_gradient"),
    )
)


def inference(specs: Sequence[ArraySpec]) -> Inference:
    """What only training needs, and better names for what is only a number in a list."""
    dropped = training_state(specs)
    names = telling_names([spec for spec in specs if spec.name not in dropped])
    return Inference(dropped, {old: new for old, new in names.items() if old != new})


def training_state(specs: Sequence[ArraySpec]) -> dict[str, str]:
    """The names of the arrays that only training needs, each with what it is."""
    shapes = {spec.name: spec.shape for spec in specs}
    scalars = {spec.name: spec for spec in specs if spec.shape == ()}
    slots = dict(_slots(shapes))
    found = dict.fromkeys(slots, SLOT)
    rates = {f"{scope_of_slot(name, of)}learning_rate" for name, of in slots.items()}
    for name, spec in scalars.items():
        kinds = _INTEGERS if "int" in spec.dtype else _FLOATS if "float" in spec.dtype else ()
        for pattern, reason in kinds:
            if pattern.fullmatch(name):
                found[name] = reason
        if name in rates and "float" in spec.dtype:
            found[name] = RATE
    for name in scalars:
        match = _LOSS_SCALE.fullmatch(name)
        if match and f"{match['scope']}num_good_steps" in found:
            found[name] = LOSS_SCALE
    counters = {
        match["scope"]
        for name, spec in scalars.items()
        if "int" in spec.dtype and (match := _COUNTER.fullmatch(name))
    }
    counters |= {
        match["scope"]
        for name, spec in scalars.items()
        if "int" in spec.dtype and (match := _LISTED.fullmatch(name)) and match["place"] == "0"
    }
    ordered = sorted(shapes)
    flat = {name.replace("/", "_"): name for name in shapes}
    for scope in _not_too_deep(sorted(counters)):
        start, end = bisect_left(ordered, scope), len(ordered)
        if scope:  # which ends in "/"; the next character is "0"
            end = bisect_left(ordered, scope[:-1] + "0")
        found |= _of_keras(scope, ordered[start:end], shapes, flat, found)
    return found


def _not_too_deep(scopes: Sequence[str]) -> Iterator[str]:
    """Sorted scopes, without those inside many others.

    Optimisers are not nested like that, and each name is looked at once for each scope around it.
    """
    around: list[str] = []
    for scope in scopes:
        while around and not scope.startswith(around[-1]):
            around.pop()
        if len(around) < _MOST_SCOPES:
            around.append(scope)
            yield scope


def telling_names(specs: Sequence[ArraySpec]) -> dict[str, str]:
    """The names to publish arrays under, by their own names.

    An array whose name is only a number in a list gets the name that its program had for it, if the
    checkpoint records that.
    """
    taken = {spec.name for spec in specs}
    found = {}
    for spec in specs:
        name = spec.name
        if _IN_LIST.fullmatch(name):
            others = (each for each in spec.aliases if not _NO_NAME.fullmatch(each))
            name = next((each for each in others if each not in taken), name)
        taken.add(name)
        found[spec.name] = name
    return found


def _slots(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, str]]:
    """Slots that are called after their variable and have a shape that fits it, each with the
    variable."""
    names = set(shapes)
    for name, shape in shapes.items():
        variable = variable_of_slot(name, names)
        if variable is None or _AVERAGES.fullmatch(name):
            continue
        of = shapes[variable]
        # The slots of a partitioned variable may be saved part by part.
        if fits(name, shape, of) or (_PART.fullmatch(name) and len(shape) == len(of)):
            yield name, variable


def _of_keras(
    scope: str,
    below: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
    flat: Mapping[str, str],
    found: Mapping[str, str],
) -> dict[str, str]:
    """The arrays of an optimiser of Keras among those ``below`` its scope, which has a counter."""
    mine: dict[str, str] = {}
    is_one = _OPTIMISER.fullmatch(scope) is not None
    for name in below:
        shape, rest = shapes[name], name.removeprefix(scope)
        if name in found:
            continue
        if is_one and _LISTED.fullmatch(name):
            mine[name] = NUMBER if shape == () else SLOT
        elif not _AVERAGES.fullmatch(name) and not _AVERAGES_OF.match(rest):
            of = (v for v in _variables(rest, scope, flat) if v in shapes)
            variable = next((v for v in of if not scope or not v.startswith(scope)), None)
            if variable is None:
                continue
            is_sum = not {"r", "c"}.isdisjoint(rest.split("/")[:2])  # of Adafactor
            if shapes[variable] == shape or (is_sum and without_an_axis(shape, shapes[variable])):
                mine[name] = SLOT
    has_rate = scope != "" and shapes.get(f"{scope}learning_rate") == ()
    is_sure = is_one or (has_rate and bool(mine))
    if mine or is_one or has_rate:
        for name in below:
            rest = name.removeprefix(scope)
            own = _HYPERPARAMETER.fullmatch(rest) or (is_sure and _SCALAR.fullmatch(rest))
            if shapes[name] == () and own and name not in found:
                mine[name] = NUMBER
    return mine


def _variables(rest: str, scope: str, flat: Mapping[str, str]) -> Iterator[str]:
    """The variables that an array in the scope of an optimiser may be a slot of, by its name."""
    steps = rest.split("/")
    if len(steps) > 2:
        yield "/".join(steps[2:])  # tf_keras: <optimiser>/<slot>/<variable>
    if not scope:
        if steps[0] in _LOOSE:
            yield "/".join(steps[1:])
        return
    if len(steps) > 1:
        yield "/".join(steps[1:])  # <slot>/<variable>
        yield "/".join(steps[:-1])  # its older optimisers: <variable>/<slot>
    # Keras 3: <variable, flat>_<slot>, also of an optimiser inside another one.
    for text in dict.fromkeys((rest, steps[-1])):
        words = text.split("_")
        for end in range(len(words) - 1, max(0, len(words) - 1 - _MOST_WORDS), -1):
            yield flat.get("_".join(words[:end]), "")
