"""What a format says of the order of elements of its arrays, before and after rules."""

from __future__ import annotations

import numpy as np
import pytest

import initreg
from initreg import ArrayMap
from initreg.arrays.reader import Reader

WHY = "rows in another order"


class Said(dict[str, np.ndarray]):
    """The arrays of a format that says something of some."""

    reordered: object = {"blk.*.q": WHY}


def opened(said: object = None) -> ArrayMap:
    arrays = Said({"blk.0.q": np.ones((4, 2), "f4"), "v": np.ones((4, 2), "f4")})
    if said is not None:
        arrays.reordered = said
    return ArrayMap(arrays, label="m", format="f", reader=Reader("m"))


def test_globs_and_names() -> None:
    """Each array that a glob matches, and nothing if nothing is said."""
    assert opened().reordered == {"blk.0.q": WHY}
    assert opened({"v": "x", "blk.?.q": "y"}).reordered == {"blk.0.q": "y", "v": "x"}
    assert initreg.open({"a": np.ones(2)}).reordered == {}


def test_a_name_matches_itself() -> None:
    """Whatever characters it has."""
    arrays = Said({"w[0]": np.ones(2, "f4"), "w0": np.ones(2, "f4")})
    arrays.reordered = {"w[0]": "x"}
    given = ArrayMap(arrays, label="m", format="f", reader=Reader("m"))
    assert given.reordered == {"w[0]": "x", "w0": "x"}
    assert given.said_of("kernel_axes") == {}


@pytest.mark.parametrize("said", [["v"], {"v": 5}, "v"])
def test_it_must_be_texts_by_name(said: object) -> None:
    """Anything else is an error of the plugin."""
    with pytest.raises(initreg.InitregError, match="reordered must be"):
        _ = opened(said).reordered


def test_after_rules() -> None:
    """Under its new name, until rules put its axes in an order. A cast or a scale answers nothing,
    and a part is as the whole."""
    map_ = opened()
    assert map_.rename({"blk.0.q": "q"}).reordered == {"q": WHY}
    assert map_.rename({"blk.0.q": "q"}).cast("float16").reordered == {"q": WHY}
    assert map_.split("blk.0.q", 0, ["a", "b"]).reordered == {"a": WHY, "b": WHY}
    assert map_.permute("blk.0.q", (0, 1)).reordered == {}
    assert map_.permute("blk.0.q", (1, 0)).rename({"blk.0.q": "q"}).reordered == {}
    assert map_.drop("blk.*").reordered == {}


def test_map_asks() -> None:
    """An open map, before and after rules, and rules of the call."""
    target = {"q/kernel": np.zeros((2, 4), "f4"), "v/kernel": np.zeros((2, 4), "f4")}
    arrays = Said({f"blk.0.{name}.weight": np.ones((4, 2), "f4") for name in "qv"})
    arrays.reordered = {"blk.*.q.weight": WHY}
    given = ArrayMap(arrays, label="m", format="f", reader=Reader("m"))
    renamed = {"blk.0.q.weight": "query.weight"}
    own = {"blk.0.q.weight": (0, 1)}
    for source, rules in ((given, {}), (given.rename(renamed), {}), (given, {"rename": renamed})):
        found = initreg.map(source, target, **rules)
        assert [(each.variables, each.why) for each in found.open] == [(("q/kernel",), WHY)]
    assert initreg.map(given, target, permute=own).is_complete
    assert initreg.map(given.permute("blk.0.q.weight", (0, 1)), target).is_complete
