"""Transposed convolutions of flax, whose windows are the other way round, by outputs."""

from __future__ import annotations

import warnings
from pathlib import Path

import flax.linen as nn
import flax.serialization
import jax
import keras
import numpy as np
import pytest

from initreg import AxesWarning, SmartInit

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 6, 6, 4)).astype("f4")


@pytest.mark.parametrize("transpose_kernel", [True, False])
def test_a_square_kernel_is_doubted(tmp_path: Path, transpose_kernel: bool) -> None:
    """It fits as it is, and only with transpose_kernel=True it computes the same. The file does not
    say which it is, so both are doubted."""
    theirs = nn.ConvTranspose(4, (3, 3), transpose_kernel=transpose_kernel, name="up")
    parameters = theirs.init(jax.random.PRNGKey(0), IMAGES)
    source = tmp_path / "m.msgpack"
    source.write_bytes(flax.serialization.to_bytes({"params": {"up": parameters["params"]}}))
    ours = keras.Sequential(
        [keras.Input((6, 6, 4)), keras.layers.Conv2DTranspose(4, 3, padding="same", name="up")]
    )
    with pytest.warns(AxesWarning, match="window the other way round"):
        SmartInit(source, strip_prefix="params/").init(ours)
    found, expected = np.asarray(ours(IMAGES)), np.asarray(theirs.apply(parameters, IMAGES))
    assert np.allclose(found, expected, atol=1e-5) is transpose_kernel
    if transpose_kernel:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            as_it_is = {"up/kernel": (0, 1, 2, 3)}
            SmartInit(source, strip_prefix="params/", permute=as_it_is).init(ours)
        return
    array = np.asarray(parameters["params"]["kernel"])[::-1, ::-1].swapaxes(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SmartInit([source, {"up/kernel": array}], strip_prefix="params/").init(ours)
    np.testing.assert_allclose(np.asarray(ours(IMAGES)), expected, atol=1e-5)
