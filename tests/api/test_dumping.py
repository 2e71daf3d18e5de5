"""Publishing a model: what of a checkpoint is kept, by a metagraph and without one."""

from __future__ import annotations

import datetime
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import InitregError, MismatchError, MissingError, SmartInit
from initreg.api.dumping import Dumped, dump

v1 = tf.compat.v1
MODEL = {"fc/w", "fc/b", "parts", "bn/mean"}


def build(width: int = 3) -> Any:
    """A model with every kind of variable, trained by Adam; returns the training op."""
    w = v1.get_variable("fc/w", [4, width], use_resource=False)
    b = v1.get_variable("fc/b", [width], use_resource=True)
    parts = v1.get_variable("parts", [6, width], partitioner=v1.fixed_size_partitioner(2))
    collections = ["variables", "model_variables"]
    mean = v1.get_variable("bn/mean", [width], trainable=False, collections=collections)
    v1.get_variable("seen", [], trainable=False, collections=["local_variables", "model_variables"])
    loss = tf.reduce_sum(w) + tf.reduce_sum(b * mean) + tf.reduce_sum(tf.convert_to_tensor(parts))
    rate = v1.get_variable("learning_rate", initializer=0.1, trainable=False)
    return v1.train.AdamOptimizer(rate).minimize(loss, v1.train.get_or_create_global_step())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training run: two checkpoints, two metagraphs of which the older is wrong."""
    folder = tmp_path_factory.mktemp("run")
    with tf.Graph().as_default():
        build(width=2)
        v1.train.export_meta_graph(str(folder / "graph-9.meta"))
    os.utime(folder / "graph-9.meta", (1, 1))
    with tf.Graph().as_default(), v1.Session() as session:
        step = build()
        session.run(v1.global_variables_initializer())
        v1.train.export_meta_graph(str(folder / "graph-1.meta"))
        saver = v1.train.Saver()
        for number in (1, 2):
            session.run(step)
            saver.save(session, str(folder / "model"), number, write_meta_graph=False)
    return folder


def equal(path: Path, source: Any, names: set[str]) -> None:
    """``path`` holds exactly these arrays of ``source``, bit for bit."""
    found, wanted = initreg.load(path), initreg.load(source)
    assert set(found) == names
    for name, array in found.items():
        assert array.dtype == wanted[name].dtype
        assert array.tobytes() == wanted[name].tobytes()


# --- by a metagraph -----------------------------------------------------------------------------


def test_a_folder_gives_its_newest_checkpoint_and_metagraph(run: Path, tmp_path: Path) -> None:
    """By modification time, whatever the names; the model's variables alone are written."""
    done = dump(run, tmp_path / "model.ckpt")
    equal(done.path, run / "model-2", MODEL)
    assert done.meta == run / "graph-1.meta"
    assert {spec.name for spec in done.kept} == MODEL
    assert set(done.dropped) == set(initreg.load(run / "model-2")) - MODEL
    assert set(done.dropped.values()) == {"neither TRAINABLE nor MODEL in the graph"}


def test_a_run_in_a_store(run: Path, tmp_path: Path) -> None:
    """The folder, the checkpoint and the metagraph may be URLs, and so may the file to write."""
    fs = fsspec.filesystem("memory")
    fs.put(str(run), "dumped-run", recursive=True)
    fs.store["/dumped-run/graph-9.meta"].created = datetime.datetime(
        2000, 1, 1, tzinfo=datetime.UTC
    )
    expected = initreg.load(initreg.dump(run, tmp_path / "expected.npz").path)
    url = "memory://dumped-run"
    for checkpoint, meta in (
        (url, None),
        (f"{url}/", None),
        (f"{url}/model-2", f"{url}/graph-1.meta"),
        (run / "model-2", f"{url}/graph-1.meta"),
        (f"{url}/model-2", run / "graph-1.meta"),
    ):
        done = initreg.dump(checkpoint, f"{url}/out.npz", meta=meta)
        assert str(done.path) == f"{url}/out.npz"
        assert str(done.meta).endswith("graph-1.meta")
        found = initreg.load(f"{url}/out.npz")
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], array) for name, array in expected.items())
    with pytest.raises(InitregError, match=rf'meta="{url}/graph-1\.meta"'):
        initreg.dump(f"{url}/model-2", tmp_path / "m.npz")
    with pytest.raises(initreg.SourceNotFound, match=rf"{url}/nope\.meta"):
        initreg.dump(url, tmp_path / "m.npz", meta=f"{url}/nope.meta")
    fs.rm("dumped-run", recursive=True)


