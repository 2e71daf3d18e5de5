"""Where the values of TensorFlow's variables lie: in its pool, in numpy's memory, or in the
file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import initreg
from initreg import SmartInit
from initreg_targets import tf_memory, variables

v1 = tf.compat.v1

DTYPES = [
    "float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int8", "uint8",
    "int16", "int32", "int64", "uint64", "complex64", "complex128", "bool",
]  # fmt: skip


def filled(dtype: str, shape: tuple[int, ...] = (300, 400)) -> Any:
    """An array of 120,000 elements, each different from its neighbours."""
    kind = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    return (np.arange(np.prod(shape)).reshape(shape) % 5).astype(kind)


def bits(value: Any) -> bytes:
    return np.asarray(value).tobytes()


def aligned(folder: Path, model: dict[str, Any]) -> Path:
    """A safetensors file whose arrays lie at multiples of 64 bytes."""
    header: dict[str, Any] = {}
    at = 0
    for name, array in model.items():
        assert array.nbytes % 64 == 0
        offsets = [at, at + array.nbytes]
        dtype = {"float32": "F32", "bfloat16": "BF16"}[array.dtype.name]
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": offsets}
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path = folder / "aligned.safetensors"
    data = b"".join(array.tobytes() for array in model.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != "bool" and "8_" not in d])
def test_what_is_read_into_a_room_is_in_its_tensor(dtype: str) -> None:
    """The array and the tensor are the same memory, for every dtype that numpy can share."""
    room = tf_memory.make_room(tf.as_dtype(dtype), (300, 400))
    assert room is not None
    given = filled(dtype)
    assert room.array.dtype == given.dtype
    room.array[...] = given
    assert room.tensor.dtype == tf.as_dtype(dtype)
    assert bits(room.tensor) == bits(given)


@pytest.mark.parametrize("dtype", ["bool", "string", "float8_e4m3fn", "float8_e5m2"])
def test_some_dtypes_have_no_room(dtype: str) -> None:
    """TensorFlow cannot share them or convert them from other bits, so they are copied."""
    assert tf_memory.make_room(tf.as_dtype(dtype), (300, 400)) is None


def test_a_misaligned_array_is_not_shared() -> None:
    """It would end the process at the first op."""
    raw = np.zeros(1_000_064, np.uint8)
    start = -raw.ctypes.data % 64
    for off in (4, 8, 16, 32):
        array = raw[start + off : start + off + 1_000_000].view("f4")
        assert tf_memory.shared(array, tf.float32) is None
    array = raw[start : start + 1_000_000].view("f4")
    assert tf_memory.shared(array[::2], tf.float32) is None
    tensor = tf_memory.shared(array, tf.float32)
    array[3] = 7
    assert tensor[3] == 7


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_update_does_not_write_into_shared_memory(dtype: str) -> None:
    """Every op that updates a variable gives it memory that belongs to TensorFlow."""
    array = initreg.arrays.memory.empty((300, 400), filled(dtype).dtype)
    array[...] = 1
    for update in (
        lambda v: v.assign_add(tf.ones_like(v)),
        lambda v: v.scatter_nd_add([[0, 0]], tf.ones([1], v.dtype)),
        lambda v: v[0].assign(tf.ones_like(v[0]) * 2),
        lambda v: keras.optimizers.SGD(0.5).apply([tf.ones_like(v)], [v]),
    ):
        variable = tf.Variable(tf.zeros((300, 400), tf.as_dtype(dtype)))
        variables.assign(variable, tf_memory.shared(array, variable.dtype))
        update(variable)
        assert (array == 1).all()
        assert not (variable.numpy() == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_restored_bit_for_bit(tmp_path: Path, dtype: str) -> None:
    """The first array shares numpy's memory, the next are read into the pool, and small ones are
    copied. All have the values of the file."""
    shapes = {"a": (300, 400), "b": (300, 400), "c": (200, 400), "d": (5,), "e": ()}
    given = {name: filled(dtype, shape) for name, shape in shapes.items()}
    made = [tf.Variable(np.zeros_like(filled(dtype, s)), name=n) for n, s in shapes.items()]
    prefix = str(tmp_path / "ckpt")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=list(given),
        shape_and_slices=[""] * len(given),
        tensors=[tf.convert_to_tensor(array) for array in given.values()],
    )
    SmartInit(prefix).init(made)
    assert [bits(v.numpy()) for v in made] == [bits(array) for array in given.values()]
    SmartInit(given).init(made)
    assert [bits(v.numpy()) for v in made] == [bits(array) for array in given.values()]


def test_room_that_was_not_filled_is_let_go_of(tmp_path: Path) -> None:
    """After a restore that failed midway the target holds no room, and the next restore works."""
    count = 400_000
    path = tmp_path / "m.npz"
    np.savez(path, **{name: np.full(count, i, "f4") for i, name in enumerate("abcdef", start=1)})
    whole = path.read_bytes()
    at = whole.index(np.float32(5).tobytes() * 8)
    path.write_bytes(whole[:at] + b"\1" + whole[at + 1 :])
    made = [tf.Variable(np.zeros(count, "f4"), name=name) for name in "abcdef"]
    target = initreg.plugin.installed.default_registry().target(made)
    with pytest.raises(initreg.PartialRestoreError) as caught:
        SmartInit(path).init(target)
    assert caught.value.written == ("a", "b", "c", "d")
    assert not target._memory._rooms
    path.write_bytes(whole)
    SmartInit(path).init(target)
    assert [int(v[0]) for v in made] == [1, 2, 3, 4, 5, 6]


def test_a_user_defined_array_is_copied_once_and_not_shared() -> None:
    """The user's large array and the variable can change independently."""
    mine = np.ones((600, 400), "f4")
    variable = tf.Variable(np.zeros((600, 400), "f4"), name="x")
    SmartInit({"x": mine}).init([variable])
    mine[:] = 5
    assert (variable.numpy() == 1).all()


