"""One variable at several places of a model: a file has a copy at each, and needs one of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tf_keras

from initreg import SmartInit, UnusedError, UnusedWarning

pytestmark = [
    pytest.mark.framework,
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]
LIBRARIES = [keras, tf_keras]
X = np.arange(8, dtype="float32").reshape(2, 4)


def tied(library: Any) -> Any:
    """A model that has the embeddings of a layer as an attribute, too."""

    class Tied(library.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.emb = library.layers.Embedding(4, 4)
            self.head = library.layers.Dense(4)
            self.emb.build((None,))
            self.tied = self.emb.embeddings

        def call(self, x: Any) -> Any:
            return self.head(x) @ self.tied

    model = Tied()
    model(X)
    return model


def spectral(library: Any) -> Any:
    layer = library.layers.Dense(4)
    inner = library.layers.SpectralNormalization(layer)
    return library.Sequential([library.Input((4,)), inner, library.layers.Dense(4)])


def shared(library: Any, name: str | None = None) -> Any:
    """A layer in the model, and in a model within it."""
    layer = library.layers.Dense(4, name=name)
    inputs = library.Input((4,))
    inner = library.Model(inputs, layer(inputs), name=name and "inner")
    inputs = library.Input((4,))
    last = library.layers.Dense(2, name=name and "out")
    return library.Model(inputs, last(layer(inner(inputs))))


def shared_named(library: Any) -> Any:
    return shared(library, "fc")


def filled(model: Any) -> Any:
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    return model


def saved(library: Any, model: Any, ending: str, tmp_path: Path) -> Path:
    path = tmp_path / f"m{ending}"
    if ending == ".h5" and library is keras:
        model.save(path)
    else:
        (model.save if ending == ".keras" else model.save_weights)(str(path))
    return path


CASES = [
    *((library, tied, ".weights.h5") for library in LIBRARIES),
    *((keras, spectral, ending) for ending in (".weights.h5", ".keras")),
    *(
        (library, build, ending)
        for library in LIBRARIES
        for build in (shared, shared_named)
        for ending in (".weights.h5", ".h5")
    ),
    *((library, shared, ".keras") for library in LIBRARIES),
    (keras, shared_named, ".keras"),
]


@pytest.mark.parametrize(("library", "build", "ending"), CASES)
def test_its_own_file(
    library: Any, build: Callable[[Any], Any], ending: str, tmp_path: Path
) -> None:
    """The second copy is not needed, and the outputs are those of the model that was saved."""
    model, other = filled(build(library)), build(library)
    path = saved(library, model, ending, tmp_path)
    SmartInit(path, on_missing="error", on_unused="error").init(other)
    assert np.array_equal(other(X), model(X))


@pytest.mark.parametrize("library", LIBRARIES)
def test_copies_that_differ(library: Any, tmp_path: Path) -> None:
    """A file in which the copies differ is of another model. The one that is not restored is
    reported, and on_unused="error" stops before anything is written."""
    path = saved(library, filled(tied(library)), ".weights.h5", tmp_path)
    with h5py.File(path, "r+") as file:
        file["vars/0"][0, 0] += 1
    other = tied(library)
    before = other(X).numpy()
    plan = SmartInit(path).plan(other)
    (row,) = plan.of("not needed")
    assert "the same variable as" in row.reason
    with pytest.raises(UnusedError, match="1 array is taken by no variable"):
        SmartInit(path, on_unused="error").init(other)
    assert np.array_equal(other(X), before)
    with pytest.warns(UnusedWarning, match="not equal to '.*', which is the same variable"):
        SmartInit(path).init(other)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_copy_at_no_place_of_it(library: Any, tmp_path: Path) -> None:
    """An array at a place that the target does not have for that variable is reported."""
    path = saved(library, filled(tied(library)), ".weights.h5", tmp_path)
    with h5py.File(path, "r+") as file:
        file.copy("vars/0", file.create_group("extra/vars"), "0")
    with pytest.warns(UnusedWarning, match=r"1 only in the source, not used:\n  extra/vars/0"):
        SmartInit(path).init(tied(library))
