"""Models that TensorFlow writes give the values that ``tf.lite.Interpreter`` gives."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import initreg
import ml_dtypes
import numpy as np
import pytest
import tflite_models as models
from initreg.testing import FormatContract, Sample, same

Array = np.ndarray[Any, Any]


def save(path: Path, model: Any) -> Path:
    path.write_bytes(models.data_of(model))
    return path


class TestTflite(FormatContract):
    """The kit: every dtype, in two subgraphs."""

    format = "tflite"
    flips = 60

    def samples(self, folder: Path) -> Iterator[Sample]:
        """All dtypes, and a model of two subgraphs."""
        arrays = models.every()
        path = save(folder / "all.tflite", models.model([*arrays.items()], description="größe"))
        yield Sample(path, arrays, metadata={"description": "größe"})
        first, second = np.ones((2, 2), "f4"), np.zeros(3, "f4")
        both = models.model([("w", first)], [("w", second)], [("w", first)], names=["main", "body"])
        arrays = {"w": first, "body/w": second, "subgraph_2/w": first}
        yield Sample(save(folder / "two.tflite", both), arrays)

    def unreadable(self, folder: Path) -> Iterator[Sample]:
        """Sparse, external, and of a dtype that is no number, beside an array."""
        w = np.ones((2, 2), "f4")
        found = models.model(
            [
                ("w", w),
                ("sparse", w, {"sparsity": models.schema.SparsityParametersT()}),
                ("external", w, {"externalBuffer": 1}),
                ("handle", w, {"type": models.NUMBERS["resource"]}),
                ("unknown", w, {"type": 99}),
            ]
        )
        path = save(folder / "odd.tflite", found)
        names = ["sparse", "external", "handle", "unknown"]
        yield Sample(path, {"w": w}, unreadable=names)


# --- models of the converter ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def converted() -> dict[str, bytes]:
    """A small model as floats, half floats, with quantised weights, and quantised altogether."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    kernel = tf.Variable(rng.standard_normal((3, 3, 4, 8)).astype("f4"))
    bias = tf.Variable(rng.standard_normal(8).astype("f4"))
    dense = tf.Variable(rng.standard_normal((40, 30)).astype("f4"))

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, 5, 8, 4], tf.float32)])
        def __call__(self, x: Any) -> Any:
            y = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
            return tf.matmul(tf.reshape(y, [8, 40]), dense)

    model = Model()

    def samples() -> Iterator[list[Array]]:
        yield [rng.standard_normal((1, 5, 8, 4)).astype("f4")]

    found = {}
    for name in ("float", "half", "weights", "all"):
        made = tf.lite.TFLiteConverter.from_concrete_functions(
            [model.__call__.get_concrete_function()], model
        )
        if name != "float":
            made.optimizations = [tf.lite.Optimize.DEFAULT]
        if name == "half":
            made.target_spec.supported_types = [tf.float16]
        if name == "all":
            made.representative_dataset = samples
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has not been given ranges of all inputs
            found[name] = made.convert()
    return found


