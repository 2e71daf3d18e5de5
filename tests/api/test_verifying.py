"""initreg.verify: whether a file is whole, as it was saved, and of finite values."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import ArrayMap, Verification

RNG = np.random.default_rng(0)
ARRAYS = {
    "fc/W": RNG.random((40, 50), "f4"),
    "half": np.arange(7, dtype="f2"),
    "step": np.array(3, "i8"),
    "mask": np.array([True, False]),
    "empty": np.zeros((0, 3)),
    "z": np.array([1 + 2j]),
}
NAMES = {"m.npz": {}, "m.safetensors": {}, "m.h5": {}, "m.ckpt-7": {}, "packed.npz": {}, "z.h5": {}}
WITH_SUMS = ("m.npz", "m.ckpt-7", "packed.npz")


def save(folder: Path, name: str, manifest: bool = True, **more: np.ndarray) -> Path:
    arrays = ARRAYS | more
    if name.endswith(".safetensors"):
        arrays = {n: a for n, a in arrays.items() if a.dtype.kind != "c"}
    return initreg.save(
        folder / name, arrays, manifest=manifest, compress=name in ("packed.npz", "z.h5")
    )


def problems(found: Verification) -> dict[str, str]:
    return {array.name: array.problem for array in found.arrays if array.problem}


@pytest.mark.parametrize("name", NAMES)
def test_what_was_saved_is_fine(tmp_path: Path, name: str) -> None:
    """Every format that is saved: each array has been compared with its digest."""
    path = save(tmp_path, name)
    found = initreg.verify(path)
    assert found.ok, found.to_text()
    assert found.problems == ()
    with initreg.open(path) as opened:
        assert [array.name for array in found.arrays] == list(opened)
    assert all(array.in_manifest for array in found.arrays)
    summed = {array.has_checksum for array in found.arrays}
    # What is packed in HDF5 has the checksum of zlib. What is empty or has no axes is not packed.
    assert summed == ({True, False} if name == "z.h5" else {name in WITH_SUMS})
    assert found.manifest is not None
    assert found.manifest.name == f"{name}.manifest.json"


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    """Wherever it is, also in formats without checksums, in names and in padding."""
    path = save(tmp_path, name)
    main = path if path.is_file() else path.with_name(f"{name}.data-00000-of-00001")
    data = main.read_bytes()
    for place in np.random.default_rng(1).integers(0, 8 * len(data), 60):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        main.write_bytes(changed)
        found = initreg.verify(path)
        assert not found.ok
        assert f"{main.name}: its SHA-256 is not the manifest's" in " ".join(found.problems)
    main.write_bytes(data)
    assert initreg.verify(path).ok


@pytest.mark.parametrize("name", WITH_SUMS)
def test_the_formats_own_sums_need_no_manifest(tmp_path: Path, name: str) -> None:
    """A changed byte of an array is found by its checksum, and the array is named."""
    path = save(tmp_path, name, manifest=False)
    with initreg.open(path) as opened:
        extent = opened["fc/W"].value
        count = len(opened)
    data = bytearray(extent.file.read_bytes())
    data[extent.offset + extent.length // 2] ^= 4
    extent.file.write_bytes(data)
    found = initreg.verify(path)
    assert (found.ok, found.manifest, list(problems(found))) == (False, None, ["fc/W"])
    assert len(found.arrays) == count
    assert problems(found)["fc/W"].startswith("fails its crc32")  # file and array are named already


def test_a_changed_array_is_named_though_the_file_has_no_sums(tmp_path: Path) -> None:
    """The manifest knows each array."""
    path = save(tmp_path, "m.safetensors")
    with initreg.open(path) as opened:
        extent = opened["half"].value
    data = bytearray(path.read_bytes())
    data[extent.offset] ^= 1
    path.write_bytes(data)
    found = initreg.verify(path)
    assert problems(found) == {"half": "its SHA-256 is not the manifest's: its values changed"}


def test_a_manifest_is_of_the_arrays_whatever_the_format(tmp_path: Path) -> None:
    """A converted file has the same arrays, and the first one's manifest says so."""
    path = initreg.save(tmp_path / "m.npz", ARRAYS | {"words": np.array(["a", "é"], object)})
    other = initreg.convert(path, tmp_path / "m.ckpt", manifest=True)
    third = initreg.convert(other, tmp_path / "m.h5")
    found = initreg.verify(third, manifest=tmp_path / "m.ckpt.manifest.json")
    assert found.ok, found.to_text()
    assert all(array.in_manifest for array in found.arrays)


