"""Models of TensorFlow.js give the values that the reader of tensorflowjs gives.

The models are written here, by the layout that tensorflowjs's ``write_weights.py`` describes:
importing that module takes TensorFlow.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import initreg
import numpy as np
import pytest
from initreg.testing import FormatContract, Sample, same

from initreg_tfjs.layers import automatic_of

Array = np.ndarray[Any, Any]


def reader() -> ModuleType:
    """tensorflowjs's ``read_weights``. The rest of the package imports TensorFlow, and is not."""
    if "tensorflowjs" not in sys.modules:
        spec = importlib.util.find_spec("tensorflowjs")
        assert spec is not None, "pip install --no-deps tensorflowjs==4.22.0"
        package = ModuleType("tensorflowjs")
        package.__path__ = list(spec.submodule_search_locations or ())
        sys.modules["tensorflowjs"] = package
    return importlib.import_module("tensorflowjs.read_weights")


def reference(path: Path) -> dict[str, Array]:
    """The arrays by tensorflowjs alone."""
    found = json.loads(path.read_text())
    manifest = found["weightsManifest"] if isinstance(found, dict) else found
    weights = reader().read_weights(manifest, str(path.parent), flatten=True)
    return {each["name"]: each["data"] for each in weights}


def texts(*values: str) -> Array:
    found = np.empty(len(values), object)
    found[:] = [value.encode() for value in values]
    return found


def quantised(array: Array, dtype: str) -> tuple[Array, dict[str, Any]]:
    """What is stored for an array, and what the manifest says of it."""
    if dtype == "float16":
        return array.astype(dtype), {"dtype": dtype, "original_dtype": array.dtype.name}
    low, high = float(array.min()), float(array.max())
    scale = (high - low) / np.iinfo(dtype).max or 1.0
    stored = np.round((array.astype("f8") - low) / scale).astype(dtype)
    return stored, {"dtype": dtype, "min": low, "scale": scale}


def write(
    folder: Path,
    groups: Sequence[Mapping[str, Array]],
    quantise: Mapping[str, str] | None = None,
    shard: int = 1 << 22,
    **more: Any,
) -> Path:
    """A model.json and its shards, which are cut after every ``shard`` bytes."""
    folder.mkdir(exist_ok=True)
    manifest = []
    for number, group in enumerate(groups, 1):
        entries, row = [], b""
        for name, array in group.items():
            entry: dict[str, Any] = {"name": name, "shape": array.shape, "dtype": array.dtype.name}
            stored = array
            if name in (quantise or {}):
                stored, entry["quantization"] = quantised(array, (quantise or {})[name])
            entries.append(entry)
            if array.dtype == object:
                entry["dtype"] = "string"
                row += b"".join(len(each).to_bytes(4, "little") + each for each in array.flat)
            else:
                row += stored.tobytes()
        count = math.ceil(len(row) / shard)
        paths = [f"group{number}-shard{n + 1}of{count}.bin" for n in range(count)]
        for n, path in enumerate(paths):
            (folder / path).write_bytes(row[n * shard : (n + 1) * shard])
        manifest.append({"paths": paths, "weights": entries})
    found = {"format": "graph-model", "generatedBy": "tests", "modelTopology": {}}
    path = folder / "model.json"
    path.write_text(json.dumps(found | more | {"weightsManifest": manifest}))
    return path


def plain() -> dict[str, Array]:
    """An array of each dtype, and those of unusual shapes and names."""
    rng = np.random.default_rng(0)
    return {
        "float32": rng.standard_normal((3, 4)).astype("f4"),
        "int32": np.array([-(2**31), 2**31 - 1], "i4"),
        "bool": np.array([True, False, True]),
        "texts": texts("a", "größe", ""),
        "uint8": np.arange(5, dtype="u1"),
        "uint16": np.arange(5, dtype="u2"),
        "float16": np.array([1.5], "f2"),
        "complex64": np.array([[1 + 2j, -3j]], "c8"),
        "größe/übung": np.full((1, 1), -1.5, "f4"),
        "scalar": np.array(2.5, "f4"),
        "empty": np.zeros((0, 3), "f4"),
    }


def sample(path: Path) -> Sample:
    parts = sorted(path.parent.glob("*.bin"))
    return Sample(path, reference(path), files=[path, *parts], parts=parts)


