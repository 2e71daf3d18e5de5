"""The log of a training with Adam as TensorFlow 1 leaves it, and a session with the model."""

import os
import shutil

import initreg


def given(page):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        w = v1.get_variable("fc/W", [2], initializer=v1.ones_initializer())
        step = v1.train.get_or_create_global_step()
        train = v1.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(w * w), step)
        saver = v1.train.Saver()
        initial = v1.global_variables_initializer()
    page.session = v1.InteractiveSession(graph=graph)  # the default session
    page.session.run(initial)
    page.session.run(train)
    os.makedirs("train_log/run")
    saver.save(page.session, "train_log/run/model", global_step=2000, write_meta_graph=False)
    saver.export_meta_graph("train_log/run/graph-0312-181502.meta")
    page.trained = page.session.run(w)
    shutil.copytree("train_log/run", "checkpoint")
    os.remove("checkpoint/graph-0312-181502.meta")
    os.mkdir("published")


def only_the_weights(page, path):
    arrays = initreg.load(path)
    assert list(arrays) == ["fc/W"]
    assert (arrays["fc/W"] == page.trained).all()
    os.remove(path)


def both_are_dumped(page, again):
    only_the_weights(page, "model.npz")
    only_the_weights(page, "model.safetensors")


def what_was_kept_and_dropped(page, again):
    only_the_weights(page, page.done.path)
    assert [spec.name for spec in page.done.kept] == ["fc/W"]
    dropped = {"fc/W/Adam", "fc/W/Adam_1", "beta1_power", "beta2_power", "global_step"}
    assert set(page.done.dropped) == dropped


def the_one_is_dumped(page, again):
    only_the_weights(page, "model.npz")


def after(page):
    only_the_weights(page, "model.npz")
    published = initreg.load("published/model")
    assert set(published) == {"fc/W", *page.done.dropped}
    assert (published["fc/W"] == page.trained).all()
    assert initreg.probe("published/model").winner == "tf_checkpoint"


AFTER = {
    "--meta train_log/run/graph": both_are_dumped,
    "initreg.dump(": what_was_kept_and_dropped,
    "--inference": the_one_is_dumped,
}
