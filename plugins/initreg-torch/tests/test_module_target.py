"""initreg_torch.module_target: modules of torch, filled as ``load_state_dict`` fills them."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import initreg
import ml_dtypes
import numpy as np
import pytest
import torch
from initreg import SmartInit, TargetError
from initreg.testing import TargetContract

Array = np.ndarray[Any, Any]
STRICT = {"on_missing": "error", "on_unused": "error"}


def tensor_of(array: Array) -> torch.Tensor:
    """A tensor with these bits."""
    if (
        array.dtype.kind != "V"
        and array.dtype.name != "bfloat16"
        and "float8" not in str(array.dtype)
    ):
        return torch.from_numpy(array.copy())
    bits = array.view(f"i{array.dtype.itemsize}").copy()
    return torch.from_numpy(bits).view(getattr(torch, array.dtype.name))


def array_of(tensor: torch.Tensor) -> Array:
    tensor = tensor.detach().cpu()
    name = str(tensor.dtype).removeprefix("torch.")
    if hasattr(ml_dtypes, name):
        bits = tensor.view({1: torch.int8, 2: torch.int16}[tensor.element_size()])
        return bits.numpy().view(getattr(ml_dtypes, name))
    return tensor.numpy()


class TestModule(TargetContract):
    """Parameters, and buffers where the dtype has no gradients."""

    target = "torch_module"
    dtypes = (*TargetContract.dtypes, "bfloat16", "float8_e4m3fn", "float8_e5m2")

    def make(self, values: dict[str, Array]) -> Any:
        module = torch.nn.Module()
        for name, array in values.items():
            tensor = tensor_of(array)
            if tensor.is_floating_point() or tensor.is_complex():
                module.register_parameter(name, torch.nn.Parameter(tensor))
            else:
                module.register_buffer(name, tensor)
        return module

    def values(self, obj: Any) -> Mapping[str, Any]:
        return {name: array_of(tensor) for name, tensor in obj.state_dict().items()}

    def change(self, obj: Any, name: str) -> None:
        with torch.no_grad():
            obj.get_parameter(name).add_(1)

    def make_open(self, value: Array | None, shape: Any) -> Any:
        """A lazy module takes any shape, until it has one."""
        if shape is not None:
            return None
        module = torch.nn.Module()
        module.register_parameter("alpha", torch.nn.UninitializedParameter())
        return module

    def strangers(self) -> Iterator[Any]:
        """What belongs to torch and is not a module."""
        yield torch.zeros(3)
        yield torch.nn.Module
        yield torch.nn.Parameter(torch.zeros(3))
        yield torch.nn.Linear(2, 2).state_dict().keys()

    def unwritable(self) -> Iterator[Any]:
        """Tensors without memory, and those that numpy cannot fill."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch will remove it
            quantized = torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8)
        for tensor in (
            torch.zeros(3, device="meta"),
            torch.zeros(3, 3).to_sparse(),
            quantized,
        ):
            module = torch.nn.Module()
            module.register_buffer("alpha", tensor)
            yield module

    def failing(self) -> Any:
        """One element that stands for all: torch refuses to write it."""
        module = self.make({name: np.zeros(3, "f4") for name in ("alpha", "gamma")})
        module.register_buffer("beta", torch.zeros(1).expand(3))
        return module, {name: np.ones(3, "f4") for name in ("alpha", "beta", "gamma")}


class TestWrappedModule(TestModule):
    """A module in a wrapper: names are those of its state dict, and those without the wrapper's."""

    def make(self, values: dict[str, Array]) -> Any:
        return torch.nn.DataParallel(super().make(values))

    def values(self, obj: Any) -> Mapping[str, Any]:
        return super().values(obj.module)

    def change(self, obj: Any, name: str) -> None:
        super().change(obj.module, name)

    def named(self, name: str) -> str:
        return f"module.{name}"

    def aliases(self, obj: Any) -> Mapping[str, str]:
        return {name: name for name in self.values(obj)}

    def make_open(self, value: Array | None, shape: Any) -> Any:
        made = super().make_open(value, shape)
        return None if made is None else torch.nn.DataParallel(made)

    def failing(self) -> Any:
        return None


