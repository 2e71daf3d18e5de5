"""Every layer class of Keras 3 and tf_keras, and what it takes to make and to call one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

BATCH = 2
WORDS = ["amber", "birch", "cedar", "delta"]
_IMAGE, _SEQUENCE, _VECTOR = (8, 8, 3), (3, 3), (4,)
_SHAPES = {"1D": (6, 3), "2D": _IMAGE, "3D": (5, 5, 5, 2)}  # by what the name of a class ends in


@dataclass(frozen=True)
class Case:
    """One way of using a layer class, or several classes that differ in nothing that matters here.

    Args:
        kinds: the names of the classes.
        make: makes the layers; it takes ``keras`` or ``tf_keras`` and the class.
        shapes: the shapes of the inputs, without the batch.
        dtype: that of the inputs: ``"float32"``, ``"int32"`` or ``"string"``.
        variant: which way, if there are several.
        before: what is done to a layer before it is called. It takes a seed.
        after: what is done to it once its variables have their values. It takes a seed.
        derives: whether the layer computes with more than its variables.
    """

    kinds: tuple[str, ...]
    make: Callable[[Any, Any], Any]
    shapes: tuple[tuple[int, ...], ...]
    dtype: str = "float32"
    variant: str = ""
    before: Callable[[Any, int], None] | None = None
    after: Callable[[Any, int], None] | None = None
    derives: bool = False

    @property
    def name(self) -> str:
        kind = self.kinds[0] if len(self.kinds) == 1 else f"{self.kinds[0]} and the like"
        return f"{kind} ({self.variant})" if self.variant else kind

    @property
    def is_stateful(self) -> bool:
        return self.variant == "stateful"

    def inputs(self, seed: int) -> list[Any]:
        """Values for the inputs."""
        rng = np.random.default_rng(seed)
        if self.dtype == "string":
            return [
                rng.choice([*WORDS, "?"], (BATCH, *shape)).astype(object) for shape in self.shapes
            ]
        if self.dtype == "int32":
            return [rng.integers(0, 4, (BATCH, *shape), np.int32) for shape in self.shapes]
        return [rng.random((BATCH, *shape)).astype("f4") for shape in self.shapes]


# --- classes without state, and those that cannot be used as they are ---------------------------

_STATELESS_FAMILIES = (
    *("Adaptive", "Average", "AvgPool", "Cropping", "Global", "MaxPool", "UpSampling"),
    "ZeroPadding",
)
_STATELESS = frozenset(
    {
        *("Activation", "ActivityRegularization", "Add", "AutoContrast"),
        *("CategoryEncoding", "CenterCrop", "Concatenate", "Dot", "ELU", "Equalization"),
        *("ContrastLimitedAdaptiveHistogramEqualization", "Flatten", "HashedCrossing", "Hashing"),
        *("Identity", "InputLayer", "Lambda", "LeakyReLU", "Masking", "MaxNumBoundingBoxes"),
        *("Maximum", "MelSpectrogram", "Minimum", "Multiply", "Permute", "ReLU"),
        *("RepeatVector", "Rescaling", "Reshape", "Resizing", "Softmax", "Subtract"),
        *("ThresholdedReLU", "UnitNormalization"),
    }
)
# tf_keras's draw their seeds from TensorFlow, unless it is told to use generators.
_STATELESS_IN_TF_KERAS = frozenset(
    {
        *("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise"),
        *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
    }
)
NOT_USABLE = {
    "AbstractRNNCell": "a base class, whose cells are in RNN",
    "FlaxLayer": "needs JAX and Flax",
    "JaxLayer": "needs JAX",
    "Layer": "the base class, whose state is that of its subclasses",
    "PreprocessingLayer": "a base class",
    "TFSMLayer": "takes its variables from a SavedModel, and Keras saves none of them",
    "TorchModuleWrapper": "needs Keras's PyTorch backend",
    "Wrapper": "a base class, as TimeDistributed shows",
}


def is_stateless(library: str, kind: str) -> bool:
    """Whether layers of this class have nothing to save."""
    if library == "tf_keras" and kind in _STATELESS_IN_TF_KERAS:
        return True
    return kind in _STATELESS or kind.startswith(_STATELESS_FAMILIES)


# --- how layers are made ------------------------------------------------------------------------

Make = Callable[[Any, Any], Any]


def _with(*args: Any, **options: Any) -> Make:
    """A layer of these arguments."""
    return lambda L, kind: kind(*args, **options)


def _cell(*args: Any) -> Make:
    return lambda L, cell: L.RNN(cell(*args), return_sequences=True)


def _words() -> Any:
    import tensorflow as tf

    return tf.constant(WORDS)


def _features(L: Any, kind: Any) -> Any:
    import tensorflow as tf

    column = tf.feature_column.categorical_column_with_identity("x", 5)
    return kind([tf.feature_column.embedding_column(column, 3)])


_FILTERS = _with(4, 2, padding="same")
_MAKE: dict[str, Make] = {
    "AlphaDropout": _with(0.5),
    "Bidirectional": lambda L, kind: kind(L.LSTM(2, return_sequences=True)),
    "ConvLSTM1D": _with(2, 2),
    "ConvLSTM2D": _with(2, 2),
    "ConvLSTM3D": _with(2, 2),
    "Dense": _with(3, activation="tanh"),
    "DepthwiseConv1D": _with(2, depth_multiplier=2),
    "DepthwiseConv2D": _with(2, depth_multiplier=2),
    "Discretization": _with(num_bins=4),
    "Dropout": _with(0.5),
    "DynamicEmbedding": lambda L, kind: kind(4, 3, _words()),
    "DynamicLookup": lambda L, kind: kind(4, _words()),
    "EinsumDense": _with("abc,cd->abd", (None, 4), bias_axes="d"),
    "Embedding": _with(5, 3),
    "GRU": _with(2, return_sequences=True),
    "GRUCell": _cell(2),
    "GaussianDropout": _with(0.5),
    "GaussianNoise": _with(0.5),
    "GroupNormalization": _with(groups=3),
    "Attention": _with(use_scale=True, score_mode="concat"),
    "GroupQueryAttention": _with(2, 4, 2),
    "LSTM": _with(2, return_sequences=True),
    "LSTMCell": _cell(2),
    "LocallyConnected1D": _with(2, 2),
    "LocallyConnected2D": _with(2, 2),
    "MultiHeadAttention": _with(2, 2),
    "Pipeline": lambda L, kind: kind([L.Dense(3), L.Dense(3)]),
    "RNN": lambda L, kind: kind(L.GRUCell(2), return_sequences=True),
    "RandomBrightness": _with(0.5),
    "RandomColorDegeneration": _with(0.5),
    "RandomContrast": _with(0.5),
    "RandomCrop": _with(4, 4),
    "RandomFourierFeatures": _with(3),
    "RandomHeight": _with(0.5),
    "RandomHue": _with(0.5),
    "RandomPosterization": _with(4),
    "RandomRotation": _with(0.5),
    "RandomSaturation": _with(0.5),
    "RandomSharpness": _with(0.5),
    "RandomTranslation": _with(0.5, 0.5),
    "RandomWidth": _with(0.5),
    "RandomZoom": _with(0.5),
    "ReversibleEmbedding": _with(5, 3, tie_weights=False),
    "SeparableConv1D": _FILTERS,
    "SeparableConv2D": _FILTERS,
    "SimpleRNN": _with(2, return_sequences=True),
    "SimpleRNNCell": _cell(2),
    "SpatialDropout1D": _with(0.5),
    "SpatialDropout2D": _with(0.5),
    "SpatialDropout3D": _with(0.5),
    "SpectralNormalization": lambda L, kind: kind(L.Dense(3)),
    "StackedRNNCells": lambda L, kind: L.RNN(
        kind([L.LSTMCell(2), L.GRUCell(2)]), return_sequences=True
    ),
    "TimeDistributed": lambda L, kind: kind(L.Dense(3)),
    **{f"Conv{n}D{end}": _FILTERS for n in (1, 2, 3) for end in ("", "Transpose")},
    "DenseFeatures": _features,
}

# --- what they are called on --------------------------------------------------------------------

_INPUTS: dict[str, tuple[tuple[int, ...], ...]] = {
    "AdditiveAttention": (_SEQUENCE, _SEQUENCE),
    "ConvLSTM1D": ((3, 6, 2),),
    "ConvLSTM2D": ((3, 6, 6, 2),),
    "ConvLSTM3D": ((2, 4, 4, 4, 2),),
    "DynamicEmbedding": ((3,),),
    "DynamicLookup": ((3,),),
    "Attention": (_SEQUENCE, _SEQUENCE),
    "GroupQueryAttention": (_SEQUENCE, _SEQUENCE),
    "MultiHeadAttention": (_SEQUENCE, _SEQUENCE),
    "STFTSpectrogram": ((512, 1),),
    "TextVectorization": ((1,),),
    "DenseFeatures": ((1,),),
    **dict.fromkeys(("AugMix", "CutMix", "GroupNormalization", "MixUp", "RandAugment"), (_IMAGE,)),
    **dict.fromkeys(("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise"), (_IMAGE,)),
    **dict.fromkeys(("Bidirectional", "EinsumDense", "GRU", "LSTM", "RNN"), (_SEQUENCE,)),
    **dict.fromkeys(("SimpleRNN", "StackedRNNCells", "TimeDistributed"), (_SEQUENCE,)),
    **dict.fromkeys(("GRUCell", "LSTMCell", "SimpleRNNCell"), (_SEQUENCE,)),
    **dict.fromkeys(("Solarization",), (_IMAGE,)),
}
_DTYPES = {
    **dict.fromkeys(
        ("DenseFeatures", "Embedding", "IntegerLookup", "ReversibleEmbedding"), "int32"
    ),
    **dict.fromkeys(("DynamicEmbedding", "DynamicLookup"), "string"),
    **dict.fromkeys(("StringLookup", "TextVectorization"), "string"),
}


def _shapes(kind: str) -> tuple[tuple[int, ...], ...]:
    if kind in _INPUTS:
        return _INPUTS[kind]
    if kind.startswith("Random") and kind != "RandomFourierFeatures":
        return (_IMAGE,)
    plain = kind.removesuffix("Transpose")
    return (next((shape for end, shape in _SHAPES.items() if plain.endswith(end)), _VECTOR),)


# --- what a layer learns that is not in its variables alone -------------------------------------


def _adapt(layer: Any, seed: int) -> None:
    layer.adapt(np.random.default_rng(seed).normal(seed, 3, (32, *_VECTOR)).astype("f4"))


def _adapt_words(layer: Any, seed: int) -> None:
    """The same vocabulary, learnt from documents of two words that differ by seed."""
    pairs = _pairs(WORDS, seed)
    is_text = "Text" in type(layer).__name__
    layer.adapt(np.array([" ".join(each) for each in pairs] if is_text else pairs))


def _adapt_integers(layer: Any, seed: int) -> None:
    layer.adapt(np.array(_pairs([3, 1, 2], seed)))


def _pairs(words: list[Any], seed: int) -> list[list[Any]]:
    """Pairs in which each word occurs less often than the one before it, how often depends on the
    seed."""
    counts = (30 + seed % 7, 20 + seed % 5, 5 + seed % 3)
    return [
        [words[0], word]
        for word, count in zip(words[1:], counts, strict=False)
        for _ in range(count)
    ]


def _fill(variable: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    variable.assign(rng.uniform(-1, 1, tuple(variable.shape)).astype("f4"))


def _lora(layer: Any, seed: int) -> None:
    """LoRA, with factors that are in use."""
    for number, each in enumerate(_parts(layer, "enable_lora")):
        each.enable_lora(2)
        factor = "lora_embeddings" if hasattr(each, "lora_embeddings_a") else "lora_kernel"
        _fill(getattr(each, f"{factor}_a"), seed + number)
        _fill(getattr(each, f"{factor}_b"), seed + number + 1)


def _parts(layer: Any, method: str) -> list[Any]:
    return [each for each in layer._flatten_layers() if hasattr(each, method) and each.built]


def _quantized(mode: str, lora: bool = False) -> Callable[[Any, int], None]:
    def quantize(layer: Any, seed: int) -> None:
        for each in _parts(layer, "enable_lora"):
            each.quantize(mode)
        if lora:
            _lora(layer, seed)

    return quantize


# --- the cases ----------------------------------------------------------------------------------

_BEFORE = {
    "IntegerLookup": _adapt_integers,
    "StringLookup": _adapt_words,
    "TextVectorization": _adapt_words,
}
_AFTER = {"Discretization": _adapt, "Normalization": _adapt}
_STATEFUL = {"return_sequences": True, "stateful": True}


def _case(kind: str, make: Make | None = None, variant: str = "", **more: Any) -> Case:
    make = make or _MAKE.get(kind, _with())
    derives = kind in _BEFORE or kind in _AFTER or variant == "Normalization"
    more = {"before": _BEFORE.get(kind), "after": _AFTER.get(kind), "derives": derives, **more}
    return Case((kind,), make, _shapes(kind), _DTYPES.get(kind, "float32"), variant, **more)


def _variants(library: str) -> Iterator[Case]:
    """Other ways of using a class, which have other state."""
    for kind in ("GRU", "LSTM", "SimpleRNN"):
        yield _case(kind, _with(2, **_STATEFUL), "stateful")
    yield _case("Bidirectional", lambda L, kind: kind(L.GRU(2, **_STATEFUL)), "stateful")
    yield _case("ConvLSTM1D", _with(2, 2, stateful=True), "stateful")
    for mode in ("multi_hot", "tf_idf"):
        for kind in ("IntegerLookup", "StringLookup", "TextVectorization"):
            yield _case(kind, _with(output_mode=mode), mode)
    yield _case("StringLookup", _with(vocabulary=WORDS), "vocabulary given", before=None)
    yield _case("Normalization", _with(axis=None), "axis=None")
    yield _case("BatchNormalization", _with(renorm=True), "renorm")
    yield _case("Dense", _with(3, use_bias=False), "no bias")
    yield _case(
        *("TimeDistributed", lambda L, kind: kind(L.Normalization()), "Normalization"),
        after=lambda layer, seed: layer.layer.finalize_state(),
    )
    if library == "tf_keras":
        return
    for kind in ("Conv1D", "Conv2D", "Conv3D", "Dense", "EinsumDense", "Embedding"):
        yield _case(kind, variant="LoRA", after=_lora)
    for kind in ("GroupQueryAttention", "MultiHeadAttention", "ReversibleEmbedding"):
        yield _case(kind, variant="LoRA", after=_lora)
    for kind in ("Dense", "EinsumDense", "Embedding", "ReversibleEmbedding"):
        for mode in ("int8", "int4"):
            yield _case(kind, variant=mode, after=_quantized(mode))
            yield _case(kind, variant=f"{mode}, LoRA", after=_quantized(mode, lora=True))
    for kind in ("Dense", "EinsumDense"):
        yield _case(kind, variant="float8", after=_quantized("float8"))


def classes(K: ModuleType) -> dict[str, Any]:
    """Every layer class that ``K.layers`` exports, by its own name, those in submodules as well."""
    found: dict[str, Any] = {}
    modules = [K.layers]
    while modules:
        module = modules.pop()
        for name, each in vars(module).items():
            if inspect.ismodule(each) and each.__name__.startswith(f"{K.__name__}.layers"):
                modules.append(each)
            elif inspect.isclass(each) and issubclass(each, K.layers.Layer):
                found.setdefault(each.__name__ if hasattr(module, each.__name__) else name, each)
    return dict(sorted(found.items()))


def cases(K: ModuleType) -> list[Case]:
    """What the sweep tries: every class with state, and the variants of some."""
    library = K.__name__
    found: list[Case] = []
    seeded: dict[tuple[tuple[int, ...], ...], list[str]] = {}
    for kind in classes(K):
        if kind in NOT_USABLE or is_stateless(library, kind):
            continue
        if has_only_a_seed(kind):
            seeded.setdefault(_shapes(kind), []).append(kind)
        else:
            found.append(_case(kind))
    for shapes, kinds in seeded.items():
        found.append(Case(tuple(kinds), _seeded, shapes))
    return [*found, *_variants(library)]


def has_only_a_seed(kind: str) -> bool:
    """Whether the state of this class is a random seed, or a generator of seeds, and no weight."""
    if kind.startswith(("Random", "Spatial")):
        return kind != "RandomFourierFeatures"
    return kind.endswith("Dropout") or kind in (
        *("AugMix", "CutMix", "GaussianNoise", "MixUp", "RandAugment", "Solarization"),
    )


def _seeded(L: Any, kind: Any) -> Any:
    return _MAKE.get(kind.__name__, _with())(L, kind)
