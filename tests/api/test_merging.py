"""merge: what becomes of each array, what is refused, and what is written."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import MergeError, RuleError, SmartInit
from initreg.merging import inputs
from initreg.merging.combined import METHODS

rng = np.random.default_rng(0)
NAMES = [f"block_{i}/kernel" for i in range(4)]


def model(seed: int, **more: Any) -> dict[str, Any]:
    own = np.random.default_rng(seed)
    weights = {name: own.normal(size=(6, 5)).astype("f4") for name in NAMES}
    return {**weights, "step": np.int64(7), **more}


A, B, C = (model(i) for i in range(3))


def kinds(plan: initreg.MergePlan) -> dict[str, str]:
    return {row.name: row.kind for row in plan}


def test_three_formats_become_a_fourth(tmp_path: Path) -> None:
    """Sources of any formats are averaged, and the result is of any other one."""
    paths = [
        initreg.save(tmp_path / "a.npz", A),
        initreg.save(tmp_path / "b.safetensors", B),
        initreg.save(tmp_path / "c.ckpt", C),
    ]
    done = initreg.merge(paths, tmp_path / "new.h5")
    found = initreg.load(done.path)
    for name in NAMES:
        wanted = np.mean([each[name].astype("f8") for each in (A, B, C)], axis=0)
        np.testing.assert_allclose(found[name], wanted, atol=1e-6)
    assert found["step"] == 7
    assert found["step"].dtype == np.int64
    assert kinds(done.plan) == {**dict.fromkeys(NAMES, "merged"), "step": "kept"}
    assert done.nonfinite == ()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """The plan has what goes into each array, with its weight, and the file is not there."""
    done = initreg.merge([A, B], tmp_path / "new.npz", weight=[3, 1], dry_run=True)
    assert done.path is None
    assert os.listdir(tmp_path) == []
    row = done.plan[0]
    assert [(part.source, part.name, part.weight) for part in row.parts] == [
        (0, NAMES[0], 3),
        (1, NAMES[0], 1),
    ]
    assert done.to_dict()["plan"]["settings"] == {"weight": [3, 1], "normalize": True}
    assert "4 arrays merged\n  block_{0..3}/kernel  4 x (6, 5) float32" in str(done)


def test_rules_of_one_source(tmp_path: Path) -> None:
    """A source that is a SmartInit has rules of its own. Those of the call are for all."""
    theirs = {f"module.{name}": value for name, value in B.items()}
    done = initreg.merge(
        [A, SmartInit(theirs, strip_prefix="module.")], tmp_path / "new.npz", drop="step", weight=2
    )
    found = initreg.load(done.path)
    assert list(found) == NAMES
    np.testing.assert_allclose(found[NAMES[1]], (A[NAMES[1]] + B[NAMES[1]]) / 2, atol=1e-6)


@pytest.mark.framework
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")  # Keras's own
def test_names_of_other_formats_are_matched_by_their_places(tmp_path: Path) -> None:
    """Keras's own file and a file with the names of variables are one model."""
    import keras

    def built(seed: int) -> Any:
        own = np.random.default_rng(seed)
        values = [own.normal(size=shape).astype("f4") for shape in ((3, 4), (4,), (4, 2), (2,))]
        found = keras.Sequential([keras.layers.Dense(4, name="a"), keras.layers.Dense(2, name="b")])
        found.build((None, 3))
        found.set_weights(values)
        return found, values

    (one, mine), (other, theirs) = built(0), built(1)
    one.save_weights(tmp_path / "one.weights.h5")
    other.save(tmp_path / "other.keras")
    sources = [tmp_path / "one.weights.h5", tmp_path / "other.keras"]
    done = initreg.merge(sources, tmp_path / "new.npz")
    found = initreg.load(done.path)
    assert len(found) == 4
    for value in found.values():
        [(a, b)] = [pair for pair in zip(mine, theirs, strict=True) if pair[0].shape == value.shape]
        np.testing.assert_allclose(value, (a + b) / 2, atol=1e-6)


