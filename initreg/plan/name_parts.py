"""Names and their parts, as ways of naming compare them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from initreg.names import normalise
from initreg.specs import ORDER, ArraySpec, VariableSpec

# The last part of a place. A number says nothing without the name of its list.
_TAIL = re.compile(r"(?:[^/]*/)?\d+\Z|[^/]*\Z")
_END = re.compile(r"(?:/(?:vars/)?|: )[^/:]*\Z")
_NUMBER = re.compile(r"_\d+\Z")
_FIRST = re.compile(r"[^/:]+(?=[/:])")
_UNDERSCORES = re.compile(r"(^|/)_+(?=[^/])")
_STATE = re.compile(r"(?:^|/)\w*optimizer/")


def unique(names: Iterable[Sequence[str]]) -> dict[str, int]:
    """The index of the only entry that has each name."""
    owners: dict[str, int] = {}
    shared: set[str] = set()
    for index, each in enumerate(names):
        for name in each:
            if owners.setdefault(name, index) != index:
                shared.add(name)
    for name in shared:
        del owners[name]
    return owners


def pair_by_names(
    variables: Iterable[Sequence[str]], arrays: Iterable[Sequence[str]]
) -> dict[int, int]:
    """The index of the array for the index of each variable, by names that only one of each has."""
    ours, theirs = unique(variables), unique(arrays)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for name, variable in ours.items():
        array = theirs.get(name)
        if array is not None and array not in taken and variable not in pairs:
            pairs[variable] = array
            taken.add(array)
    return pairs


def names_of(entry: ArraySpec | VariableSpec) -> list[str]:
    """The names of an array or a variable that are not places."""
    names = (entry.name, *entry.aliases)
    return [normalise(name) for name in names if name not in entry.places]


def given_of(entry: ArraySpec | VariableSpec) -> list[str]:
    """The names that people gave to an array or a variable."""
    return [normalise(name) for name in entry.given]


def end(name: str) -> str:
    """The last part of a name, which says which variable of its layer it is.

    A name of one part has none.
    """
    match = _END.search(name)
    return match[0] if match is not None else ""


def ends(placed: Iterable[tuple[str, object]]) -> set[tuple[str, object]]:
    """The last parts of places with the shapes. State of optimizers and orders are left out."""
    return {
        (_TAIL.search(place)[0], shape)  # type: ignore[index]  # it matches every text
        for place, shape in placed
        if not place.startswith(ORDER) and not _STATE.search(place)
    }


def parts_of(names: Iterable[str]) -> set[str]:
    """What names consist of, without their ends."""
    return {part for name in names for part in name.removesuffix(end(name)).split("/")}


def same_end(one: str, other: str) -> bool:
    """Whether one name is the other, or ends in it after a separator."""
    longer, shorter = (one, other) if len(one) > len(other) else (other, one)
    return longer == shorter or longer.endswith("/" + shorter)


def leaves_parts_out(one: str, other: str) -> bool:
    """Whether one name is the other one without some of its inner parts.

    Keras 3 gives the variable ``net/head/kernel`` of a sub-classed model to TensorFlow as
    ``net/kernel``, so that checkpoints have that name. The number of the first part may differ.
    """
    long, short = sorted((one.split("/"), other.split("/")), key=len, reverse=True)
    if len(long) == len(short) or len(short) < 2:
        return False
    (first, *inner), (own, *rest) = long, short
    if _NUMBER.sub("", first) != _NUMBER.sub("", own):
        return False
    left = iter(inner)
    return inner[-1] == rest[-1] and all(part in left for part in rest)


def alike(one: str, other: str, kept: Collection[str]) -> bool:
    """Whether two names have the same layers, or one leaves some out, up to their numbers.

    Args:
        one: a name with automatic parts, such as ``net_1/scale_3/kernel``.
        other: another name.
        kept: the parts that people gave, whose numbers count.
    """

    def layers(name: str) -> list[str]:
        parts = name.removesuffix(end(name)).split("/") if end(name) else []
        return [part if part in kept else _NUMBER.sub("", part) for part in parts]

    long, short = sorted((layers(one), layers(other)), key=len, reverse=True)
    left = iter(long)
    return all(part in left for part in short)


def differ_in_front(one: str, other: str) -> bool:
    """Whether two names differ in their first part alone: ``a/layers/0/w``, ``b/layers/0/w``."""
    first, own = _FIRST.match(one), _FIRST.match(other)
    if first is None or own is None or first[0] == own[0]:
        return False
    return one[first.end() :] == other[own.end() :]


def positions_of(names: Iterable[str]) -> list[str]:
    """Those names that say the position of a weight in a layer: ``head: weight 0 of 2``."""
    return [name for name in names if end(name).startswith(": ")]


def without_underscores(name: str) -> str:
    """A name as both versions of Keras spell it: ``mha/_query/w`` is ``mha/query/w``."""
    return _UNDERSCORES.sub(r"\1", name) if "_" in name else name


def labels_of(names: Iterable[str]) -> list[str]:
    """Those names that are of layers in a file: ``head/vars/0`` and ``head: weight 0 of 2``."""
    return [name for name in names if end(name).startswith(("/vars/", ": "))]


def starts_within(label: str, name: str) -> bool:
    """Whether the first part of a label is a part of a name, up to numbers."""
    first = re.split("[/:]", label, maxsplit=1)[0]
    return _NUMBER.sub("", first) in {_NUMBER.sub("", part) for part in parts_of([name])}
