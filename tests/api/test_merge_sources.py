"""The sources of a merge: how their arrays are matched, and what is beside an adapter."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import InitregError, RuleError
from initreg.api.merge_sources import (
    arrays_of,
    common_metadata,
    open_adapter,
    refuse_other_order,
    states_of,
)

rng = np.random.default_rng(0)


class Array:
    """An array with other names, as a format may give it."""

    def __init__(self, value: Any, *aliases: str) -> None:
        self.value, self.aliases = value, aliases
        self.shape, self.dtype = value.shape, value.dtype

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.value


def matched(*sources: dict[str, Any]) -> Any:
    with ExitStack() as stack:
        maps = [stack.enter_context(initreg.open(source)) for source in sources]
        found, notes = arrays_of(maps, None, stack)
        return [{name: array.name for name, array in each.items()} for each in found], notes


def test_names_are_those_of_the_first_source() -> None:
    """An array that is matched by an alias goes by the name that the first source has."""
    first = {"fc/w": np.ones(3), "fc/b": np.ones(2)}
    other = {"x": Array(np.ones(3), "fc/w"), "y": Array(np.ones(2), "fc/b"), "z": np.ones(1)}
    found, _ = matched(first, other)
    assert found == [
        {"fc/w": "fc/w", "fc/b": "fc/b"},
        {"fc/w": "x", "fc/b": "y", "z": "z"},
    ]


def test_the_state_of_training_is_known() -> None:
    """Slots of optimisers and counters of training, by the names that plugins know."""
    slots = {name: np.ones(2, "f4") for name in ("fc/W", "fc/W/Adam", "fc/W/Adam_1")}
    counters = {"beta1_power": np.float32(1), "global_step": np.int64(1)}
    with initreg.open({**slots, **counters}) as opened:
        assert set(states_of(opened)) == {*slots, *counters} - {"fc/W"}


def test_metadata_that_two_sources_contradict(tmp_path: Path) -> None:
    """It is left out, with a warning, unless the user gave a value."""
    texts = ({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"})
    maps = [
        initreg.open(initreg.save(tmp_path / f"{i}.safetensors", {"w": np.ones(1)}, metadata=text))
        for i, text in enumerate(texts)
    ]
    with pytest.warns(initreg.MetadataWarning, match="'b' is '2' and '3'"):
        assert common_metadata(maps, {}) == {"a": "1", "c": "4"}
    assert common_metadata(maps, {"b": "5"}) == {"a": "1", "c": "4"}


def test_parts_of_one_set_are_not_two_sources(tmp_path: Path) -> None:
    """Each part opens all of its set, as a shell lists them. They would count twice."""
    arrays = {f"w{i}": np.full(300, i, "f4") for i in range(4)}
    initreg.save(tmp_path / "m.safetensors", arrays, shard_size=2500)
    parts = sorted(tmp_path.glob("m-*.safetensors"))
    assert len(parts) > 1
    other = initreg.save(tmp_path / "other.npz", arrays)
    with pytest.raises(InitregError, match="both are the same source, which would count twice"):
        initreg.merge([*parts, other], tmp_path / "new.npz")
    done = initreg.merge([parts[0], other], tmp_path / "new.npz")
    assert len(done.plan) == 4


def test_orders(tmp_path: Path) -> None:
    """Numbers at the end of names are steps. Names without them say nothing."""

    def maps(*names: str) -> Any:
        return [initreg.open(initreg.save(tmp_path / name, {"w": np.ones(1)})) for name in names]

    refuse_other_order(maps("m-9.npz", "m-10.npz", "m-10b.npz"))
    refuse_other_order(maps("b.npz", "a.npz"))
    refuse_other_order(maps("m-2.npz", "last.npz", "m-1.npz"))
    with pytest.raises(RuleError, match=r"As given: .*m-10.*m-9.*By their numbers: .*m-9.*m-10"):
        refuse_other_order(maps("m-10.npz", "m-9.npz"))


def test_the_configuration_is_beside_the_file(tmp_path: Path) -> None:
    """It is read for a file and for its folder. One that is too large, or wrong, is an error."""
    names = [f"base_model.model.q.lora_{each}.weight" for each in "AB"]
    file = initreg.save(
        tmp_path / "adapter_model.safetensors",
        {names[0]: np.ones((2, 3), "f4"), names[1]: np.ones((4, 2), "f4")},
    )
    beside = tmp_path / "adapter_config.json"
    with initreg.open(file) as opened:
        assert open_adapter(opened).config is None
    beside.write_text(json.dumps({"r": 2, "lora_alpha": 6}))
    for path in (file, tmp_path):
        with initreg.open(path) as opened:
            found = open_adapter(opened)
            assert found.config is not None
            assert found.config.scale_of("q") == 3
    for text, why in (("{", "not JSON"), (" " * (1 << 21), "too large")):
        beside.write_text(text)
        with initreg.open(file) as opened, pytest.raises(InitregError, match=why):
            open_adapter(opened)