class Net(torch.nn.Module):
    """A bit of everything: tied, frozen, buffers of both sorts, lists, and a list of parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = torch.nn.Embedding(7, 4)
        self.blocks = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)) for _ in range(2)
        )
        self.head = torch.nn.Linear(4, 7, bias=False)
        self.head.weight = self.emb.weight
        self.extra = torch.nn.ParameterList([torch.nn.Parameter(torch.randn(3))])
        self.register_buffer("mask", torch.zeros(3, dtype=torch.bool))
        self.register_buffer("cache", torch.zeros(3), persistent=False)
        self.blocks[0][0].weight.requires_grad_(False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.emb(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def saved(path: Path, dtype: torch.dtype = torch.float32) -> Path:
    torch.manual_seed(1)
    net = Net().to(dtype)
    net.train()
    net.mask[1] = True
    for norm in (net.blocks[0][1], net.blocks[1][1]):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    torch.save(net.state_dict(), path)
    return path


def test_as_load_state_dict_does(tmp_path: Path) -> None:
    """Every tensor has the same bits, and both modules compute the same."""
    path = saved(tmp_path / "net.pt")
    torch.manual_seed(2)
    ours, theirs = Net().eval(), Net().eval()
    theirs.load_state_dict(torch.load(path, weights_only=True))
    plan = SmartInit(path, **STRICT).init(ours)
    assert len(plan.restored) == len(theirs.state_dict())
    for (name, one), (_, other) in zip(
        ours.state_dict().items(), theirs.state_dict().items(), strict=True
    ):
        assert torch.equal(one, other), name
    tokens = torch.tensor([0, 3, 6])
    assert torch.equal(ours(tokens), theirs(tokens))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype: torch.dtype, tmp_path: Path) -> None:
    """The same bits, in the dtype of the module."""
    path = saved(tmp_path / "net.pt", dtype)
    ours = Net().to(dtype)
    SmartInit(path, **STRICT).init(ours)
    for name, tensor in torch.load(path, weights_only=True).items():
        assert torch.equal(ours.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
        lambda: torch.nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2),
        lambda: torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv1d(3, 4, 3)),
        lambda: torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(3, 4)),
        lambda: torch.nn.ParameterDict({"b": torch.nn.Parameter(torch.ones(2)), "a": None}),
        lambda: torch.nn.ModuleDict({"x": torch.nn.Bilinear(2, 2, 2), "y": torch.nn.Identity()}),
        lambda: torch.nn.SyncBatchNorm(3),
        Net,
    ],
    ids=["transformer", "lstm", "weight_norm", "spectral_norm", "dict", "modules", "norm", "net"],
)
def test_names_are_those_of_the_state_dict(make: Callable[[], Any], tmp_path: Path) -> None:
    """In its order, and a file of another such module fits without rules: every bit."""
    ours, other = make(), make()
    torch.save(other.state_dict(), tmp_path / "m.pt")
    plan = SmartInit(tmp_path / "m.pt", **STRICT).init(ours)
    assert sorted(row.name for row in plan.restored) == sorted(other.state_dict())
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_what_stays_as_it_is(tmp_path: Path) -> None:
    """The tensors themselves, requires_grad, devices, ties, and buffers that are not saved."""
    ours = Net()
    before = dict(ours.named_parameters(remove_duplicate=False))
    ours.cache.fill_(5)
    optimizer = torch.optim.SGD(ours.parameters(), 0.1)
    SmartInit(saved(tmp_path / "net.pt"), **STRICT).init(ours)
    after = dict(ours.named_parameters(remove_duplicate=False))
    assert all(after[name] is tensor for name, tensor in before.items())
    assert not ours.blocks[0][0].weight.requires_grad
    assert ours.blocks[1][0].weight.requires_grad
    assert ours.head.weight is ours.emb.weight
    assert ours.cache.tolist() == [5, 5, 5]
    assert optimizer.param_groups[0]["params"][0] is ours.emb.weight
    assert all(p.grad is None and p.is_leaf for p in ours.parameters())


@pytest.mark.parametrize("gone", ["emb.weight", "head.weight"])
def test_one_name_of_a_tied_tensor_is_enough(gone: str) -> None:
    """Whichever name the source has, nothing is missing, and the plan says why."""
    values = {name: array_of(t).copy() for name, t in Net().state_dict().items()}
    expected = values.pop(gone)
    ours = Net()
    plan = SmartInit(values, **STRICT).init(ours)
    assert array_of(ours.emb.weight).tobytes() == expected.tobytes()
    other = {"emb.weight": "head.weight", "head.weight": "emb.weight"}[gone]
    assert f"{gone}  (7, 4) float32, the same tensor as {other!r}" in plan.to_text()
    for name in ("emb.weight", "head.weight"):
        values.pop(name, None)
    with pytest.raises(initreg.MissingError, match="emb"):
        SmartInit(values, on_missing="error").init(Net())


def test_two_arrays_for_a_tied_tensor_must_be_equal() -> None:
    """Else one of them would be lost without a word. Nothing is written then."""
    values = {name: array_of(t).copy() for name, t in Net().state_dict().items()}
    values["head.weight"][0, 0] += 1
    ours = Net()
    before = copy.deepcopy(ours.state_dict())
    with pytest.raises(
        initreg.InitregError, match=r"'emb.weight' and 'head.weight' are one tensor"
    ):
        SmartInit(values, **STRICT).init(ours)
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in before.items())


def test_parameters_that_share_memory_are_tied() -> None:
    """Two objects with one memory are one tensor, too."""
    linear = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    linear[1].weight.data = linear[0].weight.data
    plan = SmartInit({"1.weight": np.ones((2, 2), "f4")}, on_missing="ignore").init(linear)
    assert linear[0].weight.sum() == 4
    assert "0.weight  (2, 2) float32, the same tensor as '1.weight'" in plan.to_text()


def test_lazy_modules_get_their_shape(tmp_path: Path) -> None:
    """As load_state_dict gives it, and they compute the same."""
    torch.save(torch.nn.Linear(3, 4).state_dict(), tmp_path / "l.pt")
    ours, theirs = torch.nn.LazyLinear(4), torch.nn.LazyLinear(4)
    theirs.load_state_dict(torch.load(tmp_path / "l.pt", weights_only=True))
    SmartInit(tmp_path / "l.pt", **STRICT).init(ours)
    x = torch.randn(2, 3)
    assert torch.equal(ours(x), theirs(x))
    assert type(ours) is torch.nn.Linear


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")
def test_wrappers_take_names_without_their_own(tmp_path: Path) -> None:
    """A compiled module, and one for several devices, take the checkpoint of the module."""
    path = saved(tmp_path / "net.pt")
    expected = initreg.load(path)
    for wrapped, prefix in (
        (torch.compile(Net()), "_orig_mod."),
        (torch.nn.DataParallel(Net()), "module."),
    ):
        SmartInit(path, **STRICT).init(wrapped)
        for name, tensor in wrapped.state_dict().items():
            assert array_of(tensor).tobytes() == expected[name[len(prefix) :]].tobytes()


def test_mismatches_write_nothing() -> None:
    """Another shape is an error before anything is written."""
    ours = torch.nn.Linear(3, 4)
    before = copy.deepcopy(ours.state_dict())
    with pytest.raises(initreg.MismatchError, match="weight"):
        SmartInit({"weight": np.ones((3, 4), "f4"), "bias": np.ones(4, "f4")}).init(ours)
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in before.items())


def test_mapped_files_are_copied(tmp_path: Path) -> None:
    """mmap gives read-only views. torch gets a copy, without a warning."""
    initreg.save(
        tmp_path / "l.safetensors", {"weight": np.ones((4, 3), "f4"), "bias": np.ones(4, "f4")}
    )
    ours = torch.nn.Linear(3, 4)
    SmartInit(tmp_path / "l.safetensors", mmap=True).init(ours)
    with torch.no_grad():
        ours.weight.add_(1)
    assert ours.weight.sum() == 24
    assert initreg.load(tmp_path / "l.safetensors")["weight"].sum() == 12


def test_a_tensor_of_inference_mode_is_written_or_refused() -> None:
    """torch refuses to write it outside of that mode. The error is initreg's, and names it."""
    with torch.inference_mode():
        ours = torch.nn.Linear(3, 4)
    with pytest.raises(initreg.InitregError, match=r"weight"):
        SmartInit({"weight": np.ones((4, 3), "f4"), "bias": np.ones(4, "f4")}).init(ours)


