"""The h5 format, against what Keras 3 and tf_keras write."""

from __future__ import annotations

import json
import zipfile

import h5py
import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import initreg
from initreg import DamagedFile, DuplicateName, RefusedFile, SmartInit
from initreg_formats.h5 import names

pytestmark = pytest.mark.filterwarnings(
    # Keras and tf_keras say so themselves of every legacy file, which is what is tested here.
    "ignore:.*saving your model as an HDF5 file:UserWarning",
    "ignore:You are saving your model as an HDF5 file:UserWarning",
    # Keras 3.15 turns its own variables into numpy arrays as numpy 1 wanted it.
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
)


@keras.saving.register_keras_serializable()
class Subclassed(keras.Model):
    """A model with layers in a list and with a weight of its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.blocks = [keras.layers.Dense(3, name=f"block_{i}") for i in range(2)]
        self.head = keras.layers.Dense(2, name="head")
        self.scale = self.add_weight(shape=(), name="scale", initializer="ones")

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x) * self.scale


def functional():
    x = given = keras.layers.Input((4,))
    x = keras.layers.Dense(3, name="first")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    return keras.Model(given, keras.layers.Dense(2, name="last")(x))


def nested():
    inner = keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Dense(3, name="same")], name="inner"
    )
    x = given = keras.layers.Input((4,))
    x = keras.layers.Dense(2, name="same")(inner(x))
    return keras.Model(given, x)


def trained(model):
    """The model after one step of Adam, so that its optimizer has state."""
    keras.utils.set_random_seed(1)
    model.compile(keras.optimizers.Adam(), "mse")
    model.fit(np.random.rand(4, 4), np.random.rand(4, 2), verbose=0)
    return model


@pytest.fixture(scope="module")
def models():
    found = {f.__name__: trained(f()) for f in (functional, nested, Subclassed)}
    keras.mixed_precision.set_global_policy("bfloat16")
    try:
        found["bfloat16"] = trained(functional())
    finally:
        keras.mixed_precision.set_global_policy("float32")
    return found


ALL = ["functional", "nested", "Subclassed", "bfloat16"]


def bits(array):
    array = np.asarray(array)
    return array.shape, array.dtype.name, array.tobytes()


def same_bits(found, expected):
    """Whether both have the same arrays in any order. Each value comes from a random initialiser or
    from a step."""
    assert sorted(map(bits, found)) == sorted(map(bits, expected))


def datasets(path):
    """What h5py finds in a file: bits by path, bfloat16 restored as Keras does."""
    found = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            value = item[()]
            if item.attrs.get("dtype") == "bfloat16":
                value = np.array(item, dtype=ml_dtypes.bfloat16)
            found[name] = bits(value)

    with h5py.File(path) as file:
        file.visititems(note)
    return found


# --- Keras 3 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_weights_h5(tmp_path, models, kind):
    """A .weights.h5 has its datasets under their paths, and the values of the model."""
    model = models[kind]
    model.save_weights(tmp_path / "m.weights.h5")
    found = initreg.load(tmp_path / "m.weights.h5")
    assert {name: bits(array) for name, array in found.items()} == datasets(
        tmp_path / "m.weights.h5"
    )
    weights = [array for name, array in found.items() if not name.startswith("optimizer/")]
    same_bits(weights, [w.numpy() for w in model.weights])
    state = [array for name, array in found.items() if name.startswith("optimizer/")]
    same_bits(state, [v.numpy() for v in model.optimizer.variables])


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "deflated"])
@pytest.mark.parametrize("kind", ALL)
def test_keras_archive(tmp_path, models, kind, packed):
    """A .keras has the names and values of its .weights.h5, packed or not."""
    model = models[kind]
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        archive.extract("model.weights.h5", tmp_path)
        if packed:
            with zipfile.ZipFile(tmp_path / "p.keras", "w", zipfile.ZIP_DEFLATED) as other:
                for name in archive.namelist():
                    other.writestr(name, archive.read(name))
    path = tmp_path / ("p.keras" if packed else "m.keras")
    assert initreg.probe(path).winner == "h5"
    found = initreg.load(path)
    assert found.keys() == datasets(tmp_path / "model.weights.h5").keys()
    for name, array in found.items():
        assert bits(array) == datasets(tmp_path / "model.weights.h5")[name], name


def test_sharded_weights(tmp_path, models):
    """A .weights.json, with its parts beside it, has the names and values of one .weights.h5."""
    model = models["bfloat16"]
    model.save_weights(tmp_path / "m.weights.json", max_shard_size=1e-7)
    model.save_weights(tmp_path / "m.weights.h5")
    assert len(list(tmp_path.glob("m_*.weights.h5"))) > 1
    found = initreg.load(tmp_path / "m.weights.json")
    expected = initreg.load(tmp_path / "m.weights.h5")
    assert found.keys() == expected.keys()
    assert all(bits(found[name]) == bits(expected[name]) for name in expected)
    count = len(model.optimizer.variables)
    for path in ("m.weights.json", "m.weights.h5"):  # the list may be spread over the parts
        with initreg.open(tmp_path / path) as arrays:
            for i in range(count):
                name = f"optimizer/vars/{i}"
                assert arrays[name].spec.state.at == (f"{i} of {count}",)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"/layers/dense/vars": "m_00009.weights.h5"}, DamagedFile, "m_00009.* is missing"),
        ({"/layers/dense/vars": "../x.weights.h5"}, RefusedFile, "not a plain file name"),
        ({"/layers/dense/vars": 3}, DamagedFile, "does not say which part"),
        ({"/more/vars": "m_00000.weights.h5"}, DamagedFile, "'more/vars' should lie in part m_0"),
        (None, DamagedFile, "but the index does not say so"),
        ([], DamagedFile, "has no weight_map"),
    ],
)
def test_a_damaged_index(tmp_path, models, change, error, says):
    """An index and parts that disagree are an error that names the part."""
    models["functional"].save_weights(tmp_path / "m.weights.json", max_shard_size=1e-7)
    index = json.loads((tmp_path / "m.weights.json").read_text())
    if isinstance(change, dict):
        index["weight_map"] |= change
    elif change is None:
        del index["weight_map"]["/layers/dense/vars"]
    else:
        index["weight_map"] = change
    (tmp_path / "m.weights.json").write_text(json.dumps(index))
    with pytest.raises(error, match=says):
        initreg.open(tmp_path / "m.weights.json")


def test_the_layout_of_keras_2_12(tmp_path):
    """The first .keras files have other groups; their datasets are called by their paths too."""
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file["_layer_checkpoint_dependencies/dense/vars/0"] = np.arange(6.0).reshape(2, 3)
        file["_layer_checkpoint_dependencies/dense/vars"].attrs["name"] = "dense"
        file.create_group("optimizer/vars")
    found = initreg.load(tmp_path / "model.weights.h5")
    assert list(found) == ["_layer_checkpoint_dependencies/dense/vars/0"]


@pytest.mark.parametrize("step", [1, 2])  # 2.13 and 2.12, which counted layers with weights twice
def test_files_of_keras_2_12_go_into_keras_3(tmp_path, step):
    """Nested models and several layers of a class find their places, as Keras 3's load finds them
    where the numbers are its own."""
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), keras.layers.Dense(3)])
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(3)(inner(keras.layers.Dense(3)(x))))
    values = {}
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        for home, numbers in (("", (0, 1)), ("_layer_checkpoint_dependencies/sequential/", (0, 1))):
            for number in numbers:
                name = f"dense_{number * step}" if number else "dense"
                path = f"{home}_layer_checkpoint_dependencies/{name}/vars"
                for at, shape in enumerate(((3, 3), (3,))):
                    values[home, number, at] = np.random.rand(*shape).astype("f4")
                    file[f"{path}/{at}"] = values[home, number, at]
    plan = SmartInit(tmp_path / "model.weights.h5").init(model)
    assert len(plan.restored) == len(plan) == 8
    outer = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    for (home, number, at), value in values.items():
        layer = (inner.layers if home else outer)[number]
        np.testing.assert_array_equal(layer.get_weights()[at], value)
    if step == 1:
        before = [w.copy() for w in model.get_weights()]
        model.load_weights(tmp_path / "model.weights.h5")
        for ours, theirs in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


# --- the legacy layout of Keras 3 -----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["functional", "nested", "bfloat16"])  # no subclassed ones
def test_legacy_whole_model_of_keras_3(tmp_path, models, kind):
    """model.save('m.h5') has the weights under their paths in the model, then the optimizer's."""
    model = models[kind]
    model.save(tmp_path / "m.h5")
    found = initreg.load(tmp_path / "m.h5")
    expected = {w.path: bits(w.numpy()) for w in model.weights}
    expected |= {v.path: bits(v.numpy()) for v in model.optimizer.variables}
    assert list(found) == list(expected)
    assert {name: bits(array) for name, array in found.items()} == expected


