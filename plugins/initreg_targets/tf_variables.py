"""``tf.Variable``s of TF2: an iterable of them, a single one, or an object that tracks some.

The iterable may also hold variables of Keras 3, such as ``model.weights``. Objects are a
``tf.Module``, a ``tf.train.Checkpoint``, a loaded SavedModel, an optimizer, or a list or dict that
such an object tracks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from initreg import Claim, OpenOptions, Source, Target, TargetError, hookimpl
from initreg_targets.claiming import claim, target_of
from initreg_targets.frameworks import (
    find,
    is_keras_layer,
    is_module,
    is_variable,
)
from initreg_targets.tracked_dicts import is_tracked_dict

initreg_takes = (
    "tf.Variables",
    "a tf.Module",
    "a tf.train.Checkpoint",
    "a loaded SavedModel",
    "an optimizer",
)


@hookimpl
def initreg_target(obj: object) -> Target | None:
    if isinstance(obj, (str, bytes)) or (isinstance(obj, Mapping) and not is_tracked_dict(obj)):
        return None
    if find("tensorflow", "Variable") is None and find("keras", "Variable") is None:
        return None
    if is_keras_layer(obj):
        return None  # keras_model's, though those of Keras 2 are tf.Modules as well
    from initreg_targets.distributed import refuse_single_shards
    from initreg_targets.plain_variables import Variables

    if is_variable(obj):
        refuse_single_shards([obj], Variables.label)
        return Variables([obj])
    if is_module(obj) or type(obj).__module__ != "builtins":  # a list tracks nothing
        from initreg_targets.eager_targets import Module, Optimizer, Tracked
        from initreg_targets.trackables import is_optimizer, root_of

        if is_module(obj):
            return Module(obj)
        root = root_of(obj)
        if root is not None:
            return Optimizer(root) if is_optimizer(root) else Tracked(root)
    # A stranger's attributes may raise, so they are looked at last. An array is iterable, too.
    if not isinstance(obj, Iterable) or hasattr(obj, "shape"):
        return None
    found = list(obj)
    strangers = [each for each in found if not is_variable(each)]
    if not strangers:
        refuse_single_shards(found, Variables.label)
        return Variables(found)
    if len(strangers) < len(found):
        raise TargetError(
            f"TF variables: a {type(strangers[0]).__name__} is among them, which is not a "
            "variable. Leave it out"
        )
    return None


@hookimpl
def initreg_claim(source: Source) -> Claim | None:
    return claim(source, initreg_target)


@hookimpl
def initreg_open(source: Source, options: OpenOptions) -> Mapping[str, Any]:
    what = "neither variables of TensorFlow nor an object that tracks some"
    return target_of(source, initreg_target, what).living()  # type: ignore[no-any-return]