class TestTfjs(FormatContract):
    """The kit: every dtype, quantised weights, and weights in several shards."""

    format = "tfjs"
    flips = 30

    def samples(self, folder: Path) -> Iterator[Sample]:
        """All dtypes, in one shard and in shards of 10 bytes, and quantised weights."""
        path = write(folder / "plain", [plain()])
        metadata = {"format": "graph-model", "generatedBy": "tests"}
        yield Sample(path, reference(path), [path, *path.parent.glob("*.bin")], metadata=metadata)
        rng = np.random.default_rng(1)
        wide = {"a": rng.standard_normal((5, 7)).astype("f4"), "b": np.arange(30, dtype="i4")}
        yield sample(write(folder / "sharded", [wide, {"c": np.ones((2, 2), "f4")}], shard=64))
        odd = {"flag": np.array([True]), "w": rng.standard_normal((4, 5)).astype("f4")}
        yield sample(write(folder / "cut", [odd], shard=40))
        kinds = ("uint8", "uint16", "float16")
        few = {kind: rng.standard_normal((4, 6)).astype("f4") for kind in kinds}
        yield sample(write(folder / "quantised", [few], dict(zip(kinds, kinds, strict=True))))


@pytest.mark.parametrize("shard", [1, 3, 4, 12, 16, 20, 50, 1000])
def test_weights_are_cut_anywhere(tmp_path: Path, shard: int) -> None:
    """Shards that end inside a weight, a row or an element give the same arrays."""
    arrays = {
        "texts": texts("abcdefghij", "", "k" * 40),
        "w": np.arange(2 * 3 * 5, dtype="f4").reshape(2, 3, 5),
        "flags": np.array([True, False, True]),
        "v": np.arange(24, dtype="i4").reshape(6, 4),
        "q": np.linspace(-1, 3, 21).astype("f4"),
    }
    path = write(tmp_path / "m", [arrays], {"q": "uint16"}, shard)
    found, wanted = initreg.load(path), reference(path)
    assert list(found) == list(wanted)
    assert all(same(found[name], array) for name, array in wanted.items())
    assert same(found["w"], arrays["w"])
    with initreg.open(path) as lazy:
        assert lazy["w"][1, 1:3, 2].tolist() == [22, 27]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("original", ["f4", "i4"])
def test_quantised_weights_are_computed_as_tensorflowjs_does(
    tmp_path: Path, dtype: str, original: str
) -> None:
    """Millions of quantised values have every bit that tensorflowjs gives them."""
    rng = np.random.default_rng(2)
    array = (rng.standard_normal((3, 400_000)) * 1000).astype(original)
    path = write(tmp_path / "m", [{"w": array}], {"w": dtype})
    found = initreg.load(path)["w"]
    assert same(found, reference(path)["w"])
    step = float(np.ptp(array.astype("f8"))) / np.iinfo(dtype).max
    assert np.abs(found.astype("f8") - array).max() <= step * 0.51 + 1


def test_a_manifest_alone_and_a_folder_are_sources(tmp_path: Path) -> None:
    """The manifest of version 0, without a topology, is read, and so is a folder."""
    path = write(tmp_path / "m", [{"w": np.arange(3, dtype="f4")}])
    assert initreg.load(tmp_path / "m")["w"].tolist() == [0, 1, 2]
    manifest = json.loads(path.read_text())["weightsManifest"]
    other = path.with_name("weights_manifest.json")
    other.write_text(json.dumps(manifest))
    assert initreg.load(other)["w"].tolist() == [0, 1, 2]
    with pytest.raises(initreg.AmbiguousSource, match=r"model\.json, weights_manifest\.json"):
        initreg.open(tmp_path / "m")
    path.unlink()
    assert initreg.load(tmp_path / "m")["w"].tolist() == [0, 1, 2]


def test_what_a_browser_saved_is_read(tmp_path: Path) -> None:
    """A browser writes one file, and begins its path with ``./``; Node leaves that out."""
    path = write(tmp_path / "m", [{"w": np.arange(3, dtype="f4")}])
    found = json.loads(path.read_text())
    for name in ("./model.weights.bin", "weights.bin"):
        next(path.parent.glob("*.bin")).rename(path.with_name(name))
        found["weightsManifest"][0]["paths"] = [name]
        path.write_text(json.dumps(found))
        for source in (path, path.parent):
            assert initreg.load(source)["w"].tolist() == [0, 1, 2]


