"""A plugin of pytest that runs the tests of Keras or tf_keras with initreg beside their loads.

``pytest -p plugin --beside-output=found.jsonl``, with this folder on ``PYTHONPATH``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_beside: Any = None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--beside-output", help="the file that findings are appended to")
    parser.addoption("--beside", default="keras", help="keras or tf_keras")


def pytest_configure(config: pytest.Config) -> None:
    global _beside
    import tensorflow as tf
    from comparing import Comparison

    tf.config.run_functions_eagerly(True)  # most of the tests' time is the tracing of one step

    _beside = Comparison(Path(config.getoption("--beside-output")))
    if config.getoption("--beside") == "keras":
        import keras3 as hooks
    else:
        import keras2 as hooks
    hooks.install(_beside)
    config.addinivalue_line("markers", "requires_trainable_backend: of Keras's own tests")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Say which test loads what."""
    _beside.begin(item.nodeid)
    return (yield)
