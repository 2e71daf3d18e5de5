"""A session; files for it, one of them an old pickle; a model that is a dict, and overrides."""

import numpy as np

import initreg
from initreg import SmartInit


def given(page):
    import tensorflow as tf

    page.SmartInit = SmartInit
    with tf.Graph().as_default() as graph:
        variables = [tf.compat.v1.get_variable(name, [2]) for name in ("fc/W", "fc/b")]
    page.session = tf.compat.v1.Session(graph=graph)
    page.values = lambda: [value.tolist() for value in page.session.run(variables)]
    initreg.save("base.npz", {"fc/W": [1.0, 1.0], "fc/b": [1.0, 1.0]})
    np.save("old_zoo.npy", np.array({"fc/b": np.full(2, 2.0)}, object))
    page.model = {"fc/W": np.zeros(2), "fc/b": np.zeros(2), "head/b": np.zeros(3)}
    page.overrides = {"fc/b": np.full(2, 3.0), "step": np.array(4)}


def the_pickle_wins(page, again):
    assert page.values() == [[1, 1], [2, 2]]


def after(page):
    plan = page.plan
    assert (plan.ok, plan.error()) == (True, None)
    assert [row.name for row in plan.of("only in target")] == ["head/b"]
    assert [row.name for row in plan.missing("warn")] == ["head/b"]
    assert [row.name for row in plan.restored] == ["fc/W", "fc/b"]
    assert page.model["fc/W"].tolist() == [0, 0]


AFTER = {"allow_pickle=True": the_pickle_wins}
