"""TensorFlow's banners are hidden, and its errors are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from initreg.cli.quiet import _FILTER, LEVEL

BANNERS = [
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    b"I0000 00:00:1795982993.766399   21836 port.cc:153] oneDNN custom operations are on.",
    b"W0000 00:00:1795982993.766399 21836 gpu_device.cc:2344] Cannot dlopen some GPU libraries.",
    b"2024-05-01 10:00:00.123456: I tensorflow/core/util/port.cc:113] oneDNN is on.",
    b"2024-05-01 10:00:00.123456: W tensorflow/compiler/tf2tensorrt/utils/py_utils.cc:38] TF-TRT",
    b"2024-05-01 10:00:00.123456: E external/local_xla/xla/cuda_fft.cc:477] Unable to register "
    b"cuFFT factory: one has been registered already",
    b"E0000 00:00:1795983005.325721 21836 cuda_platform.cc:52] failed call to cuInit: INTERNAL",
    b"To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.",
]
SHOWN = [
    b"E0000 00:00:1795983005.325721 21836 graph.cc:52] the graph has no node 'x'",
    b"F0000 00:00:1795983005.325721 21836 check.cc:52] Check failed: a == b",
    b"2024-05-01 10:00:00.123456: E tensorflow/core/x.cc:1] out of memory",
    b"initreg: warning: I0000 is no banner",
    b"Traceback (most recent call last):",
    b"",
    b"\xff\xfe not valid text",
]


def test_the_filter() -> None:
    """It leaves out what begins as a banner does, and keeps all else as it is, without a newline
    at the end if there was none."""
    lines = [line for pair in zip(BANNERS, SHOWN, strict=False) for line in pair]
    program = [sys.executable, "-I", "-S", "-c", _FILTER.decode()]
    for end in (b"\n", b""):
        given = b"\n".join(lines + BANNERS + SHOWN) + end
        done = subprocess.run(program, input=given, capture_output=True, check=True)
        assert done.stderr == b"\n".join(SHOWN * 2) + end
        assert done.stdout == b""


CODE = """
import os, sys

def model():
    import keras
    print("Building", file=sys.stderr)
    layers = [keras.Input((2,)), keras.layers.Dense(1, name="d")]
    return keras.Sequential(layers, name="tiny")

def crash():
    import tensorflow as tf
    os.write(2, b"E0000 00:00:1795983041.834093   23217 real.cc:52] a real error\\n")
    os.write(2, b"F0000 00:00:1795983041.834093   23217 real.cc:53] Check failed")
    os.abort()
"""


@pytest.mark.framework
@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "code", "said"),
    [
        ("model", 0, "Building\n"),
        (
            "crash",
            -signal.SIGABRT,
            "E0000 00:00:1795983041.834093   23217 real.cc:52] a real error\n"
            "F0000 00:00:1795983041.834093   23217 real.cc:53] Check failed",
        ),
    ],
)
def test_real_tensorflow(function: str, code: int, said: str, tmp_path: Path) -> None:
    """stderr has what the code of the user prints and what is an error, even if the process
    aborts, and nothing else."""
    np.savez(tmp_path / "k.npz", **{"tiny/d/kernel": np.ones((2, 1)), "tiny/d/bias": np.ones(1)})
    (tmp_path / "code_of_this_test.py").write_text(CODE)
    kept = {name: value for name, value in os.environ.items() if name != LEVEL}
    command = ["plan", "k.npz", "--onto", f"code_of_this_test.py:{function}"]
    done = subprocess.run(
        [sys.executable, "-m", "initreg", *command],
        cwd=tmp_path,
        env=kept | {"TF_ENABLE_ONEDNN_OPTS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stderr, done.returncode) == (said, code)


def test_without_tensorflow_nothing_is_started(tmp_path: Path) -> None:
    """A verb that imports no TensorFlow has the stderr that it was given."""
    np.savez(tmp_path / "m.npz", w=np.ones(1))
    code = (
        "import os, sys\nsys.argv = ['initreg', 'ls', 'm.npz']\nbefore = os.fstat(2)\n"
        "from initreg.cli import main\nassert main() == 0\nassert os.fstat(2) == before"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
