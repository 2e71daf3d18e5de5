"""A dict of numpy arrays as a target: it is filled in place."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import DuplicateName, MismatchError, SmartInit, TargetError
from initreg_targets.mapping import initreg_target

DTYPES = [
    *("float16", "float32", "float64", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128"),
    *("bfloat16", "float8_e4m3fn", "float8_e5m2"),
]


def test_fills_the_callers_own_arrays() -> None:
    """Everybody who holds an array of the dict sees the restored values."""
    kernel = np.zeros((2, 3), "f4")
    target = {"fc/W": kernel}
    given = np.arange(6, dtype="f4").reshape(2, 3)
    plan = SmartInit({"fc/W": given}).init(target)
    assert target["fc/W"] is kernel
    np.testing.assert_array_equal(kernel, given)
    assert [row.name for row in plan.restored] == ["fc/W"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (5,), (2, 3)])
def test_every_dtype_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    """Every dtype and shape is restored with the same bits."""
    kind = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    given = (np.arange(int(np.prod(shape))) % 2).reshape(shape).astype(kind)
    target = {"v": np.ones(shape, kind)}
    SmartInit({"v": given}).init(target)
    assert target["v"].dtype == kind
    assert target["v"].tobytes() == given.tobytes()


def test_nested_dicts_join_their_keys() -> None:
    """A nested dict is filled by names joined with '/'."""
    target: dict[str, Any] = {"block": {"fc": {"W": np.zeros(3, "f4")}, "b": np.zeros(2, "f4")}}
    SmartInit({"block/fc/W": np.ones(3, "f4"), "block": {"b": np.full(2, 2, "f4")}}).init(target)
    np.testing.assert_array_equal(target["block"]["fc"]["W"], np.ones(3, "f4"))
    np.testing.assert_array_equal(target["block"]["b"], np.full(2, 2, "f4"))


def test_layouts_in_memory_do_not_matter() -> None:
    """Views, Fortran order, steps and foreign byte order are filled by value."""
    base = np.zeros((6, 4), "f4")
    target = {
        "view": base[::2, 1:3],
        "fortran": np.zeros((2, 3), "f4", order="F"),
        "swapped": np.zeros(3, ">f4"),
    }
    given = {
        "view": np.arange(6, dtype="f4").reshape(3, 2),
        "fortran": np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)),
        "swapped": np.arange(3, dtype="f4"),
    }
    SmartInit(given).init(target)
    for name, array in given.items():
        np.testing.assert_array_equal(target[name], array)
    np.testing.assert_array_equal(base[::2, 1:3], given["view"])
    assert base[1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("kind", ["O", "U5"])
def test_strings(kind: str) -> None:
    """Strings fill an array of objects or of strings that is wide enough."""
    target = {"words": np.array(["", ""], dtype=kind)}
    SmartInit({"words": np.array(["a", "zwölf"])}).init(target)
    assert target["words"].tolist() == ["a", "zwölf"]


@pytest.mark.parametrize(("kind", "words"), [("U3", ["zwölf"]), ("S3", ["long"]), ("S3", ["ö"])])
def test_strings_are_never_cut(kind: str, words: list[str]) -> None:
    """A string that an array of fixed width cannot hold is an error that names the array."""
    target = {"words": np.array([""], dtype=kind)}
    with pytest.raises(TargetError, match=r"'words' of dtype .* Give an object array"):
        SmartInit({"words": np.array(words, dtype=object)}).init(target)
    assert target["words"].tolist() == np.array([""], dtype=kind).tolist()


def test_shares_no_memory_with_the_source() -> None:
    """Editing the user's array afterwards changes nothing in the target, and the other way
    round."""
    given = np.ones(1000, "f4")
    target = {"v": np.zeros(1000, "f4")}
    SmartInit({"v": given}).init(target)
    given[:] = 7
    np.testing.assert_array_equal(target["v"], np.ones(1000, "f4"))
    target["v"][:] = 9
    np.testing.assert_array_equal(given, np.full(1000, 7, "f4"))


def test_a_target_that_is_its_own_source() -> None:
    """Restoring a dict into itself, even rotated, reads each array before writing it."""
    arrays = {"v": np.arange(4, dtype="f4")}
    SmartInit({"v": arrays["v"][::-1]}).init(arrays)
    np.testing.assert_array_equal(arrays["v"], [3, 2, 1, 0])


def test_a_mismatch_writes_nothing() -> None:
    """One array that does not fit leaves all of them unchanged."""
    target = {"a": np.zeros(2, "f4"), "b": np.zeros(3, "f4")}
    with pytest.raises(MismatchError, match=r"b: shape \(4,\) does not fit \(3,\)"):
        SmartInit({"a": np.ones(2, "f4"), "b": np.ones(4, "f4")}).init(target)
    assert target["a"].tolist() == [0, 0]


def test_a_read_only_array_is_refused_before_anything_is_written() -> None:
    """A read-only array is a TargetError that names it."""
    target = {"a": np.zeros(2, "f4"), "b": np.zeros(2, "f4")}
    target["b"].flags.writeable = False
    with pytest.raises(TargetError, match="'b' is read-only"):
        SmartInit({"a": np.ones(2, "f4"), "b": np.ones(2, "f4")}).init(target)
    assert target["a"].tolist() == [0, 0]


@pytest.mark.parametrize("value", [1.0, [1.0, 2.0], np.float32(3), None])
def test_a_value_that_is_no_array_is_refused(value: Any) -> None:
    """A value that cannot be filled in place is a TargetError that names it."""
    with pytest.raises(TargetError, match=r"'a' is a .*cannot be filled in place"):
        SmartInit({"a": np.ones(2, "f4")}).init({"a": value})


def test_names_that_join_to_one_are_an_error() -> None:
    """Two names that differ only by ':0' are an error."""
    with pytest.raises(DuplicateName, match="'a'"):
        SmartInit({"a": np.ones(2)}).init({"a": np.zeros(2), "a:0": np.zeros(2)})


def test_keys_that_join_to_one_name_are_an_error() -> None:
    """No array of two that join to one name is left out in silence, as of a source."""
    pairs: list[dict[Any, Any]] = [
        {"a": {"b": np.zeros(1)}, "a/b": np.zeros(1)},
        {1: np.zeros(1), "1": np.zeros(1)},
        {"a/": {"b": np.zeros(1)}, "a": {"/b": np.zeros(1)}},
    ]
    for target, name in zip(pairs, ("a/b", "1", "a//b"), strict=True):
        with pytest.raises(DuplicateName, match=f"two arrays are called '{name}' once nesting is"):
            SmartInit({name: np.ones(1)}).init(target)
        assert not any(np.any(each) for each in target.values() if isinstance(each, np.ndarray))


def test_any_mapping_is_a_target_and_nothing_else() -> None:
    """A Mapping of any class is accepted; lists, strings and None are declined."""
    array = np.zeros(2)
    SmartInit({"a": np.ones(2)}).init(MappingProxyType({"a": array}))
    assert array.tolist() == [1, 1]
    assert initreg_target([array]) is None
    assert initreg_target("a") is None
    with pytest.raises(initreg.UnknownTarget):
        SmartInit({"a": np.ones(2)}).init([array])


def test_a_source_may_hold_the_arrays_of_the_target() -> None:
    """Two arrays that change places are both read before anything is written."""
    target = {"w": np.arange(4.0), "v": np.arange(4.0)[::-1].copy()}
    SmartInit({"w": target["v"], "v": target["w"]}).init(target)
    assert target["w"].tolist() == [3, 2, 1, 0]
    assert target["v"].tolist() == [0, 1, 2, 3]


def test_arrays_that_share_memory_are_refused() -> None:
    """Filling one would change the other. Neighbours and interlaced views are allowed."""
    whole = np.zeros((4, 6))
    one_twice = {"x": whole, "y": whole}
    a_part = {"x": whole, "y": whole[1:2, ::-1]}
    for target in (one_twice, a_part):
        with pytest.raises(TargetError, match="'x' and 'y' share memory"):
            SmartInit({"x": np.ones((4, 6))}).init(target)
    assert not whole.any()
    apart = {"x": whole[:, ::2], "y": whole[:, 1::2], "z": np.zeros((0, 3))}
    SmartInit({"x": np.full((4, 3), 1.0), "y": np.full((4, 3), 2.0), "z": np.zeros((0, 3))}).init(
        apart
    )
    assert whole[0].tolist() == [1, 2, 1, 2, 1, 2]