def test_what_is_missing_and_what_is_more(tmp_path: Path) -> None:
    """Arrays on one side only, and another shape or dtype than in the manifest."""
    first = initreg.save(
        tmp_path / "a.npz", {"a": np.ones(2), "b": np.ones(2), "c": np.ones(3)}, manifest=True
    )
    second = initreg.save(
        tmp_path / "b.npz", {"b": np.ones((2, 1)), "c": np.ones(3, "f4"), "d": np.ones(1)}
    )
    found = initreg.verify(second, manifest=first.with_name("a.npz.manifest.json"))
    assert found.problems == ("a: in the manifest, but not in the file",)
    assert problems(found) == {
        "b": "(2, 1) float64, in the manifest (2,) float64",
        "c": "(3,) float32, in the manifest (3,) float64",
        "d": "is not in the manifest",
    }


@pytest.mark.parametrize("damage", ["truncated", "grown", "gone"])
def test_files_that_are_not_what_they_were(tmp_path: Path, damage: str) -> None:
    """Cut short, with something behind its end, or not there: all is said, also if none opens."""
    path = initreg.save(
        tmp_path / "m.safetensors",
        {name: np.ones(100, "f4") for name in "ab"},
        shard_size=400,
        manifest=True,
    )
    shard = tmp_path / "m-00002-of-00002.safetensors"
    data = shard.read_bytes()
    if damage == "gone":
        shard.unlink()
    else:
        shard.write_bytes(data[:-1] if damage == "truncated" else data + b"\0")
    found = initreg.verify(path)
    assert (found.ok, found.format, found.arrays) == (False, None, ())
    assert shard.name in found.problems[0]
    says = {"truncated": f"has {len(data) - 1:,} bytes", "grown": f"has {len(data) + 1:,} bytes"}
    assert says.get(damage, "there is no such file") in found.problems[1]
    assert found.to_text().startswith(f"{path}: cannot be opened\n")


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    """NaN and infinities are counted for each array, of every dtype that has them."""
    odd = np.array([1, np.nan, np.inf, -np.inf])
    big = np.zeros((3, 1 << 20), "f4")
    big[0, 0] = big[1, 7] = big[2, -1] = np.nan
    arrays = {
        "f2": odd.astype("f2"),
        "f8": odd,
        "bf": odd.astype(ml_dtypes.bfloat16),
        "f8_e4": np.array([1, np.nan], ml_dtypes.float8_e4m3fn),
        "z": np.array([complex(0, np.nan), complex(np.inf, 0)]),
        "big": big,
        "i": np.array([1]),
    }
    path = initreg.save(tmp_path / "m.ckpt", arrays)
    found = initreg.verify(path)
    counts = {array.name: (array.nan, array.inf) for array in found.arrays}
    odds = dict.fromkeys(("f2", "f8", "bf"), (1, 2))
    assert counts == odds | {"f8_e4": (1, 0), "z": (1, 1), "big": (3, 0), "i": (0, 0)}
    assert problems(found)["f8"] == "1 NaN and 2 infinite of 4 values"
    assert set(problems(found)) == set(arrays) - {"i"}
    assert "all values: 8 NaN, 7 infinite" in found.to_text()
    assert initreg.verify(path, finite=False).ok
    fields = np.array([(np.nan, 1), (0, 2)], [("a", "f4"), ("b", "i4")])
    np.savez(tmp_path / "fields.npz", x=fields)
    assert initreg.verify(tmp_path / "fields.npz").arrays[0].nan == 1


