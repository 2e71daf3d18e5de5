"""Optimiser slots, which are recognised by their names."""

from __future__ import annotations

import re
from collections.abc import Collection

# <variable>/<slot> is the name of a slot for the optimisers of TF1 and in object-based checkpoints.
# Sources: the slot names of tf.compat.v1.train.*Optimizer, and TensorFlow's
# trackable_object_graph.proto.
# A slot of a partitioned variable is <variable>/<the end of its name again>/part_<n>/<slot>.
_PART = re.compile(r".+/part_\d+", re.DOTALL)
_MOST_PARTS = 32  # how many parts of a name are tried as the repeated end
_SLOT = re.compile(
    r"(?P<variable>.+)/(?:(?:Adam|AMSGrad|Momentum|RMSProp|Adagrad|AdagradDA|Adadelta|Ftrl|FtrlV2"
    r"|ProximalAdagrad|PowerSign|AddSign|LAMB|LARS|AccumGrad)(?:_\d+)?|\.OPTIMIZER_SLOT/.+)",
    re.DOTALL,
)


def variable_of_slot(name: str, variables: Collection[str]) -> str | None:
    """The variable that an optimiser slot belongs to.

    Args:
        name: what may be the name of a slot.
        variables: the names of variables.

    Returns:
        One of ``variables``, or None if ``name`` is not a slot of one.

    >>> variable_of_slot("fc/W/Adam_1", {"fc/W"})
    'fc/W'
    """
    slot = _SLOT.fullmatch(name)
    if slot is None:
        return None
    variable = slot["variable"]
    if _PART.fullmatch(variable):
        tried = 0
        while variable not in variables and tried < _MOST_PARTS:
            variable = variable.rpartition("/")[0]
            tried += 1
    return variable if variable in variables else None


def slots(names: Collection[str], variables: Collection[str]) -> dict[str, str]:
    """The slots among ``names``, each with the one of ``variables`` that it belongs to."""
    found = {name: variable_of_slot(name, variables) for name in names}
    return {name: variable for name, variable in found.items() if variable is not None}
