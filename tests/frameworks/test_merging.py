"""Merges beside mergekit and peft, on the same inputs: values, and the outputs of merged models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import peft
import pytest
import torch
from mergekit.merge_methods import merge_state_dicts
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import initreg
from initreg import SmartInit
from initreg.merging.formulas import kept_at_random

# peft warns of the biases of its own lora_bias=True, and says what it saves for embeddings.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Adapter 'default'. . LoRA tensor.s. have invalid shape"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:LoRA adapter added to ConvNd layer with groups"),
]
STEPS = 2e-6  # as a part of the largest value: a few roundings of float32


def llama(seed: int) -> dict[str, torch.Tensor]:
    """The weights of a small llama, near to those of every other seed."""
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    torch.manual_seed(0)
    weights = {n: v.clone() for n, v in LlamaForCausalLM(config).state_dict().items()}
    torch.manual_seed(seed + 1)
    return {n: v + 0.02 * torch.randn_like(v) * bool(seed) for n, v in weights.items()}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The base, and three models that come from it, on disk."""
    folder = tmp_path_factory.mktemp("llamas")
    found = []
    for seed in range(4):
        path = folder / f"{seed}.safetensors"
        save_file({n: v.contiguous() for n, v in llama(seed).items()}, path)
        found.append(str(path))
    return found


