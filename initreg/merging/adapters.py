"""What the arrays of an adapter are, by their names: those of peft, and those of kohya's scripts.

Sources: ``peft/utils/save_and_load.py`` of peft 0.21 for names and ``adapter_config.json``, and
``networks/lora.py`` of kohya's sd-scripts for ``lora_unet_....lora_down.weight``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from initreg.errors import InitregError, RuleError
from initreg.text.wording import names_text

CONFIG = "adapter_config.json"
_PEFT = re.compile(
    r"(?P<module>.+)\.(?:(?P<factor>lora_[AB])(?:\.(?P<a>[^.]+))?\.(?P<what>weight|bias)"
    r"|(?P<embedding>lora_embedding_[AB])(?:\.(?P<b>[^.]+))?"
    r"|(?P<magnitude>lora_magnitude_vector)(?:\.(?P<c>(?!weight$)[^.]+))?(?:\.weight)?)"
)
_DOTTED = re.compile(
    r"(?P<module>.+)\.(?:(?P<factor>lora_down|lora_up|lora\.down|lora\.up)\.weight|(?P<alpha>alpha))"
)
_SAVED = re.compile(r"(?P<before>.+)\.modules_to_save(?:\.(?P<adapter>[^.]+))?\.(?P<after>[^.]+)")
# What other kinds of adapters call their factors, which are multiplied in other ways.
_OTHERS = re.compile(
    r"\.(hada_w|lokr_w|lora_mid|oft_|ia3_|lora_E|lora_ranknum|vera_|trainable_tokens|lora_ga"
    r"|boft_|glora|dora_scale$|diff(_b)?$|original_module\.)"
)
_PREFIX = "base_model.model."
_MOST = 2**53  # of the numbers in a configuration
_QUANTIFIERS = 3  # in a pattern of a configuration
_WEIGHTS = re.compile(r"[./](weight|kernel|embeddings?)$")
# What kohya's scripts call the parts of a pipeline, and what diffusers calls their folders.
_ROOTS = {
    "unet": ("unet",),
    "te": ("text_encoder",),
    "te1": ("text_encoder",),
    "te2": ("text_encoder_2",),
    "te3": ("text_encoder_3",),
    "transformer": ("transformer",),
    "prior": ("prior",),
}
# Options of peft's LoraConfig that change what the factors mean, if they are set.
_CHANGING = (
    "layer_replication",
    "target_parameters",
    "use_qalora",
    "alora_invocation_tokens",
    "arrow_config",
    "trainable_token_indices",
    "use_bdlora",
    "kasa_config",
    "monteclora_config",
)
# Values of peft's init_lora_weights that leave the weights of the model as they are. Others, such
# as pissa, olora, corda, loftq and lora_ga, take what the factors begin with out of the model.
_PLAIN_STARTS = (None, True, False, "gaussian", "orthogonal", "eva", "mica")


@dataclass(slots=True)
class Module:
    """The arrays of an adapter for one module of the model.

    Args:
        name: the name of the module, as the adapter calls it.
        is_flat: whether the parts of its name are joined by ``_``, as kohya's scripts do it.
        is_embedding: whether it is an embedding, whose factors are transposed.
        arrays: the names of its arrays, by what they are: ``up``, ``down``, ``magnitude``,
            ``alpha`` and ``bias``.
    """

    name: str
    is_flat: bool = False
    is_embedding: bool = False
    arrays: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Adapter:
    """What the names of an adapter say.

    Args:
        modules: the modules that it updates.
        replaced: arrays that it saves whole, by the name in the model.
        unknown: names that were not understood, each with the reason.
    """

    modules: tuple[Module, ...]
    replaced: Mapping[str, str]
    unknown: Mapping[str, str]


def is_adapter(names: Iterable[str]) -> bool:
    """Whether names are those of an adapter, rather than of a model."""
    return any(_kind_of(name) for name in names)


def _kind_of(name: str) -> bool:
    found = _PEFT.fullmatch(name) or _DOTTED.fullmatch(name)
    return found is not None and found.groupdict().get("alpha") is None


def read_names(names: Collection[str]) -> Adapter:
    """What the arrays of an adapter are, by their names."""
    modules: dict[tuple[str, bool], Module] = {}
    replaced: dict[str, str] = {}
    unknown: dict[str, str] = {}
    adapters: dict[str, str] = {}

    def note(module: str, what: str, name: str, **flags: bool) -> None:
        found = modules.setdefault((module, flags.get("is_flat", False)), Module(module))
        found.is_flat = flags.get("is_flat", False)
        found.is_embedding |= flags.get("is_embedding", False)
        if what in found.arrays:
            unknown[name] = f"there is also {found.arrays[what]!r} for the same module"
        found.arrays.setdefault(what, name)

    for name in names:
        short = name.removeprefix(_PREFIX)
        if _OTHERS.search(name):
            unknown[name] = "this is not of LoRA, and is put together in another way"
        elif (found := _PEFT.fullmatch(short)) is not None:
            adapters.setdefault(found["a"] or found["b"] or found["c"] or "", name)
            module = found["module"].removesuffix(".base_layer")
            if found["magnitude"]:
                note(module, "magnitude", name)
            elif found["embedding"]:
                what = "down" if found["embedding"].endswith("A") else "up"
                note(module, what, name, is_embedding=True)
            elif found["what"] == "bias" and found["factor"] == "lora_A":
                unknown[name] = "lora_A has no bias in LoRA"
            elif found["what"] == "bias":
                note(module, "bias", name)
            else:
                note(module, "down" if found["factor"] == "lora_A" else "up", name)
        elif (found := _DOTTED.fullmatch(short)) is not None:
            module, flat = found["module"], found["module"].startswith("lora_")
            what = "up" if found["factor"] and found["factor"].endswith("up") else "down"
            what = "alpha" if found["alpha"] else what
            note(module, what, name, is_flat=flat and "." not in module)
        elif short != name:
            saved = _SAVED.fullmatch(short)
            if saved is not None:
                short = f"{saved['before']}.{saved['after']}"
            replaced[short.replace(".base_layer.", ".")] = name
        else:
            unknown[name] = "no name of LoRA's: it ends in neither lora_A.weight nor such"
    if len(adapters) > 1:
        for adapter, name in adapters.items():
            unknown[name] = f"the file has several adapters; this one is called {adapter!r}"
    for module in modules.values():
        lacks = [each for each in ("up", "down") if each not in module.arrays]
        if lacks and set(module.arrays) - {"bias"}:
            missing = {"up": "lora_B or lora_up", "down": "lora_A or lora_down"}
            for name in module.arrays.values():
                unknown[name] = f"the module has no {missing[lacks[0]]}"
    return Adapter(tuple(modules.values()), replaced, unknown)


def bases_of(module: Module, model: Collection[str]) -> list[str]:
    """The arrays of a model that may be the weight of a module of an adapter.

    Args:
        module: the module.
        model: the names of the model.
    """
    if not module.is_flat:
        exact = [
            each
            for each in (
                module.name,
                *(
                    f"{start}{end}"
                    for start in dict.fromkeys((module.name, module.name.replace(".", "/")))
                    for end in (".weight", "/weight", "/kernel", "/embeddings", ".kernel")
                ),
            )
            if each in model
        ]
        return list(dict.fromkeys(exact))
    _, _, core = module.name.partition("_")
    root, _, rest = core.partition("_")
    cores = {core} | ({rest} if root in _ROOTS else set())
    found = [
        name
        for name in model
        if (ends := _WEIGHTS.search(name)) is not None
        and any(_is_called(name[: ends.start()], each) for each in cores)
    ]
    if len(found) > 1 and root in _ROOTS:
        named = [n for n in found if re.split(r"[./]", n)[0] in _ROOTS[root]]
        found = named if len(named) == 1 else found
    return found


def _is_called(path: str, core: str) -> bool:
    """Whether a path, or the end of it, is a name when its parts are joined by ``_``."""
    flat = re.sub(r"[./]", "_", path)
    if not flat.endswith(core):
        return False
    at = len(flat) - len(core)
    return at == 0 or path[at - 1] in "./"


@dataclass(frozen=True, slots=True)
class Config:
    """What ``adapter_config.json`` says.

    Args:
        r: the rank.
        alpha: what the product of the factors is multiplied by, before it is divided by the rank.
        is_rank_stabilised: whether it is divided by the square root of the rank instead.
        ranks: other ranks, by patterns of modules.
        alphas: other alphas, by patterns of modules.
        fan_in_fan_out: whether the model has its inputs first.
    """

    r: int
    alpha: float
    is_rank_stabilised: bool = False
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)
    fan_in_fan_out: bool = False

    def rank_of(self, module: str) -> int:
        """The rank of a module."""
        return int(_of(self.ranks, module, self.r))

    def alpha_of(self, module: str) -> float:
        """The alpha of a module."""
        return float(_of(self.alphas, module, self.alpha))

    def scale_of(self, module: str) -> float:
        """What the product of the factors of a module is multiplied by."""
        rank, alpha = self.rank_of(module), self.alpha_of(module)
        return alpha / (math.sqrt(rank) if self.is_rank_stabilised else rank)


def _of(patterns: Mapping[str, Any], module: str, default: Any) -> Any:
    """The value of the first pattern that matches the end of a module's name, as peft does it."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def parse_config(text: str, label: str) -> Config:
    """Read ``adapter_config.json``.

    Args:
        text: what is in the file.
        label: what messages call it.

    Raises:
        InitregError: it is not one, or it is of another kind of adapter.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InitregError(f"{label}: this is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise InitregError(f"{label}: this is not an object of JSON")
    kind = given.get("peft_type", "LORA")
    if kind != "LORA":
        raise InitregError(
            f"{label}: the adapter is of the kind {kind!r}, and only LORA can be merged. Merge it "
            "with peft: PeftModel.merge_and_unload()"
        )
    changing = [name for name in _CHANGING if given.get(name)]
    if changing:
        raise InitregError(
            f"{label}: {', '.join(changing)} changes what the factors mean, and is not known here. "
            "Merge it with peft: PeftModel.merge_and_unload()"
        )
    start = given.get("init_lora_weights")
    if not any(
        start is each or (isinstance(each, str) and start == each) for each in _PLAIN_STARTS
    ):
        raise InitregError(
            f"{label}: init_lora_weights is {start!r:.100}, which changes the weights of the model "
            "before the training, so that the adapter does not fit the original model. Save it "
            "with peft's path_initial_model_for_weight_conversion, or merge it with peft. If the "
            "base has the changed weights, write true for init_lora_weights"
        )
    r: Any = given.get("r")
    alpha: Any = given.get("lora_alpha")
    ranks, alphas = given.get("rank_pattern") or {}, given.get("alpha_pattern") or {}
    if (
        not _is_number(r)
        or not _is_number(alpha)
        or not all(isinstance(each, dict) for each in (ranks, alphas))
        or not all(_is_number(each) for each in (*ranks.values(), *alphas.values()))
        or min(r, *ranks.values(), 1) < 1
    ):
        raise InitregError(
            f"{label}: r={r!r}, lora_alpha={alpha!r}, rank_pattern={ranks!r} and alpha_pattern="
            f"{alphas!r} have to be numbers, or tables of them, and ranks at least 1"
        )
    for pattern in (*ranks, *alphas):
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise InitregError(f"{label}: {pattern!r:.100} is not a regex: {error}") from error
        # A file of a stranger must not be able to keep the reader busy for ever.
        if len(re.findall(r"[*+{]", pattern)) > _QUANTIFIERS or re.search(r"\)[*+{]", pattern):
            raise InitregError(
                f"{label}: {pattern!r:.100} is a regex with many repetitions, or with a group that "
                "is repeated, and could take very long. Write it without them"
            )
    return Config(
        int(r),
        float(alpha),
        given.get("use_rslora") is True,
        ranks,
        alphas,
        given.get("fan_in_fan_out") is True,
    )


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold. JSON has integers of any length."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -_MOST < value < _MOST  # NaN is not


def refuse_unknown(adapter: Adapter, label: str) -> None:
    """Raise RuleError if names of an adapter were not understood."""
    if adapter.unknown:
        lines = names_text(adapter.unknown.items(), 10, more="there are more of these")
        raise RuleError(
            f"{label}: some arrays of the adapter cannot be merged:\n  "
            + "\n  ".join(lines)
            + "\nLeave out what is not needed, with a rule for this source"
        )
