"""diff: which arrays of two sources differ, and by how much."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import initreg
from initreg import InitregError, SmartInit

rng = np.random.default_rng(0)
BASE: dict[str, Any] = {f"block_{i}/kernel": rng.normal(size=(8, 6)).astype("f4") for i in range(6)}
BASE["step"] = np.int64(3)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A file of each kind of difference, in two formats."""
    tuned = {name: np.array(array) for name, array in BASE.items()}
    tuned["block_1/kernel"][2, 3] += 0.5
    tuned["block_2/kernel"] *= np.float32(1.0001)
    tuned["block_3/kernel"] = tuned["block_3/kernel"].T.copy()
    tuned["block_4/kernel"] = tuned["block_4/kernel"].astype("f2")
    del tuned["step"]
    tuned["head/bias"] = np.zeros(3, "f4")
    return (
        initreg.save(tmp_path / "base.npz", BASE),
        initreg.save(tmp_path / "tuned.safetensors", tuned),
    )


def kinds(found: initreg.Diff) -> dict[str, str]:
    return {each.name: each.kind for each in found.arrays}


def test_each_kind(files: tuple[Path, Path]) -> None:
    """Equal, different, of another shape, of another dtype, and on one side only."""
    found = initreg.diff(*files)
    assert kinds(found) == {
        "block_0/kernel": "equal",
        "block_1/kernel": "different",
        "block_2/kernel": "different",
        "block_3/kernel": "shape",
        "block_4/kernel": "different",
        "block_5/kernel": "equal",
        "head/bias": "only in B",
        "step": "only in A",
    }
    assert not found.is_same
    (one,) = (each for each in found.arrays if each.name == "block_1/kernel")
    assert one.values is not None
    assert (one.values.differing, one.values.largest) == (1, pytest.approx(0.5))
    text = found.to_text()
    assert "3 arrays different\n  block_1/kernel  max 0.5" in text  # the largest first
    assert "block_3/kernel  (8, 6) float32 in A, (6, 8) float32 in B" in text
    assert "float32 in A, float16 in B" in text
    assert "1 array only in A\n  step" in text
    assert "2 arrays equal, bit by bit" in text


def test_a_tolerance(files: tuple[Path, Path]) -> None:
    """What is within it counts as the same, and is still told from equal bits."""
    found = initreg.diff(*files, rtol=1e-3)
    assert kinds(found)["block_2/kernel"] == kinds(found)["block_4/kernel"] == "close"
    assert "2 arrays within the tolerance: max" in found.to_text()
    assert initreg.diff({"x": np.int64([3])}, {"x": np.array([3.0])}).is_same  # another dtype
    same = initreg.diff(files[0], {n: np.array(a) + 1e-7 for n, a in BASE.items()}, atol=1e-5)
    assert same.is_same
    assert initreg.diff({"x": np.ones(2)}, {"x": np.ones(2) + 1e-4}, rtol=np.float32(1e-3)).is_same
    for name in ("rtol", "atol"):
        for value in (-1, float("nan"), "1", True):
            with pytest.raises(InitregError, match=f"{name}=.*not negative"):
                initreg.diff(*files, **{name: value})


def test_equal_sources_of_two_formats(tmp_path: Path) -> None:
    """A converted file has equal bits."""
    one = initreg.save(tmp_path / "m.npz", BASE)
    found = initreg.diff(one, initreg.convert(one, tmp_path / "m.ckpt"))
    assert found.is_same
    assert set(kinds(found).values()) == {"equal"}
    assert found.to_text().endswith("7 arrays equal, bit by bit")


def test_rules_for_both_and_for_one(tmp_path: Path) -> None:
    """Rules apply to both, and need touch one of them; a SmartInit has rules of its own."""
    one = initreg.save(tmp_path / "a.npz", {f"model/{n}": a for n, a in BASE.items()})
    two = initreg.save(tmp_path / "b.npz", BASE)
    assert not initreg.diff(one, two).is_same
    assert initreg.diff(one, two, strip_prefix="model/").is_same
    assert initreg.diff(SmartInit(one, strip_prefix="model/"), two).is_same
    assert initreg.diff(two, SmartInit(one, strip_prefix="model/"), drop="step").is_same
    transposed = {n: np.asarray(a).T for n, a in BASE.items()}
    assert initreg.diff(SmartInit(two, transpose="*/kernel"), transposed).is_same


def test_an_axis_of_length_1_is_a_difference() -> None:
    """A restore would reshape it, and the two are still not the same."""
    found = initreg.diff({"x": np.ones((1, 3))}, {"x": np.ones(3)})
    assert kinds(found) == {"x": "shape"}
    assert not found.is_same


def test_a_chain_is_one_source(tmp_path: Path) -> None:
    """Of A the last array of a name counts; B cannot be a chain."""
    two = initreg.save(tmp_path / "b.npz", {**BASE, "step": np.int64(9)})
    assert initreg.diff([BASE, {"step": np.int64(9)}], two).is_same
    with pytest.raises(InitregError, match="the second source is a chain"):
        initreg.diff(two, [BASE, {"step": np.int64(9)}])
    with pytest.raises(InitregError, match="a source is empty"):
        initreg.diff([], two)


def test_damage_is_an_error(tmp_path: Path) -> None:
    """A checksum that does not match is not reported as a difference."""
    one = initreg.save(tmp_path / "a.npz", BASE)
    data = bytearray(one.read_bytes())
    at = data.find(BASE["block_0/kernel"].tobytes())
    data[at] ^= 1
    (tmp_path / "b.npz").write_bytes(data)
    with pytest.raises(initreg.DamagedFile, match="fails its crc32"):
        initreg.diff(one, tmp_path / "b.npz")


