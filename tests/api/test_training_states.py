"""initreg.api.training_states: states become JSON and come back as they were."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import initreg
from initreg import DamagedFile, InitregError, RandomStates
from initreg.api.training_states import by_class, from_json, give, offers_state, to_json


def through(state: Any) -> Any:
    """What comes back from a file."""
    return from_json(json.loads(json.dumps(to_json(state), allow_nan=False)))


def same(found: Any, wanted: Any) -> bool:
    """Of one type and equal, to the last bit."""
    if type(found) is not type(wanted):
        return False
    if isinstance(wanted, dict):
        return list(found) == list(wanted) and all(same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, (list, tuple)):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, float):
        return found.hex() == wanted.hex()
    return bool(found == wanted)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
keys = st.text() | st.integers() | st.sampled_from(["__dict__", "__array__", "__tuple__"])
states = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(states)
def test_whatever_json_has_no_word_for_comes_back(state: Any) -> None:
    """Tuples stay tuples, NaN stays NaN, keys stay integers, and names that we use are no trap."""
    assert same(through(state), state)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="i8").reshape(2, 3),
        np.arange(6, dtype=">f4").reshape(2, 3).T,
        np.array(1.5, "f2"),
        np.zeros((0, 3), "u1"),
        np.array([True, False]),
        np.array([1 + 2j]),
        np.array([math.nan, -0.0, math.inf], "f4"),
        np.array(["a", "bcd"]),
        np.array([1.5, 2], ml_dtypes.bfloat16),
        np.float64(0.1),
        np.int32(-3),
        np.bool_(True),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_arrays_come_back(array: Any) -> None:
    """In shape, dtype and every bit, in native byte order; a scalar as one; and they can be
    written."""
    found = through({"x": array})["x"]
    assert type(found) is type(array)
    array = array.astype(array.dtype.newbyteorder("="))
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
    assert found.tobytes() == array.tobytes()
    if isinstance(found, np.ndarray):
        assert found.flags.writeable


def test_a_tensor_is_saved_as_its_values() -> None:
    """Of a variable too."""
    assert through(tf.constant([1, 2])).tolist() == [1, 2]
    assert through(tf.Variable(3.0)).tolist() == 3.0


@pytest.mark.parametrize("value", [object(), {1, 2}, len, np.array([object()]), 1j])
def test_what_cannot_be_saved_is_named(value: Any) -> None:
    """With where it is, and its type: no pickle is made of it."""
    with pytest.raises(InitregError, match=r"state\['early'\]\[1\] is an? .*JSON cannot hold"):
        to_json({"early": [0, value]})


def test_a_state_that_holds_itself() -> None:
    """It is an error, not the end of the stack."""
    state: list[Any] = []
    state.append(state)
    with pytest.raises(InitregError, match="nested more than 100 levels"):
        to_json(state)


@pytest.mark.parametrize(
    "data",
    [
        {"__array__": ["float32", [3], "AAAA"]},
        {"__array__": ["object", [1], "AAAA"]},
        {"__array__": ["<f4", [-1, -1], ""]},
        {"__array__": ["nonsense", [1], "AAAA"]},
        {"__array__": 3},
        {"__bytes__": "%"},
        {"__float__": "x"},
        {"__dict__": [[1]]},
        {"__dict__": [[[], 1]]},
        {"__tuple__": 5},
        {"__array__": ["<f4", [1 << 60], "AAAA"]},
        {"__array__": [["<f4"], [1], "AAAA"]},
        {"__float__": 10**400},
    ],
    ids=str,
)
def test_damage_is_one_error(data: Any) -> None:
    """Whatever the file says instead."""
    with pytest.raises(DamagedFile, match="a state is damaged"):
        from_json({"x": data})


def draws(*generators: Any) -> list[float]:
    return [random.random(), np.random.rand(), *(each.random() for each in generators)]


def test_generators_go_on_where_they_were() -> None:
    """Python's and numpy's own, and those that are given by name."""
    mine, other = np.random.default_rng(3), random.Random(4)
    saved = RandomStates(mine=mine, other=other)
    draws(mine, other)
    np.random.standard_normal()  # of which numpy keeps a second one back
    state = through(saved.state_dict())
    wanted = [*draws(mine, other), np.random.standard_normal()]
    draws(mine, other)
    fresh, fresh_other = np.random.default_rng(), random.Random()
    RandomStates(mine=fresh, other=fresh_other).load_state_dict(state)
    assert [*draws(fresh, fresh_other), np.random.standard_normal()] == wanted


def test_numpy_with_a_generator_of_ones_choice() -> None:
    """Of another kind than numpy's own, and then of the kind that was saved alone."""
    before = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(1))
        state = through(RandomStates().state_dict())
        wanted = np.random.rand()
        RandomStates().load_state_dict(state)
        assert np.random.rand() == wanted
    finally:
        np.random.set_bit_generator(before)
    with pytest.raises(DamagedFile, match="'random' does not accept the state"):
        give(RandomStates(), state, "random", "run/model-3")


