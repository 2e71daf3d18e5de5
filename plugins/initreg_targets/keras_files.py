"""Files that Keras itself loads: ``.weights.h5`` and ``.keras``, of a model that is given as it is.

Keras writes them, by ``save_weights`` and ``save``. What a layer saves is the layer's own business:
its ``save_own_variables``, merged weights of LoRA, vocabularies. And so is the config. What is ours
is that the file is complete or absent.
"""

from __future__ import annotations

from typing import Any

from initreg import InitregError, LazyArray, Output, Saved, SaveOptions, TargetError
from initreg.format_tools.living import LivingArray, warn_left_out
from initreg.option_spelling import either, option
from initreg_targets.frameworks import KERAS, is_a
from initreg_targets.keras_variables import Model

ENDINGS = (".weights.h5", ".keras")
_OTHERS = "For a file of arrays by name, give a path that ends in .h5 alone"
_NO_WEIGHT = "Keras saves weights alone (make them with add_weight(), or save as .h5 alone)"


def save(arrays: Saved, output: Output, options: SaveOptions) -> None:
    """Let the model that the arrays are those of write itself to one file.

    Raises:
        InitregError: they are not all arrays of one model, as they are, or the user asked for what
            Keras does not do.
        TargetError: Keras cannot save the model.

    A warning names the variables of the model that Keras leaves out.
    """
    label = output.label
    if not output.path.name.lower().endswith(ENDINGS):
        raise InitregError(
            f"{label}: Keras loads files that end in .weights.h5, with weights alone, or in "
            ".keras, with the config of the model, too. Give such a path"
        )
    for name, given in (("compress", options.compress), ("shard_size", options.shard_size)):
        if given:
            raise InitregError(
                f"{label}: Keras writes this file, in its own way. Leave out "
                + option(name, python=name)
                + ", or save as .safetensors or .h5"
            )
    model = _model_of(arrays, label)
    is_whole = output.path.name.lower().endswith(".keras")
    if not any(is_a(model, keras, "Model") for keras in KERAS):
        raise InitregError(
            f"{label}: only a model of Keras writes such a file, and {model.name!r} is a layer. "
            + _OTHERS
        )
    path = str(output.file())
    try:
        (model.save if is_whole else model.save_weights)(path, overwrite=True)
    except (OSError, MemoryError, InitregError):
        raise
    except Exception as error:  # the code of layers runs, and raises anything
        text = " ".join(str(error).split())[:500]
        what = "save()" if is_whole else "save_weights()"
        raise TargetError(
            f"{label}: Keras cannot save the model {model.name!r}: its {what} raised "
            f"{type(error).__name__}: {text}"
        ) from error
    warn_left_out(label, Model(model).left_out(), _NO_WEIGHT)


def _model_of(arrays: Saved, label: str) -> Any:
    """The model that the arrays are all of, none changed or left out by a rule."""
    found = {id(of): of for each in arrays.values() if (of := _owner(each)) is not None}
    strangers = [each.name for each in arrays.values() if _owner(each) is None]
    if len(found) != 1 or strangers:
        raise InitregError(
            f"{label}: Keras's own files store weights by the model's layers, so only the model "
            "can write them: "
            + either("initreg.save(path, model)", "initreg convert module:model PATH")
            + ", model.save_weights(path) or model.save(path). "
            + _OTHERS
        )
    (model,) = found.values()
    whole = [len(each.stored.owner.values()) for each in arrays.values()]  # type: ignore[arg-type]
    changed = [a.name for a in arrays.values() if a.changes or a.spec.origin != a.name]
    if changed or max(whole, default=0) != len(arrays):
        raise InitregError(
            f"{label}: Keras's own files hold a model as it is, and rules have changed its arrays "
            "or left some out. Leave out the rules, or save them as .h5, and restore that into the "
            "model"
        )
    return model


def _owner(array: LazyArray) -> Any | None:
    """The model that an array is read from."""
    value = array.value
    return value.of if isinstance(value, LivingArray) else None
