"""Files and models for each of the rules that are shown."""

import numpy as np

import initreg
from initreg import SmartInit


def given(page):
    page.initreg, page.SmartInit = initreg, SmartInit
    initreg.save("base.npz", {"model/fc/W": [1.0, 2.0], "head/W": [3.0]})
    page.model = {"fc/W": np.zeros(2), "head/W": np.zeros(1)}


def the_prefix_is_gone_and_the_head_is_left(page, again):
    def model():
        return {name: array.tolist() for name, array in page.model.items()}

    assert model() == {"fc/W": [1, 2], "head/W": [0]}
    page.model["fc/W"][:] = 0
    again('SmartInit("base.npz", strip_prefix="model/", drop="head/*").init(model)\n', "")
    assert model() == {"fc/W": [1, 2], "head/W": [0]}


def two_models(page):
    initreg.save("bert.npz", {"bert/W": [1.0], "cls/W": [2.0]})
    initreg.save("gpt.npz", {"gpt/W": [3.0]})
    page.model = {"encoder/W": np.zeros(1), "decoder/W": np.zeros(1)}


def both_are_in_the_model(page, again):
    assert page.model == {"encoder/W": [1], "decoder/W": [3]}


def layers(page):
    shapes = {"conv1/kernel": (3, 3, 1, 2), "fc1/kernel": (4, 8), "fc1/bias": (8,)}
    page.model = {name: np.zeros(shape, "f4") for name, shape in shapes.items()}
    page.model["head/kernel"] = np.zeros((8, 3), "f4")
    page.larger = {"embedding/table": np.zeros((32_000, 2), "f4")}
    base = {name: np.full(shape, 2, "f4") for name, shape in shapes.items()}
    base["head/kernel"] = np.ones((8, 10), "f4")
    base["embedding/table"] = np.array([[1, 2], [3, 6]], "f4")
    initreg.save("base.npz", base)
    random = np.random.default_rng(0)
    page.torch = {
        "conv1.weight": random.random((2, 1, 3, 3), "f4"),
        "fc1.weight": random.random((8, 4), "f4"),
    }
    initreg.save("torch.safetensors", page.torch)


def each_recipe_is_in_its_model(page, again):
    model = page.model
    assert (model["head/kernel"] == 0).all()
    assert (model["fc1/bias"] == 2).all()
    assert (model["fc1/kernel"] == page.torch["fc1.weight"].T).all()
    assert (model["conv1/kernel"] == page.torch["conv1.weight"].transpose(2, 3, 1, 0)).all()
    table = page.larger["embedding/table"]
    assert table[:3].tolist() == [[1, 2], [3, 6], [2, 4]]
    assert (table[2:] == [2, 4]).all()


BEFORE = {'"bert.npz"': two_models, '"torch.safetensors"': layers}
AFTER = {
    '.strip_prefix("model/")': the_prefix_is_gone_and_the_head_is_left,
    '"bert.npz"': both_are_in_the_model,
    '"torch.safetensors"': each_recipe_is_in_its_model,
}
