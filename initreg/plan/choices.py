"""What a user may choose for a plan. Listing a file needs nothing else of plans."""

from __future__ import annotations

from enum import StrEnum


class Policy(StrEnum):
    """What to do about names on one side only."""

    WARN = "warn"
    ERROR = "error"
    IGNORE = "ignore"


class By(StrEnum):
    """By which of their names arrays find their variables. See :mod:`initreg.plan.naming`."""

    NAME = "name"  # what somebody called them
    PLACE = "place"  # where they are in the structure of the model
    ORDER = "order"  # their position among the layers
