"""Dicts that an object of TensorFlow tracks, which are no dicts of arrays."""

from __future__ import annotations

from collections.abc import Mapping

from initreg_targets.frameworks import is_structure


def is_tracked_dict(obj: object) -> bool:
    """Whether it is a dict that an object tracks, with variables or objects that have some."""
    if not isinstance(obj, Mapping) or not is_structure(obj):
        return False
    from initreg_targets.trackables import root_of  # few dicts are such ones

    return root_of(obj) is not None
