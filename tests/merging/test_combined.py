"""Arrays that are combined in pieces: methods that look at all of an array first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg.merging import inputs
from initreg.merging.combined import METHODS, Combined, Settings
from initreg.merging.inputs import Input, Seen

rng = np.random.default_rng(0)


def combined(
    path: Path, method: str, arrays: list[Any], settings: Settings, base: Any = None
) -> Any:
    given = {str(i): value for i, value in enumerate(arrays)}
    source = initreg.save(path / "a.npz", given | ({} if base is None else {"base": base}))
    with initreg.open(source) as opened:
        wanted = Combined(
            "w",
            method,
            tuple(Input(opened[name], name) for name in given),
            None if base is None else Input(opened["base"], "base"),
            settings,
            arrays[0].shape,
            str(arrays[0].dtype),
            Seen(),
        )
        found = np.zeros_like(arrays[0])
        for box, values in wanted.values():
            found[box.slices] = values
    return found


@pytest.fixture(autouse=True, params=[64, 1 << 20])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_PIECE", request.param)
    monkeypatch.setattr(inputs, "_LEAST", request.param)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_slerp_of_very_small_and_large_values(tmp_path: Path, scale: float) -> None:
    """No square overflows or vanishes: the result scales with the sources."""
    a, b = rng.normal(size=(2, 9, 11))
    length = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos((a * b).sum() / length)
    wanted = (np.sin(0.7 * angle) * a + np.sin(0.3 * angle) * b) / np.sin(angle)
    sources = [(each * scale).astype("f4") for each in (a, b)]
    found = combined(tmp_path, "slerp", sources, Settings(t=0.3))
    np.testing.assert_allclose(found.astype("f8") / scale, wanted, atol=1e-5)


def test_ties_keeps_the_largest_changes(tmp_path: Path) -> None:
    """With one source, a part of the changes of exactly this size is left."""
    base, tuned = rng.normal(size=(2, 10, 20)).astype("f4")
    settings = Settings(weights=(1.0,), densities=(0.25,))
    found = combined(tmp_path, "ties", [tuned], settings, base)
    changed = found != base
    assert changed.sum() == 50
    limit = np.sort(np.abs(tuned - base).reshape(-1))[-50]
    np.testing.assert_array_equal(changed, np.abs(tuned - base) >= limit)
    np.testing.assert_allclose(found[changed], tuned[changed], atol=1e-6)


@pytest.mark.parametrize("method", ["task", "ties", "dare-linear", "dare-ties"])
def test_all_changes_of_one_source_give_the_source(tmp_path: Path, method: str) -> None:
    """With the density 1 and the weight 1, each method of changes gives what it was given."""
    base, tuned = rng.normal(size=(2, 6, 7)).astype("f4")
    settings = Settings(weights=(1.0,), densities=(1.0,), numbers=(0,))
    np.testing.assert_allclose(
        combined(tmp_path, method, [tuned], settings, base), tuned, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(), (0, 3), (1, 1)])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "lora"])
def test_arrays_of_no_or_of_one_element(tmp_path: Path, method: str, shape: Any) -> None:
    """A number, and an array without elements, go through each method."""
    base, a, b = (np.full(shape, value, "f4") for value in (1, 2, 4))
    settings = Settings(weights=(1.0, 1.0), densities=(1.0, 1.0), t=0.5, decay=0.5, numbers=(0, 1))
    needed = base if METHODS[method].needs_base else None
    found = combined(tmp_path, method, [a, b], settings, needed)
    assert found.shape == shape
    assert np.isfinite(found).all()
    if found.size and method in ("average", "lerp", "ema", "slerp"):
        assert found.reshape(-1)[0] == pytest.approx(3)
