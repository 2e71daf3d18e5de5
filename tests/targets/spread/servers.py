"""Variables on two parameter servers, restored by initreg and by ``tf.train.Checkpoint.read``.

    python servers.py FOLDER

The servers are in this process, and the variables in theirs. Prints what is wrong, and how many
cases there were.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from ports import free_addresses

import initreg
from initreg import SmartInit
from initreg.plugin.installed import default_registry

warnings.simplefilter("ignore")
tf.get_logger().setLevel("ERROR")
folder = Path(sys.argv[1])
partitioners = tf.distribute.experimental.partitioners


def cluster() -> tf.train.ClusterSpec:
    found = free_addresses(5)
    spec = {"ps": found[:3], "worker": found[3:4], "chief": found[4:]}
    return tf.train.ClusterSpec(spec)


spec = cluster()
servers = [
    tf.distribute.Server(spec, job_name=job, task_index=task, protocol="grpc")
    for job, count in (("ps", 3), ("worker", 1))
    for task in range(count)
]
resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
    spec, rpc_layer="grpc", task_type="chief", task_id=0
)
two = tf.distribute.ParameterServerStrategy(
    resolver, variable_partitioner=partitioners.FixedShardsPartitioner(2)
)
three = tf.distribute.ParameterServerStrategy(
    resolver, variable_partitioner=partitioners.FixedShardsPartitioner(3)
)
single = tf.distribute.ParameterServerStrategy(resolver)

count = 0
wrong = []


def check(what: str, found: Any, expected: Any) -> None:
    global count
    count += 1
    if isinstance(expected, np.ndarray):
        same = isinstance(found, np.ndarray) and np.array_equal(found, expected)
    else:
        same = found == expected
    if not same:
        wrong.append(f"{what}: {found!r}, not {expected!r}")


def whole(variable: Any) -> Any:
    """The value of a variable, sharded or not."""
    if hasattr(variable, "variables"):
        return np.concatenate([each.numpy() for each in variable.variables])
    return variable.numpy()


def attempt(what: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except Exception as error:
        wrong.append(f"{what}: {type(error).__name__}: {str(error)[:300]}")


# --- variables ----------------------------------------------------------------------------------

given = np.arange(21, dtype="f4").reshape(7, 3)
with two.scope():
    saved = tf.Variable(given + 1, name="emb")
with three.scope():
    read, emb, steps = (
        tf.Variable(np.zeros((7, 3), "f4"), name="emb"),
        tf.Variable(np.zeros((7, 3), "f4"), name="emb"),
        tf.Variable(0, name="steps", dtype=tf.int64),
    )
with single.scope():
    alone = tf.Variable(np.zeros((7, 3), "f4"), name="alone")
prefix = tf.train.Checkpoint(v=saved).write(str(folder / "two"))
tf.train.Checkpoint(v=read).read(prefix).assert_consumed()
check("TensorFlow restores 2 partitions in 3", whole(read), given + 1)
plan = SmartInit(f"{prefix}.index", on_missing="error").init(tf.train.Checkpoint(v=emb))
check("2 partitions restored in 3", whole(emb), whole(read))
check("parts in the plan", plan[0].parts, (((0, 0), (3, 3)), ((3, 0), (2, 3)), ((5, 0), (2, 3))))
check("text of the plan", "(7, 3) float32, in 3 parts: [0:3, 0:3] [3:5, 0:3]" in str(plan), True)
SmartInit({"emb": given, "steps": np.int64(7)}, on_missing="error").init([emb, steps])
check("a sharded variable by its name", whole(emb), given)
check("a variable beside it", whole(steps), np.int64(7))
SmartInit({"emb": given + 3}).init(list(emb.variables))
check("its shards", whole(emb), given + 3)
check("as a source", initreg.load([emb, steps])["emb"], given + 3)
with initreg.open(emb) as opened:
    check("a part of it as a source", opened["emb"][2:6, 1:], (given + 3)[2:6, 1:])
SmartInit({"emb": (given + 4).astype("f8")[:, None]}).init(emb)
check("reshaped and cast", whole(emb), given + 4)
SmartInit({"emb": given.T + 5}, transpose="emb").init(emb)
check("transposed", whole(emb), given + 5)
for ending in ("npz", "safetensors", "h5", "npy.npz"):
    path = initreg.save(folder / f"w.{ending}", {"emb": given + 6})
    SmartInit({"emb": given * 0}).init(emb)
    SmartInit(path).init(emb)
    check(ending, whole(emb), given + 6)
np.savez_compressed(folder / "packed.npz", emb=given + 7)
SmartInit(folder / "packed.npz").init(emb)
check("packed", whole(emb), given + 7)
damaged = bytearray((folder / "w.npz").read_bytes())
damaged[damaged.index(np.float32(6 + 20).tobytes())] ^= 1
(folder / "damaged.npz").write_bytes(damaged)
try:
    SmartInit(folder / "damaged.npz").init(emb)
    wrong.append("a damaged file: nothing raised")
except initreg.PartialRestoreError as error:
    check("a damaged file", (list(error.written), list(error.not_written)), ([], ["emb"]))
    check("what is said of it", "0 variables written and a part of emb, then" in str(error), True)
before = whole(emb)
try:
    SmartInit(folder / "damaged.npz", atomic=True).init(emb)
    wrong.append("a damaged file, atomic: nothing raised")
except initreg.DamagedFile:
    check("a damaged file, atomic", whole(emb), before)
try:
    SmartInit({"emb": given}).init([emb.variables[0]])
    wrong.append("one shard: nothing raised")
except initreg.TargetError as error:
    check("one shard", "one of the 3 shards of 'emb'" in str(error), True)
module = tf.Module()
module.emb, module.steps = emb, steps
SmartInit({"emb": given + 8, "steps": np.int64(9)}, on_missing="error").init(module)
check("a module", whole(emb), given + 8)
SmartInit({"alone": given}).init([alone])
check("not sharded", whole(alone), given)
target = default_registry().target([emb, alone])
put_back = target.snapshot(target.variables())
SmartInit({"emb": given, "alone": given + 4}).init([emb, alone])
put_back()
check("put back", whole(emb), given + 8)
check("put back alone", whole(alone), given)
# In pieces that are smaller than a row, and than a part.
from initreg_targets import distributed  # noqa: E402

distributed.MOST_SENT, usual = 8, distributed.MOST_SENT
SmartInit({"alone": given + 1, "emb": given + 9}).init([alone, emb])
distributed.MOST_SENT = usual
check("in pieces", whole(alone), given + 1)
check("parts in pieces", whole(emb), given + 9)

# --- models of tf_keras -------------------------------------------------------------------------


def build() -> Any:
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(6, name="d1"),
            layers.BatchNormalization(name="bn"),
            layers.Dense(3, name="d2"),
        ]
    )
    model.compile(tf_keras.optimizers.Adam(0.01), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


plain = build()
for number, each in enumerate([*plain.weights, *plain.optimizer.variables]):
    each.assign(tf.cast(tf.reshape(tf.range(tf.size(each)) + number, each.shape), each.dtype))
plain.save_weights(str(folder / "m.weights.h5"))
plain.save_weights(str(folder / "m.h5"))
plain.save(str(folder / "m.keras"))
model_prefix = tf.train.Checkpoint(plain).write(str(folder / "model"))
expected = np.concatenate([each.numpy().ravel() for each in plain.weights])
state = [each.numpy() for each in plain.optimizer.variables]
x = np.random.default_rng(0).normal(size=(5, 4)).astype("f4")
for label, strategy in (("in 2 shards", two), ("not sharded", single)):
    for name in ("m.weights.h5", "m.h5", "m.keras", "model.index"):
        with strategy.scope():
            model = build()
        what = f"tf_keras {label} from {name}"
        attempt(what, partial(SmartInit(folder / name).init, model))
        found = np.concatenate([each.numpy().ravel() for each in model.weights])
        check(what, found, expected)
        check(f"{what}: outputs", np.allclose(model(x), plain(x), rtol=1e-6), True)
        if name != "m.h5":
            values = [whole(each) for each in model.optimizer.variables]
            same = len(values) == len(state) and all(map(np.array_equal, values, state))
            check(f"{what}: optimizer", same, True)

print(*wrong, sep="\n")
print(f"{count} cases, {len(wrong)} wrong", flush=True)
os._exit(0)