def loaded(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {name: value.float().numpy() for name, value in load_file(path).items()}


def assert_near(path: Path, wanted: dict[str, torch.Tensor], steps: float = STEPS) -> None:
    """All values are those wanted, but for the last bits."""
    found = loaded(path)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        expected = value.float().numpy()
        np.testing.assert_allclose(
            found[name], expected, rtol=0, atol=steps * np.abs(expected).max(), err_msg=name
        )


@pytest.mark.parametrize("weight", [[1.0, 1.0, 1.0], [0.5, 0.3, 0.2], [2.0, -0.5, 1.0]], ids=str)
def test_an_average_is_that_of_mergekit(files: list[str], tmp_path: Path, weight: Any) -> None:
    """average is linear, with the same weights."""
    models = [load_file(file) for file in files[1:]]
    wanted = merge_state_dicts(models, "linear", parameters={"weight": weight})
    initreg.merge(files[1:], tmp_path / "new.safetensors", weight=weight)
    assert_near(tmp_path / "new.safetensors", wanted)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
def test_slerp_is_that_of_mergekit(files: list[str], tmp_path: Path, t: float) -> None:
    """slerp is slerp, for arrays that are near to each other and for those that are not."""
    a, b = load_file(files[0]), load_file(files[1])
    far = {name: torch.randn_like(value) for name, value in b.items()}
    for number, other in enumerate((b, far)):
        path = tmp_path / f"{number}.safetensors"
        save_file(other, path)
        wanted = merge_state_dicts({"a": a, "b": other}, "slerp", base="a", parameters={"t": t})
        initreg.merge([files[0], path], tmp_path / "new.safetensors", method="slerp", t=t)
        assert_near(tmp_path / "new.safetensors", wanted)


@pytest.mark.parametrize(
    ("method", "theirs", "options"),
    [
        ("task", "task_arithmetic", {"weight": [0.7, 0.2, 0.4]}),
        ("task", "task_arithmetic", {"weight": [0.7, 0.2, 0.4], "normalize": True}),
        ("task", "task_arithmetic", {"weight": [1.0, 1.0, 1.0], "factor": 0.3}),
        ("ties", "ties", {"weight": [1.0, 0.5, 0.8], "density": [0.2, 0.5, 0.9]}),
        ("ties", "ties", {"weight": [1.0, 1.0, 1.0], "density": [1.0, 1.0, 1.0]}),
        ("ties", "ties", {"weight": [1.0, 1.0, 1.0], "density": [0.2] * 3, "normalize": False}),
    ],
    ids=str,
)
def test_changes_are_merged_as_by_mergekit(
    files: list[str], tmp_path: Path, method: str, theirs: str, options: dict[str, Any]
) -> None:
    """Task arithmetic and TIES: trimmed, elected and merged alike."""
    models = {str(i): load_file(file) for i, file in enumerate(files)}
    given = {name: value for name, value in options.items() if name != "factor"}
    for name in ("weight", "density"):
        if name in given:
            given[name] = {str(i): value for i, value in enumerate(given[name], 1)}
    given["lambda"] = options.get("factor", 1.0)
    wanted = merge_state_dicts(models, theirs, base="0", parameters=given)
    path = tmp_path / "new.safetensors"
    initreg.merge(files[1:], path, method=method, base=files[0], **options)
    assert_near(path, wanted)


@pytest.mark.parametrize("method", ["dare-linear", "dare-ties"])
def test_dare_is_that_of_mergekit_with_the_same_mask(
    files: list[str], tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left after the same elements were dropped is rescaled and merged alike."""
    path = tmp_path / "new.safetensors"
    initreg.merge(files[1:3], path, method=method, base=files[0], density=0.4, seed=5, rescale="l1")
    wanted = {}
    for name, base in load_file(files[0]).items():
        masks = iter(kept_at_random(5, i, name, 0, base.numel(), 0.4) for i in range(2))
        monkeypatch.setattr(
            torch,
            "bernoulli",
            lambda given, masks=masks: torch.from_numpy(
                next(masks).reshape(given.shape).astype("f4")
            ),
        )
        models = {str(i): {name: load_file(file)[name]} for i, file in enumerate(files[:3])}
        theirs = method.replace("-", "_")
        parameters = {"weight": {"1": 1.0, "2": 1.0}, "density": {"1": 0.4, "2": 0.4}}
        wanted |= merge_state_dicts(models, theirs, base="0", parameters=parameters)
    assert_near(path, wanted, 1e-5)  # mergekit adds magnitudes up in float32


def test_a_moving_average_is_that_of_torch(files: list[str], tmp_path: Path) -> None:
    """ema is what torch.optim.swa_utils computes over the same models."""
    averaged = None
    decay = torch.optim.swa_utils.get_ema_multi_avg_fn(0.8)
    model = torch.nn.Module()
    for file in files:
        weights = load_file(file)
        if averaged is None:
            model.values = torch.nn.ParameterList([torch.nn.Parameter(v) for v in weights.values()])
            averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=decay)
        for parameter, value in zip(model.values, weights.values(), strict=True):
            parameter.data.copy_(value)
        averaged.update_parameters(model)
    assert averaged is not None
    wanted = dict(zip(load_file(files[0]), averaged.module.values, strict=True))
    initreg.merge(files, tmp_path / "new.safetensors", method="ema", decay=0.8)
    assert_near(tmp_path / "new.safetensors", {n: v.detach() for n, v in wanted.items()})


def test_bfloat16_is_rounded_once(files: list[str], tmp_path: Path) -> None:
    """The average of bfloat16 is that of float32, rounded: bit for bit that of mergekit."""
    models, paths = [], []
    for number, file in enumerate(files[1:]):
        models.append({n: v.bfloat16() for n, v in load_file(file).items()})
        paths.append(tmp_path / f"{number}.safetensors")
        save_file(models[-1], paths[-1])
    wanted = merge_state_dicts(models, "linear", parameters={"weight": [1.0, 1.0, 1.0]})
    initreg.merge(paths, tmp_path / "new.safetensors")
    found = load_file(tmp_path / "new.safetensors")
    for name, value in wanted.items():
        assert found[name].dtype == torch.bfloat16
        assert torch.equal(found[name], value), name


class Net(torch.nn.Module):
    """An embedding, convolutions with and without groups, and dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = torch.nn.Embedding(20, 8)
        self.conv = torch.nn.Conv2d(8, 6, 3, padding=1)
        self.point = torch.nn.Conv2d(6, 6, 1)
        self.fc = torch.nn.Linear(6, 12)
        self.square = torch.nn.Linear(12, 12, bias=False)
        self.head = torch.nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.emb(x).permute(0, 3, 1, 2)
        x = torch.relu(self.point(torch.relu(self.conv(x)))).mean((2, 3))
        return self.head(torch.relu(self.square(torch.relu(self.fc(x)))))


def tuned(build: Callable[[], torch.nn.Module], **options: Any) -> Any:
    """A model of peft whose adapter is random, so that it changes the outputs."""
    torch.manual_seed(3)
    model = peft.get_peft_model(build(), peft.LoraConfig(**options))
    torch.manual_seed(4)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter) * (1 + 3 * ("lora_" in name))
    return model.eval()


LORAS: dict[str, dict[str, Any]] = {
    "plain": {"r": 4, "lora_alpha": 10, "target_modules": ["fc", "square", "head"]},
    "rank stabilised": {"r": 4, "lora_alpha": 3, "use_rslora": True, "target_modules": ["square"]},
    "patterns": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["fc", "square"],
        "rank_pattern": {"fc": 2},
        "alpha_pattern": {"squ.*": 3},
    },
    "embedding": {"r": 3, "lora_alpha": 5, "target_modules": ["emb", "fc"]},
    "convolution": {"r": 2, "lora_alpha": 4, "target_modules": ["conv", "point"]},
    "saved modules": {"r": 2, "target_modules": ["fc"], "modules_to_save": ["head"]},
    "all biases": {"r": 2, "target_modules": ["fc", "head"], "bias": "all"},
    "its biases": {"r": 2, "target_modules": ["fc", "head"], "bias": "lora_only"},
    "lora_bias": {"r": 2, "target_modules": ["fc", "head"], "lora_bias": True},
    "DoRA": {"r": 4, "target_modules": ["fc", "square", "head"], "use_dora": True},
    "DoRA everywhere": {"r": 4, "target_modules": ["emb", "conv", "fc"], "use_dora": True},
}