@pytest.mark.framework
def test_models_in_memory_are_sources(tmp_path: Path) -> None:
    """Two Keras models are averaged. Layers are linear, and so the outputs are averaged, too."""
    import keras

    def built(seed: int) -> Any:
        own = np.random.default_rng(seed)
        found = keras.Sequential([keras.layers.Dense(2, name="a")], name="net")
        found.build((None, 3))
        found.set_weights([own.normal(size=shape).astype("f4") for shape in ((3, 2), (2,))])
        return found

    models = [built(i) for i in range(3)]
    done = initreg.merge(models[:2], tmp_path / "new.npz")
    SmartInit(done.path).init(models[2])
    inputs_ = rng.normal(size=(4, 3)).astype("f4")
    one, other, found = (model(inputs_).numpy() for model in models)
    np.testing.assert_allclose(found, (one + other) / 2, atol=1e-6)


@pytest.mark.parametrize("on_missing", ["error", "keep", "drop"])
def test_arrays_that_a_source_lacks(tmp_path: Path, on_missing: str) -> None:
    """They stop the merge with both sides shown; or what there is is merged, or they are left
    out."""
    extra = {"head/bias": np.ones(3, "f4")}
    sources = [A, {**B, **extra}, {n: v for n, v in C.items() if n != NAMES[0]}]
    if on_missing == "error":
        with pytest.raises(MergeError) as error:
            initreg.merge(sources, tmp_path / "new.npz")
        text = str(error.value)
        assert "block_0/kernel  in dict of 5, dict of 6, not in dict of 4" in text
        assert "head/bias  in dict of 6, not in dict of 5, dict of 4" in text
        assert "on_missing='keep'" in text
        assert os.listdir(tmp_path) == []
        assert kinds(error.value.plan)["head/bias"] == "fault"
        return
    done = initreg.merge(sources, tmp_path / "new.npz", on_missing=on_missing, weight=[1, 3, 5])
    found = initreg.load(done.path)
    if on_missing == "drop":
        assert list(found) == [*NAMES[1:], "step"]
        assert kinds(done.plan)["head/bias"] == "left out"
    else:
        np.testing.assert_array_equal(found["head/bias"], extra["head/bias"])
        wanted = (A[NAMES[0]] + 3.0 * B[NAMES[0]]) / 4
        np.testing.assert_allclose(found[NAMES[0]], wanted, atol=1e-6)


def test_shapes_that_differ(tmp_path: Path) -> None:
    """They stop the merge, all of them, also those that differ by an axis of length 1."""
    other = {**B, NAMES[0]: np.ones((6, 4), "f4"), NAMES[1]: np.ones((1, 6, 5), "f4")}
    with pytest.raises(MergeError) as error:
        initreg.merge([A, other], tmp_path / "new.npz")
    assert "block_0/kernel  (6, 5) in dict of 5, (6, 4) in dict of 5" in str(error.value)
    assert "block_1/kernel  (6, 5) in dict of 5, (1, 6, 5) in dict of 5" in str(error.value)