# --- tf_keras, which is Keras 2 -------------------------------------------------------------------


@pytest.fixture
def old():
    """A model of tf_keras after one step of Adam, with a nested model and a weight of its own."""
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(1)
    layers = tf_keras.layers
    inner = tf_keras.Sequential([layers.Input((4,)), layers.Dense(3, name="deep")], name="inner")
    x = given = layers.Input((4,))
    x = layers.BatchNormalization(name="norm/slash")(inner(x))
    model = tf_keras.Model(given, layers.Dense(2, name="last")(x))
    model.compile("adam", "mse")
    model.fit(np.random.rand(4, 4), np.random.rand(4, 2), verbose=0)
    return model


def test_weights_of_keras_2(tmp_path, old):
    """save_weights: the names are those of the variables without ':0', in the model's order."""
    old.save_weights(tmp_path / "m.h5")
    found = initreg.load(tmp_path / "m.h5")
    expected = {w.name.removesuffix(":0"): bits(w.numpy()) for w in old.weights}
    assert set(found) == set(expected)
    assert {name: bits(array) for name, array in found.items()} == expected
    assert "inner" not in next(iter(found))
    with initreg.open(tmp_path / "m.h5") as arrays:
        assert arrays["last/kernel"].aliases == ("last/last/kernel", "last: weight 0 of 2")
        assert arrays["last/kernel"].spec.places[0].startswith("#layer ")


