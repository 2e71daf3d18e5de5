"""What planning asks of Keras: nothing is made for each layer."""

from __future__ import annotations

from typing import Any

import pytest

from initreg_targets.keras_layout import layout

pytestmark = pytest.mark.framework


def test_a_plan_makes_no_layer_for_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras 3.15 makes a layer for each that it walks over, to see what it skips. Few are made, and
    nothing is left in Keras's state."""
    import keras
    from keras.src.backend.common import global_state

    model = keras.Sequential([keras.Input((2,))] + [keras.layers.Dense(2) for _ in range(20)])
    made: list[Any] = []
    before = keras.layers.Layer.__init__

    def counted(self: Any, *given: Any, **options: Any) -> None:
        made.append(self)
        before(self, *given, **options)

    monkeypatch.setattr(keras.layers.Layer, "__init__", counted)
    found, _ = layout(model)
    monkeypatch.undo()
    assert sorted(name for name, _ in found if "/1/" in name or name.endswith("dense/vars/0"))
    assert len({name for name, _ in found}) >= 40
    assert len(made) < 10
    kept = [key for key in vars(global_state.GLOBAL_STATE_TRACKER) if "skiplist" in key]
    assert not [key for key in kept if global_state.get_global_attribute(key) is not None]
