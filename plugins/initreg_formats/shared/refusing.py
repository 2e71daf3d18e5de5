"""One error for all arrays that a format cannot store, raised before anything is written."""

from __future__ import annotations

from collections.abc import Mapping

from initreg import ArraySpec, InitregError, dtypes
from initreg.option_spelling import join, option
from initreg_formats.shared.tf_dtypes import DTYPES as OF_TENSORFLOW

_SHOWN = 10
_INTEGERS = {f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)}
_NUMBERS = {"bool", "float16", "float32", "float64", "complex64", *_INTEGERS}
_FLOAT8 = ("e5m2", "e4m3fn", "e8m0fnu", "e4m3fnuz", "e5m2fnuz")
# numpy's long double: 80 bits on one machine, 128 or 64 on another.
_OF_THE_MACHINE = ("float96", "float128", "complex192", "complex256")
# The dtypes that each extension can store, so that an error can name another one that does.
HELD: dict[str, frozenset[str]] = {
    ".npz": frozenset({*_NUMBERS, "complex128", "string"}),
    ".h5": frozenset({*_NUMBERS, "complex128", "string", "bfloat16"}),
    ".safetensors": frozenset({*_NUMBERS, "bfloat16", *(f"float8_{kind}" for kind in _FLOAT8)}),
    ".ckpt": frozenset(OF_TENSORFLOW.values()),
}


def refuse(problems: Mapping[str, str], kind: str, label: str) -> None:
    """Raise InitregError if any array has a problem.

    Args:
        problems: by the array's name, what is wrong and what to do; ``""`` if nothing is wrong.
        kind: what the format is called.
        label: what messages call the output.
    """
    lines = [f"array {name!r}: " + problem for name, problem in problems.items() if problem]
    if not lines:
        return
    if len(lines) == 1:
        raise InitregError(f"{label}: {kind} cannot store " + lines[0] + ". Nothing was written")
    more = [f"and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    raise InitregError(
        f"{label}: {kind} cannot store {len(lines):,} of the arrays. Nothing was written:\n  "
        + join("\n  ", lines[:_SHOWN] + more)
    )


def dtype_problem(spec: ArraySpec, ending: str) -> str:
    """Why files of this extension cannot store the dtype of an array, and what to do.

    Returns:
        ``""`` if they can store it.
    """
    dtype, held = spec.dtype, HELD[ending]
    drop = "drop it: " + option("drop", spec.name)
    if spec.opaque is not None:
        return (
            f"its dtype is {dtype}, which numpy does not have. Its bytes can only be copied into "
            "another file of its own format. Save in that format, or " + drop
        )
    if dtype in held:
        return ""
    if dtype == "object":
        return "it holds Python objects, which no format stores. You can " + drop
    if dtypes.is_raw(dtype):
        return _raw_problem(spec, held, drop)
    if not (dtypes.is_number(dtype) or dtype in dtypes.QUANTISED or dtype == dtypes.STRING):
        return f"its dtype is {dtype}, which is not one of numbers. You can " + drop
    others = [each for each, dtypes_of in HELD.items() if dtype in dtypes_of]
    ways = [f"save as {' or '.join(others)}"] if others else []
    plain = _plain(dtype, held)
    if plain:
        words = "its integers without their scale" if dtype in dtypes.QUANTISED else "it cast"
        ways.append(f"store {words}: " + option("cast", {spec.name: plain}))
    return f"its dtype is {dtype}, which {_reason(dtype, ending)}. You can " + join(
        ", or ", [*ways, drop]
    )


def _reason(dtype: str, ending: str) -> str:
    if dtype in dtypes.QUANTISED:
        return "only TensorFlow has"
    if dtype in _OF_THE_MACHINE:
        return "is not the same on every machine"
    return "numpy's files have no name for" if ending == ".npz" else "the format does not have"


def _raw_problem(spec: ArraySpec, held: frozenset[str], drop: str) -> str:
    """What to do with raw bytes: say what they are, in a dtype that the format has."""
    what = (
        f"its dtype is {spec.dtype}, which is raw bytes, as which numpy saves bfloat16 and float8. "
    )
    kind = {1: "float8_e4m3fn", 2: "bfloat16"}.get(int(spec.dtype.removeprefix("|V")))
    if kind is None:
        return what + "You can " + drop
    ways = [option("view", {spec.name: kind})]
    if kind not in held:
        ways.append(option("cast", {spec.name: "float32"}))
    return what + f"If these are {kind}, say so: " + join(" and ", ways) + ". Else " + drop


def _plain(dtype: str, held: frozenset[str]) -> str:
    """A dtype to cast to that the format has, ``""`` if there is none."""
    size = dtypes.itemsize(dtype) or 0
    integer = dtypes.integer_bits(dtype)
    if dtype in dtypes.QUANTISED:
        found = dtypes.QUANTISED[dtype]
    elif integer:
        found = "int8" if integer[0] else "uint8"
    elif dtypes.is_float(dtype):
        found = "float32" if size <= 4 else "float64"
    elif dtypes.is_complex(dtype):
        found = "complex64" if size <= 8 or "complex128" not in held else "complex128"
    else:
        return ""
    return found if found in held else ""


def name_problem(name: str) -> str:
    """Why no file can have this name; ``""`` if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not valid Unicode. Rename it"
    return ""