def test_whole_model_of_keras_2(tmp_path, old):
    """save: the model's weights, then the optimizer's, each under its variable's name."""
    old.save(tmp_path / "m.h5")
    with initreg.open(tmp_path / "m.h5") as arrays:
        state = {v.name.removesuffix(":0"): bits(v.numpy()) for v in old.optimizer.variables}
        weights = {w.name.removesuffix(":0"): bits(w.numpy()) for w in old.weights}
        assert {name: bits(array.read()) for name, array in arrays.items()} == weights | state
        assert list(arrays)[-len(state) :] == list(state)
        assert "model_weights/last/last/kernel" in arrays["last/kernel"].aliases
        assert any(a.startswith("optimizer_weights/") for a in arrays["iteration"].aliases)


def test_into_the_variables_they_came_from(tmp_path, old):
    """A legacy file restores into the TF variables of its model, by name."""
    old.save_weights(tmp_path / "m.h5")
    expected = [w.numpy() for w in old.weights]
    for weight in old.weights:
        weight.assign(tf.zeros_like(weight))
    SmartInit(tmp_path / "m.h5").init(old.weights)
    for weight, array in zip(old.weights, expected, strict=True):
        assert weight.numpy().tobytes() == array.tobytes()


def test_keras_2_reads_what_initreg_reads(tmp_path, old):
    """The reference library's own reader gives the same arrays in the same order."""
    from tf_keras.src.saving.legacy import hdf5_format

    old.save_weights(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        expected = [
            bits(array)
            for layer in hdf5_format.load_attributes_from_hdf5_group(file, "layer_names")
            for array in hdf5_format.load_subset_weights_from_hdf5_group(file[layer])
        ]
    assert [bits(array) for array in initreg.load(tmp_path / "m.h5").values()] == expected


def test_names_that_fill_several_attributes(tmp_path):
    """A list too long for one attribute is split: layer_names0, ..., weight_names0, ..."""
    from tf_keras.src.saving.legacy import hdf5_format

    weights = [f"block/{'x' * 60}_{i}:0".encode() for i in range(3000)]
    layers = [b"block", *(f"{'y' * 60}_{i}".encode() for i in range(2000))]
    with h5py.File(tmp_path / "m.h5", "w") as file:
        hdf5_format.save_attributes_to_hdf5_group(file, "layer_names", layers)
        for layer in layers:
            group = file.create_group(layer)
            mine = weights if layer == b"block" else []
            hdf5_format.save_attributes_to_hdf5_group(group, "weight_names", mine)
            for i, name in enumerate(mine):
                group[name] = np.full(2, i, "f4")
        assert "layer_names1" in file.attrs
        assert "weight_names1" in file["block"].attrs
    found = initreg.load(tmp_path / "m.h5")
    assert list(found) == [name.decode().removesuffix(":0") for name in weights]
    assert all((array == i).all() for i, array in enumerate(found.values()))


# --- files made by hand, of layouts that no installed Keras writes --------------------------------


def legacy(path, layers, base="", libver="earliest", fixed=True):
    """A legacy file ``{layer: {weight: array}}``, with names of fixed or variable length."""

    def attribute(items):
        encoded = [item.encode() for item in items]
        return np.array(encoded) if fixed else encoded

    with h5py.File(path, "w", libver=libver) as file:
        root = file.require_group(base) if base else file
        root.attrs["layer_names"] = attribute(list(layers))
        for layer, weights in layers.items():
            group = root.require_group(layer)
            group.attrs["weight_names"] = attribute(list(weights))
            for name, array in weights.items():
                group[name] = array
    return path


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "variable"])
@pytest.mark.parametrize("base", ["", "model_weights"])
def test_keras_1(tmp_path, libver, fixed, base):
    """Keras 1 wrote names without ':0', and layers without weights."""
    layers = {
        "input": {},
        "dense_1": {"dense_1_W": np.ones((2, 3)), "dense_1_b": np.zeros(3)},
        "слой": {"слой/kernel:0": np.arange(3)},
    }
    path = legacy(tmp_path / "m.h5", layers, base, libver, fixed)
    found = initreg.load(path)
    assert list(found) == ["dense_1_W", "dense_1_b", "слой/kernel"]
    assert found["слой/kernel"].tolist() == [0, 1, 2]