def test_every_array_is_checked_after_one_that_fails(tmp_path: Path) -> None:
    """Unlike a restore, which stops at the first."""
    path = initreg.save(tmp_path / "m.npz", {f"a{i:02}": np.full(9, i, "f4") for i in range(20)})
    data = bytearray(path.read_bytes())
    with initreg.open(path) as opened:
        for name in ("a03", "a11"):
            data[opened[name].value.offset + opened[name].value.skip] ^= 1
    path.write_bytes(data)
    assert list(problems(initreg.verify(path))) == ["a03", "a11"]


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")  # Keras's own
def test_a_keras_archive_has_one_sum_for_all(tmp_path: Path) -> None:
    """It is compared when the archive is opened, and counts for each of its arrays."""
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name="d")])
    model.save(tmp_path / "m.keras")
    found = initreg.verify(tmp_path / "m.keras")
    assert found.ok
    assert all(array.has_checksum for array in found.arrays)
    data = bytearray((tmp_path / "m.keras").read_bytes())
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        place = archive.getinfo("model.weights.h5").header_offset + 3000
    data[place] ^= 1
    (tmp_path / "m.keras").write_bytes(data)
    found = initreg.verify(tmp_path / "m.keras")
    assert (found.ok, found.format) == (False, None)


def test_what_is_read_by_its_library(tmp_path: Path) -> None:
    """Packed HDF5 and strings have no extents: they are read, too, and one that fails is named."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        packed = file.create_dataset("packed", data=RNG.random(5000), compression="gzip")
        file["words"] = np.array(["ab", "c"], object)
        where = packed.id.get_chunk_info(0).byte_offset
    assert initreg.verify(tmp_path / "m.h5").ok
    data = bytearray((tmp_path / "m.h5").read_bytes())
    data[where + 2 : where + 40] = b"\xff" * 38
    (tmp_path / "m.h5").write_bytes(data)
    assert list(problems(initreg.verify(tmp_path / "m.h5"))) == ["packed"]


def test_pickles_are_refused(tmp_path: Path) -> None:
    """An array of objects is a problem, not a reason to run its code."""
    np.savez(tmp_path / "m.npz", a=np.array([{}], object), b=np.ones(1))
    found = initreg.verify(tmp_path / "m.npz")
    assert list(problems(found)) == ["a"]
    assert "allow_pickle=True" in problems(found)["a"]


def test_other_sources(tmp_path: Path) -> None:
    """A mapping has no manifest, but values; neither has a folder of a saved model of its own."""
    found = initreg.verify({"a": np.array([np.inf])})
    assert (found.manifest, problems(found)) == (None, {"a": "0 NaN and 1 infinite of 1 value"})
    initreg.save(tmp_path / "model.safetensors", {"a": np.ones(2)}, manifest=True)
    found = initreg.verify(tmp_path)
    assert found.ok
    assert found.manifest == tmp_path / "model.safetensors.manifest.json"


def test_what_keeps_from_an_answer_is_raised(tmp_path: Path) -> None:
    """No such file, no such manifest."""
    with pytest.raises(initreg.SourceNotFound, match="no such file"):
        initreg.verify(tmp_path / "no.npz")
    assert not initreg.verify("/").ok
    path = save(tmp_path, "m.npz")
    with pytest.raises(initreg.SourceNotFound, match="no such manifest"):
        initreg.verify(path, manifest=tmp_path / "no.json")


def test_a_manifest_that_is_none(tmp_path: Path) -> None:
    """One of the right name that cannot be read is a problem: it may have been cut short."""
    path = save(tmp_path, "m.npz")
    manifest = path.with_name("m.npz.manifest.json")
    manifest.write_text(manifest.read_text()[:100])
    found = initreg.verify(path)
    assert not found.ok
    assert "is not a manifest of initreg" in found.problems[0]


def test_names_cannot_play_with_the_terminal(tmp_path: Path) -> None:
    """Control characters in a name of the manifest are spelt out."""
    path = save(tmp_path, "m.npz")
    manifest = path.with_name("m.npz.manifest.json")
    manifest.write_text(manifest.read_text().replace('"m.npz"', '"\\u001b[2Jm"'))
    found = initreg.verify(path)
    assert "\x1b" not in found.to_text()
    assert "\\x1b[2Jm: in the manifest, but there is no such file" in found.to_text()


def test_memory_is_that_of_a_few_arrays(tmp_path: Path) -> None:
    """However many there are: those that were checked are let go of."""
    path = initreg.save(tmp_path / "m.safetensors", {str(i): np.ones(1000) for i in range(500)})
    living = peak = 0

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal living
            living -= 1

    read = initreg.LazyArray.read

    def counted(array: initreg.LazyArray) -> np.ndarray:
        nonlocal living, peak
        living += 1
        peak = max(peak, living)
        return read(array).view(Counted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initreg.LazyArray, "read", counted)
        assert initreg.verify(path).ok
    assert 0 < peak <= 8


def test_the_text_folds_names(tmp_path: Path) -> None:
    """A thousand layers with the same problem are a line, and JSON has each."""
    arrays = {f"layer{i}/w": np.array([np.nan], "f4") for i in range(1000)}
    found = initreg.verify(initreg.save(tmp_path / "m.npz", arrays))
    assert len(found.to_text().splitlines()) == 4
    assert "layer{0..999}/w: 1000 x 1 NaN and 0 infinite of 1 value" in found.to_text()
    assert len(found.to_dict()["arrays"]) == 1000


def test_an_open_map_can_be_verified(base: Path) -> None:
    """It has no path to look for a manifest beside, and stays open."""
    with initreg.open(base) as opened:
        assert isinstance(opened, ArrayMap)
        assert initreg.verify(opened).ok
        assert np.asarray(opened["w"]).shape == (2, 3)


def test_it_is_found_from_any_of_a_checkpoints_names(tmp_path: Path) -> None:
    """Prefix, index, data file or folder: the manifest is the one of the prefix."""
    path = save(tmp_path, "m.ckpt-7")
    for name in (path, f"{path}.index", f"{path}.data-00000-of-00001", tmp_path):
        found = initreg.verify(name)
        assert found.ok, found.to_text()
        assert found.manifest == tmp_path / "m.ckpt-7.manifest.json"
    shutil.copytree(tmp_path, tmp_path / "copy", ignore=shutil.ignore_patterns("copy"))
    os.remove(tmp_path / "copy" / "m.ckpt-7.data-00000-of-00001")
    assert not initreg.verify(tmp_path / "copy" / "m.ckpt-7").ok


def test_a_manifest_that_is_a_link_out(tmp_path: Path) -> None:
    """A manifest that lies beside the file, and is a link out of the folder, is not followed. One
    that is passed is."""
    (tmp_path / "model").mkdir()
    path = save(tmp_path / "model", "m.npz")
    beside = path.with_name("m.npz.manifest.json")
    os.rename(beside, tmp_path / "elsewhere.json")
    beside.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(initreg.RefusedFile, match=r"m\.npz\.manifest\.json is a link out of the"):
        initreg.verify(path)
    os.remove(beside)
    shutil.copy(tmp_path / "elsewhere.json", path.with_name("real.json"))
    beside.symlink_to("real.json")
    assert initreg.verify(path).ok
    os.remove(beside)
    link = path.with_name("link.json")
    link.symlink_to(path.with_name("real.json"))
    assert initreg.verify(path, manifest=link).ok


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git-lfs pointer"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "an HTML page"),
    ],
)
def test_a_manifest_that_was_not_downloaded(tmp_path: Path, content: bytes, says: str) -> None:
    """A pointer or a web page in place of a manifest is said to be that."""
    path = save(tmp_path, "m.npz")
    path.with_name("m.npz.manifest.json").write_bytes(content)
    found = initreg.verify(path)
    assert says in found.problems[0]
    assert "m.npz.manifest.json" in found.problems[0]
