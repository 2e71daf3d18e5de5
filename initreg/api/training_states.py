"""The states of callbacks, schedules and random generators as JSON: exact, and without pickles.

JSON has no tuples, bytes, arrays, floats that are not finite, or dicts with other keys than plain
strings. Each of these is stored as an object with one key between double underscores.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from initreg import dtypes
from initreg.errors import DamagedFile, InitregError
from initreg.option_spelling import said

_DEEPEST = 100  # levels: no real state is nested that deeply, but one that contains itself is


def offers_state(obj: Any) -> bool:
    """Whether an object has ``state_dict()`` and ``load_state_dict(state)``."""
    return all(callable(getattr(obj, f"{verb}state_dict", None)) for verb in ("", "load_"))


def by_class(objects: Iterable[Any]) -> dict[str, Any]:
    """Objects by their names in a sidecar: ``MinSaver``, ``MinSaver_1``, ..."""
    found: dict[str, Any] = {}
    for each in objects:
        name, count = type(each).__name__, 0
        while (numbered := f"{name}_{count}" if count else name) in found:
            count += 1
        found[numbered] = each
    return found


def to_json(state: Any, what: str = "state", depth: int = 0) -> Any:
    """Convert a state to what JSON can hold.

    Args:
        state: None, bool, int, float, str, bytes, list, tuple, dict, a numpy array or scalar, or
            anything with a shape and a dtype that ``np.asarray`` takes. They may be nested.
        what: what to call it in an error.
        depth: how deeply it is nested.

    Raises:
        InitregError: it is, or contains, something else.
    """
    if depth > _DEEPEST:
        raise InitregError(f"{what[:80]}: is nested more than {_DEEPEST} levels deep")
    if state is None or type(state) in (bool, int, str):
        return state
    if type(state) is float:
        return state if math.isfinite(state) else {"__float__": repr(state)}
    if type(state) is bytes:
        return {"__bytes__": base64.b64encode(state).decode()}
    if type(state) is list:
        return [to_json(each, f"{what}[{i}]", depth + 1) for i, each in enumerate(state)]
    if type(state) is tuple:
        found = [to_json(each, f"{what}[{i}]", depth + 1) for i, each in enumerate(state)]
        return {"__tuple__": found}
    if isinstance(state, Mapping):
        items = [
            (to_json(key, what, depth + 1), to_json(value, f"{what}[{key!r}]", depth + 1))
            for key, value in state.items()
        ]
        if all(isinstance(key, str) and not key.startswith("__") for key in state):
            return dict(items)
        return {"__dict__": items}
    if hasattr(state, "dtype") and hasattr(state, "shape") and hasattr(state, "__array__"):
        return _array_to_json(state, what)
    raise InitregError(
        f"{what} is a {type(state).__name__}, which JSON cannot hold. Use numbers, strings, "
        "lists, dicts and numpy arrays"
    )


def _array_to_json(state: Any, what: str) -> Any:
    import numpy as np

    array = np.asarray(state, order="C")
    if array.dtype.hasobject or array.dtype.names:
        raise InitregError(f"{what} is an array of dtype {array.dtype}, which JSON cannot hold")
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    name = dtypes.name_of(array.dtype)
    if array.dtype.kind in "USMm":
        name = array.dtype.str
    shape = None if isinstance(state, np.generic) else list(array.shape)
    return {"__array__": [name, shape, base64.b64encode(array.tobytes()).decode()]}


def from_json(data: Any, label: str = "a sidecar") -> Any:
    """The state that :func:`to_json` converted.

    Args:
        data: the parsed JSON.
        label: what to call the file in an error.

    Raises:
        DamagedFile: :func:`to_json` does not produce this.
    """
    try:
        return _from_json(data)
    except Exception as error:  # numpy may raise anything for data that somebody else wrote
        raise DamagedFile(
            f"{label}: a state is damaged: {type(error).__name__}: {error}"
        ) from error


def give(obj: Any, state: Any, name: str, label: str) -> None:
    """Pass an object its state, with ``load_state_dict``. Anybody may have written the state.

    Args:
        obj: the object.
        state: the state from a sidecar.
        name: the name of the object, for an error.
        label: what to call the checkpoint in an error.

    Raises:
        DamagedFile: the object does not accept the state.
    """
    with taken(name, label):
        obj.load_state_dict(state)


@contextlib.contextmanager
def taken(name: str, label: str) -> Iterator[None]:
    """Turn exceptions in a block that loads the state of ``name`` into InitregErrors."""
    try:
        yield
    except InitregError as error:
        if type(error) is not InitregError:
            raise
        raise InitregError(f"{label}: " + said(error)) from error
    except Exception as error:
        raise DamagedFile(
            f"{label}: {name!r} does not accept the state that was saved for it: "
            f"{type(error).__name__}: {error}. Continue from another checkpoint, or remove the "
            "sidecar to begin without states"
        ) from error


def _from_json(data: Any) -> Any:
    if isinstance(data, list):
        return [_from_json(each) for each in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1:
        ((key, value),) = data.items()
        if key == "__float__":
            return float(value)
        if key == "__bytes__":
            return base64.b64decode(value, validate=True)
        if key == "__tuple__":
            return tuple(_from_json(each) for each in value)
        if key == "__dict__":
            return {_from_json(k): _from_json(v) for k, v in value}
        if key == "__array__":
            return _array_from_json(*value)
    return {key: _from_json(value) for key, value in data.items()}


def _array_from_json(name: str, shape: list[int] | None, text: str) -> Any:
    import numpy as np

    dtype = np.dtype(name) if name[:1] in "<>|" else dtypes.to_numpy(name)
    raw = bytearray(base64.b64decode(text, validate=True))
    array = np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype, copy=False)
    return array[0] if shape is None else array.reshape(shape)


class RandomStates:
    """The states of the random generators of Python and numpy, as an object for a saver.

    Args:
        **generators: your own generators by name, each a ``numpy.random.Generator`` or a
            ``random.Random``.

    >>> saver = ModelSaver("run", objects={"random": RandomStates(data=rng)})  # doctest: +SKIP
    """

    def __init__(self, **generators: Any) -> None:
        self._generators = generators

    def state_dict(self) -> dict[str, Any]:
        """The states of all generators."""
        import numpy as np

        return {
            "python": random.getstate(),
            "numpy": np.random.get_state(legacy=False),
            "generators": {name: _state(each) for name, each in self._generators.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the states of all generators. After an error, no generator is changed.

        Args:
            state: the result of :meth:`state_dict`.

        Raises:
            InitregError: the generators have other names than those that were saved.
            Exception: what Python and numpy raise for an invalid state.
        """
        import numpy as np

        saved = state["generators"]
        if saved.keys() != self._generators.keys():
            raise InitregError(
                f"the states of the generators {sorted(saved)} were saved, but RandomStates has "
                f"{sorted(self._generators)}. Give it the same names"
            )
        random.Random().setstate(state["python"])
        # Users may replace it, with np.random.set_bit_generator().
        bits = copy.deepcopy(np.random.get_bit_generator())  # type: ignore[attr-defined]
        np.random.RandomState(bits).set_state(_checked(type(bits), state["numpy"]))
        for name, generator in self._generators.items():
            _set(copy.deepcopy(generator), saved[name])
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        for name, generator in self._generators.items():
            _set(generator, saved[name])


# By the name of a bit generator: the key of its position in its buffer of numbers, and the largest
# position. numpy accepts any position, and would read beyond the buffer.
_PLACES = {"MT19937": ("pos", 624), "Philox": ("buffer_pos", 4)}


def _checked(kind: type, state: Any) -> Any:
    """The state of a bit generator. Raises ValueError if its position is beyond the buffer."""
    if not isinstance(state, Mapping):
        raise ValueError(f"the state of a {kind.__name__} is not a dict")
    for key, most in [_PLACES[each.__name__] for each in kind.__mro__ if each.__name__ in _PLACES]:
        place = {**state, **state["state"]}[key]
        if type(place) is not int or not 0 <= place <= most:
            raise ValueError(f"{key} is {place!r}, but must be from 0 to {most}")
    return state


def _set(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        bits = generator.bit_generator
        bits.state = _checked(type(bits), state)


def _state(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.bit_generator.state
