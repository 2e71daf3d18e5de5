"""Optimizers, and what an array or a variable is in the state of one."""

from __future__ import annotations

from initreg.records import record


@record()
class OptimizerSpec:
    """An optimizer, as a file records it or as a target has it.

    Args:
        places: where it is in the structure that was saved: ``("model/optimizer",)``.
        classes: its class, and that of the optimizer in it if it wraps one: ``("Adam",)``,
            ``("LossScaleOptimizer", "Adam")``. ``""`` stands for a class that is not recorded.
        names: its name, and that of the optimizer in it, if they are known.
        automatic: only in a target: for each of ``classes``, the names that a framework gives to
            such an optimizer.
        is_built: whether it has all of its state.
    """

    places: tuple[str, ...]
    classes: tuple[str, ...] = ("",)
    names: tuple[str, ...] = ()
    automatic: tuple[tuple[str, ...], ...] = ()
    is_built: bool = True


@record()
class StateSpec:
    """What an array or a variable is in the state of an optimizer.

    Args:
        optimizer: the optimizer. All of its state has an equal one.
        at: where it is in the optimizer: ``"3 of 8"`` for a list of 8. A target may name several
            places. ``{weight}`` stands there for the name that a source has for the weight.
        optional: whether the rest of the state is complete without it.
        weight: only in a target: the name of the weight that it belongs to, ``""`` if it belongs to
            none or to one that is not known.
        called: only in a target: what a file may call it: ``"{name}_momentum"``. ``{name}`` is the
            name of the weight, and ``{flat}`` the same without ``/``.
        never_negative: only in a target: whether no value of it is ever negative.
        also_called: only in a target: what other libraries call the same, as in ``called``.

    >>> adam = OptimizerSpec(("optimizer",), ("Adam",))
    >>> StateSpec(adam, ("1 of 5",), weight="fc/kernel", called="m/{name}").at
    ('1 of 5',)
    """

    optimizer: OptimizerSpec
    at: tuple[str, ...]
    optional: bool = False
    weight: str = ""
    called: str = ""
    never_negative: bool = False
    also_called: tuple[str, ...] = ()
