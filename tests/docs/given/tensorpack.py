"""A model of tensorpack, and weights for it; each training has a process of its own."""

import warnings

import numpy as np

import initreg


def given(page):
    initreg.save("zoo.npz", {"conv/W": np.full((4, 1), 2, "f4")})
    initreg.save("fc.npz", {"fc/W": np.full((4, 1), 2, "f4")})


def training(folder):
    def prepare(page):
        warnings.simplefilter("ignore")
        import tensorflow as tf
        from tensorpack import (
            FakeData,
            FeedInput,
            ModelDesc,
            ModelSaver,
            SimpleTrainer,
            launch_train_with_config,
        )
        from tensorpack.utils import logger

        logger.set_logger_dir(folder, action="k")
        v1 = tf.compat.v1

        class Model(ModelDesc):
            def inputs(self):
                return [tf.TensorSpec([1], tf.float32, "x")]

            def build_graph(self, x):
                w = v1.get_variable("fc/W", [4, 1], initializer=v1.zeros_initializer())
                return tf.reduce_sum(w, name="cost")

            def optimizer(self):
                return v1.train.GradientDescentOptimizer(1.0)

        page.Model = Model
        page.data = FeedInput(FakeData([[1]], 100))

        def launch(config, trainer):
            if folder == "first_log":  # the page does not save here
                config.callbacks = [ModelSaver()]
            launch_train_with_config(config, trainer)

        page.SimpleTrainer, page.launch_train_with_config = SimpleTrainer, launch

    return prepare


def it_began_with_the_weights(page, again):
    assert initreg.load("first_log/model-2")["fc/W"].tolist() == [[2 - 2]] * 4


def it_saves_and_goes_on(page, again):
    assert initreg.load("train_log/model-6")["fc/W"].tolist() == [[2 - 6]] * 4
    again("max_epoch=3", "max_epoch=4")
    assert initreg.load("train_log/model-8")["fc/W"].tolist() == [[2 - 8]] * 4
    again("max_epoch=3", "max_epoch=4")  # it is at its end
    assert initreg.resume("train_log").step == 8


def after(page):
    assert page.model["fc/W"].tolist() == [[2 - 6]] * 4
    assert page.model["head/b"].tolist() == [1, 2]


APART = {
    "import TrainConfig": training("first_log"),
    "AutoResumeTrainConfig(": training("train_log"),
}
AFTER = {
    "import TrainConfig": it_began_with_the_weights,
    "AutoResumeTrainConfig(": it_saves_and_goes_on,
}
