"""initreg.arrays.metadata: what formats give, how several are joined, and what a user may give."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

import initreg
from initreg.arrays.metadata import checked, joined, metadata_of


class Opened(dict[str, Any]):
    """What a format returns."""

    metadata: Any


def of(given: Any) -> Any:
    opened = Opened()
    opened.metadata = given
    return metadata_of(opened, "m.x", "x")


def test_a_format_gives_a_mapping_or_one_for_each_file() -> None:
    """None at all is empty. The result cannot be changed, and the format's own is not exposed."""
    assert metadata_of({}, "m.x", "x") == of(None) == of(()) == {}
    given = {"a": "b"}
    found = of(given)
    given["a"] = "c"
    assert isinstance(found, MappingProxyType)
    assert found == {"a": "b"}
    assert of((MappingProxyType({"a": "b"}), {"c": "d", "a": "b"})) == {"a": "b", "c": "d"}


@pytest.mark.parametrize("given", ["text", {"a": 1}, {1: "a"}, [{"a": "b"}], ({"a": None},), 7])
def test_anything_else_is_the_fault_of_the_plugin(given: Any) -> None:
    """The error names the file and the format."""
    with pytest.raises(initreg.PluginError, match=r"m\.x: format 'x' gave it metadata that is not"):
        of(given)


def test_one_warning_names_all_that_differ() -> None:
    """The first value that was replaced is shown, and how to choose it. Long values are cut."""
    with pytest.warns(initreg.MetadataWarning) as caught:
        found = joined(
            [("a", {"k": "1", "x": "y" * 999, "s": "s"}), ("b", {"k": "2", "x": "z", "s": "s"}),
             ("c", {"k": "3", "new": "n"})]
        )  # fmt: skip
    assert found == {"k": "3", "x": "z", "s": "s", "new": "n"}
    (warning,) = caught
    said = str(warning.message)
    assert said.startswith("a + b + c: they have different metadata, and the last one wins: 'k' is")
    assert "'k' is '3', not '1'; 'x' is 'z', not 'yyy" in said
    assert len(said) < 400
    assert said.endswith("To choose another value, pass metadata={'k': '1'}")


def test_a_long_conflict_is_cut() -> None:
    """A warning is short, however many and however long the values are."""
    one, other = ({f"key{i}": c * 100_000 for i in range(50)} for c in "ab")
    said = r"and 40 more\. To choose another value, pass metadata=$"
    with pytest.warns(initreg.MetadataWarning, match=said) as caught:
        assert joined([("a", one), ("b", other)]) == other
    assert len(str(caught[0].message)) < 3000


def test_what_a_user_gives_is_copied() -> None:
    """Any mapping of texts is taken."""
    given = {"a": "b"}
    assert checked(MappingProxyType(given)) == given
    assert checked(given) is not given
    assert checked({}) == {}
