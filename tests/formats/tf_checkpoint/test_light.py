"""Opening a checkpoint does not import TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tensorflow as tf

_SCRIPT = """
import json, sys
import initreg
from initreg_formats.tf_checkpoint import initreg_claim

path = sys.argv[1]
claim = initreg_claim(initreg.Source(path))
heavy = ("tensorflow", "keras", "h5py", "numpy")
claimed = [name for name in heavy if name in sys.modules]
with initreg.open(path) as arrays:
    names = {name: arrays[name].read().tolist() for name in arrays}
opened = [name for name in heavy[:3] if name in sys.modules]
print(json.dumps([claim.confidence, claimed, opened, names]))
"""


def test_tensorflow_is_not_imported(tables: SimpleNamespace, tmp_path: Path) -> None:
    """Claiming a V2 checkpoint imports neither numpy nor TensorFlow; reading it, no TensorFlow."""
    tf.train.Checkpoint(w=tf.Variable([1.0, 2.0])).save(str(tmp_path / "m"))
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == [3, [], [], {"save_counter": 1, "w": np.arange(1, 3).tolist()}]