def interpreted(data: bytes) -> dict[str, tuple[Array, Array, Array]]:
    """By tf.lite.Interpreter: each tensor of a constant, its scales and its zero points."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is to move to a package of its own
        interpreter = tf.lite.Interpreter(model_content=data)
    found = {}
    for each in interpreter.get_tensor_details():
        try:
            array = interpreter.get_tensor(each["index"])
        except ValueError:  # it is computed, and nothing was
            continue
        parameters = each["quantization_parameters"]
        found[each["name"]] = (array, parameters["scales"], parameters["zero_points"])
    return found


@pytest.mark.parametrize("name", ["float", "half", "weights", "all"])
def test_models_of_the_converter(tmp_path: Path, converted: dict[str, bytes], name: str) -> None:
    """Every constant has the bytes and the scales that the interpreter has."""
    path = tmp_path / "m.tflite"
    path.write_bytes(converted[name])
    wanted = interpreted(converted[name])
    with initreg.open(path) as arrays:
        weights = [each for each in arrays if not each.endswith("/scale")]
        assert len(weights) == 4
        for each in weights:
            array, scales, zeros = wanted[each]
            assert same(arrays[each].read(), array), each
            assert not zeros.any()
            assert scales.size == (arrays[f"{each}/scale"].read().size if scales.size else 0)
            if scales.size:
                assert arrays[each].spec.dtype == f"q{array.dtype.name}"
                found = arrays[f"{each}/scale"].read().reshape(-1)
                assert same(found, scales.astype(found.dtype))
                assert found.dtype == (np.float64 if array.dtype == np.int32 else np.float32)


def test_the_rule_scale_gives_the_numbers(tmp_path: Path, converted: dict[str, bytes]) -> None:
    """Quantised weights fit no variable of floats, and scaled ones are as close as they can be."""
    (tmp_path / "float.tflite").write_bytes(converted["float"])
    (tmp_path / "all.tflite").write_bytes(converted["all"])
    original = initreg.load(tmp_path / "float.tflite")
    target = {name: np.zeros_like(array) for name, array in original.items()}
    with pytest.raises(initreg.MismatchError, match="qint8 has a scale"):
        initreg.SmartInit(tmp_path / "all.tflite").init(target)
    rules = {"scale": {"*": "*/scale"}, "cast": {"Relu*": "float32"}}
    initreg.SmartInit(tmp_path / "all.tflite", **rules).init(target)
    scales = initreg.load(tmp_path / "all.tflite")
    for name in ("Conv2D", "MatMul1"):
        difference = np.abs(target[name] - original[name])
        assert (difference <= scales[f"{name}/scale"] * 0.5001).all()
        assert np.abs(target[name]).max() > 1


def test_scales_do_not_have_to_be_used(tmp_path: Path, converted: dict[str, bytes]) -> None:
    """Who restores the integers is not warned of scales and shapes that are left."""
    (tmp_path / "m.tflite").write_bytes(converted["weights"])
    found = initreg.load(tmp_path / "m.tflite", keep=["MatMul1", "Conv2D", "Relu*"])
    target = {name: np.zeros_like(array) for name, array in found.items()}
    source = initreg.SmartInit(tmp_path / "m.tflite", cast={"MatMul1": "int8"}, on_unused="error")
    plan = source.init(target)
    assert same(target["MatMul1"], found["MatMul1"])
    assert "says how 'MatMul1' was quantised" in str(plan)


# --- quantisation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int4"])
def test_scales_lie_along_their_axis(tmp_path: Path, dtype: str, axis: int) -> None:
    """The scale multiplies what it belongs to, whatever the axis and the dtype."""
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    array = (np.arange(24).reshape(2, 3, 4) % 7).astype(kind)
    scales = np.linspace(0.5, 2, array.shape[axis]).astype("f4")
    parameters = models.quantisation(scales, [0] * scales.size, axis)
    found = models.model([("w", array, {"quantization": parameters})])
    path = save(tmp_path / "m.tflite", found)
    shape = [-1 if each == axis else 1 for each in range(3)]
    result = "f8" if dtype == "int32" else "f4"  # float32 does not hold all of them
    wanted = array.astype(result) * scales.reshape(shape).astype(result)
    assert same(initreg.load(path, scale={"*": "*/scale"})["w"], wanted)


@pytest.mark.parametrize("zeros", [[128], [3, 128]])
def test_a_zero_point_keeps_the_rule_from_wrong_numbers(tmp_path: Path, zeros: list[int]) -> None:
    """The scale alone is refused, and the right numbers are an array of their own."""
    array = np.array([[0, 128, 255], [1, 2, 3]], np.uint8)
    scales = np.linspace(0.1, 0.3, len(zeros)).astype("f4")
    parameters = models.quantisation(scales, zeros)
    path = save(tmp_path / "m.tflite", models.model([("w", array, {"quantization": parameters})]))
    zero = np.array(zeros, "i8").reshape([-1, 1] if len(zeros) > 1 else ())
    scale = scales.reshape(zero.shape)
    wanted = ((array.astype("f8") - zero) * scale.astype("f8")).astype("f4")
    with initreg.open(path) as arrays:
        assert same(arrays["w"].read(), array)
        assert same(arrays["w/zero_point"].read(), zero)
        assert same(arrays["w/dequantized"].read(), wanted)
        with pytest.raises(initreg.InitregError, match=r"has the zero point .*'w/dequantized'"):
            arrays["w/scale"].read()
    with pytest.raises(initreg.RuleError, match=r"has the zero point .*wrong numbers"):
        initreg.load(path, scale={"*": "*/scale"})
    target = {"w": np.zeros((2, 3), "f4")}
    initreg.SmartInit(path, drop=["w", "w/scale"], rename={"w/dequantized": "w"}).init(target)
    assert same(target["w"], wanted)


def test_integers_of_64_bits_are_dequantised(tmp_path: Path) -> None:
    """No float holds them before they are scaled, so that they have an array of their own, too."""
    array = np.array([2**40 + 1, -3], "i8")
    parameters = models.quantisation([2.0**-30])
    path = save(tmp_path / "m.tflite", models.model([("w", array, {"quantization": parameters})]))
    with initreg.open(path) as arrays:
        assert same(arrays["w"].read(), array)
        assert same(arrays["w/dequantized"].read(), (array * 2.0**-30).astype("f4"))
        with pytest.raises(initreg.InitregError, match="has integers of 64 bits"):
            arrays["w/scale"].read()


def test_other_ways_of_quantising_are_listed(tmp_path: Path) -> None:
    """In blocks, or an operator's own: the integers are read, and the scale says why not."""
    parameters = models.schema.QuantizationParametersT()
    parameters.detailsType = 2
    parameters.details = models.schema.BlockwiseQuantizationT()
    array = np.ones((2, 2), "i1")
    path = save(tmp_path / "m.tflite", models.model([("w", array, {"quantization": parameters})]))
    with initreg.open(path) as arrays:
        assert same(arrays["w"].read(), array)
        with pytest.raises(initreg.InitregError, match="quantised in blocks"):
            arrays["w/scale"].read()