CONFLICTS: dict[str, tuple[Any, Any]] = {
    "integers": (np.int64(1), np.int64(2)),
    "flags": (np.array([True, False]), np.array([True, True])),
    "strings": (np.array(["a"]), np.array(["b"])),
    "floats and integers": (np.float32(1), np.int32(2)),
    "complex and real": (np.ones(2, "c8"), np.zeros(2, "f4")),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_what_cannot_be_combined(tmp_path: Path, name: str) -> None:
    """Arrays that are not floats stop the merge if they differ, unless one of them is asked for."""
    one, other = CONFLICTS[name]
    sources = [{"w": A[NAMES[0]], "x": one}, {"w": B[NAMES[0]], "x": other}]
    with pytest.raises(MergeError, match=r"x  .*values differ[\s\S]*on_conflict='first'"):
        initreg.merge(sources, tmp_path / "new.npz")
    for choice, wanted in (("first", one), ("last", other)):
        done = initreg.merge(sources, tmp_path / f"{choice}.npz", on_conflict=choice)
        assert kinds(done.plan)["x"] == "taken"
        np.testing.assert_array_equal(initreg.load(done.path)["x"], wanted)
    if name in ("integers", "flags", "strings"):
        same = initreg.merge([{"x": one}, {"x": one}], tmp_path / "same.npz")
        assert kinds(same.plan) == {"x": "kept"}


def test_the_state_of_optimizers_is_not_averaged(tmp_path: Path) -> None:
    """Slots are floats, and an average of them is no state: equal ones are kept."""
    state = {"fc/W": np.ones(3, "f4"), "fc/W/Adam": np.ones(3, "f4"), "beta1_power": np.float32(1)}
    other = {**state, "fc/W": np.zeros(3, "f4"), "fc/W/Adam": np.zeros(3, "f4")}
    with pytest.raises(MergeError, match=r"fc/W/Adam  optimiser slot, and the values differ"):
        initreg.merge([state, other], tmp_path / "new.npz")
    done = initreg.merge([state, other], tmp_path / "new.npz", on_conflict="last")
    found = initreg.load(done.path)
    assert found["fc/W"].tolist() == [0.5] * 3
    assert found["fc/W/Adam"].tolist() == [0] * 3
    assert kinds(done.plan)["beta1_power"] == "kept"


def test_packed_dtypes_are_copied_or_refused(tmp_path: Path) -> None:
    """Arrays of 4 bits are kept if their bytes are equal, and refused otherwise."""

    def packed(path: Path, value: int) -> Path:
        header = b'{"q":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}   '
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes([value, value]))
        return path

    one, same, other = (packed(tmp_path / f"{i}.safetensors", i // 2) for i in (2, 3, 4))
    done = initreg.merge([one, same], tmp_path / "new.safetensors")
    assert kinds(done.plan) == {"q": "kept"}
    with initreg.open(done.path) as opened:
        assert opened["q"].as_bytes().read().tolist() == [1, 1]
    with pytest.raises(MergeError, match=r"q  F4, whose values numpy cannot read, and the values"):
        initreg.merge([one, other], tmp_path / "new.safetensors")


def test_raw_bytes_need_a_view(tmp_path: Path) -> None:
    """bfloat16 that numpy saved as raw bytes is refused with what to type, and merged with it."""
    paths = []
    for i in range(2):
        paths.append(tmp_path / f"{i}.npz")
        np.savez(paths[-1], w=np.array([i] * 3, ml_dtypes.bfloat16))
    with pytest.raises(MergeError, match=r"raw bytes \(\|V2\)[\s\S]*view='bfloat16'"):
        initreg.merge(paths, tmp_path / "new.safetensors")
    done = initreg.merge(paths, tmp_path / "new.safetensors", view="bfloat16")
    assert initreg.load(done.path)["w"].astype("f4").tolist() == [0.5] * 3


def test_the_dtype_of_the_result(tmp_path: Path) -> None:
    """That of the first source, or the one asked for, for arrays that are kept, too. Values are
    rounded once."""
    half = {name: np.asarray(v).astype("f2") if v.dtype == "f4" else v for name, v in A.items()}
    done = initreg.merge([half, B], tmp_path / "new.npz")
    assert initreg.load(done.path)[NAMES[0]].dtype == np.float16
    extra = {"only": np.ones(2, "f4")}
    done = initreg.merge(
        [{**A, **extra}, B], tmp_path / "new.safetensors", dtype="bfloat16", on_missing="keep"
    )
    found = initreg.load(done.path)
    wanted = ((A[NAMES[0]] + B[NAMES[0]]) / 2).astype(ml_dtypes.bfloat16)
    assert found[NAMES[0]].dtype == found["only"].dtype == wanted.dtype
    np.testing.assert_array_equal(found[NAMES[0]], wanted)
    assert {row.dtype for row in done.plan if row.name != "step"} == {"bfloat16"}
    assert found["step"].dtype == np.int64


def test_float64_is_computed_in_float64(tmp_path: Path) -> None:
    """Nothing is rounded to float32 on the way."""
    one, other = np.array([1.0, 1e-12]), np.array([1.0 + 1e-12, 0.0])
    done = initreg.merge([{"w": one}, {"w": other}], tmp_path / "new.npz")
    np.testing.assert_array_equal(initreg.load(done.path)["w"], (one + other) / 2)


def test_weights_by_name(tmp_path: Path) -> None:
    """Some arrays may have other weights. A glob that matches none is an error."""
    weight = {"*": [1, 1], "block_0/*": [0, 1]}
    found = initreg.load(initreg.merge([A, B], tmp_path / "n.npz", weight=weight).path)
    np.testing.assert_array_equal(found[NAMES[0]], B[NAMES[0]])
    np.testing.assert_allclose(found[NAMES[1]], (A[NAMES[1]] + B[NAMES[1]]) / 2, atol=1e-6)
    with pytest.raises(RuleError, match="matches no array that is merged"):
        initreg.merge([A, B], tmp_path / "n.npz", weight={"nope*": 1})
    with pytest.raises(RuleError, match="add up to 0"):
        initreg.merge([A, B], tmp_path / "n.npz", weight=[1, -1])


def test_what_is_not_finite_is_reported(tmp_path: Path) -> None:
    """NaN and infinities of a source give one warning, which names the array and the source."""
    bad = {**B, NAMES[2]: np.where(B[NAMES[2]] > 1, np.nan, B[NAMES[2]]).astype("f4")}
    count = int(np.isnan(bad[NAMES[2]]).sum())
    with pytest.warns(initreg.MergeWarning, match=rf"block_2/kernel  {count} NaN, 0 infinite in"):
        done = initreg.merge([A, bad], tmp_path / "new.npz")
    assert [(each.name, each.nan) for each in done.nonfinite] == [(NAMES[2], count)]
    assert np.isnan(initreg.load(done.path)[NAMES[2]]).sum() == count


def test_what_overflows_is_reported(tmp_path: Path) -> None:
    """Values that are infinite in the dtype of the result give a CastWarning."""
    big = {"w": np.full(3, 1e30, "f4")}
    with pytest.warns(initreg.CastWarning, match="3 values of float32 beyond the range of float16"):
        initreg.merge([big, big], tmp_path / "new.npz", dtype="float16")


LARGEST = float(np.finfo("f4").max)
MASKS = {
    "infinite": np.array([-np.inf, 0, 1, np.inf, 2], "f4"),
    "largest": np.array([-LARGEST, 0, 1, LARGEST, 2], "f4"),
    "bfloat16": np.array([-3.3895e38, 0, 1, 3.3895e38, 2], ml_dtypes.bfloat16),
    "float64": np.array([-np.finfo("f8").max, 0, 1, np.finfo("f8").max, 2]),
}


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("average", {}),
        ("average", {"weight": [3, 1]}),
        ("average", {"weight": [0, 1]}),
        ("ema", {"decay": 0.9}),
        ("ema", {"decay": 1.0}),
        ("lerp", {"t": 0.0}),
        ("lerp", {"t": 0.5}),
        ("slerp", {"t": 0.5}),
        ("task", {"weight": 0}),
        ("ties", {"density": 0.4}),
        ("dare-linear", {"density": 0.5, "rescale": "l1"}),
        ("dare-ties", {"density": 0.5}),
    ],
)
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_what_all_sources_have_stays(
    tmp_path: Path, mask: Any, method: str, options: dict[str, Any]
) -> None:
    """A mask that is infinite, or the largest number, is the same after a merge with itself."""
    base = {"base": {"mask": mask}} if METHODS[method].needs_base else {}
    infinite = int(np.count_nonzero(~np.isfinite(mask.astype("f8"))))
    with warnings.catch_warnings():
        if infinite:
            warnings.simplefilter("ignore", initreg.MergeWarning)
        path = tmp_path / "new.safetensors"
        done = initreg.merge([{"mask": mask}] * 2, path, method=method, **base, **options)
    np.testing.assert_array_equal(initreg.load(path)["mask"], mask)
    assert sum(each.inf for each in done.nonfinite) == infinite * (2 + len(base)) or not infinite


