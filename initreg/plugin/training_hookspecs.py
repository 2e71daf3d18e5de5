"""Hooks about training. Any plugin may implement them, and no format or target has to.

What libraries call the checkpoints of a run, the slots of an optimiser and the counters of a
training is knowledge about these libraries. It is in plugins, so that others can add theirs.

A plugin whose files say which arrays of *another* file are a model's parameters, as a metagraph
does for a checkpoint, sets their endings: ``initreg_parameter_files = (".meta",)``. The mapping
that its ``initreg_open`` returns has ``.parameters`` then. :func:`initreg.dump` uses the newest of
these files in a folder.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from initreg.plugin.hookspecs import hookspec
from initreg.specs import ArraySpec


@dataclass(frozen=True, slots=True)
class Inference:
    """What a plugin knows about a checkpoint whose model is to be published.

    Attributes:
        dropped: the names of arrays that only training needs, each with what it is:
            ``{"fc/W/Adam": "optimiser slot"}``.
        renamed: names under which other arrays are better published, by the names that they have.
    """

    dropped: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)


@hookspec(firstresult=True)
def initreg_checkpoints(names: Collection[str]) -> Mapping[str, str]:  # type: ignore[empty-body]
    """Return the checkpoints of a folder that are not called as a file of it.

    ``names`` are the names of the files in the folder. Map the name of each checkpoint, which a
    source would be, to the file of it that is written last. A checkpoint of TensorFlow is the
    prefix of its files: ``{"model-100": "model-100.index"}``.
    """


@hookspec(firstresult=True)
def initreg_slots(  # type: ignore[empty-body]
    names: Collection[str], variables: Collection[str]
) -> Mapping[str, str]:
    """Return which of ``names`` are slots of an optimiser, each with the one of ``variables`` that
    it belongs to: ``{"fc/W/Adam": "fc/W"}``. A plan counts them on a line of their own."""


@hookspec(firstresult=True)
def initreg_inference(arrays: Sequence[ArraySpec]) -> Inference | None:
    """Return what of a checkpoint with these arrays is not needed to use its model.

    Names alone are not enough: a slot needs its variable in the same checkpoint, with the same
    shape. What you do not recognise belongs to the model.
    """
