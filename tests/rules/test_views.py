"""view: bits that are taken for another dtype, because the file does not say which it is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import MismatchError, RuleError, SmartInit
from initreg.dtypes import to_numpy

KINDS = [
    name
    for name, kind in vars(ml_dtypes).items()
    if isinstance(kind, type) and name not in ("finfo", "iinfo")
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.npz"
    w = np.array([1, -2, 0.5, 3e38], ml_dtypes.bfloat16)
    np.savez(path, w=w, q=np.array([1, 2], ml_dtypes.float8_e4m3fn), f=np.ones(2, "f4"))
    return path


@pytest.mark.newest
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_what_numpy_saves_of_ml_dtypes(tmp_path: Path, kind: str, shape: tuple[int, ...]) -> None:
    """numpy writes raw bytes, but for float8_e5m2. The view gives back every bit."""
    dtype = to_numpy(kind)
    saved = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape)).astype("f4")
    saved = (saved % 2).astype(dtype)
    np.savez(tmp_path / "m.npz", w=saved)
    np.save(tmp_path / "w.npy", saved)
    for name in ("m.npz", "w.npy"):
        with initreg.open(tmp_path / name) as arrays:
            given = arrays["w"].spec.dtype
            assert given == (f"|V{dtype.itemsize}" if kind != "float8_e5m2" else kind)
            viewed = arrays.view(kind, "w")["w"]
            assert (viewed.shape, viewed.dtype) == (shape, dtype)
            assert viewed.read().tobytes() == saved.tobytes()


def test_all_raw_bytes_or_some(file: Path) -> None:
    """A dtype alone is for all raw bytes, which must fit it. A dict is for its globs."""
    found = initreg.load(file, view={"w": "bfloat16", "q": ml_dtypes.float8_e4m3fn})
    assert found["w"].astype("f4").tolist()[:3] == [1, -2, 0.5]
    assert found["q"].astype("f4").tolist() == [1, 2]
    assert found["f"].dtype == "f4"
    assert initreg.load(file, drop="q", view="bfloat16")["w"].dtype == ml_dtypes.bfloat16
    with pytest.raises(RuleError, match=r"array 'q': \|V1 cannot be viewed as bfloat16: an"):
        initreg.load(file, view="bfloat16")
    with pytest.raises(RuleError, match="view='bfloat16' matches no array"):
        initreg.load(file, keep="f", view="bfloat16")


def test_other_numbers_of_one_size(tmp_path: Path) -> None:
    """bfloat16 that was saved as uint16 can be viewed, and then cast, in this order."""
    values = np.array([1, -2], ml_dtypes.bfloat16)
    found = initreg.load({"w": values.view("u2")}, view={"w": "bfloat16"}, cast="float32")
    assert found["w"].tolist() == [1, -2]
    assert found["w"].dtype == "f4"
    big = {"w": values.view("u2").astype(">u2")}
    assert initreg.load(big, view={"w": "bfloat16"})["w"].tobytes() == values.tobytes()
    with initreg.open({"w": np.ones((2, 3), "f4")}, view={"w": "int32"}, transpose="w") as arrays:
        assert arrays["w"].spec.changes == ("viewed from float32", "permuted (1, 0) from (2, 3)")
        assert (arrays["w"].read() == 0x3F800000).all()


@pytest.mark.parametrize(
    ("array", "dtype", "said"),
    [
        (np.zeros(2, "V2"), "float32", "an element of |V2 has 2 bytes, and one of float32 has 4"),
        (np.zeros(2, "f4"), "float64", "an element of float32 has 4 bytes, and one of float64 has"),
        (np.zeros(2, "u1"), "bool", "not all bits are a bool. Use cast="),
        (np.array(["a"]), "int32", "string is not a dtype of numbers, or raw bytes"),
        (np.zeros(2, "f4"), "string", "string is not a dtype of numbers, or raw bytes"),
        (np.zeros(2, "M8[s]"), "int64", "datetime64[s] is not a dtype of numbers, or raw bytes"),
        (np.zeros(2, "f4,i4"), "int64", "is not a dtype of numbers, or raw bytes"),
        (np.zeros(2, "f4"), "float99", "'float99' is not a dtype"),
    ],
)
def test_what_cannot_be_viewed(array: Any, dtype: str, said: str) -> None:
    """Nothing is read, and the error says why."""
    with pytest.raises(RuleError) as caught:
        initreg.open({"w": array}, view={"w": dtype})
    assert said in str(caught.value)
    assert "view={'w': " in str(caught.value)


@pytest.mark.newest
@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "float4_e2m1fn", "float6_e2m3fn"])
def test_bits_that_a_dtype_does_not_have(dtype: str) -> None:
    """A byte with bits that no value of the small dtype has is an error when the array is read."""
    whole = {"w": np.array([1, 255, 128], "u1").view("V1")}
    with pytest.raises(RuleError, match=rf"w: 2 elements cannot be {dtype}, because bits are set"):
        initreg.load(whole, view={"w": dtype})


def test_big_endian_raw_bytes_are_not_viewed(tmp_path: Path) -> None:
    """Their order is known to the file alone, so that a view would give other values."""
    buffer = io.BytesIO()
    np.save(buffer, np.ones(2, ml_dtypes.bfloat16))
    (tmp_path / "w.npy").write_bytes(buffer.getvalue().replace(b"'<V2'", b"'>V2'"))
    with pytest.raises(RuleError, match="cannot be viewed as bfloat16: >V2 is not a dtype of num"):
        initreg.open(tmp_path / "w.npy", view={"w": "bfloat16"})


# --- what to type ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, "f4", "f2", "f8"])
def test_a_mismatch_says_what_to_type(file: Path, dtype: Any) -> None:
    """The code of the hint restores the values, into a variable of any float dtype."""
    target = {"w": np.zeros(4, dtype)}
    initializer = SmartInit(file, keep="w")
    with pytest.raises(MismatchError, match="1 array would fit, if the raw bytes are bfloat16"):
        initializer.init(target)
    (hint,) = initializer.plan(target).hints
    assert hint.options == {"view": {"w": "bfloat16"}}
    if dtype in (ml_dtypes.bfloat16,):
        SmartInit(file, keep="w", **hint.options).init(target)
        assert target["w"].astype("f4").tolist()[:3] == [1, -2, 0.5]
    else:
        assert SmartInit(file, keep="w", **hint.options).plan(target).error() is None


def test_one_byte_is_named_by_the_variable(file: Path) -> None:
    """There are many dtypes of one byte. The variable's is offered, and for others none is."""
    target: dict[str, Any] = {"q": np.zeros(2, ml_dtypes.float8_e4m3fn)}
    (hint,) = SmartInit(file, keep="q").plan(target).hints
    assert hint.options == {"view": {"q": "float8_e4m3fn"}}
    SmartInit(file, keep="q", **hint.options).init(target)
    assert target["q"].astype("f4").tolist() == [1, 2]
    plan = SmartInit(file, keep="q").plan({"q": np.zeros(2, "f4")})
    assert list(plan.hints) == []
    assert "the rule 'view' says which they are" in str(plan)


@pytest.mark.framework
def test_a_keras_variable_of_bfloat16(tmp_path: Path) -> None:
    """A layer whose weights are bfloat16 gives the same output after the restore."""
    import keras

    def built() -> Any:
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, dtype="bfloat16")])

    saved, model = built(), built()
    x = np.array([[1, 2, 3]], "f4")
    names = [weight.path for weight in saved.weights]
    values = [np.asarray(weight.value).astype(ml_dtypes.bfloat16) for weight in saved.weights]
    path = tmp_path / "m.npz"
    np.savez(path, **dict(zip([w.path for w in model.weights], values, strict=True)))
    assert len(names) == 2
    with pytest.raises(MismatchError, match=r"view=\{"):
        SmartInit(path).init(model)
    SmartInit(path, view="bfloat16").init(model)
    for weight, expected in zip(model.weights, values, strict=True):
        assert np.asarray(weight.value).tobytes() == expected.tobytes()
    ours, theirs = (np.asarray(m.predict(x, verbose=0), "f4") for m in (model, saved))
    assert ours.tolist() == theirs.tolist()