def test_errors_say_what_to_do() -> None:
    """A module on the device meta has no memory."""
    with torch.device("meta"):
        module = torch.nn.Linear(3, 4)
    with pytest.raises(TargetError, match=r"'weight' is on the device 'meta'.*to_empty"):
        SmartInit({"weight": np.ones((4, 3), "f4")}).init(module)


def test_torch_is_not_imported() -> None:
    """Who has no module of torch does not pay for it, and the format needs none."""
    code = (
        "import sys, numpy, initreg; t = {'w': numpy.zeros(2)};"
        "initreg.SmartInit({'w': numpy.ones(2)}).init(t); print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def _small() -> torch.nn.Module:
    found = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)
    )
    return found.eval()


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".h5"])
def test_a_module_is_a_source(ending: str, tmp_path: Path) -> None:
    """A module is copied into another one, and saved and restored: their outputs are equal."""
    one, other, x = _small(), _small(), torch.randn(5, 3)
    expected = one(x)
    assert not torch.equal(other(x), expected)
    SmartInit(one, **STRICT).init(other)
    assert torch.equal(other(x), expected)
    path = initreg.save(tmp_path / f"m{ending}", one)
    with torch.no_grad():
        one[0].weight.add_(1)
    assert [each.name for each in initreg.diff(one, other).of("different")] == ["0.weight"]
    SmartInit(path, **STRICT).init(one)
    assert torch.equal(one(x), expected)


