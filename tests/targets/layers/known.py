"""What the sweep finds where it is not plainly equal, and why. docs/layers.md has it, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cases import Case
from sweep import (
    ARCHIVE,
    BETTER,
    CHECKPOINT,
    HDF5,
    LACKING,
    LEGACY,
    NOT_SAVED,
    RENAMED,
    SAVED_MODEL,
    TF_WEIGHTS,
)

_ALL = (HDF5, ARCHIVE, LEGACY, RENAMED, CHECKPOINT, TF_WEIGHTS, SAVED_MODEL)
_LEGACY = (LEGACY, RENAMED)
_LOOKUPS = ("IntegerLookup", "StringLookup", "TextVectorization")


@dataclass(frozen=True)
class Known:
    """An outcome of some cases in some formats, and the reason."""

    outcome: str
    library: str
    applies: Callable[[Case], bool]
    formats: tuple[str, ...]
    reason: str


def _kinds(*kinds: str) -> Callable[[Case], bool]:
    return lambda case: case.kinds[0] in kinds


KNOWN = (
    Known(
        LACKING,
        "keras",
        _kinds("Discretization"),
        _ALL,
        "Keras 3 keeps the boundaries in the config of the model. No variable holds them, and a "
        "warning says so.",
    ),
    Known(
        BETTER,
        "tf_keras",
        _kinds("Discretization"),
        (HDF5, ARCHIVE, CHECKPOINT),
        "The reference restores the summary of the data, and leaves the boundaries as they were.",
    ),
    Known(
        LACKING,
        "keras",
        lambda case: case.is_stateful,
        (HDF5, ARCHIVE, LEGACY, RENAMED),
        "Keras 3 saves the states of RNNs in no format of its own. The weights are equal.",
    ),
    Known(
        LACKING,
        "keras",
        lambda case: case.is_stateful or case.variant == "tf_idf",
        (SAVED_MODEL,),
        "The export holds states and document frequencies under numbers alone. A warning names the "
        "arrays that are not used. The weights are equal.",
    ),
    Known(
        LACKING,
        "tf_keras",
        lambda case: case.is_stateful,
        _ALL,
        "tf_keras saves the states of RNNs in no format. The weights are equal.",
    ),
    Known(
        BETTER,
        "",
        _kinds("Normalization"),
        (CHECKPOINT,),
        "The reference restores mean and variance, and the layer goes on computing with the old "
        "ones.",
    ),
    Known(
        BETTER,
        "keras",
        lambda case: case.name == "TimeDistributed (Normalization)",
        (*_LEGACY, CHECKPOINT),
        "The reference restores mean and variance, and does not look at the layer in the wrapper, "
        "which goes on computing with the old ones.",
    ),
    Known(
        BETTER,
        "tf_keras",
        lambda case: case.name == "TimeDistributed (Normalization)",
        (CHECKPOINT, TF_WEIGHTS),
        "The reference restores mean and variance, and does not look at the layer in the wrapper, "
        "which goes on computing with the old ones.",
    ),
    Known(
        LACKING,
        "keras",
        lambda case: case.variant == "tf_idf",
        _LEGACY,
        "The format holds weights alone, and Keras 3 does not count the document frequencies "
        "among them.",
    ),
    Known(
        BETTER,
        "",
        lambda case: case.variant == "tf_idf",
        (CHECKPOINT,),
        "The reference restores the document frequencies, and the layer goes on computing with "
        "the old ones.",
    ),
    Known(
        NOT_SAVED,
        "tf_keras",
        lambda case: case.kinds[0] in _LOOKUPS and case.variant != "vocabulary given",
        _LEGACY,
        "tf_keras refuses to save a table in this format.",
    ),
    Known(
        NOT_SAVED,
        "tf_keras",
        _kinds("DynamicEmbedding", "DynamicLookup"),
        _LEGACY,
        "tf_keras fails to write the vocabulary, a variable of strings, in this format.",
    ),
    Known(
        LACKING,
        "keras",
        _kinds("Pipeline", "StackedRNNCells"),
        (CHECKPOINT,),
        "TensorFlow does not track the list in which Keras 3 keeps the inner layers, so that they "
        "are not in the checkpoint. A warning names what is missing.",
    ),
    Known(
        LACKING,
        "keras",
        lambda case: case.variant in ("int8, LoRA", "int4, LoRA"),
        (HDF5, ARCHIVE),
        "Keras merges LoRA's weights and quantizes again when it saves, which rounds. The state is "
        "as the reference restores it.",
    ),
    Known(
        NOT_SAVED,
        "keras",
        lambda case: "RandomBrightness" in case.kinds,
        _LEGACY,
        "Keras cannot save some of these layers in this format: it fails to copy their config.",
    ),
)


def known(library: str, case: Case, suffix: str) -> Known | None:
    """What is known of a case in a format, None if it should come out equal."""
    for each in KNOWN:
        if each.library in ("", library) and suffix in each.formats and each.applies(case):
            return each
    return None
