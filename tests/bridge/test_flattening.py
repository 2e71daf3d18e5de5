"""initreg.bridge.flattening: dense kernels of a target that does not know what it flattens."""

from __future__ import annotations

import pytest

from initreg import ArraySpec, Mapped, VariableSpec
from initreg.bridge.deriving import mapped

Shapes = dict[str, tuple[int, ...]]
OF_TORCH: Shapes = {
    "a.weight": (4, 3, 3, 3),
    "a.bias": (4,),
    "b.weight": (5, 144),
    "b.bias": (5,),
    "c.weight": (7, 5),
}
OF_KERAS: Shapes = {
    "a/kernel": (3, 3, 3, 4),
    "a/bias": (4,),
    "b/kernel": (144, 5),
    "b/bias": (5,),
    "c/kernel": (5, 7),
}
POOLED_OF_TORCH: Shapes = {**OF_TORCH, "b.weight": (5, 4)}
POOLED_OF_KERAS: Shapes = {**OF_KERAS, "b/kernel": (4, 5)}


def derived(source: Shapes, target: Shapes) -> Mapped:
    """The map onto a target of which nothing but names and shapes is known."""
    arrays = [ArraySpec(name, shape, "float32") for name, shape in source.items()]
    variables = [VariableSpec(name, shape, "float32") for name, shape in target.items()]
    return mapped("s", "t", arrays, variables, {})


@pytest.mark.parametrize(
    ("source", "target", "variable"),
    [(OF_KERAS, OF_TORCH, "b.weight"), (OF_TORCH, OF_KERAS, "b/kernel")],
)
def test_what_may_be_flattened_is_open(source: Shapes, target: Shapes, variable: str) -> None:
    """In both directions, and the question says how many inputs there are for each channel."""
    found = derived(source, target)
    (question,) = found.open
    assert question.variables == (variable,)
    assert question.why.startswith("its 144 inputs are 36 for each of the 4 channels of the layer")
    assert (
        found.verdict == f"{len(target) - 1} of {len(target)} variables have their array; 1 is open"
    )


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (POOLED_OF_KERAS, POOLED_OF_TORCH),
        (POOLED_OF_TORCH, POOLED_OF_KERAS),
        (OF_TORCH, {name.replace("a.", "x."): shape for name, shape in OF_TORCH.items()}),
        (OF_KERAS, {name.replace("a/", "x/"): shape for name, shape in OF_KERAS.items()}),
    ],
)
def test_what_is_pooled_or_of_the_same_framework_is_not(source: Shapes, target: Shapes) -> None:
    """One input for each channel has one order, and so has a source of the same framework."""
    assert derived(source, target).is_complete


def test_without_a_bias_the_kernel_says_how_many_channels_there_are() -> None:
    """The convolution has 4 channels, whichever axis they are."""
    for source, target in ((OF_KERAS, OF_TORCH), (OF_TORCH, OF_KERAS)):
        without = [{n: s for n, s in each.items() if "bias" not in n} for each in (source, target)]
        (question,) = derived(*without).open
        assert "for each of the 4 channels" in question.why


def test_a_dense_layer_between_has_its_inputs_from_there() -> None:
    """Only the layer just behind the convolution is doubted."""
    between = {**OF_KERAS, "c/kernel": (5, 8), "d/kernel": (8, 7)}
    target = {**OF_TORCH, "c.weight": (8, 5), "d.weight": (7, 8)}
    (question,) = derived(between, target).open
    assert question.variables == ("b.weight",)