def test_a_mean_of_finite_numbers_is_finite(tmp_path: Path) -> None:
    """The sum of large numbers may be too large, and their mean is not."""
    large = [{"w": np.array([each * 1e38, 1], "f4")} for each in (3.0, 2.0, 1.0)]
    for options in ({}, {"weight": [1e38, 2e38, 2e38]}):
        initreg.merge(large, tmp_path / "new.npz", **options)
        weights = np.array(options.get("weight", [1, 1, 1]))
        wanted = [float(np.average([3e38, 2e38, 1e38], weights=weights)), 1]
        np.testing.assert_allclose(initreg.load(tmp_path / "new.npz")["w"], wanted, rtol=1e-6)
    ends = [{"w": np.array([-3e38], "f4")}, {"w": np.array([3e38], "f4")}]
    initreg.merge(ends, tmp_path / "new.npz", method="ema", decay=0.5)
    np.testing.assert_allclose(initreg.load(tmp_path / "new.npz")["w"], [0], atol=1e32)


def test_a_result_that_is_too_large_is_reported(tmp_path: Path) -> None:
    """If finite values become infinite, a warning says so, for float32 as for other dtypes."""
    large = {"w": np.array([3e38, 1], "f4")}
    with pytest.warns(initreg.MergeWarning, match="0 NaN, 1 infinite in the result, of finite"):
        done = initreg.merge([large, large], tmp_path / "new.npz", normalize=False)
    assert [(each.name, each.nan, each.inf) for each in done.nonfinite] == [("w", 0, 1)]


