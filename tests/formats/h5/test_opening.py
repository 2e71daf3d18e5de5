"""What a file says of its arrays as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tf_keras

import initreg
from initreg import SmartInit

X, Y = np.ones((4, 3), "f4"), np.ones((4, 1), "f4") / 2


def trained() -> tf_keras.Model:
    model = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae", tf_keras.metrics.AUC()], run_eagerly=True)
    model.train_on_batch(X, Y)
    return model


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("is_compiled", [True, False])
def test_metrics_may_stay_unused(suffix: str, is_compiled: bool, tmp_path: Path) -> None:
    """tf_keras saves the state of metrics, which the next epoch resets. It is listed, and a plan
    says why it is not used."""
    saved, ours = trained(), trained()
    if not is_compiled:
        ours = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Dense(1)])
    path = str(tmp_path / f"m{suffix}")
    saved.save_weights(path) if suffix == ".weights.h5" else saved.save(path)
    with initreg.open(path) as arrays:
        found = dict(arrays.not_needed)
        assert set(found) == {name for name in arrays if name.startswith("metrics/")}
    by = "place" if suffix == ".weights.h5" else None  # there it does not record the class
    plan = SmartInit(path, by=by, on_unused="error").init(ours)
    np.testing.assert_array_equal(ours(X), saved(X))
    assert {row.name: row.reason for row in plan.of("not needed")} == found
    assert set(found.values()) == {"the state of a metric, which fit() and evaluate() reset"}


def test_only_metrics_of_keras() -> None:
    """An array is not a metric because of a part of its name."""
    from initreg_formats.h5.opening import Arrays

    names = ["metrics/mean/vars/0", "a/metrics/auc/vars/3"]
    others = ["metrics", "metrics/mean/0", "my_metrics/mean/vars/0", "metrics/vars/0"]
    assert set(Arrays(dict.fromkeys(names + others), []).not_needed) == set(names)
