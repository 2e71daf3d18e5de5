"""One worker of a MultiWorkerMirroredStrategy, restored by initreg and by ``tf.train.Checkpoint``.

    python workers.py FOLDER TASK ADDRESS ADDRESS

Prints a line for each case that differs, and how many cases there were.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import warnings
from pathlib import Path

folder, task, addresses = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
os.environ["TF_CONFIG"] = json.dumps(
    {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": task}}
)
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import initreg  # noqa: E402

threading.Timer(120, lambda: os._exit(9)).start()  # a worker that waits for the other for good
warnings.simplefilter("ignore")
tf.get_logger().setLevel("ERROR")
cpu = tf.config.list_physical_devices("CPU")[0]
strategy = tf.distribute.MultiWorkerMirroredStrategy()

count = wrong = 0
# Arrays of very different sizes, packed: which is read first differs between the workers.
sizes = [400_000 if number % 8 == 0 else 1000 + number for number in range(24)]
rng = np.random.default_rng(0)
arrays = {f"s{number}": rng.normal(size=size).astype("f4") for number, size in enumerate(sizes)}
np.savez_compressed(folder / f"packed-{task}.npz", **arrays)
plain = {name: tf.Variable(value) for name, value in arrays.items()}
prefix = tf.train.Checkpoint(**plain).write(str(folder / f"read-{task}"))
for synchronization, aggregation, inside in itertools.product(
    ("AUTO", "ON_WRITE", "ON_READ"), ("NONE", "SUM", "MEAN", "ONLY_FIRST_REPLICA"), (False, True)
):
    with strategy.scope():
        made = [
            {
                name: tf.Variable(
                    tf.zeros_like(value),
                    name=name,
                    trainable=False,
                    synchronization=tf.VariableSynchronization[synchronization],
                    aggregation=tf.VariableAggregation[aggregation],
                )
                for name, value in arrays.items()
            }
            for _ in range(2)
        ]
    ours, theirs = made
    tf.train.Checkpoint(**theirs).read(prefix).assert_consumed()
    for source in (folder / f"packed-{task}.npz", f"{prefix}.index"):
        target = list(ours.values())
        if not isinstance(source, Path):
            target = tf.train.Checkpoint(**ours)
        for variable in ours.values():
            for each in variable.values:
                each.assign(tf.zeros_like(each))
        if inside:
            with strategy.scope():
                initreg.SmartInit(source, on_missing="error").init(target)
        else:
            initreg.SmartInit(source, on_missing="error").init(target)
        count += 1
        found = [[each.numpy() for each in variable.values] for variable in ours.values()]
        expected = [[each.numpy() for each in variable.values] for variable in theirs.values()]
        same = all(
            np.array_equal(one, other)
            for each, others in zip(found, expected, strict=True)
            for one, other in zip(each, others, strict=True)
        )
        if not same or not np.any(found[0][0]):
            wrong += 1
            print(synchronization, aggregation, inside, source)


def trained(variable: tf.Variable) -> float:
    """What a collective of both workers comes to: it would fail if their orders differed."""

    @tf.function
    def step() -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        return context.all_reduce("sum", tf.reduce_sum(variable))

    return float(strategy.experimental_local_results(strategy.run(step))[0])


with strategy.scope():
    last = tf.Variable(tf.zeros([3]), name="last")
initreg.SmartInit({"last": np.float32([1, 2, 3])}).init([last])
count += 1
if trained(last) != 12:
    wrong += 1
    print("a collective afterwards", trained(last))
print(f"{count} cases, {wrong} wrong", flush=True)
os._exit(0)
