"""Object graphs: what they say of variables, and what hostile ones may cost."""

import time
import tracemalloc
from collections.abc import Callable

import pytest

from initreg_formats.shared.protobuf import Malformed, encode_bytes, encode_varint
from initreg_formats.tf_checkpoint import graph

_SUFFIX = b"/.ATTRIBUTES/VARIABLE_VALUE"
_MOST_TIMES = 20  # a graph's size; names take as much, see docs/security.md
_MOST_SECONDS = 60  # for 300 kB, on a busy machine; the cases that were quadratic took hours


def _child(number: int, name: bytes) -> bytes:
    return encode_bytes(1, b"\x08" + encode_varint(number) + encode_bytes(2, name))


def _value(name: bytes, key: bytes) -> bytes:
    fields = ((1, b"VARIABLE_VALUE"), (2, name), (3, key))
    return encode_bytes(2, b"".join(encode_bytes(n, text) for n, text in fields))


def _slot(original: int, name: bytes, variable: int) -> bytes:
    numbers = b"\x08" + encode_varint(original), b"\x18" + encode_varint(variable)
    return encode_bytes(3, numbers[0] + encode_bytes(2, name) + numbers[1])


def _graph(*nodes: bytes) -> bytes:
    return b"".join(encode_bytes(1, node) for node in nodes)


def _chain(*, last: bytes, below: tuple[bytes, ...] = ()) -> bytes:
    """A path of 960 bytes, at whose end is ``last``, and other nodes after it, from number 17."""
    return _graph(*(_child(i + 1, b"x" * 59) for i in range(16)), last, *below)


def _key(number: int) -> bytes:
    return b"k%d" % number + _SUFFIX


def _empty_nodes() -> tuple[bytes, int]:
    return _graph(*[b""] * 150_000), 0


def _children_without_names() -> tuple[bytes, int]:
    return _graph(b"\x0a\x00" * 70_000, *[b"\x0a\x00"] * 40_000), 0


def _children_of_no_node() -> tuple[bytes, int]:
    return _graph(b"".join(_child(1 << 63, b"a") for _ in range(20_000))), 0


def _below_a_long_path() -> tuple[bytes, int]:
    last = b"".join(_child(17 + i, b"a") for i in range(30_000))
    return _chain(last=last, below=(b"",) * 30_000), 0


def _variables_below_a_long_path() -> tuple[bytes, int]:
    last = b"".join(_child(17 + i, b"a") for i in range(4_000))
    return _chain(last=last, below=tuple(_value(b"", _key(i)) for i in range(4_000))), 4_000


def _variables_below_many_long_paths() -> tuple[bytes, int]:
    ends = b"".join(_child(17, b"%03d" % i) for i in range(16))
    fan = b"".join(_child(18 + i, b"a") for i in range(4_000))
    return _chain(last=ends, below=(fan, *(_value(b"", _key(i)) for i in range(4_000)))), 4_000


def _names_that_are_empty() -> tuple[bytes, int]:
    chain = (_child(i + 1, b"") for i in range(20_000))
    return _graph(*chain, _value(b"", _key(0))), 1


def _one_list_many_times() -> tuple[bytes, int]:
    root = b"".join(_child(1, b"variables") for _ in range(8_000))
    members = b"".join(_child(2, b"%d" % i) for i in range(16_000))
    return _graph(root, members, _value(b"", _key(0))), 1


def _optimizers_of_one_list() -> tuple[bytes, int]:
    members = b"".join(_child(2, b"%d" % i) for i in range(12_000))
    one = _child(2, b"_iterations") + _child(1, b"_variables")
    return _graph(b"", members, _value(b"", _key(0)), *[one] * 5_000), 1


def _optimizers_in_optimizers() -> tuple[bytes, int]:
    own = _child(2, b"_iterations") + _child(1, b"_variables")
    levels = [own + _child(number + 1, b"inner_optimizer") * 700 for number in range(3, 9)]
    return _graph(b"", b"", _value(b"", _key(0)), *levels, own), 1


def _optimizers_with_one_inner() -> tuple[bytes, int]:
    own = _child(2, b"_iterations") + _child(1, b"_variables")
    outer = own + _child(3, b"inner_optimizer")
    inner = own + b"".join(_child(2, b"%05d" % i) for i in range(12_000))
    return _graph(b"", b"", _value(b"", _key(0)), inner, *[outer] * 3_000), 1