def test_top_level_weights(tmp_path):
    """The weights of the model itself are read, after those of its layers."""
    path = legacy(tmp_path / "m.h5", {"d": {"d/kernel:0": np.ones(2)}})
    with h5py.File(path, "a") as file:
        group = file.create_group("top_level_model_weights")
        group.attrs["weight_names"] = [b"scale:0"]
        group["scale:0"] = 2.5
    found = initreg.load(path)
    assert list(found) == ["d/kernel", "scale"]
    assert found["scale"] == 2.5


def test_weights_that_share_a_name(tmp_path):
    """All weights that share a name are called by their paths. The others keep their names."""
    layers = {
        "one": {"dense/kernel:0": np.zeros(2), "dense/bias:0": np.zeros(1)},
        "two": {"dense/kernel:0": np.ones(2)},
    }
    found = initreg.load(legacy(tmp_path / "m.h5", layers))
    assert list(found) == ["one/dense/kernel", "dense/bias", "two/dense/kernel"]
    assert found["two/dense/kernel"].tolist() == [1, 1]


def test_a_name_that_is_another_path(tmp_path):
    """If a weight's name is the path of another dataset, the weight is called by its path."""
    layers = {
        "a": {"w": np.zeros(2)},
        "b": {"w": np.ones(2), "a/w": np.full(2, 2.0)},
    }
    found = initreg.load(legacy(tmp_path / "m.h5", layers))
    assert {name: array[0] for name, array in found.items()} == {"a/w": 0, "b/w": 1, "b/a/w": 2}


