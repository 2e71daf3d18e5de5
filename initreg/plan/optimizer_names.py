"""What optimizers and their variables are called, in files and in messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from initreg.option_spelling import option
from initreg.specs import ArraySpec, OptimizerSpec


def recorded_names(array: ArraySpec) -> list[str]:
    """The names of an array that are not places."""
    names = (array.origin, *array.aliases)
    return [name for name in names if name not in array.places]


def ends(name: str) -> Iterator[str]:
    """A name, and what is left of it without its first parts."""
    yield name
    for at in re.finditer("/", name):
        yield name[at.end() :]


def scopes_of(recorded: Sequence[str], wanted: str) -> list[str]:
    """The last part of what comes before ``wanted`` in names that end in it, "" if nothing does.

    ``*`` in ``wanted`` stands for anything.

    >>> scopes_of(["Adam/m/fc/kernel"], "m/fc/kernel"), scopes_of(["Adam/m/fc/kernel"], "m/*")
    (['Adam'], ['Adam'])
    """
    before, star, after = wanted.partition("*")
    found = []
    for name in recorded:
        if not star:
            start = len(name) - len(wanted) if name.endswith(wanted) else -1
        elif not name.endswith(after):
            start = -1
        elif before:  # m/*
            start = 0 if name.startswith(before) else name.find(f"/{before}") + 1 or -1
        elif after.startswith("/"):  # */m, of which nobody knows where it begins
            start = 0
        else:  # *_momentum
            start = name.rfind("/") + 1
        if start == 0:
            found.append("")
        elif start > 0 and name[start - 1] == "/":
            found.append(name[: start - 1].rpartition("/")[2])
    return found


def plain(name: str) -> str:
    """A class or an automatic name as they are compared: ``adam_w_3`` is of ``AdamW``.

    Keras numbers the optimizers of a process. TensorFlow numbers the scope of one in another one
    once more: ``adam_1_1``.
    """
    return re.sub(r"(_\d+)+$", "", name).replace("_", "").lower()


# The optimizers of Keras, of which each gives its name to those that nobody names.
_CLASSES_TEXT = """
sgd rmsprop adam adamw adadelta adagrad adamax adafactor nadam ftrl lion lamb muon schedulefreeadamw
lossscaleoptimizer gradientdescent momentum
"""
_CLASSES = frozenset(_CLASSES_TEXT.split())


def misnamed(name: str) -> str:
    """What there is to say of state that is of an optimizer of another name.

    If it is the automatic name of another class, no way of naming makes it the same.

    >>> misnamed("adam_84")
    "the source has that of an optimizer called 'adam_84'"
    """
    text = f"the source has that of an optimizer called {name!r}"
    if plain(name) in _CLASSES:
        return text
    return text + ". If it is of the same class, pass " + option("by", "place")


def described(optimizer: OptimizerSpec) -> str:
    """An optimizer in words: ``LossScaleOptimizer of Adam``."""
    classes = [each or "an optimizer" for each in optimizer.classes]
    if not any(optimizer.classes) and any(optimizer.names):
        return f"an optimizer called {next(filter(None, reversed(optimizer.names)))!r}"
    if len(classes) > 1 and not any(optimizer.classes):
        return "an optimizer with another one in it"
    return " of ".join(classes)
