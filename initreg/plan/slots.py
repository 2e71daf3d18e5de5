"""Optimiser slots, recognised by their names."""

from __future__ import annotations

import re

# <variable>/<slot>: what TF1's optimisers and object-based checkpoints call the optimiser's own
# copies of a variable. Source: tf.compat.v1.train.*Optimizer's slot names; TensorFlow's
# trackable_object_graph.proto.
# A partitioned variable's slots are <variable>/<a piece of its name again>/part_<n>/<slot>.
_PART = re.compile(r".+/part_\d+", re.DOTALL)
_MOST_PARTS = 32  # of a name, tried as the piece that is repeated
_SLOT = re.compile(
    r"(?P<variable>.+)/(?:(?:Adam|AMSGrad|Momentum|RMSProp|Adagrad|AdagradDA|Adadelta|Ftrl|FtrlV2"
    r"|ProximalAdagrad|PowerSign|AddSign|LAMB|LARS|AccumGrad)(?:_\d+)?|\.OPTIMIZER_SLOT/.+)",
    re.DOTALL,
)


def variable_of_slot(name: str, restored: set[str]) -> str | None:
    """The restored variable that ``name`` is an optimiser slot of, None if it is none."""
    slot = _SLOT.fullmatch(name)
    if slot is None:
        return None
    variable = slot["variable"]
    if _PART.fullmatch(variable):
        tried = 0
        while variable not in restored and tried < _MOST_PARTS:
            variable = variable.rpartition("/")[0]
            tried += 1
    return variable if variable in restored else None