def test_an_optimizer_weight_of_a_models_name(tmp_path):
    """If a weight of the optimizer has the name of a weight of the model, both are called by their
    paths."""
    path = legacy(tmp_path / "m.h5", {"d": {"w:0": np.zeros(2)}}, "model_weights")
    with h5py.File(path, "a") as file:
        group = file.create_group("optimizer_weights")
        group.attrs["weight_names"] = [b"w:0", b"Adam/m/w:0"]
        group["w:0"], group["Adam/m/w:0"] = np.ones(2), np.ones(2)
    assert list(initreg.load(path)) == ["model_weights/d/w", "optimizer_weights/w", "Adam/m/w"]


def test_datasets_that_no_attribute_names(tmp_path):
    """Datasets that no attribute names are listed by their paths."""
    path = legacy(tmp_path / "m.h5", {"d": {"d/kernel:0": np.zeros(2)}})
    with h5py.File(path, "a") as file:
        file["extra/mean"] = np.ones(3)
    assert list(initreg.load(path)) == ["d/kernel", "extra/mean"]


def test_two_paths_of_one_name(tmp_path):
    """Two datasets whose paths differ only by ':0' are an error."""
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["w"], file["w:0"] = 1, 2
    with pytest.raises(DuplicateName, match="'w'"):
        initreg.open(tmp_path / "m.h5")


@pytest.mark.parametrize("name", ["../d/w", "nowhere", "d", ""])
def test_a_weight_that_is_not_there(tmp_path, name):
    """A name without a dataset is an error with the name."""
    path = legacy(tmp_path / "m.h5", {"d": {"w": np.zeros(2)}})
    with h5py.File(path, "a") as file:
        file["d"].attrs["weight_names"] = [name.encode()]
    with pytest.raises(DamagedFile, match=rf"weight_names of group 'd' have '{name}', but there"):
        initreg.open(path)


def test_a_layer_that_is_not_there(tmp_path):
    """A layer without a group is an error with its name."""
    path = legacy(tmp_path / "m.h5", {"d": {"w": np.zeros(2)}})
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = [b"d", b"lost"]
    with pytest.raises(DamagedFile, match="layer_names have 'lost', but there is no group 'lost'"):
        initreg.open(path)


@pytest.mark.parametrize("value", [np.arange(3), 2.5])
def test_names_that_are_none(tmp_path, value):
    """An attribute of numbers is not a list of names."""
    path = legacy(tmp_path / "m.h5", {"d": {"w": np.zeros(2)}})
    with h5py.File(path, "a") as file:
        file["d"].attrs["weight_names"] = value
    with pytest.raises(DamagedFile, match="'weight_names' is not a list of names"):
        initreg.open(path)


def test_names_outside_of_the_header(tmp_path):
    """Names of variable length that HDF5 stores apart from the group, in a heap, are read."""
    path = legacy(tmp_path / "m.h5", {"d": {"w": np.zeros(2)}}, libver="latest", fixed=False)
    with h5py.File(path, "a", libver="latest") as file:
        for i in range(20):  # more than 8 attributes, and HDF5 moves all of them
            file.attrs[f"more_{i}"] = i
    assert b"FRHP" in path.read_bytes()
    assert list(initreg.load(path)) == ["w"]


def test_unique_names_ends():
    """Names that give way one after the other end as paths."""
    contents = names.Contents(dict.fromkeys(["a", "b", "c"]))
    assert names.unique({"a": "b", "b": "c"}, contents) == {"a": "a", "b": "b", "c": "c"}
