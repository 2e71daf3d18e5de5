"""The names of the arrays in what a file holds: the keys on the way to them, joined with ``/``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from initreg import DuplicateName

from initreg_jax.msgpack import Array, Extension, Fault, Items, Parser, Span

_CHUNKED = "__msgpack_chunked_array__"
# Where a TrainState of Flax, and the optimizers of its first versions, keep what is not the model.
TRAINING = ("opt_state", "optimizer/state", "state/param_states")


class Chunked(tuple[tuple[int, ...], tuple[Array, ...]]):
    """An array that was saved in chunks: its shape, and its elements in runs."""

    __slots__ = ()


Leaf = Array | Chunked | Extension | Span | bool | int | float | complex


def is_of_the_model(name: str) -> bool:
    """Whether an array belongs to the model, by its name, and not to its training."""
    return not any(name == each or name.startswith(f"{each}/") for each in TRAINING)


def leaves(found: Items, label: str) -> Iterator[tuple[str, Leaf, bool]]:
    """Each array, and each text: its name, what it is, and whether it belongs to the model.

    Raises:
        DuplicateName: two arrays have one name once their keys are joined.
        Fault: a key, or an array in chunks, is not as Flax writes it.
    """
    seen: set[str] = set()
    for name, leaf, is_model in _walk(found, "", True):
        if name in seen:
            raise DuplicateName(
                f"{label}: two arrays are called {name!r} once their keys are joined"
            )
        seen.add(name)
        yield name, leaf, is_model


def parse(parser: Parser) -> Items:
    """All that a file holds. Raises Fault."""
    found = parser.value()
    if not isinstance(found, Items):
        raise Fault("does not hold a dict of arrays")
    return found


def _walk(value: Any, name: str, is_model: bool) -> Iterator[tuple[str, Leaf, bool]]:
    if isinstance(value, Items):
        if any(key == _CHUNKED for key, _ in value):
            yield name, _chunked(value), is_model
            return
        pairs: Any = value
    elif isinstance(value, list):
        pairs = enumerate(value)
    else:
        if isinstance(value, (Array, Extension)):
            yield name, value, is_model and isinstance(value, Array)
        elif isinstance(value, (Span, bool, int, float, complex)):
            yield name, value, False
        return
    for key, each in pairs:
        path = f"{name}/{key}" if name else str(key)
        yield from _walk(each, path, is_model and path not in TRAINING)


def _chunked(items: Items) -> Chunked:
    """An array of more than 1 GB, which Flax cuts into runs of elements."""
    found = dict(items)
    shape, chunks = _in_order(found.get("shape")), _in_order(found.get("chunks"))
    if (
        not all(type(axis) is int and axis >= 0 for axis in shape)
        or not chunks
        or not all(isinstance(chunk, Array) and len(chunk.shape) == 1 for chunk in chunks)
        or len({chunk.dtype for chunk in chunks}) > 1
    ):
        raise Fault("has an array in chunks that do not fit together")
    return Chunked((tuple(shape), tuple(chunks)))


def _in_order(found: Any) -> list[Any]:
    """A tuple, which Flax saves as a map of the numbers from 0."""
    values = dict(found) if isinstance(found, Items) else {}
    try:
        return [values[str(n)] for n in range(len(values))]
    except (KeyError, TypeError) as error:
        raise Fault("has an array in chunks that are not numbered") from error
