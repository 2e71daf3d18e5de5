"""Every dtype that TensorFlow has: what its own checkpoints restore, initreg restores."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import MismatchError, SmartInit, dtypes

tf = pytest.importorskip("tensorflow", reason="restores what TensorFlow saved")
v1 = tf.compat.v1

pytestmark = pytest.mark.newest

USUAL = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64"
USUAL += " complex128 bfloat16 string qint8 quint8 qint32"
SMALL = "float8_e4m3fn float8_e5m2 float4_e2m1fn int2 int4 uint2 uint4"
# dtypes that no variable of TensorFlow 2.21 has, but for quint16 in an old reference variable.
NO_VARIABLE = "qint16 quint16 float8_e4m3fnuz float8_e4m3b11fnuz float8_e5m2fnuz"


def tensor(dtype: str, values: tuple[int, ...]) -> Any:
    """A tensor of any dtype."""
    if dtype == "string":
        return tf.constant([b"x" * value for value in values])
    if dtype in dtypes.QUANTISED:
        return tf.bitcast(tf.constant(values, dtypes.QUANTISED[dtype]), dtype)
    numpy = np.dtype(getattr(ml_dtypes, dtype, dtype))
    return tf.constant(np.array(values).astype(numpy))


def listed(variable: Any) -> list[Any]:
    return np.asarray(variable.numpy()).tolist()


def test_every_dtype_of_tensorflow_is_here() -> None:
    """A new TensorFlow with a new dtype fails here, so that it is added above."""
    ours = {*USUAL.split(), *SMALL.split(), *NO_VARIABLE.split(), "resource", "variant"}
    modules = (tf.dtypes, tf.dtypes.experimental)
    found = {v.name for m in modules for v in vars(m).values() if isinstance(v, tf.DType)}
    assert found == ours


@pytest.mark.parametrize("dtype", [*USUAL.split(), *SMALL.split()])
def test_variables(tmp_path: Path, dtype: str) -> None:
    """A tf.Variable has what tf.train.Checkpoint.read gives it, of the same dtype."""
    saved = tf.Variable(tensor(dtype, (1, 0, 1)), name="v")
    path = tf.train.Checkpoint(v=saved).write(str(tmp_path / "m"))
    theirs, ours = (tf.Variable(tensor(dtype, (0, 1, 0)), name="v") for _ in range(2))
    tf.train.Checkpoint(v=theirs).read(path).assert_consumed()
    plan = SmartInit(path).init([ours])
    assert plan.counts == {"matched": 1}
    assert listed(ours) == listed(theirs) == listed(saved)
    assert initreg.open(path)["v"].spec.dtype == ours.dtype.name == dtype
    again = initreg.convert(path, tmp_path / "copy.ckpt")
    assert tf.train.load_checkpoint(str(again)).get_variable_to_dtype_map()["v"] == dtype


@pytest.mark.parametrize("dtype", NO_VARIABLE.split())
def test_what_no_variable_has(dtype: str) -> None:
    """TensorFlow itself cannot make such a variable, so that none is to be restored."""
    with pytest.raises(tf.errors.OpError):
        tf.Variable(tensor(dtype, (1, 0, 1)))


# TensorFlow 2.21 does not write these in the format of 2015.
NOT_IN_V1 = {*SMALL.split(), "uint32", "uint64", "bfloat16", "quint16"}
KINDS = [(dtype, True) for dtype in (USUAL + " " + SMALL).split()]
KINDS += [(dtype, False) for dtype in [*USUAL.split(), "quint16"]]
SESSIONS = [(*kind, 2) for kind in KINDS]
SESSIONS += [(*kind, 1) for kind in KINDS if kind[0] not in NOT_IN_V1]


@pytest.mark.parametrize(("dtype", "resource", "version"), SESSIONS)
def test_sessions(tmp_path: Path, dtype: str, resource: bool, version: int) -> None:
    """A session has what a Saver gives it, from checkpoints of V2, and of V1 if it writes them. The
    metagraph beside them has the dtype, too."""

    def run(values: tuple[int, ...], restore: Any) -> Any:
        with tf.Graph().as_default(), v1.Session() as session:
            variable = v1.Variable(tensor(dtype, values), name="v", use_resource=resource)
            session.run(variable.initializer)
            saver = v1.train.Saver(write_version=version)
            result = restore(session, saver)
            return result, session.run(variable).tolist()

    prefix = str(tmp_path / "m")
    path, saved = run((1, 0, 1), lambda session, saver: saver.save(session, prefix))
    _, theirs = run((0, 1, 0), lambda session, saver: saver.restore(session, path))
    plan, ours = run((0, 1, 0), lambda session, _: SmartInit(path).init(session))
    assert (plan.counts, ours) == ({"matched": 1}, theirs)
    assert theirs == saved
    with initreg.open(f"{path}.meta") as described:
        assert described["v"].spec.dtype == dtype


# --- quantised integers -------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 100_000])
def test_large_quantised_variables(tmp_path: Path, count: int) -> None:
    """Their memory may be shared with numpy, as that of other variables is."""
    values = np.arange(count).astype(np.int8)
    saved = tf.Variable(tf.bitcast(tf.constant(values), tf.qint8), name="q")
    path = tf.train.Checkpoint(q=saved).write(str(tmp_path / "m"))
    zeros = tf.bitcast(tf.zeros(count, tf.int8), tf.qint8)
    ours, more = tf.Variable(zeros, name="q"), tf.Variable(zeros, name="q")
    SmartInit(path).init([ours])
    assert ours.numpy().tolist() == values.tolist()
    SmartInit({"q": ours}).init([more])  # a live variable is a source, too
    assert more.numpy().tolist() == values.tolist()


def plain_source(kind: str, folder: Path) -> Any:
    values = np.array([1, -2, 3], np.int8)
    if kind == "dict":
        return {"q": values}
    if kind == "checkpoint":
        variable = tf.Variable(values, name="q")
        return tf.train.Checkpoint(q=variable).write(str(folder / "plain"))
    return initreg.save(folder / f"m{kind}", {"q": values})


@pytest.mark.parametrize("kind", ["dict", ".npz", ".safetensors", ".h5", "checkpoint"])
def test_plain_integers_have_no_scale(tmp_path: Path, kind: str) -> None:
    """They do not go into a quantised variable, as TensorFlow's own restore refuses them, unless
    the rule that the error shows says that they mean the same."""
    source = plain_source(kind, tmp_path)
    variable = tf.Variable(tensor("qint8", (0, 0, 0)), name="q")
    if kind == "checkpoint":
        with pytest.raises(tf.errors.InvalidArgumentError):
            tf.train.Checkpoint(q=variable).read(source)
    with pytest.raises(MismatchError, match="q: dtype int8 is not cast to qint8, because") as error:
        SmartInit(source).init([variable])
    assert listed(variable) == [0, 0, 0]
    (hint,) = error.value.plan.hints
    assert hint.options == {"cast": {"q": "qint8"}}
    assert str(hint) in str(error.value)
    eval(hint.code, {"SmartInit": SmartInit, "source": source}).init([variable])
    assert listed(variable) == [1, -2, 3]


def test_a_quantised_array_is_no_plain_one(tmp_path: Path) -> None:
    """Neither for a variable, nor for a dict of arrays, nor for a file of another format, unless
    the rule that the error shows takes its integers without their scale."""
    saved = tf.Variable(tensor("qint8", (1, 2, 3)), name="q")
    path = tf.train.Checkpoint(q=saved).write(str(tmp_path / "m"))
    variable, arrays = tf.Variable([0, 0, 0], dtype=tf.int8, name="q"), {"q": np.zeros(3, "i1")}
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.train.Checkpoint(q=variable).read(path)
    for target in ([variable], arrays):
        with pytest.raises(MismatchError, match="q: dtype qint8 is not cast to int8") as error:
            SmartInit(path).init(target)
        (hint,) = error.value.plan.hints
        assert hint.options == {"cast": {"q": "int8"}}
        eval(hint.code, {"SmartInit": SmartInit}).init(target)
    assert (listed(variable), arrays["q"].tolist()) == ([1, 2, 3], [1, 2, 3])
    for ending in (".npz", ".h5", ".safetensors"):
        with pytest.raises(initreg.InitregError, match=r"without their scale: cast=\{'q': 'int8'"):
            initreg.convert(path, tmp_path / f"m{ending}")
        found = initreg.convert(path, tmp_path / f"m{ending}", cast={"q": "int8"})
        assert initreg.load(found)["q"].tolist() == [1, 2, 3]
    for kind in ("float32", "int16", "quint8"):
        with pytest.raises(initreg.RuleError, match=r"Only u?int8, the dtype of its integers"):
            SmartInit(path, cast={"q": kind}).plan([variable])


def test_parts_of_a_quantised_variable(tmp_path: Path) -> None:
    """A partitioned variable of a session is saved in slices, and restored from them."""

    def variable(value: int) -> list[Any]:
        def filled(shape: Any, dtype: Any, partition_info: Any) -> Any:
            return tf.bitcast(tf.fill(shape, np.int8(value)), dtype)

        return list(
            v1.get_variable(
                "q",
                shape=(4, 2),
                dtype=tf.qint8,
                partitioner=v1.fixed_size_partitioner(2),
                initializer=filled,
            )
        )

    with tf.Graph().as_default(), v1.Session() as session:
        session.run([part.initializer for part in variable(3)])
        path = v1.train.Saver().save(session, str(tmp_path / "m"))
    assert initreg.open(path)["q"].spec.dtype == "qint8"
    with tf.Graph().as_default(), v1.Session() as session:
        parts = variable(0)
        SmartInit(path).init(session)
        assert [session.run(part).tolist() for part in parts] == [[[3, 3], [3, 3]]] * 2