# --- names and places -----------------------------------------------------------------------------


def test_made_up_names_are_automatic(tmp_path: Path) -> None:
    """Names of the converter and tensors without a name prove nothing."""
    w = np.ones((3, 3), "f4")
    names = ["arith.constant", "arith.constant4", "tfl.pseudo_qconst7", "", "dense/MatMul"]
    found = models.model([(name, w * n) for n, name in enumerate(names)])
    with initreg.open(save(tmp_path / "m.tflite", found)) as arrays:
        assert list(arrays) == [*names[:3], "tensor_4", "dense/MatMul"]
        assert [bool(each.spec.automatic) for each in arrays.values()] == [True] * 4 + [False]


def test_tensors_of_one_name(tmp_path: Path) -> None:
    """One array twice is one array, and two arrays of one name are an error."""
    w = np.ones((2, 2), "f4")
    found = models.model([("w", w), ("w", w)])
    with pytest.raises(initreg.DuplicateName, match="two tensors are called 'w'"):
        initreg.open(save(tmp_path / "m.tflite", found))
    found.subgraphs[0].tensors[2].buffer = found.subgraphs[0].tensors[1].buffer
    assert list(initreg.load(save(tmp_path / "n.tflite", found))) == ["w"]


def test_small_integers_of_the_model_are_not_needed(tmp_path: Path) -> None:
    """Shapes and axes may stay unused; a table of integers and floats may not."""
    found = models.model(
        [
            ("shape", np.array([1, -1], "i4")),
            ("table", np.zeros(100, "i4")),
            ("w", np.zeros(2, "f4")),
        ]
    )
    path = save(tmp_path / "m.tflite", found)
    with pytest.raises(initreg.UnusedError, match="table") as caught:
        initreg.SmartInit(path, on_unused="error").init({"w": np.zeros(2, "f4")})
    assert "shape  " not in str(caught.value)


def test_buffers_beyond_2_gb_are_read(tmp_path: Path) -> None:
    """Bytes that lie after the flatbuffer, at an offset beyond 4 GB, are read where they are."""
    w = np.arange(6, dtype="f4").reshape(2, 3)
    found = models.model([("w", w), ("v", w)])
    at = 5 << 30
    buffer = found.buffers[1]
    buffer.data, buffer.offset, buffer.size = None, at, w.nbytes
    path = save(tmp_path / "m.tflite", found)
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(w.tobytes())
    arrays = initreg.load(path)
    assert same(arrays["w"], w)
    assert same(arrays["v"], w)
    with open(path, "r+b") as file:
        file.truncate(at + 8)
    with pytest.raises(initreg.DamagedFile, match=r"a buffer that ends .* beyond the file"):
        initreg.open(path)


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"shape": [3]}, "has 16 bytes, but its shape"),
        ({"shape": [-1]}, r"of the shape \(-1,\)"),
        ({"shape": [2**30, 2**30]}, "of the shape"),
        ({"shape": [1] * 65}, "more than 64 axes"),
        ({"type": 1}, "has 16 bytes, but its shape"),
        ({"buffer": 9}, "a tensor of buffer 9, and 2 buffers"),
        ({"name": "n" * 5000}, "a name of 5,000 bytes"),
        ({"quantization": ([1, 2, 3], [], 0)}, "has 3 scales for axis 0"),
        ({"quantization": ([1, 2], [], 7)}, "has 2 scales for axis 7"),
        ({"quantization": ([1, 2], [1, 2, 3], 0)}, "2 scales and 3 zero points"),
        ({"quantization": ([np.inf], [], 0)}, "not a finite number"),
    ],
)
def test_tensors_that_do_not_fit_are_one_error(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    """Sizes and numbers that contradict each other are found when the file is opened."""
    if "quantization" in fields:
        fields = {"quantization": models.quantisation(*fields["quantization"])}
    path = save(tmp_path / "m.tflite", models.model([("w", np.ones((2, 2), "f4"), fields)]))
    with pytest.raises(initreg.DamagedFile, match=reason):
        initreg.open(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x08\0\0\0TFL3", "leads to byte 8"),
        (b"\xff\xff\xff\xffTFL3" + bytes(40), "leads to byte 4,294,967,295"),
        (b"\x08\0\0\0TFL3" + bytes(8), "whose fields have 0 bytes"),
        (b"\x08\0\0\0TFL3\xf8\xff\xff\x7f" + bytes(8), "ends beyond the file"),
        (b"\x0c\0\0\0TFL3\x06\0\x08\0\x06\0\0\0", "ends beyond the file"),
    ],
)
def test_tables_that_lie_elsewhere_are_one_error(tmp_path: Path, data: bytes, reason: str) -> None:
    """Offsets out of the file, and tables that are not tables, are refused."""
    (tmp_path / "m.tflite").write_bytes(data)
    with pytest.raises(initreg.DamagedFile, match=reason):
        initreg.open(tmp_path / "m.tflite")


