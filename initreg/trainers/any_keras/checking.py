"""Whether a checkpoint is of the model that is resumed, found out before anything is changed.

Keras loads layer by layer, and fails at the first one that does not fit. Layers that a file has
besides are ignored. So the file is compared with the one that the model would write now: the same
arrays in the same places, of the same shapes.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from initreg.errors import DamagedFile, MismatchError, TargetError
from initreg.text.wording import plural, shape_text
from initreg.trainers.any_keras.files import in_memory
from initreg.trainers.any_keras.models import is_keras3, optimizer_variables
from initreg.trainers.any_keras.workers import scope_of

Contents = dict[str, dict[str, tuple[int, ...]]]  # by group: the shape of each array, by name

_OPTIMIZER = "optimizer/"
_METRICS = "metrics/"  # tf_keras makes those of compile() when training begins
_SHOWN = 10


def check(model: Any, path: Path) -> None:
    """Compare a checkpoint with a model. Nothing is changed, also not an optimizer without slots.

    Args:
        model: of Keras 3 or ``tf_keras``.
        path: a ``.weights.h5`` file.

    Raises:
        TargetError: the model is not built.
        MismatchError: the file is of another model, or of another optimizer.
        DamagedFile: the file cannot be read.
    """
    if not model.built:
        raise TargetError(
            f"Keras model {model.name!r}: it is not built, so it has no variables yet: give it an "
            "Input, call it on some data, or build(input_shape), before resume()"
        )
    saved, _ = _contents(path, str(path))
    own, names = _of(model)
    left_out = (_OPTIMIZER, _METRICS, *_made_later(model))
    problems = []
    lenient = _with_own_saving(model)
    for group in sorted(own.keys() | saved.keys()):
        if f"{group}/".startswith(left_out) or names.get(group) in lenient:
            continue
        ours, theirs = own.get(group, {}), saved.get(group, {})
        if lenient and not names and ours and theirs:
            continue  # a file of tf_keras does not say whose group this is
        called = f"{group} (layer {names[group]!r})" if group in names else group
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                sides = [
                    f"{shape_text(shapes[name])} in {where}"
                    if name in shapes
                    else f"missing in {where}"
                    for shapes, where in ((theirs, "the file"), (ours, "the model"))
                ]
                problems.append(f"{called}/{name}: " + ", ".join(sides))
    if problems:
        more = f"\n  and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
        raise MismatchError(
            f"{path}: was not saved from a model like {model.name!r}: "
            f"{plural(len(problems), 'array')} differ, and nothing was changed:\n  "
            + "\n  ".join(problems[:_SHOWN])
            + more
            + "\nBuild the model as it was, or give the ModelSaver another folder"
        )
    _check_optimizer(model, own, saved, path)


def _check_optimizer(model: Any, own: Contents, saved: Contents, path: Path) -> None:
    optimizer = getattr(model, "optimizer", None)
    theirs = _below(saved, _OPTIMIZER)
    if optimizer is None:
        if theirs:
            raise MismatchError(
                f"{path}: has the state of an optimizer, and {model.name!r} is not compiled: "
                "compile the model with the optimizer that it was trained with"
            )
        return
    ours = _below(own, _OPTIMIZER)
    if ours != theirs and getattr(optimizer, "built", False) is not True:
        built = _as_built(model, optimizer)
        ours = (_of(built)[0] if built is not None else {}) or theirs  # checked once it is built
    if ours != theirs:
        counts = [sum(map(len, each.values())) for each in (theirs, ours)]
        raise MismatchError(_other_optimizer(path, optimizer, *counts))


def _as_built(model: Any, optimizer: Any) -> Any:
    """An optimizer like this one, built for the model. None if it cannot be made from its config.

    Building the user's own one would change it. The slots are in main memory.
    """
    try:
        if is_keras3(model):
            import keras

            device: Any = keras.device("cpu")
        else:
            import tensorflow as tf

            device = tf.device("cpu")
        with scope_of(model), device:
            made = type(optimizer).from_config(optimizer.get_config())
            made.build(model.trainable_variables)
    except Exception:  # what a class of somebody else's may raise
        return None
    return made


def check_built(optimizer: Any, path: Path) -> None:
    """As :func:`check`, for an optimizer that has been built since.

    Raises:
        MismatchError: it has other variables than the file.
    """
    saved = _below(_contents(path, str(path))[0], _OPTIMIZER)
    own = _of(optimizer)[0]
    counts = [sum(map(len, each.values())) for each in (saved, own)]
    if not own:  # this Keras does not say
        counts = [len(saved.get("vars", {})), len(optimizer_variables(optimizer))]
    if counts[0] != counts[1] or (own and own != saved):
        raise MismatchError(_other_optimizer(path, optimizer, *counts))


def _other_optimizer(path: Path, optimizer: Any, saved: int, own: int) -> str:
    differ = "" if saved != own else " of other shapes"
    return (
        f"{path}: has {saved} optimizer variables, and {type(optimizer).__name__} has {own}"
        f"{differ}: compile the model with the optimizer that it was trained with"
    )


def _below(contents: Contents, prefix: str) -> Contents:
    return {
        group.removeprefix(prefix): arrays
        for group, arrays in contents.items()
        if f"{group}/".startswith(prefix) and arrays
    }


def _of(saveable: Any) -> tuple[Contents, Mapping[str, str]]:
    """What Keras writes of a model or an optimizer now."""
    content = in_memory(saveable)
    if content is not None:
        return _contents(io.BytesIO(content), "the model")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.weights.h5")
        if not hasattr(saveable, "save_weights"):  # an optimizer: this Keras writes models only
            return {}, {}
        saveable.save_weights(str(path))
        return _contents(path, "the model")


def _contents(file: Any, label: str) -> tuple[Contents, Mapping[str, str]]:
    """The arrays of a file, and the names of the layers of its groups, if it records them."""
    import h5py

    found: Contents = {}
    names: dict[str, str] = {}

    def visit(path: str, each: Any) -> None:
        if isinstance(each, h5py.Dataset):
            group, _, name = path.rpartition("/")
            found.setdefault(group, {})[name] = each.shape
        elif isinstance(each.attrs.get("name"), str):
            names[path] = each.attrs["name"]

    try:
        with h5py.File(file, "r") as opened:
            opened.visititems(visit)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise DamagedFile(f"{label}: cannot be read: {error}") from error
    return found, names


def _made_later(model: Any) -> list[str]:
    """Where a model's own metrics are saved, which make their variables when they are used, and
    optimizers of its own that have no slots yet. Keras says so itself if it does not load them."""
    return [
        f"{name}/"
        for name, each in vars(model).items()
        if (hasattr(each, "apply_gradients") and not getattr(each, "built", False))
        or (hasattr(each, "update_state") and hasattr(each, "result"))
    ]


def _with_own_saving(model: Any) -> set[str]:
    """The names of the layers that are not of Keras and that save in a way of their own: how much
    that is may depend on their state."""
    layers = getattr(model, "_flatten_layers", lambda: model.submodules)()
    return {
        layer.name
        for layer in layers
        for name in ("save_own_variables", "load_own_variables")
        if getattr(getattr(type(layer), name, None), "__module__", "keras").split(".")[0]
        not in ("keras", "tf_keras")
    }
