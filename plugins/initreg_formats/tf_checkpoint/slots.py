"""Optimiser slots, which are recognised by their names.

Sources, by the way in which they are named:

- ``<variable>/<Optimiser>``, ``.../<Optimiser>_1``: ``tf.compat.v1.train``, whose ``slot_creator``
  takes the name of the optimiser; ``tf.contrib.opt``, tensor2tensor's ``Adafactor``, the ``LAMB``
  and ``LARS`` of several repositories, ``AdamWeightDecayOptimizer`` of XLNet, tensorpack's
  ``AccumGrad``;
- ``<variable>/adam_m``, ``.../lamb_v``: BERT's ``optimization.py``, ALBERT, ELECTRA and their LAMB;
- ``<variable>_slot_v``: mesh_tensorflow, and so T5;
- ``<scope>/<variable>/...``: ``tf.contrib.layers.optimize_loss`` creates slots in ``OptimizeLoss``,
  tensor2tensor in ``training``;
- ``<variable>/.OPTIMIZER_SLOT/<optimiser>/<slot>``: TensorFlow's ``trackable_object_graph.proto``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_OPTIMISERS = (
    *("Adam", "AdamW", "AdamWeightDecay", "LazyAdam", "AdamAsync", "AMSGrad", "RAdam", "Nadam"),
    *("AdaMax", "Adamax", "NovoGrad", "Yogi", "AdaBelief", "AdaBound", "Momentum", "MomentumW"),
    *("RMSProp", "RMSprop", "Adagrad", "AdagradDA", "RegAdagrad", "ProximalAdagrad", "Adadelta"),
    *("Ftrl", "FtrlV2", "PowerSign", "AddSign", "LAMB", "Lamb", "LARS", "Lars", "Lion"),
    *("Adafactor", "AdaFactor", "SM3", "Shampoo", "GGT", "AccumGrad"),
)
_SLOT = re.compile(
    rf"""(?P<variable>.+)(?:
        /(?P<optimiser>{"|".join(_OPTIMISERS)})(?:_?Optimizer)?(?:_\d+)?
        | /(?:adam|lamb)_[mv](?:_\d+)?
        | _slot_(?P<mesh>v|vr|vc|m)
        | /(?P<object>\.OPTIMIZER_SLOT)/.+
    )""",
    re.DOTALL | re.VERBOSE,
)
# How the last part of such a name begins or ends, if TensorFlow itself did not make the slot.
_LAST = re.compile(rf"(?:{'|'.join(sorted(_OPTIMISERS))}|adam_|lamb_)|.*_slot_", re.DOTALL)
# A slot of a partitioned variable is <variable>/<the end of its name again>/part_<n>/<slot>.
_PART = re.compile(r".+/part_\d+", re.DOTALL)
_MOST_PARTS = 32  # how many parts of a name are tried as the repeated end
_MOST_SCOPES = 4  # how many parts of a name are tried as the scope of the optimiser


def variable_of_slot(name: str, variables: Collection[str]) -> str | None:
    """The variable that an optimiser slot belongs to.

    Args:
        name: what may be the name of a slot.
        variables: the names of variables.

    Returns:
        One of ``variables``, or None if ``name`` is not a slot of one.

    >>> variable_of_slot("OptimizeLoss/fc/W/Adam_1", {"fc/W"})
    'fc/W'
    """
    slot = _SLOT.fullmatch(name)
    if slot is None:
        return None
    variable = slot["variable"]
    for _ in range(_MOST_SCOPES):
        found = _without_part(variable, variables)
        if found is not None or "/" not in variable or slot["object"]:
            return found
        variable = variable.partition("/")[2]
    return None


def _without_part(name: str, variables: Collection[str]) -> str | None:
    """The variable of a name, which may be that of a part of it."""
    if _PART.fullmatch(name):
        tried = 0
        while name not in variables and tried < _MOST_PARTS:
            name = name.rpartition("/")[0]
            tried += 1
    return name if name in variables else None


def scope_of_slot(name: str, variable: str) -> str:
    """The scope that the optimiser of a slot is in, with a ``/`` at its end, or "".

    >>> scope_of_slot("OptimizeLoss/fc/W/Adam_1", "fc/W")
    'OptimizeLoss/'
    """
    at = name.find(f"/{variable}")
    return "" if name.startswith(variable) or at < 0 else name[: at + 1]


def fits(name: str, shape: Sequence[int], of: Sequence[int]) -> bool:
    """Whether a slot of this name and shape can belong to a variable of the shape ``of``.

    Most have the shape of their variable. Adafactor keeps one sum over the last axis and one over
    the one before it, or over the two longest axes, and SM3 one for each axis. TensorFlow itself
    records which variable a ``.OPTIMIZER_SLOT`` belongs to, so it may have any shape.
    """
    slot = _SLOT.fullmatch(name)
    if slot is None or slot["object"]:
        return slot is not None
    if slot["optimiser"] in ("Adafactor", "AdaFactor") or slot["mesh"] in ("vr", "vc"):
        return tuple(shape) == tuple(of) or without_an_axis(shape, of)
    if slot["optimiser"] == "SM3" and len(shape) == len(of):
        return all(axis in (1, whole) for axis, whole in zip(shape, of, strict=True))
    return tuple(shape) == tuple(of)


def without_an_axis(shape: Sequence[int], of: Sequence[int]) -> bool:
    """Whether a shape is ``of`` with one axis less.

    >>> without_an_axis((4, 2), (4, 3, 2)), without_an_axis((), (4,))
    (True, False)
    """
    return len(of) > 1 and any(
        tuple(shape) == (*of[:axis], *of[axis + 1 :]) for axis in range(len(of))
    )


def slots(names: Collection[str], variables: Collection[str]) -> dict[str, str]:
    """The slots among ``names``, each with the one of ``variables`` that it belongs to."""
    found = {name: variable_of_slot(name, variables) for name in _may_be_slots(names)}
    return {name: variable for name, variable in found.items() if variable is not None}


def _may_be_slots(names: Collection[str]) -> list[str]:
    """The names that end as those of slots may, which is known much sooner than that they are."""
    last = [name.rpartition("/")[2] for name in names]  # of many names, a few different ones
    ends = {each for each in set(last) if _LAST.match(each)}
    return [
        name
        for name, each in zip(names, last, strict=True)
        if each in ends or "/.OPTIMIZER_SLOT/" in name
    ]