@pytest.mark.parametrize("dry_run", [False, True])
def test_nothing_that_is_left_is_an_error(tmp_path: Path, dry_run: bool) -> None:
    """An empty model, of sources that have nothing in common, is not what anyone wants."""
    sources = [{"a": np.ones(2, "f4")}, {"b": np.ones(2, "f4")}]
    with pytest.raises(RuleError, match="no array is left to write"):
        initreg.merge(sources, tmp_path / "new.npz", on_missing="drop", dry_run=dry_run)
    assert os.listdir(tmp_path) == []


def test_weights_that_add_up_to_nothing(tmp_path: Path) -> None:
    """They are an error, also if rounding leaves something."""
    with pytest.raises(RuleError, match="add up to 0"):
        initreg.merge([A, B, C], tmp_path / "new.npz", weight=[0.1, 0.2, -0.3])


def test_a_moving_average_of_sources_in_memory(tmp_path: Path) -> None:
    """The numbers in what messages call a dict are no steps of a training."""
    sources = [model(1, more=np.ones(2, "f4")), model(2)]
    path = tmp_path / "new.npz"
    initreg.merge(sources, path, method="ema", decay=0.5, on_missing="keep")
    wanted = (sources[0][NAMES[0]] + sources[1][NAMES[0]]) / 2
    np.testing.assert_allclose(initreg.load(path)[NAMES[0]], wanted, atol=1e-6)


@pytest.mark.parametrize("name", ["no/such/folder/new.npz", "new.unknown"])
def test_a_dry_run_shows_that_nothing_can_be_written_there(tmp_path: Path, name: str) -> None:
    """What would stop the save stops the dry run, too."""
    for dry_run in (True, False):
        with pytest.raises(initreg.InitregError, match=r"new\.(npz|unknown)"):
            initreg.merge([A, B], tmp_path / name, dry_run=dry_run)
    assert os.listdir(tmp_path) == []


def test_metadata_on_which_sources_agree_is_kept(tmp_path: Path) -> None:
    """Other keys are left out with a warning, and those that are typed are saved."""
    paths = [
        initreg.save(
            tmp_path / f"{i}.safetensors", model(i), metadata={"format": "pt", "run": str(i)}
        )
        for i in range(2)
    ]
    with pytest.warns(initreg.MetadataWarning, match="not kept: 'run' is '0' and '1'"):
        done = initreg.merge(paths, tmp_path / "new.safetensors")
    with initreg.open(done.path) as opened:
        assert opened.metadata == {"format": "pt"} == done.plan.metadata
    done = initreg.merge(paths, tmp_path / "new.safetensors", metadata={"run": "both"})
    with initreg.open(done.path) as opened:
        assert opened.metadata == {"format": "pt", "run": "both"} == done.plan.metadata


def test_a_moving_average_in_another_order_stops(tmp_path: Path) -> None:
    """A shell lists model-1000 before model-200. Both orders are shown."""
    paths = [initreg.save(tmp_path / f"model-{n}.npz", model(n)) for n in (1000, 200)]
    with pytest.raises(
        RuleError, match=r"As given: .*1000.*200.npz. By their numbers: .*200.*1000"
    ):
        initreg.merge(paths, tmp_path / "new.npz", method="ema", decay=0.9)
    given = initreg.merge(paths, tmp_path / "n.npz", method="ema", decay=0.9, as_given=True)
    wanted = 0.9 * model(1000)[NAMES[0]] + 0.1 * model(200)[NAMES[0]]
    np.testing.assert_allclose(initreg.load(given.path)[NAMES[0]], wanted, atol=1e-6)


