"""What is looked at: values, and outputs of models."""

import numpy as np

NAMES = ["head/bias", "head/kernel", "hidden/bias", "hidden/kernel"]


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


def the_file_has_the_weights(page, again):
    import initreg

    found = initreg.load("model.safetensors")
    assert sorted(found) == [f"model/{name}" for name in NAMES]
    assert (found["model/head/kernel"] == page.model.get_weights()[2]).all()


def it_goes_on(page, again):
    assert page.start.initial_epoch == 0
    weights = page.model.get_weights()
    page.model = page.build(3)
    page.model.get_layer("hidden").trainable = False
    page.model.compile("adam", "mse")
    again()
    assert page.start.initial_epoch == 4
    for found, expected in zip(page.model.get_weights(), weights, strict=True):
        assert (found == expected).all()


AFTER = {
    "trained.save_weights": same_outputs,
    'drop="layers/dense_1/*"': the_hidden_layer_alone,
    'metadata={"license"': the_file_has_the_weights,
    "trainers.keras import": it_goes_on,
}
