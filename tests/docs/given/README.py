"""A session with a source for each of its variables, and the demo's weights."""

import os
from pathlib import Path

import initreg

ROOT = Path(__file__).parents[3]


def given(page):
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        variables = [tf.compat.v1.get_variable(name, [2]) for name in ("a", "b", "c", "d", "fc/W")]
    page.session = tf.compat.v1.Session(graph=graph)
    page.values = lambda: [value.tolist() for value in page.session.run(variables)]
    os.makedirs("path/to")
    # Each source has what the later ones do not have, so that the end shows all of them.
    initreg.save("path/to/checkpoint", {"a": [1.0, 1.0]}, format="tf_checkpoint")
    initreg.save("path/to/model_zoo.npz", {"b": [2.0, 2.0]})
    page.w = [3.0, 3.0]
    initreg.save("base.npz", {"c": [4.0, 4.0], "d": [4.0, 4.0]})
    page.overrides_dict = {"d": [5.0, 5.0]}

    os.symlink(ROOT / "demo", "demo")


def each_source_is_restored(page, again):
    assert page.values() == [[1, 1], [2, 2], [4, 4], [5, 5], [3, 3]]


AFTER = {
    'SmartInit("path/to/checkpoint").init(session)': each_source_is_restored,
}
