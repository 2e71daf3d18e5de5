"""TF1 sessions of graphs made under strategies, and of servers, restored by initreg and a Saver.

    python graphs.py FOLDER

Prints what is wrong, and how many cases there were.
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
from initreg import SmartInit

v1 = tf.compat.v1
warnings.simplefilter("ignore")
tf.get_logger().setLevel("ERROR")
v1.disable_eager_execution()
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
folder = Path(sys.argv[1])

STRATEGIES = {
    "MirroredStrategy": lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    "CentralStorageStrategy": lambda: tf.distribute.experimental.CentralStorageStrategy(
        ["CPU:0", "CPU:1"], parameter_device="CPU:0"
    ),
    "OneDeviceStrategy": lambda: tf.distribute.OneDeviceStrategy("CPU:1"),
}
count = 0
wrong = []


def check(what: str, found: Any, expected: Any) -> None:
    global count
    count += 1
    same = len(found) == len(expected) and all(map(np.array_equal, found, expected))
    if not same or not any(map(np.any, found)):
        wrong.append(f"{what}: {found!r}, not {expected!r}")


def holders(variable: Any) -> list[Any]:
    found = getattr(variable, "values", [variable])
    return [getattr(each, "_v", each) for each in found]


# --- copies -------------------------------------------------------------------------------------

value = np.arange(6, dtype="f4").reshape(2, 3) + 0.5
with tf.Graph().as_default(), v1.Session() as session:
    made = v1.get_variable("v", initializer=value)
    session.run(made.initializer)
    prefix = v1.train.Saver([made]).save(session, str(folder / "v"))
for (label, strategy_of), synchronization, aggregation, steps in itertools.product(
    STRATEGIES.items(), ("AUTO", "ON_WRITE", "ON_READ"), ("NONE", "SUM", "MEAN"), (False, True)
):
    with tf.Graph().as_default() as graph:
        strategy = strategy_of()
        try:
            with strategy.scope():
                ours = v1.get_variable(
                    "v",
                    [2, 3],
                    initializer=v1.zeros_initializer(),
                    synchronization=tf.VariableSynchronization[synchronization],
                    aggregation=tf.VariableAggregation[aggregation],
                    trainable=False,
                )
                step = v1.train.get_or_create_global_step() if steps else None
                init = v1.global_variables_initializer()
                saver = v1.train.Saver([ours])
        except ValueError:  # not a case that the strategy or the Saver has
            continue
        graph.finalize()
        with v1.Session() as session:
            session.run(init)
            saver.restore(session, prefix)
            expected = session.run(holders(ours))
            session.run(init)
            given = {"v": value, "global_step": np.int64(5)}
            SmartInit(given, on_unused="ignore", on_missing="error").init(session)
            what = f"{label} {synchronization} {aggregation}"
            check(what, session.run(holders(ours)), expected)
            if steps:
                check(f"{what}: step", session.run(holders(step)), [5] * len(holders(step)))
            session.run(init)
            SmartInit(prefix, on_missing="ignore").init(session)
            check(f"{what} from a checkpoint", session.run(holders(ours)), expected)

# --- models trained under MirroredStrategy ------------------------------------------------------

with tf.Graph().as_default():
    strategy = STRATEGIES["MirroredStrategy"]()
    with strategy.scope():
        optimizer = v1.train.MomentumOptimizer(0.1, 0.9)

        def step_fn() -> Any:
            with v1.variable_scope("net", reuse=v1.AUTO_REUSE):
                w = v1.get_variable("w", [3], initializer=v1.ones_initializer())
            loss = tf.reduce_sum(w * w)
            with tf.control_dependencies([optimizer.minimize(loss)]):
                return tf.identity(loss)

        losses = strategy.experimental_local_results(strategy.run(step_fn))
        init = v1.global_variables_initializer()
        variables = v1.global_variables()
    with v1.Session() as session:
        session.run(init)
        session.run(losses)
        arrays = {each.name.removesuffix(":0"): session.run(holders(each)[0]) for each in variables}
        following = [session.run(losses) for _ in range(3)]
        session.run(init)
        SmartInit(arrays, on_missing="error", on_unused="error").init(session)
        check("training goes on", [session.run(losses) for _ in range(3)], following)

# --- servers ------------------------------------------------------------------------------------

from initreg_targets import session_writing  # noqa: E402

server = v1.train.Server.create_local_server()
usual = session_writing._MOST_SENT, session_writing._MOST_BYTES
# As if a message had at most 1,000 bytes.
session_writing._MOST_SENT, session_writing._MOST_BYTES = 1000, 400
for is_resource in (True, False):
    with tf.Graph().as_default() as graph:
        with v1.variable_scope(f"resource_{is_resource}", use_resource=is_resource) as scope:
            zeros = v1.zeros_initializer()
            a = v1.get_variable("a", [30, 20], initializer=zeros)
            b = v1.get_variable("b", [3, 20], initializer=zeros)
            partitioner = v1.fixed_size_partitioner(3)
            c = v1.get_variable("c", [40, 20], initializer=zeros, partitioner=partitioner)
            small = [v1.get_variable(f"s{i}", [60], initializer=zeros) for i in range(20)]
        graph.finalize()
        rng = np.random.default_rng(1)
        given = {
            f"{scope.name}/{name}": rng.normal(size=size).astype("f4")
            for name, size in (
                ("a", (30, 20)),
                ("b", (3, 20)),
                ("c", (40, 20)),
                *((f"s{i}", (60,)) for i in range(20)),
            )
        }
        with v1.Session(server.target) as session:
            SmartInit(given, on_missing="error").init(session)
            found = session.run([a, b, *small])
            parts = session.run(list(c))
        check(f"{scope.name}: split", [found[0]], [given[f"{scope.name}/a"]])
        check(f"{scope.name}: at once", [found[1]], [given[f"{scope.name}/b"]])
        check(f"{scope.name}: partitions", [np.concatenate(parts)], [given[f"{scope.name}/c"]])
        check(
            f"{scope.name}: many small ones",
            found[2:],
            [given[f"{scope.name}/s{i}"] for i in range(20)],
        )
        isolated = v1.ConfigProto(isolate_session_state=True)
        with v1.Session(server.target, config=isolated) as session:
            try:
                SmartInit(given).init(session)
                wrong.append("isolated: nothing raised")
            except initreg.InitregError as error:
                count += 1
                if "cannot be written in slices" not in str(error):
                    wrong.append(str(error))
session_writing._MOST_SENT, session_writing._MOST_BYTES = usual

print(*wrong, sep="\n")
print(f"{count} cases, {len(wrong)} wrong")
