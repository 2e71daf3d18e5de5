"""The files, sessions and models of each tool; and what both sides of a block came to."""

import contextlib
import os
from pathlib import Path

import numpy as np

import initreg


def given(page):
    from initreg import SmartInit

    page.initreg, page.SmartInit = initreg, SmartInit
    page.default = contextlib.ExitStack()
    os.mkdir("log")
    arrays = {"fc/W": np.arange(6, dtype="f4").reshape(2, 3), "fc/b": np.full(3, 0.5, "f4")}
    initreg.save("base.npz", {"fc/W": np.ones((4, 1), "f4")})
    initreg.save("a.h5", arrays)
    initreg.save("b.h5", arrays | {"fc/b": np.full(3, 0.500001, "f4")})
    initreg.save("model.safetensors", arrays)
    random = np.random.default_rng(0)
    for name in ("base_model", "one", "two"):
        moved = {key: a + random.normal(size=a.shape).astype("f4") for key, a in arrays.items()}
        initreg.save(f"{name}.npz", moved)
    page.arrays = arrays


# --- tensorpack -----------------------------------------------------------------------------------


def tensorpack(page):
    import warnings

    warnings.simplefilter("ignore")
    import tensorflow as tf
    from tensorpack import FakeData, FeedInput, ModelDesc, SimpleTrainer, launch_train_with_config
    from tensorpack.utils import logger

    logger.set_logger_dir("tensorpack_log", action="k")
    v1 = tf.compat.v1

    class Model(ModelDesc):
        def inputs(self):
            return [tf.TensorSpec([1], tf.float32, "x")]

        def build_graph(self, x):
            return tf.reduce_sum(v1.get_variable("fc/W", [4, 1]), name="cost")

        def optimizer(self):
            return v1.train.GradientDescentOptimizer(1.0)

    page.Model = Model
    page.data = FeedInput(FakeData([[1]], 100))
    page.SimpleTrainer, page.launch_train_with_config = SimpleTrainer, launch_train_with_config


def two_steps_were_taken(page, again):
    assert initreg.load("tensorpack_log/model-2")["fc/W"].tolist() == [[1 - 2]] * 4


# --- TF1 ------------------------------------------------------------------------------------------


def graph(page, scope):
    import tensorflow as tf

    page.tf = tf
    v1 = page.v1 = tf.compat.v1
    made = tf.Graph()
    page.default.close()
    page.default.enter_context(made.as_default())  # for the next blocks
    variables = [
        v1.get_variable(f"{scope}/W", [2, 3], initializer=v1.ones_initializer()),
        v1.get_variable(f"{scope}/b", [3], initializer=v1.ones_initializer()),
    ]
    page.session = v1.Session(graph=made)
    page.session.run(v1.global_variables_initializer())
    return variables


def a_saver(page):
    variables = graph(page, "fc")
    page.saver = page.v1.train.Saver()
    for variable, name in zip(variables, ("fc/W", "fc/b"), strict=True):
        variable.load(page.arrays[name], page.session)
    page.saver.save(page.session, "log/model-100")
    page.variables = variables


def values(page):
    return [value.tolist() for value in page.session.run(page.variables)]


def each_side_restores_all(page, again):
    expected = [array.tolist() for array in page.arrays.values()]
    for other in ('saver.restore(session, "log/model-100")', "SmartInit("):
        page.session.run(page.v1.global_variables_initializer())
        assert values(page) != expected
        # One side alone: the other one is made a comment.
        again(other, f"# {other}")
        assert values(page) == expected


def another_scope(page):
    page.variables = graph(page, "body")


def each_side_restores_the_scope(page, again):
    expected = [array.tolist() for array in page.arrays.values()]
    assert values(page) == expected
    another_scope(page)
    again("SmartInit(", "# SmartInit(")
    # The initializer that init_from_checkpoint changed ran last.
    assert values(page) == expected
    another_scope(page)
    again("v1.train.init_from", "# v1.train.init_from")
    assert values(page) == expected


# --- TF2 and Keras --------------------------------------------------------------------------------


def a_model(page):
    import keras
    import tensorflow as tf

    page.default.close()
    page.tf = tf
    page.model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)], name="model")
    page.saved = [np.arange(6, dtype="f4").reshape(2, 3), np.full(3, 0.5, "f4")]
    page.model.set_weights(page.saved)
    tf.train.Checkpoint(model=page.model).write("tf2/model-1")
    page.model.save_weights("model.weights.h5")
    page.empty = lambda: page.model.set_weights([np.zeros_like(w) for w in page.saved])


def each_side_fills_the_model(*lines):
    def looks(page, again):
        for line in lines:
            page.empty()
            again(line, f"# {line}")
            for found, expected in zip(page.model.get_weights(), page.saved, strict=True):
                assert (found == expected).all()

    return looks


# --- files ----------------------------------------------------------------------------------------


def a_folder_of_the_hub(page):
    os.makedirs("hub/model")
    initreg.save("hub/model/model.safetensors", page.arrays, shard_size=30)
    assert len(list(Path("hub/model").glob("*-of-00002.safetensors"))) == 2
    page.target = {name: np.zeros_like(array) for name, array in page.arrays.items()}


def the_target_is_filled(page, again):
    for name, array in page.arrays.items():
        assert (page.target[name] == array).all()


def both_files_are_the_same(page, again):
    assert page.ours.keys() == page.theirs.keys() == page.arrays.keys()
    for name, array in page.arrays.items():
        assert (page.ours[name] == array).all()
        assert (page.theirs[name] == array).all()
    found = [page.load_file(f"{side}.safetensors") for side in ("ours", "theirs")]
    assert all((found[0][name] == found[1][name]).all() for name in page.arrays)
    with initreg.open("theirs.safetensors") as theirs, initreg.open("ours.safetensors") as ours:
        assert dict(theirs.metadata) == dict(ours.metadata) == {"format": "np"}


BEFORE = {
    "saver.restore(": a_saver,
    "init_from_checkpoint(": another_scope,
    "tf.train.Checkpoint(": a_model,
    "hub/model": a_folder_of_the_hub,
}
APART = {"trainers.tensorpack import": tensorpack}
AFTER = {
    "trainers.tensorpack import": two_steps_were_taken,
    "saver.restore(": each_side_restores_all,
    "init_from_checkpoint(": each_side_restores_the_scope,
    "tf.train.Checkpoint(": each_side_fills_the_model(
        "tf.train.Checkpoint(model=model).read", "SmartInit("
    ),
    "load_weights(": each_side_fills_the_model("model.load_weights", "SmartInit("),
    "hub/model": the_target_is_filled,
    "save_file(": both_files_are_the_same,
}
