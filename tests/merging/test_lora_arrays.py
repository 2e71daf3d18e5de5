"""Updates of adapters, computed in pieces, beside the same formulas on whole arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.merging import inputs
from initreg.merging.inputs import Input, Seen
from initreg.merging.lora_arrays import Update, Updated

rng = np.random.default_rng(0)


def merged(path: Path, base: Any, up: Any, down: Any, seen: Seen | None = None, **how: Any) -> Any:
    """The array with its update, read in pieces of a few elements."""
    arrays = {"base": base, "up": up}
    arrays |= {} if down is None else {"down": down}
    magnitude = how.pop("magnitude", None)
    arrays |= {} if magnitude is None else {"m": magnitude}
    source = initreg.save(path / "arrays.npz", arrays)
    with initreg.open(source) as opened:
        update = Update(
            "adapter",
            opened["up"],
            None if down is None else opened["down"],
            how.pop("scale", 1.0),
            magnitude=None if magnitude is None else opened["m"],
            **how,
        )
        wanted = Updated(
            *("w", Input(opened["base"], "base"), (update,), base.shape, "float32"), seen or Seen()
        )
        found = np.full(base.shape, np.nan, "f4")
        for box, values in wanted.values():
            found[box.slices] = values
    return found


@pytest.fixture(autouse=True, params=[16, 1 << 20])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_PIECE", request.param)
    monkeypatch.setattr(inputs, "_LEAST", request.param)


def normal(*shape: int) -> Any:
    return rng.normal(size=shape).astype("f4")


SHAPES = {
    "dense": ((6, 5), (6, 2), (2, 5)),
    "convolution": ((6, 5, 3, 3), (6, 2, 1, 1), (2, 5, 3, 3)),
    "of one pixel": ((6, 5, 1, 1), (6, 2), (2, 5)),
    "dense, as a convolution": ((6, 5), (6, 2, 1, 1), (2, 5, 1, 1)),
    "1-D convolution": ((6, 5, 3), (6, 2, 1), (2, 5, 3)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_products(tmp_path: Path, name: str) -> None:
    """The product of the factors, whatever axes they have."""
    base, up, down = (normal(*shape) for shape in SHAPES[name])
    wanted = base + 0.5 * (up.reshape(6, 2) @ down.reshape(2, -1)).reshape(base.shape)
    found = merged(tmp_path, base, up, down, scale=0.5)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_inputs_first(tmp_path: Path) -> None:
    """An embedding, or a kernel of Keras, gets the transposed product."""
    base, up, down = normal(5, 6), normal(6, 2), normal(2, 5)
    found = merged(tmp_path, base, up, down, is_transposed=True)
    np.testing.assert_allclose(found, base + (up @ down).T, atol=1e-5)


def test_biases(tmp_path: Path) -> None:
    """A bias is added as it is, times the scale."""
    base, up = normal(6), normal(6)
    np.testing.assert_allclose(
        merged(tmp_path, base, up, None, scale=3.0), base + 3 * up, atol=1e-5
    )


@pytest.mark.parametrize("is_transposed", [False, True])
def test_dora(tmp_path: Path, is_transposed: bool) -> None:
    """Each output has the length that the magnitude says, and the direction of the sum."""
    up, down, magnitude = normal(6, 2), normal(2, 5), np.abs(normal(6))
    base = normal(5, 6) if is_transposed else normal(6, 5)
    found = merged(
        tmp_path, base, up, down, is_transposed=is_transposed, magnitude=magnitude.reshape(6, 1)
    )
    axis = 0 if is_transposed else 1
    np.testing.assert_allclose(np.linalg.norm(found, axis=axis), magnitude, rtol=1e-5)
    total = base + ((up @ down).T if is_transposed else up @ down)
    along = total / np.linalg.norm(total, axis=axis, keepdims=True)
    np.testing.assert_allclose(
        found / np.linalg.norm(found, axis=axis, keepdims=True), along, atol=1e-5
    )


def test_dora_of_a_convolution(tmp_path: Path) -> None:
    """The length of an output is over all of its other axes."""
    base, up, down, magnitude = (
        normal(6, 5, 3, 3),
        normal(6, 2, 1, 1),
        normal(2, 5, 3, 3),
        normal(6),
    )
    found = merged(tmp_path, base, up, down, magnitude=magnitude.reshape(1, 6, 1, 1))
    lengths = np.sqrt(np.square(found).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(lengths, np.abs(magnitude), rtol=1e-5)


def test_an_output_without_a_direction_is_reported(tmp_path: Path) -> None:
    """A row of zeros has no direction to give its magnitude to, so that it becomes NaN."""
    seen = Seen()
    base, up = normal(6, 5), normal(6, 2)
    base[2], up[2] = 0, 0
    found = merged(tmp_path, base, up, normal(2, 5), seen, magnitude=np.abs(normal(6)))
    assert np.isnan(found[2]).all() or np.isinf(found[2]).any()
    assert [(each.name, each.nan + each.inf) for each in seen.found()] == [("w", 1)]


def test_what_is_not_finite_in_factors_is_reported(tmp_path: Path) -> None:
    """NaN of an adapter are counted as those of its factors."""
    seen = Seen()
    down = normal(2, 5)
    down[0, 0] = np.nan
    merged(tmp_path, normal(6, 5), normal(6, 2), down, seen)
    assert [(each.source, each.nan) for each in seen.found()] == [("adapter", 1)]


def test_an_update_that_is_too_large_is_noted(tmp_path: Path) -> None:
    """Factors that are finite and whose product is not are reported, beside what the base has."""
    seen = Seen()
    base = np.zeros((6, 5), "f4")
    base[0, 0] = np.inf
    merged(tmp_path, base, np.full((6, 2), 3e20, "f4"), np.full((2, 5), 3e20, "f4"), seen)
    found = {each.source: (each.nan, each.inf) for each in seen.found()}
    assert found == {"base": (0, 1), "the result, of finite values": (0, 29)}
    merged(tmp_path, base, np.full((6, 2), np.nan, "f4"), np.ones((2, 5), "f4"), seen)
    assert {each.source for each in seen.found()} == {"base", "adapter"}