def test_dare_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """The mean of DARE over many seeds is that of task arithmetic, and a seed gives one result."""
    base = {"w": np.zeros(200_000, "f4")}
    tuned = {"w": np.ones(200_000, "f4")}

    def merged(**options: Any) -> Any:
        done = initreg.merge(
            [tuned], tmp_path / "n.npz", method="dare-linear", base=base, **options
        )
        return initreg.load(done.path)["w"]

    one = merged(density=0.25, seed=1)
    assert sorted(set(one.tolist())) == [0.0, 4.0]
    assert abs(one.mean() - 1) < 0.02
    np.testing.assert_array_equal(one, merged(density=0.25, seed=1))
    assert not np.array_equal(one, merged(density=0.25, seed=2))
    assert merged(density=0.25, rescale="l1").mean() == pytest.approx(1, rel=1e-5)
    assert set(merged(density=0.25, rescale="none").tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("method", ["average", "slerp", "ties", "dare-ties"])
def test_pieces_do_not_change_the_result(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An array that is read in many pieces becomes what it becomes in one."""
    options: dict[str, Any] = {}
    if method in ("ties", "dare-ties"):
        options = {"base": initreg.save(tmp_path / "base.npz", C), "density": 0.3}
    paths = [initreg.save(tmp_path / f"{i}.npz", each) for i, each in enumerate((A, B))]
    whole = initreg.load(initreg.merge(paths, tmp_path / "w.npz", method=method, **options).path)
    monkeypatch.setattr(inputs, "_PIECE", 16)
    monkeypatch.setattr(inputs, "_LEAST", 16)
    parts = initreg.load(initreg.merge(paths, tmp_path / "p.npz", method=method, **options).path)
    for name in NAMES:
        np.testing.assert_allclose(parts[name], whole[name], atol=1e-6)


def test_what_is_written_is_as_by_convert(tmp_path: Path) -> None:
    """Shards, a manifest and progress, as for convert."""
    calls: list[tuple[int, int]] = []
    done = initreg.merge(
        [A, B],
        tmp_path / "new.safetensors",
        shard_size=400,
        manifest=True,
        progress=lambda *call: calls.append(call),
    )
    assert len(list(tmp_path.glob("new-*.safetensors"))) > 1
    assert done.path is not None
    checked = initreg.verify(done.path)
    assert checked.ok
    assert all(each.in_manifest for each in checked.arrays)
    total = sum(value.nbytes for value in A.values())
    assert calls[-1] == (total, total)


def test_a_source_may_be_replaced(tmp_path: Path) -> None:
    """The result may be written over a source, which is read until the new file is complete."""
    path = initreg.save(tmp_path / "a.npz", A)
    initreg.merge([path, B], path)
    wanted = (A[NAMES[0]] + B[NAMES[0]]) / 2
    np.testing.assert_allclose(initreg.load(path)[NAMES[0]], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("sources", "options", "why"),
    [
        ([A], {}, "at least 2 sources, and there is 1"),
        ([A, B, C], {"method": "slerp"}, "exactly 2 sources"),
        ([A], {"method": "ties"}, "needs the model that all sources come from"),
        ([A, B], {"base": C}, "'average' has no base"),
        ([A, B], {"method": "mean"}, "give one of average, ema"),
        ([A, B], {"on_conflict": "base"}, "give 'error' or 'first' or 'last'"),
        ([A, B], {"dtype": "int8"}, "give a dtype of floats"),
        ([A, B], {"dtype": "float33"}, "dtype='float33'"),
        ("a.npz", {}, "give a list of sources"),
        ([A, []], {}, "is empty"),
        ([A, [B, C]], {}, "is a chain"),
    ],
)
def test_wrong_calls(tmp_path: Path, sources: Any, options: Any, why: str) -> None:
    """Each is one error that says what is right, before anything is written."""
    with pytest.raises(initreg.InitregError, match=why):
        initreg.merge(sources, tmp_path / "new.npz", **options)
    assert os.listdir(tmp_path) == []


def test_nowhere_to_write() -> None:
    """Without a path there is only a dry run."""
    with pytest.raises(RuleError, match="dry_run=True"):
        initreg.merge([A, B])


ADAPTER = {
    "lora_unet_block_0.lora_down.weight": rng.normal(size=(2, 5)).astype("f4"),
    "lora_unet_block_0.lora_up.weight": rng.normal(size=(6, 2)).astype("f4"),
    "lora_unet_block_0.alpha": np.float32(3),
    "lora_unet_block_1.lora_down.weight": rng.normal(size=(2, 5)).astype("f4"),
    "lora_unet_block_1.lora_up.weight": rng.normal(size=(6, 2)).astype("f4"),
}


def test_an_adapter_of_kohya(tmp_path: Path) -> None:
    """Factors whose names have underscores go where one name fits, times alpha by rank. Without an
    alpha the factor is 1."""
    done = initreg.merge([ADAPTER], tmp_path / "n.npz", method="lora", base=A, weight=0.5)
    found = initreg.load(done.path)
    for i, factor in ((0, 1.5), (1, 1.0)):
        up, down = (ADAPTER[f"lora_unet_block_{i}.lora_{each}.weight"] for each in ("up", "down"))
        wanted = A[NAMES[i]] + 0.5 * factor * (up.astype("f8") @ down)
        np.testing.assert_allclose(found[NAMES[i]], wanted, atol=1e-5)
    for name in (*NAMES[2:], "step"):
        np.testing.assert_array_equal(found[name], A[name])
    assert kinds(done.plan) == dict.fromkeys(NAMES[:2], "merged") | dict.fromkeys(
        (*NAMES[2:], "step"), "kept"
    )
    assert done.plan[0].note == "0.75 x LoRA of rank 2"


def test_an_adapter_that_fits_several_arrays_stops(tmp_path: Path) -> None:
    """All readings are shown, and rules decide."""
    names = ("a/block_0/kernel", "b/block_0/kernel", "c/block_1/kernel")
    base = {name: np.zeros((6, 5), "f4") for name in names}
    with pytest.raises(MergeError, match="fits several arrays of the model: a/block_0/kernel, b/"):
        initreg.merge([ADAPTER], tmp_path / "n.npz", method="lora", base=base)
    renamed = SmartInit(ADAPTER, rename=[("unet_block_0", "unet_b_block_0")])
    done = initreg.merge([renamed], tmp_path / "n.npz", method="lora", base=base)
    found = initreg.load(done.path)
    assert found[names[1]].any()
    assert found[names[2]].any()
    assert not found[names[0]].any()


def test_an_adapter_of_another_model_stops(tmp_path: Path) -> None:
    """Updates without an array, and those of another shape, are listed."""
    with pytest.raises(MergeError, match=r"lora_unet_block_1  .* and the model lacks it"):
        initreg.merge([ADAPTER], tmp_path / "n.npz", method="lora", base={NAMES[0]: A[NAMES[0]]})
    other = {**A, NAMES[0]: np.ones((7, 5), "f4")}
    with pytest.raises(MergeError, match=r"\(7, 5\) in the model, and the factors \(6, 2\) and"):
        initreg.merge([ADAPTER], tmp_path / "n.npz", method="lora", base=other)
    integers = {**A, NAMES[0]: np.ones((6, 5), "i1")}
    with pytest.raises(MergeError, match="int8, not floats, to which no update can be added"):
        initreg.merge([ADAPTER], tmp_path / "n.npz", method="lora", base=integers)


PEFT = {
    "base_model.model.a.lora_A.weight": rng.normal(size=(2, 5)).astype("f4"),
    "base_model.model.a.lora_B.weight": rng.normal(size=(6, 2)).astype("f4"),
    "base_model.model.square.lora_A.weight": rng.normal(size=(2, 4)).astype("f4"),
    "base_model.model.square.lora_B.weight": rng.normal(size=(4, 2)).astype("f4"),
}


def test_an_adapter_without_a_configuration_needs_an_alpha(tmp_path: Path) -> None:
    """Nothing is taken for its alpha in silence."""
    base = {"a.weight": np.zeros((6, 5), "f4"), "square.weight": np.zeros((4, 4), "f4")}
    with pytest.raises(RuleError, match=r"no adapter_config.json beside the file[\s\S]*alpha="):
        initreg.merge([PEFT], tmp_path / "n.npz", method="lora", base=base)
    done = initreg.merge([PEFT], tmp_path / "n.npz", method="lora", base=base, alpha=4)
    b, a = (PEFT[f"base_model.model.a.lora_{each}.weight"] for each in "BA")
    np.testing.assert_allclose(initreg.load(done.path)["a.weight"], 2 * b @ a, atol=1e-5)


def test_an_alpha_that_is_not_that_of_the_configuration(tmp_path: Path) -> None:
    """Neither wins in silence: the merge stops. The same alpha may be given."""
    initreg.save(tmp_path / "adapter_model.safetensors", PEFT)
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 4}')
    base = {"a.weight": np.zeros((6, 5), "f4"), "square.weight": np.zeros((4, 4), "f4")}
    options: dict[str, Any] = {"method": "lora", "base": base}
    with pytest.raises(MergeError, match=r"alpha=8 is given, and adapter_config.json says 4"):
        initreg.merge([tmp_path], tmp_path / "n.npz", alpha=8, **options)
    assert not (tmp_path / "n.npz").exists()
    done = initreg.merge([tmp_path], tmp_path / "n.npz", alpha=4, **options)
    b, a = (PEFT[f"base_model.model.a.lora_{each}.weight"] for each in "BA")
    np.testing.assert_allclose(initreg.load(done.path)["a.weight"], 2 * b @ a, atol=1e-5)


def test_a_square_kernel_of_keras_is_an_open_question(tmp_path: Path) -> None:
    """If other shapes say that inputs come first, square kernels stop until somebody says so."""
    base = {"a/kernel": np.zeros((5, 6), "f4"), "square/kernel": np.zeros((4, 4), "f4")}
    options: dict[str, Any] = {"method": "lora", "base": base, "alpha": 2}
    with pytest.raises(MergeError, match=r"square/kernel  a square kernel[\s\S]*fan_in_fan_out"):
        initreg.merge([PEFT], tmp_path / "n.npz", **options)
    done = initreg.merge([PEFT], tmp_path / "n.npz", **options, fan_in_fan_out=True)
    found = initreg.load(done.path)
    for name, module in (("a/kernel", "a"), ("square/kernel", "square")):
        b, a = (PEFT[f"base_model.model.{module}.lora_{each}.weight"] for each in "BA")
        np.testing.assert_allclose(found[name], (b @ a).T, atol=1e-5)


def test_an_adapter_is_not_averaged(tmp_path: Path) -> None:
    """Factors of adapters do not average, and a model is not an adapter."""
    with pytest.raises(RuleError, match=r"factors of an adapter[\s\S]*method='lora'"):
        initreg.merge([PEFT, PEFT], tmp_path / "n.npz")
    with pytest.raises(RuleError, match="no array is called like one of an adapter"):
        initreg.merge([B], tmp_path / "n.npz", method="lora", base=A)


def test_large_arrays_take_little_memory(tmp_path: Path) -> None:
    """The peak is a result and some pieces, though each source has as much again."""
    shape = (4096, 4096)  # 64 MB
    paths = []
    for i in range(3):
        arrays = {f"w{j}": np.full(shape, i + j, "f4") for j in range(2)}
        paths.append(str(initreg.save(tmp_path / f"{i}.safetensors", arrays)))
    code = (
        "import sys, initreg\n"
        "def peak():\n"
        "    lines = open('/proc/self/status')\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM'))\n"
        "small = {'w': __import__('numpy').ones(3)}\n"
        "initreg.merge([small], sys.argv[1], method='ties', base=small, density=0.5)\n"
        "before = peak()\n"
        "initreg.merge(sys.argv[3:], sys.argv[1], method='ties', base=sys.argv[2], density=0.5)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "n.safetensors"), *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < (64 + 150) << 10  # KB
    found = initreg.load(tmp_path / "n.safetensors")
    assert found["w0"].shape == shape


def test_no_warning_without_a_reason(tmp_path: Path) -> None:
    """A plain merge gives none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        initreg.merge([A, B], tmp_path / "new.npz", on_conflict="first")
