"""Which arrays of a checkpoint only training needs, as the checkpoint itself shows.

Names alone would be guesswork. A slot counts as one only if its variable is in the checkpoint too,
and a counter or a rate only if it is a single number. What is not recognised belongs to the model.

Source: the names that the optimisers of tf.compat.v1.train, tensorpack 0.11
(``tfutils/varmanip.py``, ``tfutils/optimizer.py``, ``tfutils/summary.py``), Keras 3 and tf_keras
give, in their own files and in object-based checkpoints.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from initreg import ArraySpec, Inference
from initreg_formats.tf_checkpoint.slots import variable_of_slot

SLOT = "optimiser slot"
NUMBER = "a number of the optimiser's"
STEP = "a counter of training"
RATE = "learning rate"
SUMMARY = "moving average of a summary"
METRIC = "state of a metric"

# Many models are published with averaged weights, so these are not dropped as slots.
_AVERAGES = re.compile(r"(?:.*[/_])?(?:average|ema|ExponentialMovingAverage)(?:_\d+)?")
_AVERAGES_OF = re.compile(r"(?:\w+/)?(?:average|ema)/")
_PART = re.compile(r".+/part_\d+/[^/]+")

# Each of these is a single number.
_INTEGERS = (
    (re.compile(r"global_step|save_counter"), STEP),
    (re.compile(r"(?:.*/)?AccumGrad(?:_\d+)?/counter"), STEP),
)
_FLOATS = (
    (re.compile(r"learning_rate"), RATE),
    (re.compile(r"(?:.*/)?beta\d?_power(?:_\d+)?"), NUMBER),
    # Not <layer>/mean/EMA, which is what batch normalisation in tensorpack is computed with.
    (re.compile(r"(?:.*/)?EMA/.+"), SUMMARY),
    (re.compile(r"(?:.*/)?metrics/\w+/vars/\d+"), METRIC),
)

# All variables of an optimiser of Keras are in its scope, which has a counter of steps.
_COUNTER = re.compile(r"(?P<scope>(?:.*/)?)(?:_?iterations?|iter)")
_LISTED = re.compile(r"(?P<scope>(?:.*/)?\w*optimizer/)(?:_variables|vars)/(?P<place>\d+)")
_OPTIMISER = re.compile(r"(?:.*/)?\w*optimizer/")
# In an object-based checkpoint a variable may be called by its place in a list: the weights of a
# compiled Keras model are in optimizer/_trainable_variables.
_IN_LIST = re.compile(r"(?:.*/)?\w*variables/\d+")
_NO_NAME = re.compile(r".* of \d+|(?:.*/)?\w*variables/\d+")
_MOST_SCOPES = 8  # nested in each other
_MOST_WORDS = 16  # in the name of a slot; "accumulated_delta_var" has three
_HYPERPARAMETER = re.compile(
    r"_?(?:iterations?|iter|learning_rate|decay|beta_[12]|momentum|rho|epsilon)"
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
    found = dict(_slots(shapes))
    for name, spec in scalars.items():
        kinds = _INTEGERS if "int" in spec.dtype else _FLOATS if "float" in spec.dtype else ()
        for pattern, reason in kinds:
            if pattern.fullmatch(name):
                found[name] = reason
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
    """Slots called ``<variable>/Adam`` or ``<variable>/.OPTIMIZER_SLOT/...`` that have the shape of
    their variable."""
    names = set(shapes)
    for name, shape in shapes.items():
        variable = variable_of_slot(name, names)
        if variable is None or _AVERAGES.fullmatch(name):
            continue
        of = shapes[variable]
        # The slots of a partitioned variable may be saved part by part.
        if shape == of or (_PART.fullmatch(name) and len(shape) == len(of)):
            yield name, SLOT


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
            if variable is not None and shapes[variable] == shape:
                mine[name] = SLOT
    if mine or is_one:
        for name in below:
            if shapes[name] == () and _HYPERPARAMETER.fullmatch(name.removeprefix(scope)):
                mine[name] = NUMBER
    return mine


def _variables(rest: str, scope: str, flat: Mapping[str, str]) -> Iterator[str]:
    """The variables that an array in the scope of an optimiser may be a slot of, by its name."""
    steps = rest.split("/")
    if len(steps) > 2:
        yield "/".join(steps[2:])  # tf_keras: <optimiser>/<slot>/<variable>
    if not scope:
        return
    if len(steps) > 1:
        yield "/".join(steps[1:])  # <slot>/<variable>
        yield "/".join(steps[:-1])  # its older optimisers: <variable>/<slot>
    words = rest.split("_")
    for end in range(len(words) - 1, max(0, len(words) - 1 - _MOST_WORDS), -1):
        yield flat.get("_".join(words[:end]), "")  # Keras 3: <variable, flat>_<slot>