def test_of_a_given_metagraph(run: Path, tmp_path: Path) -> None:
    """``meta`` is used with any checkpoint, and beside a checkpoint of its own name."""
    meta = run / "model-1.meta"
    meta.write_bytes((run / "graph-1.meta").read_bytes())
    try:
        equal(dump(run / "model-1", tmp_path / "a.ckpt", meta=meta).path, run / "model-1", MODEL)
    finally:
        meta.unlink()


def test_unknown_ops_do_not_matter(run: Path, tmp_path: Path) -> None:
    """A graph that cannot be imported says which variables are its own all the same."""
    proto = v1.MetaGraphDef.FromString((run / "graph-1.meta").read_bytes())
    for node in proto.graph_def.node:
        node.op = "Op" + node.op
    (tmp_path / "a.meta").write_bytes(proto.SerializeToString())
    done = dump(run / "model-2", tmp_path / "a.ckpt", meta=tmp_path / "a.meta")
    equal(done.path, run / "model-2", MODEL)


def test_a_missing_parameter_is_named(run: Path, tmp_path: Path) -> None:
    """Whatever of the model the checkpoint lacks is one error, and nothing is written."""
    arrays = initreg.load(run / "model-2")
    del arrays["fc/w"], arrays["parts"]
    with pytest.raises(MissingError, match=r"lacks 2 parameters(?s:.*)fc/w(?s:.*)parts"):
        dump(arrays, tmp_path / "a.ckpt", meta=run / "graph-1.meta")
    assert os.listdir(tmp_path) == []


def test_another_shape_is_an_error(run: Path, tmp_path: Path) -> None:
    """The metagraph of another model of the same names is noticed."""
    with pytest.raises(MismatchError, match=r"fc/w: shape \(4, 3\), in the graph \(4, 2\)"):
        dump(run / "model-2", tmp_path / "a.ckpt", meta=run / "graph-9.meta")
    assert os.listdir(tmp_path) == []


def test_an_object_based_checkpoint_of_the_graph(tmp_path: Path) -> None:
    """Its arrays are known by the graph's names, under which they are published."""
    with tf.Graph().as_default(), v1.Session() as session:
        w = v1.get_variable("net/w", initializer=np.arange(3.0), use_resource=True)
        session.run(v1.global_variables_initializer())
        v1.train.export_meta_graph(str(tmp_path / "graph.meta"))
        path = v1.train.Checkpoint(layer=w).save(str(tmp_path / "object"), session=session)
    done = dump(path, tmp_path / "a.ckpt", meta=tmp_path / "graph.meta")
    assert [(spec.name, spec.origin) for spec in done.kept] == [("net/w", "layer")]
    assert initreg.load(done.path)["net/w"].tolist() == [0, 1, 2]


def test_what_is_no_metagraph(run: Path, tmp_path: Path) -> None:
    """A damaged one, one without the collections, and another file say what they are."""
    (tmp_path / "cut.meta").write_bytes((run / "graph-1.meta").read_bytes()[:-5])
    with pytest.raises(initreg.DamagedFile, match=r"cut\.meta: is damaged or truncated"):
        dump(run, tmp_path / "a.ckpt", meta=tmp_path / "cut.meta")
    with pytest.raises(InitregError, match=r"model-1: does not say .* pass inference=True"):
        dump(run, tmp_path / "a.ckpt", meta=run / "model-1")
    with pytest.raises(initreg.SourceNotFound, match=r"gone\.meta"):
        dump(run, tmp_path / "a.ckpt", meta=tmp_path / "gone.meta")
    (tmp_path / "text.meta").write_text("no graph")
    with pytest.raises(initreg.UnknownFormat, match=r"text\.meta"):
        dump(run, tmp_path / "a.ckpt", meta=tmp_path / "text.meta")