def test_generators_of_other_names() -> None:
    """Nothing is changed, and the error says what was saved."""
    state = RandomStates(mine=np.random.default_rng(3)).state_dict()
    before = random.getstate()
    random.seed(1)
    changed = random.getstate()
    with pytest.raises(
        InitregError, match=r"generators \['mine'\] were saved, but RandomStates has \[\]"
    ):
        RandomStates().load_state_dict(state)
    assert random.getstate() == changed
    random.setstate(before)
    assert initreg.RandomStates is RandomStates


class Own(np.random.Philox):
    """A bit generator of a known kind under a name of its own."""


_FAR = 10**8
_TWISTER = np.random.MT19937(1).state
_PHILOX = np.random.Philox(1).state
_KEY = _TWISTER["state"]["key"]


@pytest.mark.parametrize(
    ("place", "state"),
    [
        (("numpy", "state", "pos"), _FAR),
        (("numpy",), ("MT19937", _KEY, _FAR, 0, 0.0)),
        (("generators", "twister", "state", "pos"), -_FAR),
        (("generators", "twister", "state", "pos"), 1.5),
        (("generators", "twister"), ("MT19937", _KEY, _FAR)),
        (("generators", "twister"), _PHILOX),
        (("generators", "philox", "buffer_pos"), -_FAR),
        (("generators", "own", "buffer_pos"), -_FAR),
        (("generators", "pcg", "state"), None),
        (("generators", "own"), None),
        (("generators",), 5),
        (("python",), (3, (1,) * 625, None, 5)),
    ],
    ids=str,
)
def test_no_state_leads_out_of_a_generator(place: tuple[str, ...], state: Any) -> None:
    """What numpy would follow out of its memory, and what is no state, is an error that names the
    file and the object; all generators are as they were, and can be drawn from."""
    makers = {"twister": np.random.MT19937, "philox": np.random.Philox, "own": Own}
    bits = {name: np.random.Generator(kind(0)) for name, kind in makers.items()}
    named = RandomStates(pcg=np.random.default_rng(0), python=random.Random(0), **bits)
    saved = through(named.state_dict())
    inner = saved
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = state
    draws(*bits.values())
    before = to_json(named.state_dict())
    with pytest.raises(
        DamagedFile,
        match=r"^run/model-3: 'random' does not accept the state that was saved for it: ",
    ):
        give(named, through(saved), "random", "run/model-3")
    assert to_json(named.state_dict()) == before
    assert all(0 <= each < 1 for each in draws(*bits.values()))


def test_names_by_class() -> None:
    """The second of a class gets a number, and what is called so already keeps its name."""

    class Saver:
        pass

    class Saver_1:
        pass

    a, b, c, d = Saver(), Saver_1(), Saver(), Saver()
    assert by_class([a, b, c, d]) == {"Saver": a, "Saver_1": b, "Saver_2": c, "Saver_3": d}


def test_what_offers_a_state() -> None:
    """Both methods, and methods they are."""

    class Half:
        def state_dict(self) -> None: ...

    class Whole(Half):
        def load_state_dict(self, state: object) -> None: ...

    class Wrong(Half):
        load_state_dict = None

    assert [offers_state(each()) for each in (Half, Whole, Wrong)] == [False, True, False]
