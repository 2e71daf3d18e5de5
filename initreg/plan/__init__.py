"""What a restore will do, decided before anything is written. Pure: specs in, rows out.

The public names are imported on first use, so that listing a file does not pay for planning.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from initreg.plan.plan import Plan as Plan
    from initreg.plan.rows import Hint as Hint
    from initreg.plan.rows import Kind as Kind
    from initreg.plan.rows import Policy as Policy
    from initreg.plan.rows import Row as Row

_HOME = {"Plan": "plan", "Hint": "rows", "Kind": "rows", "Policy": "rows", "Row": "rows"}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'initreg.plan' has no attribute {name!r}")
    return getattr(importlib.import_module(f"initreg.plan.{_HOME[name]}"), name)