def test_a_table_that_is_listed_often_is_refused(tmp_path: Path) -> None:
    """A short file cannot say the same thing a million times."""
    builder = models.flatbuffers.Builder(1024)
    name = builder.CreateString("w")
    builder.StartObject(11)
    builder.PrependUOffsetTRelativeSlot(3, name, 0)
    one = builder.EndObject()
    builder.StartVector(4, 1000, 4)
    for _ in range(1000):
        builder.PrependUOffsetTRelative(one)
    tensors = builder.EndVector()
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, tensors, 0)
    subgraph = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(subgraph)
    subgraphs = builder.EndVector()
    builder.StartObject(8)
    builder.PrependUOffsetTRelativeSlot(2, subgraphs, 0)
    builder.Finish(builder.EndObject(), b"TFL3")
    (tmp_path / "m.tflite").write_bytes(bytes(builder.Output()))
    with pytest.raises(initreg.DamagedFile, match=r"one table twice|and 0 buffers"):
        initreg.open(tmp_path / "m.tflite")


@pytest.mark.parametrize(
    "data",
    [
        b"\x02\0\0\0\x10\0\0\0\x11\0\0\0\x12\0\0\0ab",
        b"\x03\0\0\0\x10\0\0\0\x11\0\0\0\xff\0\0\0ab",
        b"\x03\0\0\0\x14\0\0\0\x16\0\0\0\x15\0\0\0\x16\0\0\0ab",
        b"\x03\0",
    ],
)
def test_texts_that_do_not_fit_are_an_error(tmp_path: Path, data: bytes) -> None:
    """Another number of texts, and texts beyond the bytes, are told when they are read."""
    texts = np.array([b"a", b"b", b"c"], object)
    found = models.model([("w", texts)])
    found.buffers[1].data = np.frombuffer(data, np.uint8)
    with initreg.open(save(tmp_path / "m.tflite", found)) as arrays:
        with pytest.raises(initreg.DamagedFile, match=r"m\.tflite: array 'w' has"):
            arrays["w"].read()


def test_claims_follow_the_identifier(tmp_path: Path) -> None:
    """A model of any name is claimed, and another flatbuffer only by its name."""
    path = save(tmp_path / "m.bin", models.model([("w", np.ones((2, 2), "f4"))]))
    assert initreg.probe(path).winner == "tflite"
    data = path.read_bytes()
    for name, winner in (("x.bin", None), ("x.tflite", "tflite")):
        (tmp_path / name).write_bytes(data[:4] + b"ABCD" + data[8:])
        assert initreg.probe(tmp_path / name).winner == winner
    with pytest.raises(initreg.DamagedFile, match="has not the identifier TFL3"):
        initreg.open(tmp_path / "x.tflite")


def test_no_tensorflow_is_imported(tmp_path: Path) -> None:
    """Reading needs numpy alone: neither TensorFlow nor flatbuffers is imported."""
    save(tmp_path / "m.tflite", models.model([*models.every().items()]))
    code = (
        "import sys, initreg; found = initreg.load('m.tflite'); "
        "assert found['scalar'] == 2.5, found; "
        "assert not {'tensorflow', 'flatbuffers'} & set(sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("kind", ["int4", "string"])
def test_tensors_that_share_their_bytes(tmp_path: Path, kind: str) -> None:
    """A few tensors may share a buffer. If hundreds do, a small file would fill the memory."""
    if kind == "string":
        large, small = np.array([b"x" * 1_000_000], object), np.array([b""], object)
    else:
        large, small = np.zeros(2_000_000, ml_dtypes.int4), np.zeros(1, ml_dtypes.int4)
    for count, is_allowed in ((5, True), (100, False)):
        shared = [(f"w{number}", small) for number in range(count)]
        found = models.model([("w", large), *shared])
        for tensor in found.subgraphs[0].tensors[2:]:
            tensor.buffer, tensor.shape = found.subgraphs[0].tensors[1].buffer, [*large.shape]
        path = save(tmp_path / "m.tflite", found)
        if is_allowed:
            assert len(initreg.load(path)) == count + 1
        else:
            with pytest.raises(initreg.DamagedFile, match="They overlap"):
                initreg.open(path)