@pytest.mark.parametrize("name", LORAS)
def test_an_adapter_of_peft_in_its_model(tmp_path: Path, name: str) -> None:
    """The merged weights, in a plain model, give the outputs of peft's model with its adapter."""
    model = tuned(Net, **LORAS[name])
    model.save_pretrained(tmp_path / "adapter")
    torch.manual_seed(3)
    base = Net()
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    inputs = torch.randint(0, 20, (7, 5, 4))
    assert not torch.allclose(base(inputs), model(inputs), atol=1e-3)
    path = tmp_path / "new.safetensors"
    initreg.merge([tmp_path / "adapter"], path, method="lora", base=tmp_path / "base.safetensors")
    base.load_state_dict(load_file(path))
    np.testing.assert_allclose(
        base(inputs).detach().numpy(), model(inputs).detach().numpy(), atol=2e-6, rtol=2e-5
    )


def test_an_adapter_of_a_language_model(files: list[str], tmp_path: Path) -> None:
    """A llama in several files, merged, gives the logits of peft's model and its merged weights."""
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    torch.manual_seed(0)
    plain = LlamaForCausalLM(config).eval()
    plain.save_pretrained(tmp_path / "base", max_shard_size="20KB")
    assert len(list((tmp_path / "base").glob("*.safetensors"))) > 1
    options = {"r": 4, "lora_alpha": 16, "task_type": "CAUSAL_LM"}
    targets = ["q_proj", "v_proj", "down_proj"]
    model = tuned(
        lambda: AutoModelForCausalLM.from_pretrained(tmp_path / "base"),
        target_modules=targets,
        **options,
    )
    model.save_pretrained(tmp_path / "adapter")
    path = tmp_path / "new.safetensors"
    done = initreg.merge(
        [tmp_path / "adapter"], path, method="lora", base=tmp_path / "base", shard_size="50KB"
    )
    assert len(done.plan.of("merged")) == 2 * len(targets)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    found = initreg.load(done.path)
    merged.load_state_dict({n: torch.from_numpy(v) for n, v in found.items()}, strict=False)
    inputs = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        wanted = model(inputs).logits
        assert not torch.allclose(plain(inputs).logits, wanted, atol=1e-3)
        torch.testing.assert_close(merged(inputs).logits, wanted, atol=3e-6, rtol=3e-5)
    theirs = model.merge_and_unload().state_dict()
    for name, value in found.items():
        np.testing.assert_allclose(value, theirs[name].numpy(), atol=1e-6, err_msg=name)


def test_an_adapter_in_a_pickle_of_torch(tmp_path: Path) -> None:
    """adapter_model.bin is read as any file of torch, with the configuration beside it."""
    model = tuned(Net, r=4, lora_alpha=10, target_modules=["fc"])
    model.save_pretrained(tmp_path / "adapter", safe_serialization=False)
    torch.manual_seed(3)
    base = Net()
    torch.save(base.state_dict(), tmp_path / "base.pt")
    path = tmp_path / "new.safetensors"
    adapter = tmp_path / "adapter" / "adapter_model.bin"
    initreg.merge([adapter], path, method="lora", base=tmp_path / "base.pt")
    base.load_state_dict(load_file(path))
    inputs = torch.randint(0, 20, (7, 5, 4))
    torch.testing.assert_close(base(inputs), model(inputs), atol=2e-6, rtol=2e-5)


def test_a_convolution_in_groups_is_refused(tmp_path: Path) -> None:
    """The factors of a convolution in groups give one without groups. peft merges none either."""

    def build() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Conv2d(8, 12, 3, groups=4))

    tuned(build, r=8, lora_alpha=8, target_modules=["0"]).save_pretrained(tmp_path / "adapter")
    save_file(build().state_dict(), tmp_path / "base.safetensors")
    with pytest.raises(initreg.MergeError, match=r"0.weight .* give another shape"):
        initreg.merge(
            [tmp_path / "adapter"],
            tmp_path / "new.npz",
            method="lora",
            base=tmp_path / "base.safetensors",
        )