def test_as_data(files: tuple[Path, Path]) -> None:
    """to_dict() is JSON, and has every array."""
    found = json.loads(json.dumps(initreg.diff(*files).to_dict()))
    assert found["is_same"] is False
    assert len(found["arrays"]) == 8
    assert found["arrays"][0]["values"]["is_equal"] is True


def run(*arguments: object) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "initreg", "diff", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_the_verb(files: tuple[Path, Path]) -> None:
    """Exit codes are those of diff: 0 the same, 1 different, 2 could not be compared."""
    code, out, _ = run(*files)
    assert code == 1
    assert "3 arrays different" in out
    code, out, _ = run(files[0], files[0])
    assert (code, out.splitlines()[-1]) == (0, "7 arrays equal, bit by bit")
    code, out, _ = run("--json", "--drop", "step", *files)
    assert code == 1
    assert "step" not in {each["name"] for each in json.loads(out)["arrays"]}
    code, _, error = run(files[0], "none.npz")
    assert code == 2
    assert error.startswith("initreg: none.npz: no such file")
    rules = files[0].with_name("fix.toml")
    rules.write_text('drop = "step"\n')
    code, out, error = run("--rules", f"{files[0]}={rules}", "--keep", "block_[05]/*", *files)
    assert (code, error) == (0, ""), out


@pytest.mark.framework
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")  # Keras's own
def test_two_files_of_keras(tmp_path: Path) -> None:
    """Did my fine-tuning change anything, and where? By the names of layers, across formats."""
    import keras

    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, name="body"), keras.layers.Dense(2, name="head")]
    )
    model.save_weights(tmp_path / "base.weights.h5")
    head = model.get_layer("head")
    head.kernel.assign_add(np.full((5, 2), 0.25))
    model.save(tmp_path / "tuned.keras")
    found = initreg.diff(tmp_path / "base.weights.h5", tmp_path / "tuned.keras")
    different = [each for each in found.arrays if each.kind == "different"]
    assert [each.values.largest for each in different if each.values] == [pytest.approx(0.25)]
    assert len(found.of("equal")) == 3


def test_layers_are_what_numpy_computes(tmp_path: Path) -> None:
    """The figures of a layer are those of its arrays laid end to end."""
    rng = np.random.default_rng(0)
    base = {
        f"encoder/block_{i}/{name}": rng.normal(size=shape).astype("f4")
        for i in range(3)
        for name, shape in (("kernel", (7, 5)), ("bias", (5,)))
    }
    base["head/kernel"], base["head/words"] = rng.normal(size=(5, 2)), np.array([b"a", b"b"])
    tuned = {name: array.copy() for name, array in base.items()}
    tuned["encoder/block_1/kernel"][2] += 0.25
    tuned["encoder/block_1/bias"] *= 1.5
    tuned["head/kernel"] = np.concatenate([tuned["head/kernel"]] * 2)
    found = initreg.diff(
        initreg.save(tmp_path / "a.npz", base), initreg.save(tmp_path / "b.npz", tuned)
    )
    layers = {each.name: each for each in found.layers()}
    assert list(layers) == [*(f"encoder/block_{i}" for i in range(3)), "head"]
    assert [each.differing for each in layers.values()] == [0, 2, 0, 1]
    one = layers["encoder/block_1"].values
    assert one is not None
    names = [name for name in base if "block_1" in name]
    a, b = (np.concatenate([np.ravel(of[name]) for name in names]) for of in (base, tuned))
    a, b = a.astype("f8"), b.astype("f8")
    assert one.largest == pytest.approx(np.abs(a - b).max())
    assert one.mean == pytest.approx(np.abs(a - b).mean())
    assert one.moved == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(b))
    assert one.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert one.largest_relative == pytest.approx((np.abs(a - b) / np.abs(b)).max())
    assert (one.count, one.differing) == (a.size, int((a != b).sum()))
    same = layers["encoder/block_0"].values
    assert same is not None
    assert (same.largest, same.moved, same.cosine, same.is_equal) == (0, 0, 1, True)
    assert [each.name for each in found.layers(1)] == ["encoder", "head"]
    text = found.to_text(fold=True)
    assert "encoder/block_1       2          2" in text
    assert "1 array of another shape" in text
    assert "2 layers without a difference\n  encoder/block_{0,2}" in text
    with pytest.raises(InitregError, match="depth=0: give a number of at least 1"):
        found.layers(0)


@pytest.mark.parametrize("progress", ["load", "stats", "diff", "verify", "init", "save"])
def test_progress_is_told_from_the_start(progress: str, tmp_path: Path) -> None:
    """A function is told nothing of all bytes first, and all of them at the end."""
    arrays = {name: np.ones((16, 4), "f4") for name in "abc"}
    path = initreg.save(tmp_path / "a.npz", arrays)
    told: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        told.append((done, total))

    target = {name: np.zeros((16, 4), "f4") for name in "abc"}
    {
        "load": lambda: initreg.load(path, progress=note),
        "stats": lambda: initreg.stats(path, progress=note),
        "diff": lambda: initreg.diff(path, arrays, progress=note),
        "verify": lambda: initreg.verify(path, progress=note),
        "init": lambda: initreg.SmartInit(path).init(target, progress=note),
        "save": lambda: initreg.save(tmp_path / "b.h5", arrays, progress=note),
    }[progress]()
    assert told[0] == (0, 768)
    assert told[-1] == (768, 768)
    assert told == sorted(told)
    assert len(told) >= 4
    with pytest.raises(InitregError, match="progress"):
        initreg.load(path, progress="yes")  # type: ignore[arg-type]
