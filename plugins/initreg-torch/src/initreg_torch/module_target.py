"""A ``torch.nn.Module`` as a target and as a source: its parameters and buffers, by the names of
its state dict.

torch is not imported here before somebody has made a module with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from initreg import (
    Claim,
    Confidence,
    InitregError,
    OpenOptions,
    Source,
    Target,
    TargetError,
    VariableSpec,
    dtypes,
    hookimpl,
)
from initreg.format_tools.living import LivingArray, LivingArrays

initreg_takes = "a torch.nn.Module"

# Wrappers that put their module under a name of their own, which checkpoints of it may lack.
_WRAPPERS = {
    "OptimizedModule": "_orig_mod.",
    "DataParallel": "module.",
    "DistributedDataParallel": "module.",
}
# Dtypes that numpy has and torch.from_numpy takes. Others are handed over as integers.
_SHARED = frozenset(
    {"bool", "uint8", "int8", "int16", "int32", "int64"}
    | {"float16", "float32", "float64", "complex64", "complex128"}
)
_BITS = {1: "u1", 2: "i2", 4: "i4", 8: "i8"}


@hookimpl
def initreg_target(obj: object) -> Target | None:
    return Module(obj) if _is_module(obj) else None


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    if source.path is None and _is_module(source.obj):
        return Claim(Confidence.EXACT, _label(source.obj))
    return None


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    if source.path is not None or not _is_module(source.obj):
        raise InitregError(f"{source.label} is not a torch.nn.Module")
    return Module(source.obj).living()


def _is_module(obj: object) -> bool:
    torch = sys.modules.get("torch")
    module = getattr(getattr(torch, "nn", None), "Module", None)
    return isinstance(module, type) and isinstance(obj, module)


def _label(module: Any) -> str:
    return f"torch module {type(module).__name__!r}"


class Module:
    """The parameters and persistent buffers of a module. Writing copies into them, so that
    optimizers, and other modules that share them, see the new values. Their device and
    ``requires_grad`` stay as they are.

    Args:
        module: the module.

    Raises:
        TargetError: a tensor of it cannot be written.
    """

    def __init__(self, module: Any) -> None:
        self.label = _label(module)
        self._tensors = dict(_tensors(module))
        self._prefix = _WRAPPERS.get(type(module).__name__, "")
        self._counters = set(_counters(module))
        self._names: dict[Any, list[str]] = {}  # of each tensor; a tied one has several
        for name, tensor in self._tensors.items():
            self._refuse(name, tensor)
            self._names.setdefault(_memory(tensor), []).append(name)

    def variables(self) -> Sequence[VariableSpec]:
        return [self._spec(name, tensor) for name, tensor in self._tensors.items()]

    def _spec(self, name: str, tensor: Any) -> VariableSpec:
        tied = tuple(each for each in self._names[_memory(tensor)] if each != name)
        prefix = self._prefix
        why = f"the same tensor as {tied[0]!r}" if tied else ""
        if name in self._counters:
            why, tied = "a count of batches, which only a norm with momentum=None uses", ()
        return VariableSpec(
            name,
            None if _is_lazy(tensor) else tuple(tensor.shape),
            _dtype(tensor),
            aliases=(name[len(prefix) :],) if prefix and name.startswith(prefix) else (),
            not_needed=why,
            not_needed_with=tied,
        )

    def living(self) -> LivingArrays:
        """The same tensors as a source.

        Raises:
            TargetError: a parameter of a lazy module has no shape yet.
        """
        found = []
        for name, tensor in self._tensors.items():
            if _is_lazy(tensor):
                raise TargetError(
                    f"{self.label}: {name!r} has no values yet. Call the module on some data first"
                )
            own = ("torch", _memory(tensor))
            array = LivingArray(self._spec(name, tensor), tuple(tensor.shape), _reader(tensor), own)
            found.append((name, array))
        return LivingArrays(self.label, found, None)

    def identities(self) -> set[Hashable]:
        """See ``initreg.Target``."""
        return {("torch", _memory(tensor)) for tensor in self._tensors.values()}

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        import torch

        # The source may hold the memory of tensors, which numpy shares if they are on the CPU. So
        # all is read before anything is written, as torch.load and load_state_dict do.
        arrays = self._checked(arrays)
        if any(tensor.device.type == "cpu" for tensor in self._tensors.values()):
            arrays = list(arrays)
        for variable, array in arrays:
            tensor = self._tensors[variable.name]
            try:
                with torch.no_grad():
                    if _is_lazy(tensor):
                        tensor.materialize(array.shape)
                    tensor.copy_(_as_tensor(array, tensor.dtype))
            except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
                reason = " ".join(str(error).split())[:500]
                raise TargetError(
                    f"{self.label}: {variable.name!r} cannot be written: {reason}"
                ) from error
            yield variable.name

    def _checked(
        self, arrays: Iterable[tuple[VariableSpec, Any]]
    ) -> Iterator[tuple[VariableSpec, Any]]:
        """The arrays. Raises TargetError if two for one tensor have not the same bits."""
        seen: dict[Any, tuple[str, Any]] = {}  # of the tensors that are tied
        for variable, array in arrays:
            memory = _memory(self._tensors[variable.name])
            if len(self._names.get(memory, ())) > 1:
                name, other = seen.setdefault(memory, (variable.name, array))
                if other.tobytes() != array.tobytes():
                    raise TargetError(
                        f"{self.label}: {name!r} and {variable.name!r} are one tensor, and their "
                        "arrays have different values. Drop one of the arrays"
                    )
            yield variable, array

    def _refuse(self, name: str, tensor: Any) -> None:
        what = f"{self.label}: {name!r} "
        if tensor.device.type == "meta":
            raise TargetError(
                what + "is on the device 'meta', which has no memory. Call "
                'module.to_empty(device="cpu") first'
            )
        layout = str(tensor.layout).removeprefix("torch.")
        if layout != "strided" or tensor.is_quantized:
            kind = "quantized" if tensor.is_quantized else layout
            raise TargetError(what + f"is a {kind} tensor, which initreg does not write")
        try:
            dtypes.to_numpy(_dtype(tensor))
        except (TypeError, ValueError) as error:
            raise TargetError(
                what + f"is of {tensor.dtype}, which numpy and ml_dtypes do not have"
            ) from error


def _tensors(module: Any) -> Iterator[tuple[str, Any]]:
    """What ``state_dict`` holds, in its order, shared tensors under all of their names."""
    for scope, part in module.named_modules(remove_duplicate=False):
        dot = f"{scope}." if scope else ""
        for name, tensor in part.named_parameters(recurse=False, remove_duplicate=False):
            yield dot + name, tensor
        # As in torch.nn.Module._save_to_state_dict.
        gone = part._non_persistent_buffers_set
        for name, tensor in part.named_buffers(recurse=False, remove_duplicate=False):
            if name not in gone:
                yield dot + name, tensor


def _counters(module: Any) -> Iterator[str]:
    """The names of the counters of norms that do not use them. Source: ``_BatchNorm.forward`` in
    torch/nn/modules/batchnorm.py."""
    for scope, part in module.named_modules(remove_duplicate=False):
        tracked = part._buffers.get("num_batches_tracked")
        if tracked is not None and getattr(part, "momentum", None) is not None:
            yield f"{scope}.num_batches_tracked" if scope else "num_batches_tracked"


def _memory(tensor: Any) -> Any:
    """What two tensors have in common if they are one."""
    if _is_lazy(tensor) or not tensor.numel() or not tensor.data_ptr():
        return id(tensor)
    where = tensor.data_ptr(), str(tensor.device)
    return (*where, tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)


def _is_lazy(tensor: Any) -> bool:
    return hasattr(tensor, "materialize")


def _dtype(tensor: Any) -> str:
    """The name that initreg has for a dtype of torch."""
    return str(tensor.dtype).removeprefix("torch.")


def _reader(tensor: Any) -> Callable[[tuple[slice, ...] | None], Any]:
    """What reads a tensor, or a box of it, into memory of its own."""

    def read(box: tuple[slice, ...] | None) -> Any:
        import numpy as np
        import torch

        found = tensor.detach() if box is None else tensor.detach()[box]
        found = found.resolve_conj().resolve_neg().contiguous().cpu()
        dtype = _dtype(tensor)
        if dtype in _SHARED:
            return np.array(found.numpy())
        bits = found.view(getattr(torch, f"int{8 * found.element_size()}")).numpy()
        return np.array(bits).view(dtypes.to_numpy(dtype))

    return read


def _as_tensor(array: Any, dtype: Any) -> Any:
    """A tensor with the values of an array. They share memory if that is possible."""
    import numpy as np
    import torch

    array = np.asarray(array, order="C")
    if not array.flags.writeable:  # torch has no tensors that are read-only, and warns
        array = array.copy()
    if array.dtype.name in _SHARED:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(_BITS[array.dtype.itemsize])).view(dtype)
