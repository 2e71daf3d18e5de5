"""The calls in a pickle that have a meaning for weights. All others become a ``Record``.

Nothing is imported or called by name: each entry of the table is a function of this module.

Source: ``torch/_utils.py`` and ``torch/_tensor.py`` of PyTorch 2.13, and numpy's
``_core/multiarray.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from initreg_torch.values import (
    Global,
    Items,
    NotRead,
    NumpyArray,
    NumpyDtype,
    Record,
    Storage,
    Tensor,
)

# The storage classes of before 2.0, which files still name.
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
}
# What torch calls otherwise than numpy and ml_dtypes.
_DTYPES = {"double": "float64", "float": "float32", "half": "float16", "long": "int64"}
_DTYPES |= {"int": "int32", "short": "int16", "cdouble": "complex128", "cfloat": "complex64"}
# Those that numpy and ml_dtypes have, with their sizes in bytes.
SIZES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "bool": 1}
SIZES |= {"int64": 8, "int32": 4, "int16": 2, "int8": 1}
SIZES |= {"uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "complex64": 8, "complex128": 16}
SIZES |= {"float8_e4m3fn": 1, "float8_e4m3fnuz": 1, "float8_e5m2": 1, "float8_e5m2fnuz": 1}
SIZES |= {"float8_e8m0fnu": 1}

_UNREADABLE = "It has no plain values. Load it with torch, and save it as a dense tensor"


def call(name: Global, arguments: tuple[Any, ...]) -> Any:
    """What a call means: a value, or a ``Record`` if it is not allowed."""
    found = _ALLOWED.get(name)
    if found is None:
        return Record(name, arguments)
    return found(*arguments)


def dtype_of(value: Any) -> str:
    """The dtype that ``torch.float32`` stands for, as in :mod:`initreg.dtypes`."""
    if isinstance(value, Global) and value.module == "torch":
        return _DTYPES.get(value.name, value.name)
    raise ValueError(f"{value} is not a dtype")


def _sizes(values: Any) -> tuple[int, ...]:
    found = tuple(values)
    if not all(type(each) is int and each >= 0 for each in found):
        raise ValueError(f"{found} is not a shape")
    return found


def _tensor(
    storage: Any, offset: Any, size: Any, stride: Any, *rest: Any, dtype: str = ""
) -> Tensor | NotRead | Record:
    shape, strides = _sizes(size), _sizes(stride)
    if not isinstance(storage, Storage):
        raise ValueError("a tensor lies in something that is not a storage")
    if type(offset) is not int or offset < 0 or len(shape) != len(strides):
        raise ValueError("a tensor has no valid position in its storage")
    dtype = dtype or storage.dtype
    if dtype not in SIZES:
        return NotRead(f"numpy has no dtype {dtype}", shape, dtype)
    bits = {key for each in rest if isinstance(each, Items) for key, value in each if value is True}
    return Tensor(storage, dtype, offset, shape, strides, "conj" in bits, "neg" in bits)


def _tensor_v2(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
    # rest: requires_grad, backward_hooks, metadata. Hooks are an empty dict.
    return _tensor(storage, offset, size, stride, *rest[2:])


def _tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *rest: Any
) -> Any:
    return _tensor(storage, offset, size, stride, *rest, dtype=dtype_of(dtype))


def _parameter(data: Any, *rest: Any) -> Any:
    return data


def _subclass(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor of a subclass is what its own call makes, with attributes that are not values."""
    return call(function, tuple(arguments))


def _wrapper(kind: Any, dtype: Any, size: Any, *rest: Any) -> NotRead:
    return NotRead(f"it is a {kind}. {_UNREADABLE}", _sizes(size), _name(dtype))


def _quantised(storage: Any, offset: Any, size: Any, *rest: Any) -> NotRead:
    kind = storage.dtype if isinstance(storage, Storage) else "quantised"
    return NotRead(
        "it is quantised. Load it with torch, and save its dequantize()", _sizes(size), kind
    )


def _sparse(layout: Any, data: Any) -> NotRead:
    size = next((each for each in data if isinstance(each, tuple)), ())
    return NotRead("it is sparse. Load it with torch, and save its to_dense()", _sizes(size))


def _nested(*arguments: Any) -> NotRead:
    return NotRead(f"it is a nested tensor. {_UNREADABLE}")


def _meta(dtype: Any, size: Any, *rest: Any) -> NotRead:
    return NotRead(
        "it was saved from the device 'meta', without values", _sizes(size), _name(dtype)
    )


