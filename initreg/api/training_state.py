"""What of a checkpoint is its training's and not its model's, by what the checkpoint itself shows.

Names alone would be guesswork: a slot is one only if the variable it belongs to is there, too, and
a counter or a rate only if it is one number. What is not recognised belongs to the model.

Source: the names that tf.compat.v1.train's optimisers, tensorpack 0.11 (``tfutils/varmanip.py``,
``tfutils/optimizer.py``, ``tfutils/summary.py``), Keras 3 and tf_keras give, in their own files and
in object-based checkpoints.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

from initreg.plan.slots import variable_of_slot
from initreg.specs import ArraySpec

SLOT = "optimiser slot"
NUMBER = "a number of the optimiser's"
STEP = "a counter of training"
RATE = "learning rate"
SUMMARY = "moving average of a summary"
METRIC = "state of a metric"

# Averaged weights are what many models are published with: no slot to be dropped for its name.
_AVERAGES = re.compile(r"(?:.*[/_])?(?:average|ema|ExponentialMovingAverage)(?:_\d+)?")
_AVERAGES_OF = re.compile(r"(?:\w+/)?(?:average|ema)/")
_PART = re.compile(r".+/part_\d+/[^/]+")

# One number each.
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

# The optimisers of Keras: all of one are below its scope, which has a counter of steps.
_COUNTER = re.compile(r"(?P<scope>(?:.*/)?)(?:_?iterations?|iter)")
_LISTED = re.compile(r"(?P<scope>(?:.*/)?\w*optimizer/)(?:_variables|vars)/(?P<place>\d+)")
_OPTIMISER = re.compile(r"(?:.*/)?\w*optimizer/")
# A variable that is also in a list goes by its place there in an object-based checkpoint: the
# weights of a compiled Keras model do, in optimizer/_trainable_variables.
_IN_LIST = re.compile(r"(?:.*/)?\w*variables/\d+")
_NO_NAME = re.compile(r".* of \d+|(?:.*/)?\w*variables/\d+")
_MOST_SCOPES = 8  # that lie in each other
_MOST_WORDS = 16  # of the name of a slot: "momentum", "accumulated_delta_var"
_HYPERPARAMETER = re.compile(
    r"_?(?:iterations?|iter|learning_rate|decay|beta_[12]|momentum|rho|epsilon)"
)


def training_state(specs: Sequence[ArraySpec]) -> dict[str, str]:
    """The names of what training needs and inference does not, each with what it is."""
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
    """Sorted scopes, without those that lie in many others: optimisers do not, and a name is looked
    at for each scope that it is below."""
    around: list[str] = []
    for scope in scopes:
        while around and not scope.startswith(around[-1]):
            around.pop()
        if len(around) < _MOST_SCOPES:
            around.append(scope)
            yield scope


def telling_names(specs: Sequence[ArraySpec]) -> dict[str, str]:
    """By name, what to publish the arrays under: their own names, but for those that are no more
    than a number in a list, which get the name that their program had for them, if it is known."""
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
    """``<variable>/Adam`` and ``<variable>/.OPTIMIZER_SLOT/...`` of a variable of that shape."""
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
    """What an optimiser of Keras keeps in its scope, which has a counter: some of ``below``."""
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
    """The variables that something in an optimiser's scope may be a slot of, by its name."""
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