def test_neither_is_an_error_that_says_what_to_type(run: Path, tmp_path: Path) -> None:
    """With the newest metagraph beside the checkpoint as the example."""
    with pytest.raises(InitregError, match=r'meta="[^"]*graph-1\.meta", or pass inference=True'):
        dump(run / "model-2", tmp_path / "a.ckpt")
    with pytest.raises(
        InitregError, match=r'dict of 1: it is not .* meta="graph\.meta", or pass inf'
    ):
        dump({"w": np.zeros(2)}, tmp_path / "a.ckpt")
    with pytest.raises(InitregError, match="Pass one of them"):
        dump(run, tmp_path / "a.ckpt", meta=run / "graph-1.meta", inference=True)


# --- by what the checkpoint shows ---------------------------------------------------------------


def test_inference_of_a_tf1_checkpoint(run: Path, tmp_path: Path) -> None:
    """The same as by the metagraph, each drop with its reason."""
    done = dump(run, tmp_path / "a.ckpt", inference=True)
    equal(done.path, run / "model-2", MODEL)
    assert done.meta is None
    assert done.dropped["parts/Adam"] == "optimiser slot"
    assert done.dropped["global_step"] == "a counter of training"
    assert done.dropped["learning_rate"] == "learning rate"
    assert done.dropped["beta1_power"] == "a number of the optimiser's"


def keras_model(keras: Any, optimizer: Any = "adam") -> Any:
    """A trained model of two layers."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(4, input_shape=(3,))] if keras.__name__ == "tf_keras" else []
    if not layers:
        layers = [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    model = keras.Sequential([*layers, keras.layers.Dense(2)])
    model.compile(optimizer, "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    return model


Write = Callable[[Any, Path], Any]
WRITERS: dict[str, Write] = {
    "a.weights.h5": lambda model, path: model.save_weights(path),
    "a.keras": lambda model, path: model.save(path),
    "a.h5": lambda model, path: model.save(path),
    "object-1": lambda model, path: tf.train.Checkpoint(model=model).save(str(path)[:-2]),
}


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    import keras
    import tf_keras

    old = tf_keras.optimizers.legacy.Adam()
    return {
        "keras": keras_model(keras),
        "tf_keras": keras_model(tf_keras),
        "tf_keras, older optimiser": keras_model(tf_keras, old),
    }


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")  # Keras's own
@pytest.mark.filterwarnings("ignore::UserWarning")  # that HDF5 is the older of Keras's formats
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("kind", ["keras", "tf_keras", "tf_keras, older optimiser"])
def test_inference_of_what_keras_writes(
    kind: str, name: str, models: dict[str, Any], tmp_path: Path
) -> None:
    """Exactly the values of the model's weights are left, whichever Keras wrote which format."""
    model = models[kind]
    WRITERS[name](model, tmp_path / name)
    done = dump(tmp_path / name, tmp_path / "a.ckpt", inference=True)
    found = sorted(array.tobytes() for array in initreg.load(done.path).values())
    assert found == sorted(np.asarray(weight).tobytes() for weight in model.get_weights())
    assert not any("variables/" in spec.name for spec in done.kept)