def _optimizers_below_a_long_path() -> tuple[bytes, int]:
    optimizer = _child(18, b"_iterations") + _child(19, b"_variables")
    last = b"".join(_child(17, b"%d" % i) for i in range(25_000))
    return _chain(last=last, below=(optimizer, _value(b"", _key(0)), b"")), 1


def _slots_of_a_long_name() -> tuple[bytes, int]:
    key = b"k" * 120_000 + _SUFFIX
    slots = b"".join(_slot(1, b"m", 3 + i) for i in range(3_000))
    optimizer = _child(1, b"iter") + slots
    return _graph(
        b"", _value(b"", key), optimizer, *(_value(b"", _key(i)) for i in range(3_000))
    ), -1


@pytest.mark.parametrize(
    "made",
    [
        _empty_nodes,
        _children_without_names,
        _children_of_no_node,
        _below_a_long_path,
        _variables_below_a_long_path,
        _variables_below_many_long_paths,
        _names_that_are_empty,
        _one_list_many_times,
        _optimizers_of_one_list,
        _optimizers_in_optimizers,
        _optimizers_with_one_inner,
        _optimizers_below_a_long_path,
        _slots_of_a_long_name,
    ],
)
def test_bounded(made: Callable[[], tuple[bytes, int]]) -> None:
    """Whatever a graph consists of, memory and time are in proportion to its size."""
    data, count = made()
    keys = {_key(i) for i in range(count if count >= 0 else 3_000)}
    before = time.process_time()
    graph.read(data, keys)
    assert time.process_time() - before < _MOST_SECONDS
    tracemalloc.start()
    try:
        graph.read(data, keys)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The index has each key, too: more than 30 bytes with its entry.
    assert peak < _MOST_TIMES * (len(data) + 60 * len(keys)) + (2 << 20)


def test_names_of_a_long_path() -> None:
    """A variable below a path of 960 bytes has that path, and one in a small graph has all."""
    last = _child(17, b"a") + _child(17, b"b.c/d")
    names, _ = graph.read(_chain(last=last, below=(_value(b"w", _key(0)),)), {_key(0)})
    path = "/".join(["x" * 59] * 16)
    assert list(names[_key(0)])[:4] == ["k0", f"{path}/a", f"{path}/b..c.Sd", b"w"]


def test_other_keys() -> None:
    """What the checkpoint has no array for is left out."""
    data = _graph(_child(1, b"a") + _child(2, b"b"), _value(b"n", _key(1)), _value(b"m", _key(2)))
    names, states = graph.read(data, {_key(2)})
    assert list(names) == [_key(2)]
    assert states == {}


def test_two_values() -> None:
    """An object that claims to be two variables is damaged."""
    with pytest.raises(Malformed, match="an object with two values"):
        graph.read(_graph(_value(b"", _key(0)) + _value(b"", _key(1))), {_key(0), _key(1)})


def test_first_list_of_a_name() -> None:
    """The places in an order are those of the first list of each name."""
    data = _graph(
        _child(1, b"variables") + _child(2, b"variables"),
        _child(3, b"0") + _child(4, b"1"),
        _child(4, b"0"),
        _value(b"", _key(0)),
        _value(b"", _key(1)),
    )
    names, _ = graph.read(data, {_key(0), _key(1)})
    assert "#variables/1 of 2" in names[_key(1)]
    assert "#variables/0 of 1" not in names[_key(1)]


def test_slots_and_lists() -> None:
    """The state of an optimizer is what its lists, its attributes and its slots say."""
    data = _graph(
        _child(1, b"w") + _child(2, b"optimizer") + _child(6, b"sgd"),
        _value(b"w", b"w" + _SUFFIX),
        _child(3, b"_iterations") + _child(4, b"_variables"),
        _value(b"", _key(0)),
        _child(3, b"0") + _child(5, b"1"),
        _value(b"", _key(1)),
        _child(7, b"iter") + _slot(1, b"momentum", 8),
        _value(b"", _key(2)),
        _value(b"", _key(3)),
    )
    _, states = graph.read(data, {b"w" + _SUFFIX, *map(_key, range(4))})
    assert {key: (s.at, s.optimizer.places, s.optional) for key, s in states.items()} == {
        _key(0): (("0 of 2",), ("optimizer",), False),
        _key(1): (("1 of 2",), ("optimizer",), False),
        _key(2): (("iter",), ("sgd",), False),
        _key(3): (("momentum of w",), ("sgd",), False),
    }
