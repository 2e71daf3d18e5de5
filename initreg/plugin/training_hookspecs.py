"""Hooks about training. Any plugin may implement them, and no format or target has to.

Each library has its own names for the checkpoints of a run, the slots of an optimiser and the
counters of training. Plugins know them, so that others can add theirs.

Some files say which arrays of *another* file are a model's parameters, as a metagraph does for a
checkpoint. A plugin that reads such files sets their extensions:
``initreg_parameter_files = (".meta",)``. The mapping that its ``initreg_open`` returns then has
``.parameters``. :func:`initreg.dump` uses the newest of these files in a folder.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from initreg.plugin.hookspecs import hookspec
from initreg.records import fresh, record
from initreg.specs import ArraySpec
from initreg.store_paths import FilePath


@record()
class Inference:
    """What a plugin knows about a checkpoint whose model is to be published.

    Attributes:
        dropped: the names of arrays that only training needs, each with what it is:
            ``{"fc/W/Adam": "optimiser slot"}``.
        renamed: names under which other arrays are better published, by the names that they have.
    """

    dropped: Mapping[str, str] = fresh(factory=dict)
    renamed: Mapping[str, str] = fresh(factory=dict)


class FileNames(frozenset[str]):
    """The names of the files in a folder, and the folder.

    Attributes:
        folder: the folder.
    """

    folder: FilePath

    def __new__(cls, names: Collection[str], folder: FilePath) -> FileNames:
        made = super().__new__(cls, names)
        made.folder = folder
        return made


@record()
class StateFile:
    """What a file of a folder says about the checkpoints there: which one is the latest.

    Attributes:
        name: the name of the file.
        checkpoints: the checkpoints that it lists and that exist, the latest last. Each has its
            path relative to the folder, and the path of its file that is written last:
            ``{"best/weights": "best/weights.index"}``. None is outside of the folder.
        latest: the path of the latest one, as in ``checkpoints``.
        problem: why the latest one cannot be used. It is not in ``checkpoints`` then.

    >>> StateFile("checkpoint", {"best/weights": "best/weights.index"}, "best/weights").problem
    ''
    """

    name: str
    checkpoints: Mapping[str, str]
    latest: str
    problem: str = ""


@hookspec(firstresult=True)
def initreg_checkpoints(names: Collection[str]) -> Mapping[str, str]:  # type: ignore[empty-body]
    """Return the checkpoints of a folder that are prefixes of files, and not files themselves.

    Args:
        names: the names of the files in the folder. Their attribute ``folder`` is the folder.

    Returns:
        The name of each checkpoint, as a user would open it, with the name of its file that is
        written last. For TensorFlow: ``{"model-100": "model-100.index"}``. If a file of the folder
        says which checkpoint is the latest, the mapping has an attribute ``state``, a
        :class:`StateFile`.
    """


@hookspec(firstresult=True)
def initreg_slots(  # type: ignore[empty-body]
    names: Collection[str], variables: Collection[str]
) -> Mapping[str, str]:
    """Return which names are slots of an optimiser. A plan counts them on a line of their own.

    Args:
        names: names that may be those of slots.
        variables: the names of variables.

    Returns:
        The name of each slot, with the variable that it belongs to: ``{"fc/W/Adam": "fc/W"}``.
    """


@hookspec(firstresult=True)
def initreg_inference(arrays: Sequence[ArraySpec]) -> Inference | None:
    """Return which arrays of a checkpoint are not needed to use its model.

    Names alone are not enough. A slot needs its variable in the same checkpoint, with the same
    shape. An array that you do not recognise belongs to the model.

    Args:
        arrays: the arrays of the checkpoint.
    """