def test_what_is_left_of_keras_fits_the_model(models: dict[str, Any], tmp_path: Path) -> None:
    """A dumped object-based checkpoint fills a new model of the same layers."""
    import keras

    tf.train.Checkpoint(model=models["keras"]).save(str(tmp_path / "object"))
    done = dump(tmp_path / "object-1", tmp_path / "a.ckpt", inference=True)
    fresh = keras_model(keras)
    fresh.set_weights([np.zeros_like(weight) for weight in fresh.get_weights()])
    plan = SmartInit(done.path, strip_prefix="model/", on_missing="ignore").init(fresh)
    assert len(plan.restored) == len(fresh.weights)
    for ours, theirs in zip(fresh.get_weights(), models["keras"].get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    """A checkpoint of bookkeeping alone is not published."""
    with pytest.raises(InitregError, match=r"nothing would be left\. All arrays \(1\) belong"):
        dump({"global_step": np.int64(3)}, tmp_path / "a.ckpt", inference=True)
    assert os.listdir(tmp_path) == []


def test_what_is_told(run: Path, tmp_path: Path) -> None:
    """Folded for people, and every name for machines."""
    done = dump(run, tmp_path / "a.ckpt", inference=True)
    assert isinstance(done, Dumped)
    text = done.to_text()
    assert "  4 kept\n" in text
    assert "    bn/mean  (3,) float32\n    fc/b  (3,) float32\n" in text
    assert "    fc/{b,w}/Adam  2 x optimiser slot\n" in text
    assert f"  {len(done.dropped)} dropped\n" in text
    answer = done.to_dict()
    assert {each["name"] for each in answer["kept"]} == MODEL
    assert {each["name"] for each in answer["dropped"]} == set(done.dropped)


# --- beside tensorpack --------------------------------------------------------------------------


def train_tensorpack(folder: Path) -> None:
    """One step of a real tensorpack trainer, with its saver."""
    from tensorpack import callbacks, dataflow, input_source, train
    from tensorpack.graph_builder import ModelDesc
    from tensorpack.tfutils import summary

    class Model(ModelDesc):  # type: ignore[misc]
        def inputs(self) -> list[Any]:
            return [tf.TensorSpec([None, 3], tf.float32, "x")]

        def build_graph(self, x: Any) -> Any:
            w = v1.get_variable("fc/W", [3, 1])
            collections = ["variables", "model_variables"]
            v1.get_variable("bn/mean/EMA", [1], trainable=False, collections=collections)
            cost = tf.reduce_mean(tf.matmul(x, w) ** 2, name="cost")
            summary.add_moving_summary(cost)
            return cost

        def optimizer(self) -> Any:
            rate = v1.get_variable("learning_rate", initializer=0.1, trainable=False)
            return v1.train.AdamOptimizer(rate)

    class Data(dataflow.DataFlow):  # type: ignore[misc]
        def __iter__(self) -> Any:
            while True:
                yield [np.ones((2, 3), "float32")]

    with tf.Graph().as_default():
        # launch_train_with_config does this, and turns eager execution off for all later threads.
        trainer, model = train.SimpleTrainer(), Model()
        signature, data = model.get_input_signature(), input_source.QueueInput(Data())
        trainer.setup_graph(signature, data, model.build_graph, model.get_optimizer)
        trainer.train_with_defaults(
            callbacks=[callbacks.ModelSaver(checkpoint_dir=str(folder))],
            extra_callbacks=[],
            monitors=[],
            steps_per_epoch=2,
            max_epoch=1,
        )


def tensorpack_dump(meta: Path, checkpoint: Path, out: Path) -> None:
    """What the main part of tensorpack's scripts/dump-model-params.py does."""
    from tensorpack.tfutils import varmanip

    arrays = {
        f"{name}:0": value for name, value in varmanip.load_chkpt_vars(str(checkpoint)).items()
    }
    with tf.Graph().as_default():
        v1.train.import_meta_graph(str(meta), clear_devices=True)
        wanted = {v.name for v in v1.trainable_variables() + v1.model_variables()}
        wanted &= {v.name for v in v1.global_variables()}
    varmanip.save_chkpt_vars({name: arrays[name] for name in wanted}, str(out))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # tensorpack uses names of 2019
def test_the_same_as_tensorpack(tmp_path: Path) -> None:
    """Of a run that tensorpack trained, what its own script writes, by the metagraph or without."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train_tensorpack(tmp_path)
    (meta,) = tmp_path.glob("graph-*.meta")
    tensorpack_dump(meta, tmp_path / "model-2", tmp_path / "theirs.npz")
    for options in ({}, {"inference": True}):
        done = dump(tmp_path, tmp_path / "ours.ckpt", **options)
        equal(done.path, tmp_path / "theirs.npz", {"fc/W", "bn/mean/EMA"})
        assert {"fc/W/Adam_1", "global_step", "learning_rate"} <= set(done.dropped)


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    """It says that there is none, before it asks for a metagraph."""
    (tmp_path / "log.log").write_text("")
    for path in (tmp_path, tmp_path / "model-1"):
        with pytest.raises(InitregError) as caught:
            initreg.dump(path, tmp_path / "out.npz")
        assert "graph.meta" not in str(caught.value)
        assert str(path) in str(caught.value)