def test_weights_of_adapters_are_those_of_peft(tmp_path: Path) -> None:
    """Two adapters with weights give what peft's merge_and_unload of a linear combination gives."""
    torch.manual_seed(3)
    base = Net()
    save_file(base.state_dict(), tmp_path / "base.safetensors")
    options = {"r": 4, "lora_alpha": 10, "target_modules": ["fc", "square"]}
    model = tuned(Net, **options)
    model.save_pretrained(tmp_path / "one")
    model.add_adapter("other", peft.LoraConfig(**options))
    torch.manual_seed(9)
    for name, parameter in model.named_parameters():
        if ".other." in name:
            parameter.data = 0.3 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "more", selected_adapters=["other"])
    model.add_weighted_adapter(["default", "other"], [0.75, 0.5], "both", "cat")
    model.set_adapter("both")
    path = tmp_path / "new.safetensors"
    initreg.merge(
        [tmp_path / "one", tmp_path / "more" / "other"],
        path,
        method="lora",
        base=tmp_path / "base.safetensors",
        weight=[0.75, 0.5],
    )
    base.load_state_dict(load_file(path))
    inputs = torch.randint(0, 20, (7, 5, 4))
    torch.testing.assert_close(base(inputs), model(inputs), atol=2e-6, rtol=2e-5)


def test_a_keras_model_of_a_merged_adapter(tmp_path: Path) -> None:
    """Merged, and restored into Keras by rules, a model gives the outputs of peft's."""

    def build() -> torch.nn.Module:
        torch.manual_seed(3)
        layers = {"a": torch.nn.Linear(6, 9), "b": torch.nn.ReLU(), "c": torch.nn.Linear(9, 9)}
        model = torch.nn.Sequential()
        for name, layer in layers.items():
            model.add_module(name, layer)
        return model

    tuned_model = tuned(build, r=3, lora_alpha=7, target_modules=["a", "c"])
    tuned_model.save_pretrained(tmp_path / "adapter")
    save_file(build().state_dict(), tmp_path / "base.safetensors")
    path = tmp_path / "new.npz"
    initreg.merge([tmp_path / "adapter"], path, method="lora", base=tmp_path / "base.safetensors")
    model = keras.Sequential(
        [keras.layers.Dense(9, activation="relu", name="a"), keras.layers.Dense(9, name="c")],
        name="net",
    )
    model.build((None, 6))
    SmartInit(
        path,
        rename=[(r"\.", "/"), ("/weight$", "/kernel")],
        transpose="*/kernel",
        on_missing="error",
    ).init(model)
    inputs = np.random.default_rng(0).normal(size=(4, 6)).astype("f4")
    wanted = tuned_model(torch.from_numpy(inputs)).detach().numpy()
    np.testing.assert_allclose(np.asarray(model(inputs)), wanted, atol=2e-6, rtol=2e-5)


def test_an_adapter_in_a_keras_file(tmp_path: Path) -> None:
    """An adapter is merged into the kernels of Keras, which have their inputs first."""
    model = keras.Sequential(
        [keras.layers.Dense(9, activation="relu", name="a"), keras.layers.Dense(4, name="c")],
        name="net",
    )
    model.build((None, 6))
    weights = {v.path: np.asarray(v) for v in model.variables}
    initreg.save(tmp_path / "base.h5", weights)

    def build() -> torch.nn.Module:
        found = torch.nn.Sequential()
        found.add_module("a", torch.nn.Linear(6, 9))
        found.add_module("b", torch.nn.ReLU())
        found.add_module("c", torch.nn.Linear(9, 4))
        with torch.no_grad():
            for name in "ac":
                layer = found.get_submodule(name)
                layer.weight.copy_(torch.from_numpy(weights[f"net/{name}/kernel"].T.copy()))
                layer.bias.copy_(torch.from_numpy(weights[f"net/{name}/bias"].copy()))
        return found

    tuned_model = tuned(build, r=2, lora_alpha=7, target_modules=["a", "c"])
    tuned_model.save_pretrained(tmp_path / "adapter")
    done = initreg.merge(
        [tmp_path / "adapter"],
        tmp_path / "new.h5",
        method="lora",
        base=SmartInit(tmp_path / "base.h5", strip_prefix="net/"),
    )
    SmartInit(done.path, prefix="net/").init(model)
    inputs = np.random.default_rng(0).normal(size=(4, 6)).astype("f4")
    wanted = tuned_model(torch.from_numpy(inputs)).detach().numpy()
    np.testing.assert_allclose(np.asarray(model(inputs)), wanted, atol=2e-6, rtol=2e-5)
