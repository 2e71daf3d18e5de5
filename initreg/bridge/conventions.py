"""In which order a source stores the axes of kernels that fit either way.

A kernel that is not square says it itself. Others go with their nearest siblings: layers of the
same name, then layers beside it, then all. Siblings that contradict each other say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from initreg.bridge.layers import is_recurrent, split_name
from initreg.bridge.pairing import Paired
from initreg.bridge.words import template
from initreg.plan.axes import PYTORCH, TENSORFLOW


def conventions(pairs: Sequence[Paired], of_names: str | None) -> list[tuple[str | None, str]]:
    """For each pair the convention of its source, None if it is not known, and how it was found.

    Args:
        pairs: the pairs.
        of_names: the framework that the names of the source say, None if they say none.
    """
    votes = [_vote(pair) for pair in pairs]
    levels: list[tuple[str, Callable[[Paired], Hashable]]] = [
        ("layers of its name", lambda p: (template(_leaf(p.source.name))[0], _ndim(p))),
        ("the layers beside it", lambda p: (split_name(p.source.name)[0], _ndim(p))),
        ("the other layers", _ndim),
        ("all layers", lambda p: 0),
    ]
    found: list[tuple[str | None, str]] = []
    tables = []
    for _, key in levels:
        table: dict[Hashable, set[str]] = {}
        for pair, vote in zip(pairs, votes, strict=True):
            if vote is not None:
                table.setdefault(key(pair), set()).add(vote)
        tables.append(table)
    for pair, vote in zip(pairs, votes, strict=True):
        if vote is not None:
            found.append((vote, ""))
            continue
        if _is_same(pair):
            found.append((next(iter(pair.fit)), ""))
            continue
        for (words, key), table in zip(levels, tables, strict=True):
            said = table.get(key(pair))
            if said:
                only = next(iter(said)) if len(said) == 1 else None
                how = f"axes as in {words}" if only else f"{words} have both orders of axes"
                found.append((only, how))
                break
        else:
            how = "axes as the names say" if of_names else "no layer shows the order of axes"
            found.append((of_names, how))
    return found


def shown_conventions(pairs: Sequence[Paired]) -> set[str]:
    """The conventions that the shapes of all pairs show."""
    return {vote for vote in map(_vote, pairs) if vote is not None}


def only_convention(pairs: Sequence[Paired]) -> str | None:
    """The convention that the shapes of all pairs show, None if they show none, or both."""
    found = shown_conventions(pairs)
    return found.pop() if len(found) == 1 else None


def _vote(pair: Paired) -> str | None:
    """The convention that a pair shows: that of which the format knows it, that of its shapes, of
    its module, or of the axis along which its weight is split, which is that of the outputs."""
    if pair.source.convention in pair.fit and _matters(pair):
        return pair.source.convention
    kernel = pair.source.weights.get("kernel")
    if kernel is not None and kernel.how == "concat":
        return None  # along the axis that other layers say
    if kernel is not None and (kernel.axis >= 0 or kernel.gates or is_recurrent(kernel.array.name)):
        said = TENSORFLOW if kernel.axis > 0 and not kernel.heads else PYTORCH
        return said if said in pair.fit else None
    if len(pair.fit) == 1 and any(len(w.shape) > 1 for w in pair.source.weights.values()):
        (only,) = pair.fit
        return only if _matters(pair) else None
    return None


def _matters(pair: Paired) -> bool:
    return any(
        ({"in", "out"} <= set(spec.axes) and "experts" not in spec.axes)
        or {"multiplier", "gates"} & set(spec.axes)
        for spec in pair.target.layers.values()
    )


def _is_same(pair: Paired) -> bool:
    """Whether both conventions do the same to the weights."""
    changes = list(pair.fit.values())
    return all(each == changes[0] for each in changes)


def _leaf(name: str) -> str:
    return split_name(name)[1]


def _ndim(pair: Paired) -> int:
    kernel = pair.source.weights.get("kernel")
    return len(kernel.shape) if kernel is not None else 0