def _from_numpy(data: Any, *rest: Any) -> Any:
    return data


def _name(dtype: Any) -> str:
    return dtype.name if isinstance(dtype, Global) else "unknown"


def _dict(*arguments: Any) -> Items:
    """``OrderedDict()``, or with pairs, as Python 2 wrote it."""
    if not arguments:
        return Items()
    pairs = arguments[0]
    return Items(pairs if isinstance(pairs, Items) else [(key, value) for key, value in pairs])


def _default_dict(*arguments: Any) -> Items:
    return _dict(*arguments[1:])


def _size(*arguments: Any) -> tuple[Any, ...]:
    return tuple(arguments[0]) if arguments else ()


def _list(*arguments: Any) -> list[Any]:
    return list(arguments[0]) if arguments else []


def _encode(text: Any, encoding: Any = "utf-8") -> bytes:
    """``_codecs.encode``, with which protocol 2 spells bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError(f"the encoding {encoding!r} of bytes is not known")
    return text.encode("latin1")


def _reconstruct(kind: Any, shape: Any, letter: Any) -> NumpyArray:
    return NumpyArray()


def _scalar(dtype: Any, data: Any = b"") -> NumpyArray:
    return NumpyArray((), dtype, False, data)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> NumpyArray:
    return NumpyArray(tuple(shape), dtype, order == "F", data)


def _numpy_dtype(text: Any, *rest: Any) -> Any:
    return NumpyDtype(text) if isinstance(text, str) else Record(Global("numpy", "dtype"), (text,))


_ALLOWED: dict[Global, Callable[..., Any]] = {
    Global("torch._utils", "_rebuild_tensor"): _tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    Global("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    Global("torch._utils", "_rebuild_parameter"): _parameter,
    Global("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    Global("torch._tensor", "_rebuild_from_type_v2"): _subclass,
    Global("torch._utils", "_rebuild_wrapper_subclass"): _wrapper,
    Global("torch._utils", "_rebuild_qtensor"): _quantised,
    Global("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    Global("torch._utils", "_rebuild_sparse_csr_tensor"): _sparse,
    Global("torch._utils", "_rebuild_nested_tensor"): _nested,
    Global("torch._utils", "_rebuild_meta_tensor_no_storage"): _meta,
    Global("torch._utils", "_rebuild_device_tensor_from_numpy"): _from_numpy,
    Global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _from_numpy,
    Global("torch._utils", "_rebuild_xla_tensor"): _from_numpy,
    Global("torch", "Size"): _size,
    Global("collections", "OrderedDict"): _dict,
    Global("collections", "defaultdict"): _default_dict,
    Global("collections", "Counter"): _dict,
    Global("_codecs", "encode"): _encode,
    Global("numpy", "dtype"): _numpy_dtype,
}
for _module in ("builtins", "__builtin__"):
    _ALLOWED |= {
        Global(_module, "dict"): _dict,
        Global(_module, "list"): _list,
        Global(_module, "set"): _list,
        Global(_module, "frozenset"): _size,
        Global(_module, "tuple"): _size,
        Global(_module, "bytearray"): lambda *data: data[0] if data else b"",
    }
for _module in ("numpy.core", "numpy._core"):
    _ALLOWED |= {
        Global(f"{_module}.multiarray", "_reconstruct"): _reconstruct,
        Global(f"{_module}.multiarray", "scalar"): _scalar,
        Global(f"{_module}.numeric", "_frombuffer"): _from_buffer,
    }


def storage_of(found: Any) -> tuple[Storage, Any]:
    """The storage that a persistent id means, and what comes after its size in the id.

    Raises ValueError.
    """
    if not isinstance(found, tuple) or not 5 <= len(found) <= 6:
        raise ValueError("a persistent id is not that of a storage")
    word, kind, key, _, count, *rest = found
    if word != "storage" or not isinstance(kind, Global) or not isinstance(key, str):
        raise ValueError("a persistent id is not that of a storage")
    dtype = STORAGES.get(kind.name, "")
    if not dtype and kind.name not in ("UntypedStorage", "TypedStorage"):
        raise ValueError(f"the storage class {kind} is not known")
    if type(count) is not int or count < 0:
        raise ValueError(f"a storage has {count!r} elements")
    size = 4 if dtype == "qint32" else SIZES.get(dtype, 1)
    return Storage(key, dtype, count * size), rest
