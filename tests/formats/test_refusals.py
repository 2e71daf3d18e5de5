"""Every dtype, saved in every format: what is refused has a reason, and following it works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import initreg
from initreg import InitregError
from initreg.api.saving import saver_for
from initreg.option_spelling import Spelt, said, spell
from initreg_formats.safetensors.dtypes import NAMES
from initreg_formats.shared.refusing import HELD
from initreg_formats.shared.tf_dtypes import DTYPES as OF_TENSORFLOW

pytestmark = pytest.mark.newest  # of ml_dtypes

ENDINGS = [".npz", ".safetensors", ".h5", ".ckpt"]
NUMPY = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64 complex64"
NUMPY += " complex128 longdouble clongdouble"
OTHERS = [n for n, k in vars(ml_dtypes).items() if isinstance(k, type) and "info" not in n]
ARRAYS: dict[str, Any] = {
    **{name: np.array([1, 0], getattr(np, name, None) or name) for name in NUMPY.split()},
    **{name: np.array([1, 0]).astype(getattr(ml_dtypes, name)) for name in OTHERS},
    "text": np.array(["a", "größe"]),
    "bytes": np.array([b"a", b"bc"]),
    "dates": np.array(["2026-01-01"], "M8[D]"),
    "times": np.array([1], "m8[s]"),
    "structured": np.zeros(2, "f4,i4"),
    "raw 1": np.array([1, 0], ml_dtypes.float8_e4m3fn).view("V1"),
    "raw 2": np.array([1, 0], ml_dtypes.bfloat16).view("V2"),
    "raw 3": np.zeros(2, "V3"),
}


class Quantised:
    """An array of TensorFlow's quantised integers, as the checkpoint of one opens."""

    dtype = "qint8"
    shape = (2,)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array([1, 0], "i1")


ARRAYS["qint8"] = Quantised()


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_held(ending: str) -> None:
    """The table of dtypes agrees with the tables that the formats write by."""
    if ending == ".safetensors":
        assert HELD[ending] == set(NAMES)
    if ending == ".ckpt":
        assert HELD[ending] == set(OF_TENSORFLOW.values())
    assert set(HELD) == set(ENDINGS)


def options_of(error: InitregError) -> list[dict[str, Any]]:
    """The options that the message of an error carries, in order."""
    text, found = said(error), []
    assert isinstance(text, Spelt)

    def note(options: Any) -> str:
        found.append(dict(options))
        return ""

    spell(text, note)
    return found


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", ARRAYS)
def test_the_advice_works(tmp_path: Path, kind: str, ending: str) -> None:
    """Either the array is saved, and reads back the same, or each way that the error offers is
    taken, and gives a file: another format, a cast, a view, or the file without the array."""
    arrays = {"fc/b": np.ones(3, "f4"), "odd": ARRAYS[kind]}
    path = tmp_path / f"m{ending}"
    try:
        saved = initreg.save(path, arrays)
    except InitregError as caught:
        error = caught
    else:
        found = initreg.load(saved)
        assert found["fc/b"].tolist() == [1, 1, 1]
        want = np.asarray(ARRAYS[kind])
        if want.dtype.kind in "US":
            texts = [x.decode() if isinstance(x, bytes) else x for x in found["odd"].tolist()]
            assert texts == [x.decode() if isinstance(x, bytes) else x for x in want.tolist()]
        else:
            assert found["odd"].tobytes() == want.tobytes()
        return
    assert list(tmp_path.iterdir()) == []
    message = str(error)
    assert "array 'odd'" in message
    others = re.findall(r"\.(?:npz|safetensors|h5|ckpt)\b", message.partition("save as")[2])
    for other in others:
        again = initreg.save(tmp_path / f"other{other}", arrays)
        assert np.asarray(initreg.load(again)["odd"]).shape == np.asarray(ARRAYS[kind]).shape
    holding = [e for e in ENDINGS if e != ending and saves(tmp_path / f"t{e}", arrays)]
    assert sorted(others) == sorted(holding)  # all formats that can store it are named
    ways = options_of(error)
    assert ways[-1] == {"drop": "odd"}
    assert list(initreg.load(initreg.save(path, arrays, drop="odd"))) == ["fc/b"]
    rules = {name: value for way in ways[:-1] for name, value in way.items()}
    assert set(rules) <= {"cast", "view"}
    if rules:  # also with the functions that others use to save
        again = initreg.load(initreg.convert(arrays, path, **rules))["odd"]
        assert np.real(again).astype("f4").tobytes() == numbers(kind).tobytes()


def numbers(kind: str) -> Any:
    """The values of an array, as far as float32 has them: float8_e8m0fnu has no 0, int1 no 1."""
    if kind.startswith("raw"):
        return np.array([1, 0], "f4")
    values = np.asarray(ARRAYS[kind])
    with np.errstate(all="ignore"):
        return np.real(values.astype("c8") if "complex" in kind else values).astype("f4")


def saves(path: Path, arrays: Any) -> bool:
    assert saver_for(path)
    try:
        initreg.save(path, arrays)
    except InitregError:
        return False
    return True


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_reason_is_about_the_dtype(tmp_path: Path, ending: str) -> None:
    """numpy's files do have a name for a long double, which is another one on other machines."""
    with pytest.raises(InitregError, match="which is not the same on every machine"):
        initreg.save(tmp_path / f"m{ending}", {"w": np.ones(2, "g")})


@pytest.mark.parametrize("ending", [".h5", ".ckpt"])
def test_many_axes(tmp_path: Path, ending: str) -> None:
    """The format that is named takes them."""
    arrays = {"w": np.ones((1,) * 40)}
    with pytest.raises(InitregError, match=r"it has 40 axes.* Save as \.npz"):
        initreg.save(tmp_path / f"m{ending}", arrays)
    assert initreg.load(initreg.save(tmp_path / "m.npz", arrays))["w"].shape == (1,) * 40


def test_save_takes_rules(tmp_path: Path) -> None:
    """So that what an error of save says can be typed there."""
    arrays = {"a": np.ones(2, "f4"), "b": np.ones(2)}
    path = initreg.save(tmp_path / "m.npz", arrays, rename={"a": "c"}, cast={"b": "float16"})
    assert {n: a.dtype.name for n, a in initreg.load(path).items()} == {
        "c": "float32",
        "b": "float16",
    }
    with pytest.raises(TypeError, match=r"save\(\) got an unexpected keyword argument 'verify'"):
        initreg.save(tmp_path / "m.npz", arrays, verify=True)
