"""What the layers of Keras itself do with their weights: derived values, LoRA, quantization.

Sources: ``finalize_state``, ``load_own_variables`` and ``variable_serialization_spec`` of layers in
``keras/src/layers`` and ``tf_keras/src/layers``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from initreg import VariableSpec
from initreg_targets import variables as eager
from initreg_targets.frameworks import is_variable
from initreg_targets.keras_part import Named, Part, own_variables, place

_IDF = "idf_weights"
# What Keras calls the variables whose public attribute is computed.
_PRIVATE = {"kernel": "_kernel", "embeddings": "_embeddings"}


class Derived(Part):
    """A layer that computes with constants made from its variables, such as Normalization.

    ``finalize_state`` makes them.
    """

    def finish(self, written: Callable[[Any], bool]) -> tuple[bool, list[str]]:
        if not any(map(written, own_variables(self.layer))):
            return False, []
        self.call(self.layer.finalize_state)
        return True, []


class Adapted(Part):
    """A layer of Keras that is quantized, or that adapts its weights with LoRA.

    Keras saves LoRA's weights merged with those that they adapt. It loads them into the latter, and
    sets LoRA's to zero. So it does with the weights of a model without LoRA.
    """

    def __init__(self, layer: Any, path: str, owner: str | None = None) -> None:
        super().__init__(layer, path, owner)
        self._saved = _in_order(layer)
        bias = getattr(layer, "bias", None)
        self._base = next((v for v in self._saved if v is not bias), None)  # what LoRA adapts
        found = [getattr(layer, name) for name in vars(layer) if name.startswith("lora_")]
        self._factors = [each for each in found if is_variable(each)]
        self._is_quantized = layer.quantization_mode in ("gptq", "awq")

    def names(self) -> Iterable[tuple[str, Any]]:
        if not self._factors:
            return []  # the layer saves the variables themselves, so their names are known
        return [(place(self.path, str(number)), v) for number, v in enumerate(self._saved)]

    def not_needed(self, named: Named) -> Iterator[tuple[Any, str, tuple[str, ...]]]:
        saved = tuple(map(named, self._saved))
        for factor in self._factors:
            yield factor, "set to zero by its layer", (named(self._base),)
        known = {id(v) for v in (*self._saved, *self._factors)}
        for variable in own_variables(self.layer):
            if id(variable) not in known:
                yield variable, f"not saved in mode {self.layer.quantization_mode!r}", saved

    def finish(self, written: Callable[[Any], bool]) -> tuple[bool, list[str]]:
        if self._base is None or not written(self._base):
            return False, []
        for factor in self._factors:
            if not written(factor):
                inner = eager.unwrapped(factor)
                inner.assign(inner * 0)
        if self._is_quantized:  # as in load_own_variables: what was saved was calibrated
            self.layer.is_gptq_calibrated = self.layer.quantization_mode == "gptq"
            self.layer.is_awq_calibrated = self.layer.quantization_mode == "awq"
        return self._is_quantized, []


def _in_order(layer: Any) -> list[Any]:
    """The variables that the layer saves, in its order. Variables that it lacks are left out."""
    # A convolution has no spec, and no modes but None.
    orders = getattr(layer, "variable_serialization_spec", {None: ["kernel", "bias"]})
    names = orders.get(layer.quantization_mode, ())
    found = [getattr(layer, _PRIVATE.get(name, name), None) for name in names]
    return [each for each in found if is_variable(each)]


class Lookup(Part):
    """A StringLookup or IntegerLookup, alone or in a TextVectorization.

    Its vocabulary is in a table, and its inverse document frequencies are in a variable, of which
    the layer computes with a copy. A TextVectorization saves both once more.
    """

    def __init__(self, layer: Any, path: str, owner: str | None = None) -> None:
        super().__init__(layer, path, owner)
        has_frequencies = layer.output_mode == "tf_idf" and hasattr(layer, _IDF)
        self._variable = layer.idf_weights if has_frequencies else None
        self._frequencies = place(owner, _IDF) if has_frequencies and owner is not None else None
        # A vocabulary that was given to the layer is in the config of the model.
        has_learnt = layer.input_vocabulary is None
        paths = [path] if owner is None else [owner, path]
        self._vocabularies = [f"{each}/vocabulary" for each in paths] if has_learnt else []
        self._written = False
        self._words: Any = None
        self._names: list[str] = []

    def variables(self) -> Iterable[Any]:
        return [] if self._variable is None else [self._variable]

    def names(self) -> Iterable[tuple[str, Any]]:
        return [(place(self.path, _IDF), variable) for variable in self.variables()]

    def specs(self, named: Named) -> Iterable[VariableSpec]:
        if self._frequencies is not None:
            like = eager.spec(self._variable, self._frequencies)
            same = "the same as in its lookup layer"
            yield replace(like, not_needed=same, not_needed_with=(named(self._variable),))
        size = None
        if self.layer.output_mode != "int" and not self.layer.pad_to_max_tokens:
            size = self.layer._frozen_vocab_size  # what comes after the layer depends on it
        for number, name in enumerate(self._vocabularies):
            why = "the same as in its TextVectorization" if number else self._without_words()
            spec = VariableSpec(name, (size,), "string", not_needed=why)
            if number == 0:
                spec = replace(spec, kept_with=self.siblings(named), remedy=_NO_VOCABULARY)
            yield spec

    def _without_words(self) -> str:
        """What the layer has if no source has its vocabulary."""
        size = self.layer.vocabulary_size()  # a tensor while a graph is built
        owns = "keeps its own vocabulary"
        if isinstance(size, int) and size <= self.layer._token_start_index():
            owns = "has no vocabulary yet"
        return f"layer {self.called!r} {owns}, because the source has none"

    def not_needed(self, named: Named) -> Iterator[tuple[Any, str, tuple[str, ...]]]:
        if self._frequencies is not None:
            yield self._variable, "the same as in its TextVectorization", (self._frequencies,)
        count = getattr(self.layer, "num_documents", None)
        if count is not None:
            yield count, "only adapt() uses it", ()

    def takes(self, named: Named) -> Iterable[str]:
        found = [] if self._frequencies is None else [self._frequencies]
        return [*found, *self._vocabularies]

    def reads(self, name: str) -> Callable[[tuple[slice, ...] | None], Any] | None:
        if name == self._frequencies:
            return None  # the same as its variable

        def read(box: tuple[slice, ...] | None) -> Any:
            import numpy as np

            words = [str(word).encode() for word in self.layer.get_vocabulary()]
            found = np.empty(len(words), object)
            found[:] = words
            return found if box is None else found[box].copy()

        return read

    def take(self, name: str, array: Any) -> list[str]:
        if name == self._frequencies:
            eager.assign(self._variable, array)
            self._written = True
            return [name]
        self._words = array
        self._names.append(name)
        return []

    def finish(self, written: Callable[[Any], bool]) -> tuple[bool, list[str]]:
        is_changed = False
        if self._variable is not None and (self._written or written(self._variable)):
            is_changed = True
            self.layer.idf_weights_const = self._variable.value()
        if self._words is not None:
            is_changed = True
            self.call(self._set_vocabulary)
        names, self._names, self._words, self._written = self._names, [], None, False
        return is_changed, names

    def _set_vocabulary(self) -> None:
        """As in ``load_assets``."""
        words: list[Any] = [
            word.decode("utf-8") if isinstance(word, bytes) else str(word) for word in self._words
        ]
        if len(words) <= self.layer._token_start_index():
            return  # the saved layer had not learnt any
        if self.layer.vocabulary_dtype != "string":
            words = list(map(int, words))
        if self._variable is None:
            self.layer.set_vocabulary(words)
        else:
            # With pad_to_max_tokens, there are zeros behind those of the words.
            self.layer.set_vocabulary(words, self.layer.idf_weights_const.numpy()[: len(words)])


_NO_VOCABULARY = (
    "Only a .keras archive has the vocabulary that a layer has learnt. Restore from that, or call "
    "adapt() on the data, or set_vocabulary() with the words, of the model that was saved"
)
_NO_BOUNDARIES = (
    "Keras 3 keeps the boundaries that a layer has learnt in the config of the model. Load the "
    ".keras archive with keras.models.load_model, or call adapt() on the data of the model that "
    "was saved"
)


class Boundaries(Part):
    """The boundaries of a Discretization of Keras 3, which keeps them in its config.

    Keras 2 saves a summary of the data, from which they are made.
    """

    _taken: Any = None

    @property
    def _name(self) -> str:
        return place(self.path, "0")

    def specs(self, named: Named) -> Iterable[VariableSpec]:
        owns = "has no boundaries yet" if self.layer.bin_boundaries is None else "keeps its own"
        why = f"layer {self.called!r} {owns}: Keras 3 keeps the boundaries in the config"
        return [
            VariableSpec(
                self._name,
                (2, None),
                "float32",
                places=(self._name,),
                not_needed=why,
                kept_with=self.siblings(named),
                remedy=_NO_BOUNDARIES,
            )
        ]

    def takes(self, named: Named) -> Iterable[str]:
        return [self._name]

    def reads(self, name: str) -> Callable[[tuple[slice, ...] | None], Any] | None:
        import numpy as np

        summary = self.layer.summary
        if summary is None or not np.size(summary):
            return None

        def read(box: tuple[slice, ...] | None) -> Any:
            found = np.array(self.layer.summary, np.float32)
            return found if box is None else found[box]

        return read

    def take(self, name: str, array: Any) -> list[str]:
        self._taken = array
        return []

    def finish(self, written: Callable[[Any], bool]) -> tuple[bool, list[str]]:
        if self._taken is None:
            return False, []
        self.layer.summary, self._taken = self._taken.copy(), None
        self.call(self.layer.finalize_state)
        return True, [self._name]
