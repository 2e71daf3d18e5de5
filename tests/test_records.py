"""Records: dataclasses that are made faster."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

import initreg
from initreg.plan.rows import Row
from initreg.records import fresh, record, replace
from initreg.specs import ArraySpec, Extent, StateSpec, VariableSpec


@record()
class Point:
    """A record with a default."""

    x: int
    y: int = 0
    kind: ClassVar[str] = "point"

    @property
    def sum(self) -> int:
        return self.x + self.y


@record()
class Named(Point):
    """One more field than its base has, and one that is made after the others."""

    name: str = ""
    tags: Mapping[str, int] = fresh(factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", f"at {self.x}")


@record(frozen=False)
class Changing:
    """A record that can be changed."""

    values: list[int] = fresh(factory=list)


@record(kw_only=True, eq=False, hidden=("secret",))
class Keywords:
    """A record without equality, whose fields are keywords."""

    a: int = 1
    b: int
    secret: str = "?"


@dataclasses.dataclass(frozen=True, slots=True)
class Twin:
    """What Point would be as a dataclass."""

    x: int
    y: int = 0


class Plain(Point):
    """A subclass with a layout of its own."""


@pytest.mark.parametrize("cls", [Point, Twin])
def test_it_is_what_a_frozen_dataclass_is(cls: Any) -> None:
    """Arguments, equality, hash, repr, copies, pickles, patterns: as a dataclass with slots."""
    one = cls(1, y=2)
    assert (one.x, one.y) == (1, 2)
    assert cls(1).y == 0
    assert one == cls(1, 2) != cls(1, 3)
    assert one != (1, 2)
    assert len({one, cls(1, 2), cls(2, 2)}) == 2
    assert repr(one) == f"{cls.__name__}(x=1, y=2)"
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    assert str(inspect.signature(cls)) == "(x: 'int', y: 'int' = 0) -> 'None'" or cls is Twin
    assert not hasattr(one, "__dict__")
    match one:
        case cls(x, y):
            assert (x, y) == (1, 2)
    for wrong in ((), (1, 2, 3)):
        with pytest.raises(TypeError, match="__init__"):
            cls(*wrong)
    with pytest.raises(TypeError, match="unexpected keyword"):
        cls(1, z=2)
    with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
        one.x = 3
    with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
        del one.x
    with pytest.raises((AttributeError, TypeError)):
        one.other = 3
    assert dataclasses.is_dataclass(cls)
    assert [each.name for each in dataclasses.fields(one)] == ["x", "y"]
    assert dataclasses.asdict(one) == {"x": 1, "y": 2}
    assert dataclasses.replace(one, y=5) == cls(1, 5)


def test_fields_are_inherited() -> None:
    """A record that extends another has the fields of both, in their order."""
    one = Named(1, 2, tags={"a": 1})
    assert repr(one) == "Named(x=1, y=2, name='at 1', tags={'a': 1})"
    assert type(one) is Named
    assert isinstance(one, Point)
    assert one != Point(1, 2)
    assert one.sum == 3
    assert replace(one, name="b") == Named(1, 2, "b", {"a": 1})
    assert [each.name for each in dataclasses.fields(Named)] == ["x", "y", "name", "tags"]
    assert Named(1).tags == {}
    assert Named(1).tags is not Named(1).tags
    assert Point.kind == Named(1).kind == "point"


def test_any_class_can_extend_one() -> None:
    """A subclass with a ``__dict__``, and one that dataclasses make, set all fields, too."""
    one: Any = Plain(1, 2)
    assert type(one) is Plain
    assert (one.x, one.y, one.sum) == (1, 2, 3)
    extended = dataclasses.make_dataclass("Z", [("z", int, 3)], bases=(Point,), frozen=True)
    made = extended(1, z=5)
    assert (made.x, made.y, made.z) == (1, 0, 5)


def test_one_that_is_not_frozen() -> None:
    """It can be changed, has no hash, and its default is made for each object."""
    one, other = Changing(), Changing()
    one.values.append(1)
    assert other.values == []
    other.values = [1]
    assert one == other
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_keywords_identity_and_hidden_fields() -> None:
    """``kw_only``, ``eq=False`` and ``hidden`` do what they say."""
    one = Keywords(b=2)
    assert repr(one) == "Keywords(a=1, b=2)"
    assert one != Keywords(b=2)
    assert one in {one}
    with pytest.raises(TypeError):
        Keywords(1, 2)  # type: ignore[misc]
    with pytest.raises(TypeError, match="without a default follows"):

        @record()
        class Wrong:
            a: int = 1
            b: int  # type: ignore[misc]


@pytest.mark.parametrize(
    "cls", [Row, ArraySpec, VariableSpec, Extent, StateSpec, initreg.Claim, initreg.OpenOptions]
)
def test_public_records_can_be_asked_as_dataclasses(cls: Any) -> None:
    """What plugins and users do with them: fields with their defaults, and a copy with changes."""
    fields = dataclasses.fields(cls)
    needed = [each for each in fields if each.default is dataclasses.MISSING]
    one = cls(*(each.name for each in needed))
    for each in fields:
        want = each.name if each in needed else each.default
        assert getattr(one, each.name) == want or (cls is ArraySpec and each.name == "origin")
    last = fields[-1].name
    assert getattr(dataclasses.replace(one, **{last: "x"}), last) == "x"
