"""What variables and layers have now, to be put back if a restore fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from initreg_targets import distributed
from initreg_targets import variables as eager

PutBack = Callable[[], None]


def can_keep(variables: Iterable[Any]) -> bool:
    """Whether :func:`keep_values` can: not where one handle stands for copies on several devices,
    as on a TPU."""
    return not any(distributed.is_packed(eager.unwrapped(each)) for each in variables)


def keep_values(variables: Iterable[Any]) -> PutBack:
    """A function that gives the variables the values that they have now.

    TensorFlow's values are not copied, because writing a variable replaces its value. Of a variable
    that is spread over devices, each copy of each part keeps its own: to read it as one could make
    workers wait for each other, and copies may differ.
    """
    listed = list(variables)
    spread = [each for each in listed if distributed.is_spread_out(eager.unwrapped(each))]
    known = {id(each) for each in spread}
    whole = [each for each in listed if id(each) not in known]
    kept = [(each, value) for each in whole if (value := eager.value_of(each)) is not None]
    copies = [
        (holder, holder.read_value())
        for each in spread
        for holder in distributed.holders(eager.unwrapped(each))
    ]

    def put_back() -> None:
        for variable, value in kept:
            eager.assign(variable, value)
        for holder, value in copies:
            distributed.put_back(holder, value)

    return put_back


def keep_attributes(layer: Any) -> PutBack:
    """A function that gives a layer the attributes that it has now.

    What is in an attribute is not copied, but for tables, which are changed in place.
    """
    kept = dict(vars(layer))
    tables = [
        (each, *each.export())
        for each in kept.values()
        if all(hasattr(each, name) for name in ("export", "insert", "remove"))
    ]

    def put_back() -> None:
        own = vars(layer)
        for name in own.keys() - kept.keys():
            del own[name]
        own.update(kept)  # and not setattr, which would track them once more
        for table, keys, values in tables:
            table.remove(table.export()[0])
            table.insert(keys, values)

    return put_back
