"""A toy training for each kind of loop; each is run again, and goes on from what it saved."""

import os
import shutil

import numpy as np

import initreg


def given(page):
    os.mkdir("run")
    initreg.save("base.npz", {"fc/W": np.ones((4, 1), "f4")})
    page.schedule = initreg.RandomStates()


# --- a loop of one's own --------------------------------------------------------------------------


def a_random_walk(page):
    shutil.rmtree("run")
    os.mkdir("run")
    page.rng = np.random.default_rng(0)
    page.model = {"fc/W": np.zeros(2), "step": np.array(0)}
    page.epochs = 3
    page.arrays_of = dict

    def train_one_epoch(model, rng):
        model["fc/W"] += rng.random(2)
        model["step"] += 1
        return int(model["step"])

    page.train_one_epoch = train_one_epoch


def the_walk_goes_on_as_if_it_had_not_stopped(page, again):
    rng = np.random.default_rng(0)
    steps = np.cumsum([rng.random(2) for _ in range(5)], axis=0)
    assert (page.model["fc/W"] == steps[2]).all()
    page.rng = np.random.default_rng(1)
    page.model["fc/W"][:] = 0
    page.epochs = 5
    again()
    assert (page.model["fc/W"] == steps[4]).all()
    assert initreg.resume("run").epoch == 5


# --- tensorpack -----------------------------------------------------------------------------------


def tensorpack(page):
    import warnings

    warnings.simplefilter("ignore")
    import tensorflow as tf
    from tensorpack import FakeData, FeedInput, ModelDesc, SimpleTrainer, launch_train_with_config
    from tensorpack.utils import logger

    logger.set_logger_dir("log", action="k")
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


def each_step_takes_one(page, again):
    assert initreg.load("log/model-6")["fc/W"].tolist() == [[1 - 6]] * 4
    again("max_epoch=3", "max_epoch=4")
    assert initreg.load("log/model-8")["fc/W"].tolist() == [[1 - 8]] * 4


# --- Keras and TF1 sessions -----------------------------------------------------------------------


def sums(page):
    shutil.rmtree("run")
    page.x = np.ones((8, 3), "f4")
    page.y = page.x.sum(1)


def keras_goes_on(page, again):
    assert page.start.initial_epoch == 0
    weights = page.model.get_weights()
    again()
    assert page.start.initial_epoch == 20
    assert [w.tolist() for w in page.model.get_weights()] == [w.tolist() for w in weights]


def the_session_goes_on(page, again):
    for steps in (3, 6):
        point = initreg.resume("run1")
        assert point.step == steps
        # Adam begins with steps of about its rate, 0.1; from the ones of base.npz.
        assert np.allclose(initreg.load(point.path)["fc/W"], 1 - 0.1 * steps, atol=0.02)
        again()


BEFORE = {"train_one_epoch(": a_random_walk, "trainers.keras import": sums}
APART = {"trainers.tensorpack import": tensorpack}
AFTER = {
    "train_one_epoch(": the_walk_goes_on_as_if_it_had_not_stopped,
    "trainers.tensorpack import": each_step_takes_one,
    "trainers.keras import": keras_goes_on,
    "trainers.tf1 import": the_session_goes_on,
}
