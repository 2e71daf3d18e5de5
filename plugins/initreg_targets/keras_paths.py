"""All paths to the objects of a model, as a ``.weights.h5`` or ``.keras`` file names them.

A file has an object at the first path by which Keras came to it. Another version of the code may
come to it by another one: a layer that is in a list and in an attribute, or that a property returns
under an old name. Keras tries all of them when it loads.

Source: ``_load_state`` and ``_load_container_state`` in ``keras/src/saving/saving_lib.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from initreg_targets.frameworks import is_module
from initreg_targets.keras_walk import Walk, walk_of
from initreg_targets.object_paths import paths_by

# Where Functional keeps its layers once more. No file has them there.
_OWN = "_operations"


def all_paths(
    model: Any, without: Collection[int] = (), walk: Walk | None = None
) -> Mapping[str, Sequence[str]]:
    """The paths of every object that has several, by each of them.

    Args:
        model: the model.
        without: the ids of objects that are left out, such as optimizers.
        walk: a walk over the model, if there is one already.

    Raises whatever the attributes of layers raise, and AttributeError or ImportError if this
    version of Keras saves in another way.

    >>> all_paths(model)["dense"]  # doctest: +SKIP
    ['dense', 'a_dense']
    """
    walked = walk_of(model) if walk is None else walk

    def children(parent: Any) -> Iterator[tuple[str, Any]]:
        for name, child in walked.below(parent):
            # How Keras 2 numbers the elements of a list depends on which of them it has seen.
            is_known = "/" not in name or not is_module(model)
            if is_known and id(child) not in without and not name.startswith(_OWN):
                yield name, child

    return {
        path: paths for _, paths in paths_by(model, children) if len(paths) > 1 for path in paths
    }
