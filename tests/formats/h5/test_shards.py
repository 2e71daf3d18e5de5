"""Sharded saves of Keras and of transformers: no part is taken for the whole."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import initreg
from initreg import AmbiguousSource, DamagedFile, DuplicateName, InitregError, SmartInit

pytestmark = pytest.mark.filterwarnings(  # Keras's own, with numpy 2
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
W = np.arange(12, dtype=np.float32).reshape(3, 4)


def model(seed: int):
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(n, activation="tanh") for n in (30, 20, 10)]
    return keras.Sequential([keras.layers.Input((40,)), *layers])


@pytest.fixture
def sharded(tmp_path: Path):
    """A model, and the names of the parts of its save, of which there are several."""
    made = model(1)
    made.save_weights(tmp_path / "m.weights.json", max_shard_size=5e-6)
    parts = sorted(path.name for path in tmp_path.glob("m_*.weights.h5"))
    assert len(parts) > 1
    return made, parts


@pytest.mark.framework
def test_a_part_means_the_set(sharded, tmp_path: Path) -> None:
    """Each part opens all of them, and the model computes what the saved one does."""
    made, parts = sharded
    x = np.random.default_rng(0).standard_normal((5, 40), "f4")
    for name in ("m.weights.json", *parts):
        other = model(2)
        plan = SmartInit(tmp_path / name).init(other)
        assert len(plan.restored) == 6
        reference = model(3)
        reference.load_weights(tmp_path / "m.weights.json")
        assert np.array_equal(other.predict(x, verbose=0), reference.predict(x, verbose=0))
        assert np.array_equal(other.predict(x, verbose=0), made.predict(x, verbose=0))


@pytest.mark.framework
def test_parts_without_their_index(sharded, tmp_path: Path) -> None:
    """Parts whose arrays differ, and a part that lacks a first layer, are not the whole."""
    _, parts = sharded
    (tmp_path / "m.weights.json").unlink()
    for name in parts:
        with pytest.raises(InitregError, match=r"its index, m\.weights\.json, is missing"):
            initreg.open(tmp_path / name)
    alone = tmp_path / "alone"
    alone.mkdir()
    (tmp_path / parts[-1]).rename(alone / parts[-1])
    with pytest.raises(InitregError, match=r"It has 'layers/dense_[12]' and no 'layers/d"):
        initreg.open(alone / parts[-1])
    (alone / parts[-1]).rename(alone / "mine.weights.h5")
    assert len(initreg.load(alone / "mine.weights.h5")) >= 1  # as the error says


@pytest.mark.framework
def test_a_missing_part_is_named(sharded, tmp_path: Path) -> None:
    """By the index and by each of the other parts."""
    _, parts = sharded
    (tmp_path / parts[1]).unlink()
    for name in ("m.weights.json", parts[0]):
        with pytest.raises(DamagedFile, match=f"part {parts[1]} is missing"):
            initreg.open(tmp_path / name)


@pytest.mark.framework
def test_saves_of_epochs_are_not_parts(tmp_path: Path) -> None:
    """Complete files that are numbered like parts open on their own, one and several."""
    made = model(1)
    made.save_weights(tmp_path / "m_00001.weights.h5")
    assert len(initreg.load(tmp_path / "m_00001.weights.h5")) == 6
    made.save_weights(tmp_path / "m_00002.weights.h5")
    assert len(initreg.load(tmp_path / "m_00002.weights.h5")) == 6


def test_an_index_that_does_not_name_the_part(tmp_path: Path) -> None:
    """A left-over part of an older save is an error that shows what the index names."""
    for n in (0, 7):
        with h5py.File(tmp_path / f"m_0000{n}.weights.h5", "w") as file:
            file["layers/a/vars/0"] = W
    index = {"weight_map": {"/layers/a/vars": "m_00000.weights.h5"}}
    (tmp_path / "m.weights.json").write_text(json.dumps(index))
    assert list(initreg.load(tmp_path / "m_00000.weights.h5")) == ["layers/a/vars/0"]
    with pytest.raises(InitregError, match=r"names other parts: m_00000\.weights\.h5"):
        initreg.open(tmp_path / "m_00007.weights.h5")
    (tmp_path / "m.weights.json").write_text("{}")  # not an index
    assert list(initreg.load(tmp_path / "m_00000.weights.h5")) == ["layers/a/vars/0"]


def transformers(folder: Path, names: tuple[str, ...] = ("a/kernel", "b/kernel")) -> list[Path]:
    """``tf_model-00001-of-00002.h5`` and so on, as transformers 4 wrote them, and the index."""
    parts = [folder / f"tf_model-0000{n}-of-0000{len(names)}.h5" for n in range(1, len(names) + 1)]
    places = {}
    for part, name in zip(parts, names, strict=True):
        with h5py.File(part, "w") as file:
            file[name] = W
        places[f"tf_bert/{name}:0"] = part.name
    (folder / "tf_model.h5.index.json").write_text(json.dumps({"weight_map": places}))
    return parts


def test_transformers(tmp_path: Path) -> None:
    """By the index, and by a part with and without the index."""
    parts = transformers(tmp_path)
    for path in (tmp_path / "tf_model.h5.index.json", *parts):
        assert {n: a.tolist() for n, a in initreg.load(path).items()} == {
            "a/kernel": W.tolist(),
            "b/kernel": W.tolist(),
        }
    (tmp_path / "tf_model.h5.index.json").unlink()
    assert sorted(initreg.load(parts[1])) == ["a/kernel", "b/kernel"]
    parts[0].unlink()
    with pytest.raises(DamagedFile, match=r"missing: tf_model-00001-of-00002\.h5"):
        initreg.open(parts[1])


def test_a_folder_of_transformers(tmp_path: Path) -> None:
    """A folder means its index, or its tf_model.h5. Other HDF5 files are not claimed."""
    with h5py.File(tmp_path / "epoch_1.h5", "w") as file:
        file["w"] = W
    assert initreg.probe(tmp_path).winner is None
    with h5py.File(tmp_path / "tf_model.h5", "w") as file:
        file["w"] = W
    assert list(initreg.load(tmp_path)) == ["w"]
    transformers(tmp_path)
    assert sorted(initreg.load(tmp_path)) == ["a/kernel", "b/kernel"]
    (tmp_path / "other.h5.index.json").write_text("{}")
    with pytest.raises(AmbiguousSource, match=r"other\.h5\.index\.json, tf_model\.h5\.index\.json"):
        initreg.open(tmp_path)


def test_transformers_of_two_saves(tmp_path: Path) -> None:
    """A part with more arrays than the index says, and an array in two parts, are errors."""
    parts = transformers(tmp_path)
    with h5py.File(parts[1], "a") as file:
        file["c"] = W
    with pytest.raises(DamagedFile, match=r"00002\.h5 has 2 arrays, and the index says 1"):
        initreg.open(parts[0])
    transformers(tmp_path, ("a/kernel", "a/kernel"))
    (tmp_path / "tf_model.h5.index.json").unlink()
    with pytest.raises(DuplicateName, match="'a/kernel' is also in"):
        initreg.open(parts[0])


def test_a_pointer_in_an_archive(tmp_path: Path) -> None:
    """A .keras archive that was packed from a clone without git-lfs says so."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"version https://git-lfs.github.com/spec/v1\noid ...")
    with pytest.raises(DamagedFile, match="git lfs pull"):
        initreg.open(tmp_path / "m.keras")
