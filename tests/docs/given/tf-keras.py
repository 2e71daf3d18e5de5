"""What is looked at: values, and outputs of models."""

import numpy as np


def same_outputs(page, again):
    x = np.random.default_rng(0).random((4, 8), "f4")
    assert np.array_equal(page.model(x), page.trained(x))
    assert np.asarray(page.model(x)).any()


def the_hidden_layer_alone(page, again):
    for found, expected in zip(
        page.model.get_weights()[:2], page.trained.get_weights()[:2], strict=True
    ):
        assert (found == expected).all()
    assert page.model.get_weights()[2].shape == (16, 3)


AFTER = {"trained.save_weights": same_outputs, 'expect_missing="head/*"': the_hidden_layer_alone}