def test_a_shard_is_opened_as_the_model_that_it_is_a_part_of(tmp_path: Path) -> None:
    """One shard is never taken for the whole: it gives all arrays of the model beside it."""
    path = write(tmp_path / "m", [{"w": np.arange(8, dtype="f4")}], shard=16)
    shard = path.with_name("group1-shard2of2.bin")
    assert initreg.load(shard)["w"].tolist() == list(range(8))
    stranger = path.with_name("group7-shard1of1.bin")
    stranger.write_bytes(b"1234")
    with pytest.raises(initreg.DamagedFile, match="has no such shard"):
        initreg.open(stranger)
    path.unlink()
    with pytest.raises(initreg.DamagedFile, match=r"whose model\.json should lie beside it"):
        initreg.open(shard)


def layer(kind: str, name: str) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name}}


def test_names_that_keras_made_up_are_automatic(tmp_path: Path) -> None:
    """A weight is automatic if its layer is called by its class and a number."""
    inner = {
        "class_name": "Sequential",
        "config": {"name": "body", "layers": [layer("Conv2D", "conv2d_3"), layer("Dense", "top")]},
    }
    wrapper = {
        "class_name": "Bidirectional",
        "config": {"name": "both", "layer": layer("LSTM", "lstm")},
    }
    layers = [inner, wrapper, layer("BatchNormalization", "batch_normalization")]
    topology = {
        "model_config": {"class_name": "Functional", "config": {"name": "m", "layers": layers}}
    }
    assert automatic_of(topology) == {
        "m": False,
        "body": False,
        "conv2d_3": True,
        "top": False,
        "both": False,
        "lstm": True,
        "batch_normalization": True,
    }
    names = ["body/conv2d_3/kernel", "body/top/kernel", "batch_normalization/gamma"]
    arrays = {name: np.ones(1, "f4") for name in names}
    path = write(tmp_path / "m", [arrays], modelTopology=topology)
    with initreg.open(path) as found:
        automatic = {name: list(array.spec.automatic) for name, array in found.items()}
    assert automatic == {names[0]: [names[0]], names[1]: [], names[2]: [names[2]]}


def test_weights_have_their_place_in_the_order_of_the_layers(tmp_path: Path) -> None:
    """The topology gives the order of layers, whatever the order of the manifest."""
    inner = {
        "class_name": "Sequential",
        "config": {"name": "body", "layers": [layer("Conv2D", "stem"), layer("Dense", "top")]},
    }
    layers = [layer("Flatten", "flatten"), layer("Dense", "z"), inner, layer("Dense", "a")]
    topology = {
        "model_config": {"class_name": "Functional", "config": {"name": "m", "layers": layers}}
    }
    names = ["a/kernel", "a/bias", "stem/kernel", "body/top/kernel", "z/kernel"]
    arrays = {name: np.ones(1, "f4") for name in names}

    def places(topology: Any) -> list[tuple[str, ...]]:
        path = write(tmp_path / "m", [arrays], modelTopology=topology)
        with initreg.open(path) as found:
            return [array.spec.places for array in found.values()]

    assert places(topology) == [
        ("#layer 2 of 3, weight 0 of 2",),
        ("#layer 2 of 3, weight 1 of 2",),
        ("#layer 1 of 3, weight 0 of 2",),
        ("#layer 1 of 3, weight 1 of 2",),
        ("#layer 0 of 3, weight 0 of 1",),
    ]
    layers.append(layer("Dense", "stem"))  # now two layers are called so
    assert places(topology) == [()] * 5
    assert places({}) == places({"node": [], "library": {}}) == [()] * 5