def test_what_was_read_of_a_module_does_not_change() -> None:
    """Arrays are copies in every dtype, also of views and of a part."""
    module = torch.nn.Module()
    for number, dtype in enumerate((torch.float32, torch.bfloat16, torch.float8_e4m3fn)):
        values = torch.arange(6).reshape(2, 3).to(dtype)
        module.register_buffer(f"b{number}", values.t())
    with initreg.open(module) as opened:
        part = opened["b1"][1:, 0]
        found = {name: array.read() for name, array in opened.items()}
    for tensor in module.buffers():
        tensor.zero_()
    expected = [[0, 3], [1, 4], [2, 5]]
    assert [found[f"b{n}"].astype("f4").tolist() for n in range(3)] == [expected] * 3
    assert part.astype("f4").tolist() == [1, 2]
    assert found["b1"].dtype == ml_dtypes.bfloat16


def test_tensors_of_one_module_are_swapped() -> None:
    """All of them are read before the first is written."""
    module = torch.nn.Module()
    module.u, module.v = (torch.nn.Parameter(torch.full((2,), n)) for n in (1.0, 2.0))
    SmartInit(module, rename={"u": "v", "v": "u"}).init(module)
    assert (module.u.tolist(), module.v.tolist()) == ([2, 2], [1, 1])


def test_a_lazy_parameter_has_no_values() -> None:
    """The error says what gives it some."""
    with pytest.raises(TargetError, match="'weight' has no values yet"):
        initreg.open(torch.nn.LazyLinear(2))


@pytest.mark.parametrize(("momentum", "is_needed"), [(0.1, False), (None, True)])
def test_a_counter_that_a_norm_does_not_use_is_not_needed(
    momentum: float | None, is_needed: bool
) -> None:
    """So a source of another framework is complete without it, by `init` and by `map`. A norm with
    momentum=None averages by it."""
    norm = torch.nn.BatchNorm1d(3, momentum=momentum)
    module = torch.nn.Sequential(norm)
    arrays = {
        f"0.{name}": np.full(3, number, "f4")
        for number, name in enumerate(("weight", "bias", "running_mean", "running_var"), 2)
    }
    assert initreg.map(arrays, module).is_complete is not is_needed
    plan = SmartInit(arrays, on_missing="ignore").plan(module)
    kinds = {row.name: str(row.kind) for row in plan.rows}
    expected = "only in target" if is_needed else "not needed"
    assert kinds["0.num_batches_tracked"] == expected
    if is_needed:
        with pytest.raises(initreg.MissingError, match="num_batches_tracked"):
            SmartInit(arrays, **STRICT).init(module)
    else:
        SmartInit(arrays, **STRICT).init(module)
        assert norm.running_var.tolist() == [5, 5, 5]
    counted = arrays | {"0.num_batches_tracked": np.array(7)}
    SmartInit(counted, **STRICT).init(module)
    assert norm.num_batches_tracked.item() == 7
