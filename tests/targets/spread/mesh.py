"""DVariables on a mesh of 2x2 devices, restored by initreg and by ``tf.train.Checkpoint.read``.

    python mesh.py FOLDER

Prints a line for each case that differs, and how many cases there were.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import initreg
from initreg.plugin.installed import default_registry

dtensor = tf.experimental.dtensor
warnings.simplefilter("ignore")
tf.get_logger().setLevel("ERROR")
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
folder = Path(sys.argv[1])
mesh = dtensor.create_mesh([("x", 2), ("y", 2)], devices=[f"CPU:{i}" for i in range(4)])
LAYOUTS = list(itertools.product(("x", "y", "unsharded"), repeat=2))
value = np.random.default_rng(0).normal(size=(4, 6)).astype("f4")
prefix = tf.train.Checkpoint(v=tf.Variable(value)).write(str(folder / "v"))
file = initreg.save(folder / "v.safetensors", {"v": value})


def local(variable: Any) -> list[Any]:
    """The values on each device."""
    return [each.numpy() for each in dtensor.unpack(variable.read_value())]


count = wrong = 0
for layout in LAYOUTS:
    if layout in (("x", "x"), ("y", "y")):  # no such layout
        continue
    made = [
        dtensor.DVariable(
            dtensor.call_with_layout(tf.zeros, dtensor.Layout(list(layout), mesh), shape=(4, 6)),
            name="v",
        )
        for _ in range(2)
    ]
    ours, theirs = made
    tf.train.Checkpoint(v=theirs).read(prefix)
    expected = local(theirs)
    for source in ({"v": value}, f"{prefix}.index", file, {"v": value.astype("f8")}):
        ours.assign(dtensor.call_with_layout(tf.zeros, ours.layout, shape=(4, 6)))
        target = tf.train.Checkpoint(v=ours) if isinstance(source, str) else [ours]
        plan = initreg.SmartInit(source, on_missing="error").init(target)
        axes = [name for name in layout if name != "unsharded"]
        parts = plan.rows[0].parts
        count += 1
        if not all(map(np.array_equal, local(ours), expected)) or not np.any(local(ours)):
            wrong += 1
            print(layout, source, local(ours), expected)
        (found,) = initreg.load([ours]).values()
        with initreg.open([ours]) as opened:
            part = opened["v"][1:4, 2:5]
        if not np.array_equal(found, value) or not np.array_equal(part, value[1:4, 2:5]):
            wrong += 1
            print("as a source", layout, source, found)
        if len(parts) != (2 ** len(axes) if axes else 0):
            wrong += 1
            print(layout, parts)
    target = default_registry().target([ours])
    put_back = target.snapshot(target.variables())
    initreg.SmartInit({"v": value * 0}).init([ours])
    put_back()
    count += 1
    if not all(map(np.array_equal, local(ours), expected)):
        wrong += 1
        print("put back", layout)
print(f"{count} cases, {wrong} wrong")