def changed(path: Path, **entry: Any) -> None:
    """Change the first weight in the manifest. None takes a key away."""
    found = json.loads(path.read_text())
    weight = found["weightsManifest"][0]["weights"][0]
    weight.update(entry)
    path.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"name": ""}, "a weight without a name"),
        ({"shape": [-1]}, r"the shape \[-1\]"),
        ({"shape": [True]}, r"the shape \[True\]"),
        ({"shape": [1] * 65}, r"the shape \[1, 1"),
        ({"shape": [2]}, "its weights have 8 bytes, but its shards 12"),
        ({"shape": [4]}, "ends at byte 16, but its shards have 12"),
        ({"shape": [10**30]}, "truncated, or belong to another model"),
        ({"dtype": "float64"}, "the dtype float64"),
        ({"dtype": ["x"]}, r"the dtype \['x'\]"),
        ({"dtype": "string"}, "ends at byte"),
        ({"quantization": {"dtype": "int4"}}, "quantised as int4"),
        ({"quantization": {"dtype": "uint8", "scale": "1", "min": 0}}, "not both numbers"),
        ({"quantization": {"dtype": "uint8", "scale": math.nan, "min": 0}}, "not both numbers"),
        ({"quantization": {"dtype": "uint8", "min": 0}}, "not both numbers"),
        ({"quantization": {"dtype": "uint8", "scale": 10**400, "min": 0}}, "not both numbers"),
        ({"quantization": {"dtype": "uint8", "scale": 1, "min": -(10**400)}}, "not both numbers"),
    ],
)
def test_a_manifest_that_does_not_fit_is_one_error(
    tmp_path: Path, entry: dict[str, Any], reason: str
) -> None:
    """Fields of the wrong kind, and sizes that are not those of the shards, are told."""
    path = write(tmp_path / "m", [{"w": np.arange(1, 4, dtype="f4")}])
    changed(path, **entry)
    with pytest.raises(initreg.DamagedFile, match=reason):
        initreg.open(path)


def test_quantised_numbers_beyond_int32_are_an_error(tmp_path: Path) -> None:
    """They do not wrap around, and infinities of float32 are what a browser has."""
    path = write(tmp_path / "m", [{"w": np.arange(3, dtype="i4")}], {"w": "uint8"})
    changed(path, quantization={"dtype": "uint8", "scale": 1e9, "min": 0})
    with pytest.raises(initreg.DamagedFile, match="beyond int32"):
        initreg.load(path)
    path = write(tmp_path / "n", [{"w": np.arange(3, dtype="f4")}], {"w": "uint8"})
    changed(path, quantization={"dtype": "uint8", "scale": 1e300, "min": 0})
    assert initreg.load(path)["w"].tolist() == [0, math.inf, math.inf]


def test_shards_that_lie_elsewhere_or_twice_are_refused(tmp_path: Path) -> None:
    """A path out of the folder is refused, and so is a shard that is listed twice."""
    path = write(tmp_path / "m", [{"w": np.arange(3, dtype="f4")}])
    (tmp_path / "w.bin").write_bytes(bytes(12))
    found = json.loads(path.read_text())
    for paths, error, reason in (
        (["../w.bin"], initreg.RefusedFile, "not a plain file name"),
        ([str(tmp_path / "w.bin")], initreg.RefusedFile, "not a plain file name"),
        (["group1-shard1of1.bin"] * 2, initreg.DamagedFile, "listed twice"),
        (["gone.bin"], initreg.DamagedFile, r"part gone\.bin is missing"),
        ([1], initreg.DamagedFile, "no list of paths"),
    ):
        found["weightsManifest"][0]["paths"] = paths
        path.write_text(json.dumps(found))
        with pytest.raises(error, match=reason):
            initreg.open(path)


def test_two_weights_of_one_name_are_an_error(tmp_path: Path) -> None:
    """Neither of them is chosen, in one group or in two."""
    path = write(tmp_path / "m", [{"w": np.ones(1, "f4")}, {"w": np.zeros(1, "f4")}])
    with pytest.raises(initreg.DuplicateName, match="'w'"):
        initreg.open(path)


def test_what_is_only_named_model_json_says_what_it_is(tmp_path: Path) -> None:
    """Keras's topology without weights, and broken JSON, are told apart."""
    path = tmp_path / "model.json"
    for data, reason in {
        json.dumps({"class_name": "Sequential", "config": []}): "Keras's to_json",
        '{"weightsManifest": [': "is not JSON that can be read",
        '{"weightsManifest": [], "weightsManifest": []}': "a key is there twice",
        '{"weightsManifest": ' + "[" * 100_000: "is not JSON that can be read",
        '{"weightsManifest": {}}': "has no weightsManifest",
    }.items():
        path.write_text(data)
        with pytest.raises(initreg.DamagedFile, match=reason):
            initreg.open(path)