# --- mmap=True ------------------------------------------------------------------------------------


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists what is mapped")


def maps(path: Path) -> int:
    """How many mappings of the file this process has."""
    return Path("/proc/self/maps").read_text().count(str(path))


@linux
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_aligned_array_is_mapped_into_its_variable(tmp_path: Path, dtype: str) -> None:
    """The variable's memory is the file. Training gives it memory of its own, and releases the
    file, which is unchanged."""
    given = filled(dtype, (320, 400))
    path = aligned(tmp_path, {"x": given})
    before = path.read_bytes()
    variable = tf.Variable(tf.zeros((320, 400), tf.as_dtype(dtype)), name="x")
    SmartInit(path, mmap=True).init([variable])
    assert maps(path) == 1
    assert bits(variable.numpy()) == bits(given)
    variable.assign_add(tf.ones_like(variable))
    assert bits(variable.numpy()) == bits(given + np.ones((), given.dtype))
    assert maps(path) == 0
    assert path.read_bytes() == before


@linux
def test_a_misaligned_array_is_read_although_mmap_was_asked_for(tmp_path: Path) -> None:
    """It cannot be a tensor's memory, so the variable does not depend on the file."""
    path = tmp_path / "m.npz"
    np.savez(path, x=filled("float32"))
    variable = tf.Variable(np.zeros((300, 400), "f4"), name="x")
    SmartInit(path, mmap=True).init([variable])
    assert maps(path) == 0
    path.unlink()
    assert bits(variable.numpy()) == bits(filled("float32"))


def test_a_model_does_not_depend_on_its_file(tmp_path: Path) -> None:
    """Without mmap, a file that is overwritten in place changes nothing."""
    given = filled("float32", (320, 400))
    path = aligned(tmp_path, {"x": given})
    variable = tf.Variable(np.zeros((320, 400), "f4"), name="x")
    SmartInit(path).init([variable])
    path.write_bytes(b"\0" * path.stat().st_size)
    assert bits(variable.numpy()) == bits(given)


@pytest.mark.parametrize("use_resource", [True, False])
def test_a_session_trains_on_a_mapped_file(tmp_path: Path, use_resource: bool) -> None:
    """The session is fed the file, and training does not change the file."""
    given = filled("float32", (320, 400))
    path = aligned(tmp_path, {"x": given})
    before = path.read_bytes()
    with tf.Graph().as_default(), v1.Session() as session:
        variable = v1.get_variable("x", (320, 400), use_resource=use_resource)
        step = v1.train.GradientDescentOptimizer(1.0).minimize(tf.reduce_sum(variable))
        scatter = v1.scatter_add(variable, [0], tf.ones((1, 400)))
        SmartInit(path, mmap=True).init(session)
        np.testing.assert_array_equal(session.run(variable), given)
        session.run(step)
        session.run(scatter.op)
        given = given - 1
        given[0] += 1
        np.testing.assert_array_equal(session.run(variable), given)
    assert path.read_bytes() == before


def test_a_keras_model_trains_on_a_mapped_file(tmp_path: Path) -> None:
    """fit() goes on from the file's values and leaves the file alone."""
    dense = keras.layers.Dense(400, use_bias=False, name="d")
    model = keras.Sequential([keras.Input((320,)), dense])
    kernel = filled("float32", (320, 400))
    path = aligned(tmp_path, {dense.kernel.path: kernel})
    before = path.read_bytes()
    SmartInit(path, mmap=True).init(model)
    np.testing.assert_array_equal(dense.kernel.numpy(), kernel)
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 320), "f4"), np.zeros((8, 400), "f4"), verbose=0)
    assert not (dense.kernel.numpy() == kernel).all()
    assert path.read_bytes() == before


# --- how much memory ------------------------------------------------------------------------------

PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
from initreg import SmartInit

def memory(which):
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(which))
    return int(line.split()[1]) * 1024 / 1e6

model = [tf.Variable(np.zeros((2_000, 2_000), "f4"), name=f"v{i}") for i in range(20)]
SmartInit({f"v{i}": np.ones((2_000, 2_000), "f4") for i in range(2)},
          expect_missing="*").init(model)  # what the first restore of a process imports
before = memory("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
SmartInit(sys.argv[1]).init(model)
print(memory("VmHWM") - before, all(float(v[3, 3]) == i for i, v in enumerate(model)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory was taken")
def test_a_restore_takes_no_more_than_the_largest_array_and_64_mb(tmp_path: Path) -> None:
    """A model of 320 MB is restored over old values. TensorFlow is built with oneDNN, and so with a
    pool. Without a pool, malloc decides what becomes of freed memory."""
    path = tmp_path / "m.npz"
    np.savez(path, **{f"v{i}": np.full((2_000, 2_000), i, "f4") for i in range(20)})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1"},
    )
    assert done.returncode == 0, done.stderr
    taken, right = done.stdout.split()
    assert right == "True"
    assert float(taken) < 16 + 64
