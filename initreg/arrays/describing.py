"""What is known of an array from what a format returned for it: its spec, without its values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from initreg import dtypes
from initreg.arrays.lazy_array import LazyArray
from initreg.errors import DamagedFile, PluginError
from initreg.names import normalise
from initreg.specs import ORDER, ArraySpec, Automatic, Extent, OpaqueExtent, Place, StateSpec


def spec_of(name: str, value: Any, label: str, model: str = "") -> ArraySpec:
    """The spec of a value.

    Args:
        name: its name, normalised.
        value: what the format returned for it.
        label: what to call the source.
        model: what somebody called the model that the source is of, "" if that is not recorded.
    """
    try:
        if isinstance(value.shape, (str, bytes)):
            raise TypeError("a str is not a shape")
        shape = tuple(map(int, value.shape))
        dtype = value.dtype
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedFile(
            f"{label}: array {name!r} has no usable shape and dtype. It is an object of type "
            f"{type(value).__name__}"
        ) from error
    if isinstance(value, LazyArray):
        dtype = value.spec.dtype
    elif isinstance(dtype, str):
        dtype = dtypes.name_of_descr(dtype) or dtype
    else:
        dtype = dtypes.name_of(dtype)
    if type(value) is Extent and not (value.aliases or value.state):  # most of a million arrays
        return ArraySpec(name, shape, dtype, (), name)
    others = _aliases(name, value)
    state = _state(name, value)
    opaque = value.length if isinstance(value, OpaqueExtent) else None
    if isinstance(value, LazyArray):
        opaque = value.spec.opaque
    unreadable = _unreadable(value)
    if not others:
        return ArraySpec(name, shape, dtype, state=state, opaque=opaque, unreadable=unreadable)
    places: dict[str, None] = {}
    aliases: dict[str, None] = {}
    automatic: list[str] = []
    for each in others:
        short = normalise(each)
        if isinstance(each, Place):
            places[short] = None
        elif isinstance(each, Automatic):
            automatic.append(short)
        if not each.startswith(ORDER):
            aliases[short] = None
    aliases.pop(name, None)
    return ArraySpec(
        name,
        shape,
        dtype,
        tuple(aliases),
        places=tuple(places),
        automatic=tuple(automatic),
        state=state,
        opaque=opaque,
        unreadable=unreadable,
        role=_role(name, value),
        model=value.spec.model if isinstance(value, LazyArray) else model,
    )


def _role(name: str, value: Any) -> str:
    """What a value is in its layer, under the conditions of :func:`_aliases`."""
    if isinstance(value, LazyArray):
        return value.spec.role if value.name == name else ""
    found = getattr(value, "role", "")
    return found if isinstance(found, str) else ""


def _unreadable(value: Any) -> str:
    """Why a value cannot be read, "" if it can."""
    if isinstance(value, LazyArray):
        return value.spec.unreadable
    found = getattr(value, "unreadable", "")
    return found if isinstance(found, str) else ""


def _state(name: str, value: Any) -> StateSpec | None:
    """What a value is in the state of an optimizer, under the conditions of :func:`_aliases`."""
    if isinstance(value, LazyArray):
        return value.spec.state if value.name == name else None
    state = getattr(value, "state", None)
    if not isinstance(state, StateSpec):
        return None
    check_state(state, f"array {name!r}")
    return state


def check_state(state: StateSpec, what: str) -> None:
    """Raise PluginError if a field of names is not a tuple of str."""
    names_in(state.at, f"{what}: StateSpec.at")
    if state.also_called != ():
        names_in(state.also_called, f"{what}: StateSpec.also_called")
    for field in ("places", "classes", "names"):
        names_in(getattr(state.optimizer, field), f"{what}: OptimizerSpec.{field}")
    for each in state.optimizer.automatic:
        names_in(each, f"{what}: OptimizerSpec.automatic")


def _aliases(name: str, value: Any) -> Sequence[str]:
    """The other names of a value, some of which are a :class:`Place` or :class:`Automatic`.

    An array of an open map that was put into a dict under another name has none: what the user
    calls it is not what else it was called.
    """
    if isinstance(value, LazyArray):
        if value.name != name:
            return ()
        spec = value.spec
        return (*map(Place, spec.places), *map(Automatic, spec.automatic), *spec.aliases)
    given = getattr(value, "aliases", ())
    if isinstance(given, str):  # one name, not its letters
        return (given,)
    return names_in(given, f"array {name!r}: aliases") if given != () else ()


def names_in(given: Any, what: str) -> tuple[str, ...]:
    """The names that a plugin gives, as a tuple.

    Raises:
        PluginError: it is not a tuple, or another collection, of str. A str alone is one of its
            letters.
    """
    if (
        isinstance(given, (str, bytes, Mapping))
        or not isinstance(given, Collection)
        or not all(isinstance(each, str) for each in given)
    ):
        hint = f": ({given!r},)" if isinstance(given, str) else ""
        raise PluginError(f"{what}: {_shortened(given)} is not a tuple of str{hint}")
    return tuple(given)


def _shortened(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 100 else f"{text[:97]}..."
