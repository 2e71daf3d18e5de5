"""Weights that are not what is at their place, or at their position, in the other model.

A file of Keras tells the weights of a layer apart by numbers alone: ``vars/1`` is a ``beta`` or a
``moving_mean``. A legacy file also records names and classes, which Keras does not look at when it
goes by order.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from initreg.names import normalise
from initreg.plan.name_parts import without_underscores
from initreg.plan.numbering import readings
from initreg.plan.places import Alignment
from initreg.specs import ORDER, ArraySpec, VariableSpec

Fits = Callable[[ArraySpec, VariableSpec], bool]
_Entry = ArraySpec | VariableSpec
_Shape = tuple[int | None, ...] | None

_NUMBERED = re.compile(r"((?:.*/)?vars/)(\d{1,9})", re.DOTALL)
_POSITION = re.compile(r"(#layer \d+) of \d+, weight \d+ of \d+")
_LABEL = re.compile(r"(.*): weight \d+ of \d+", re.DOTALL)
_COUNT = re.compile(r"(.*?)(?:_(\d{1,9}))?", re.DOTALL)
# What weights of Keras's layers are for, by the end of their names. Each line is one thing.
_ROLES = (
    "kernel depthwise_kernel",
    "pointwise_kernel",
    "recurrent_kernel",
    "bias",
    "gamma",
    "beta",
    "moving_mean mean",
    "moving_variance variance",
    "embeddings",
    "alpha",
)
_ROLE = {word: number for number, line in enumerate(_ROLES) for word in line.split()}
# Layers of users may call anything so. It counts where a file says what an array is.
_RECORDED = {**_ROLE, "scale": _ROLE["gamma"], "concat_score_weight": len(_ROLES)}


# Classes of Keras whose weights have the same names, and may have the same shapes, and with which
# they compute something else. Those of one line.
_FAMILIES = (
    "batch_normalization group_normalization layer_normalization rms_normalization",
    "conv1d conv1d_transpose depthwise_conv1d",
    "conv2d conv2d_transpose depthwise_conv2d",
    "conv3d conv3d_transpose",
)
_FAMILY = {name: number for number, line in enumerate(_FAMILIES) for name in line.split()}


@dataclass(frozen=True, slots=True)
class Recount:
    """A layer that has more weights on one side, where the shapes leave open which ones.

    Args:
        place: what the places of its weights begin with in the source: ``"layers/bn/vars/"``.
        theirs: how many the source has.
        ours: how many the target has.
        variable: the name of one of the target's.
    """

    place: str
    theirs: int
    ours: int
    variable: str


@dataclass(frozen=True, slots=True)
class OtherRole:
    """A numbered array that is another weight of its layer than the variable at its place.

    Args:
        array: the name of the array.
        variable: the name of the variable.
        theirs: what the array is, as its file says: ``"gamma"``.
        ours: what the variable is.
        place: what the places of the weights of the array's layer begin with.
    """

    array: str
    variable: str
    theirs: str
    ours: str
    place: str


@dataclass(frozen=True, slots=True)
class Misfit:
    """An array that is recorded to be another thing than the variable at its position.

    Args:
        array: the name of the array.
        variable: the name of the variable.
        why: what tells them apart, in words.
    """

    array: str
    variable: str
    why: str


def find_recount(
    pairs: Mapping[int, int],
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
    fits: Fits,
) -> Recount | None:
    """Find a layer whose numbered weights are paired, and may be others of its weights.

    ``BatchNormalization(center=False)`` has three weights of one shape, and a layer with a
    ``beta`` has four. With ``use_bias=False``, the shapes say what is missing.

    Args:
        pairs: the index of the array for the index of each variable.
        arrays: the arrays of the source, and what rules left out of it.
        variables: the variables of the target.
        fits: whether an array fits a variable. What does not is an error of its own.
    """
    theirs, ours = _numbered(arrays), _numbered(variables)
    found: dict[tuple[str, str], dict[int, int]] = {}
    for variable, array in pairs.items():
        for mine, number in _numbers(variables[variable]):
            for other, their_number in _numbers(arrays[array]):
                if len(theirs[other]) != len(ours[mine]):
                    found.setdefault((other, mine), {})[variable] = array
                    if number != their_number:  # names alone put it there
                        found[other, mine].pop(variable)
    for (other, mine), members in found.items():
        if not members or not all(fits(arrays[a], variables[v]) for v, a in members.items()):
            continue
        if readings(ours[mine], theirs[other], set()) is None:
            name = normalise(variables[next(iter(members))].name)
            return Recount(other, len(theirs[other]), len(ours[mine]), name)
    return None


def find_other_role(
    pairs: Mapping[int, int], arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec]
) -> OtherRole | None:
    """Find an array that is only numbered, and that its file says to be another weight.

    ``LayerNormalization(center=False)`` has a ``gamma`` as its only weight, and with
    ``scale=False`` it is a ``beta`` of the same shape.

    Args:
        pairs: the index of the array for the index of each variable.
        arrays: the arrays of the source.
        variables: the variables of the target.
    """
    for variable, array in pairs.items():
        spec, own = arrays[array], variables[variable]
        theirs = _RECORDED.get(spec.role)
        if theirs is None:
            continue
        # What a rule renamed is called so by the user.
        names = (spec.name, *spec.aliases, *spec.places)
        place = next((match[1] for match in map(_NUMBERED.fullmatch, names) if match), None)
        last = [name.rpartition("/")[2] for name in map(normalise, own.given + own.automatic)]
        ours = {word: _RECORDED[word] for word in last if word in _RECORDED}
        if place is not None and ours and theirs not in ours.values():
            return OtherRole(spec.name, normalise(own.name), spec.role, next(iter(ours)), place)
    return None


def _numbers(entry: _Entry) -> Iterator[tuple[str, int]]:
    """The lists of numbered weights that an array or a variable is in, with its number there."""
    for place in entry.places:
        match = _NUMBERED.fullmatch(place)
        if match is not None:
            yield match[1], int(match[2])


def _numbered(entries: Iterable[_Entry]) -> dict[str, dict[int, dict[str, _Shape]]]:
    """The shapes of numbered weights, by what comes before their number."""
    found: dict[str, dict[int, dict[str, _Shape]]] = {}
    for entry in entries:
        for place, number in _numbers(entry):
            found.setdefault(place, {})[number] = {"": entry.shape}
    return found


def find_misfit(
    found: Alignment,
    pairs: Mapping[int, int],
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
) -> Misfit | None:
    """Find what was paired by its position in an order, and is recorded to be something else.

    Args:
        found: the pairs by position.
        pairs: the pairs that are to be restored.
        arrays: the arrays of the source.
        variables: the variables of the target.
    """
    by_order = [
        (place, arrays[pairs[v]], variables[v])
        for v, place in found.by.items()
        if place.startswith(ORDER) and pairs.get(v) == found.pairs[v]
    ]
    numbers: dict[tuple[str, str], dict[int, tuple[int, Misfit]]] = {}
    for place, array, variable in by_order:
        theirs, ours = _layer(array), _layer(variable)
        names = array.name, normalise(variable.name)
        roles = [_ROLE.get(each.name) for each in (theirs, ours)]
        if None not in roles and roles[0] != roles[1]:
            why = f"one is called {theirs.name!r} and the other {ours.name!r}"
            return Misfit(*names, why)
        if not (theirs.is_automatic and ours.is_automatic):
            continue
        if theirs.stem != ours.stem:
            if theirs.stem == theirs.label and ours.stem == ours.label:
                return Misfit(*names, "their automatic names are those of other classes")
            continue
        match = _POSITION.fullmatch(place)
        if match is None:
            continue
        known = numbers.setdefault((match[1], theirs.stem), {})
        why = (
            "the automatic numbers of their layers are in another order. Keras writes what is not "
            "trainable last, so that a layer may have been frozen on one side alone"
        )
        if known.setdefault(ours.number, (theirs.number, Misfit(*names, why)))[0] != theirs.number:
            return known[ours.number][1]
    for known in numbers.values():
        in_order = [known[number] for number in sorted(known)]
        for (one, _), (two, misfit) in itertools.pairwise(in_order):
            if one >= two:
                return misfit
    return None


def find_other_class(
    pairs: Mapping[int, int], arrays: Sequence[ArraySpec], variables: Sequence[VariableSpec]
) -> Misfit | None:
    """Find an array of a layer of another class, where both classes call their weights the same.

    Automatic names tell: the ``gamma`` of ``layer_normalization_2`` is not that of
    ``group_normalization``.

    Args:
        pairs: the index of the array for the index of each variable.
        arrays: the arrays of the source.
        variables: the variables of the target.
    """
    for variable, array in pairs.items():
        theirs, ours = _stems(arrays[array]), _stems(variables[variable])
        if ours and theirs and all(_are_rivals(one, two) for one in ours for two in theirs):
            names = arrays[array].name, normalise(variables[variable].name)
            return Misfit(*names, "their automatic names are those of other classes")
    return None


def find_other_layer(
    above: str,
    pairs: Mapping[int, int],
    arrays: Sequence[ArraySpec],
    variables: Sequence[VariableSpec],
) -> Misfit | None:
    """Find an array of a layer of another class, where the target is a layer alone.

    A list of layers calls them by their classes, and a layer alone is at no place that says its.

    Args:
        above: the place of the part of the source that was paired: ``"layers/conv2d_1/"``.
        pairs: the index of the array for the index of each variable.
        arrays: the arrays of the source.
        variables: the variables of the target.
    """
    *_, parent, own = ("", *above.removesuffix("/").split("/"))
    for variable, array in pairs.items() if parent == "layers" else ():
        ours, theirs = variables[variable].layer_class, _stem(own)[0]
        if ours and ours != theirs:
            names = arrays[array].name, normalise(variables[variable].name)
            return Misfit(*names, f"one is of a {theirs!r} and the other of a {ours!r}")
    return None


def _stems(entry: _Entry) -> list[list[str]]:
    """The layers in each of the automatic names, without their numbers."""
    names = [name for name in map(normalise, entry.automatic) if not _LABEL.fullmatch(name)]
    return [[_stem(layer)[0] for layer in name.split("/")[:-1]] for name in names]


def _are_rivals(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    """Whether the innermost layers are of one family and of different classes."""
    if not ours or not theirs or ours[-1] == theirs[-1]:
        return False
    families = [_FAMILY.get(layers[-1]) for layers in (ours, theirs)]
    return None not in families and families[0] == families[1]


class _Layer(NamedTuple):
    """What the names of a weight say of it and of its layer.

    ``label`` is what a file calls the layer, without its number, or "" if somebody gave it a name.
    """

    name: str
    stem: str
    number: int
    label: str
    is_automatic: bool


def _layer(entry: _Entry) -> _Layer:
    made_up = list(map(normalise, entry.automatic))
    names = [normalise(n) for n in (entry.name, *entry.aliases) if n not in entry.places]
    labels = [match[1] for match in map(_LABEL.fullmatch, made_up) if match is not None]
    label = _stem(labels[0])[0] if labels else ""
    plain = [name for name in names if "/" in name and not _LABEL.fullmatch(name)]
    own = [name for name in made_up if "/" in name and not _LABEL.fullmatch(name)]
    name = without_underscores((own or plain or names or [""])[0])
    *layers, last = name.split("/")
    stem, number = _stem(layers[-1]) if layers else ("", 0)
    return _Layer(last, stem, number, label, bool(own))


def _stem(layer: str) -> tuple[str, int]:
    match = _COUNT.fullmatch(layer)
    if match is None:  # it matches every text
        return layer, 0
    return match[1], int(match[2] or 0)
