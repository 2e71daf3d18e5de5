"""Variables of strategies of one process, restored by initreg and ``tf.train.Checkpoint.read``.

    python strategies.py FOLDER

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

warnings.simplefilter("ignore")
tf.get_logger().setLevel("ERROR")
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
folder = Path(sys.argv[1])

STRATEGIES = {
    "MirroredStrategy": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    "CentralStorageStrategy": tf.distribute.experimental.CentralStorageStrategy(
        ["CPU:0", "CPU:1"], parameter_device="CPU:0"
    ),
    "OneDeviceStrategy": tf.distribute.OneDeviceStrategy("CPU:1"),
}
SYNCHRONIZATIONS = ("AUTO", "ON_WRITE", "ON_READ")
AGGREGATIONS = ("NONE", "SUM", "MEAN", "ONLY_FIRST_REPLICA")
VALUES = {
    "float32": np.arange(6, dtype="f4").reshape(2, 3) + 0.5,
    "int32": np.arange(7, 13, dtype="i4").reshape(2, 3),
    "bfloat16": np.arange(6).reshape(2, 3).astype(tf.bfloat16.as_numpy_dtype),
    "float64": np.random.default_rng(0).normal(size=(256, 256)),  # shared rather than copied
}


def copies(variable: Any) -> list[Any]:
    """The values on each device."""
    return [each.numpy() for each in getattr(variable, "values", [variable])]


count = wrong = 0
for (label, strategy), synchronization, aggregation, (dtype, value) in itertools.product(
    STRATEGIES.items(), SYNCHRONIZATIONS, AGGREGATIONS, VALUES.items()
):
    try:
        with strategy.scope():
            ours, theirs = (
                tf.Variable(
                    tf.zeros(value.shape, dtype),
                    name="v",
                    synchronization=tf.VariableSynchronization[synchronization],
                    aggregation=tf.VariableAggregation[aggregation],
                    trainable=False,
                )
                for _ in range(2)
            )
    except ValueError:  # not a case that the strategy has
        continue
    plain = tf.Variable(value)
    prefix = tf.train.Checkpoint(v=plain).write(str(folder / f"{dtype}"))
    tf.train.Checkpoint(v=theirs).read(prefix).assert_consumed()
    file = initreg.save(folder / f"{dtype}.safetensors", {"v": value})
    for source, inside in itertools.product(({"v": value}, f"{prefix}.index", file), (0, 1)):
        target = tf.train.Checkpoint(v=ours) if isinstance(source, str) else [ours]
        for each in getattr(ours, "values", [ours]):
            each.assign(tf.zeros_like(each))
        if inside:
            with strategy.scope():
                initreg.SmartInit(source, on_missing="error", on_unused="ignore").init(target)
        else:
            initreg.SmartInit(source, on_missing="error", on_unused="ignore").init(target)
        count += 1
        same = all(map(np.array_equal, copies(ours), copies(theirs)))
        if not same or not any(map(np.any, copies(ours))):
            wrong += 1
            print(label, synchronization, aggregation, dtype, source, inside, copies(ours))
        if (synchronization, aggregation) == ("ON_READ", "NONE"):  # nobody can read it as one
            continue
        ours_read, theirs_read = (np.asarray(each.read_value()) for each in (ours, theirs))
        if not np.array_equal(ours_read, theirs_read):
            wrong += 1
            print("read", label, synchronization, aggregation, dtype, ours_read, theirs_read)
        (found,) = initreg.load([ours]).values()
        if found.dtype != ours_read.dtype or not np.array_equal(found, ours_read):
            wrong += 1
            print("as a source", label, synchronization, aggregation, dtype, found, ours_read)
    # What a restore that fails puts back: each copy has its own value, also where they differ.
    for number, each in enumerate(getattr(ours, "values", [ours])):
        each.assign(tf.cast(tf.fill(value.shape, number + 3), dtype))
    before = copies(ours)
    target = default_registry().target([ours])
    put_back = target.snapshot(target.variables())
    initreg.SmartInit({"v": value}).init([ours])
    put_back()
    count += 1
    if not all(map(np.array_equal, copies(ours), before)):
        wrong += 1
        print("put back", label, synchronization, aggregation, dtype, copies(ours), before)
print(f"{count} cases, {wrong} wrong")
