"""What is studied of the axes of a source: rows with their arrays, and what is found out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from initreg.names import normalise
from initreg.plan.axes import (
    Axes,
    Role,
    frameworks,
    is_pytorchs,
    moves,
    order,
    orders,
    role,
    squeeze,
)
from initreg.plan.rows import RESTORED, Kind
from initreg.records import record
from initreg.specs import ArraySpec, VariableSpec


@record()
class Pair:
    """An array and the variable that takes it, with the kind and the name of their row."""

    kind: Kind
    name: str
    array: ArraySpec
    variable: VariableSpec

    @property
    def role(self) -> Role:
        """What the array is, as far as its names say."""
        variable, array = self.variable, self.array
        names = (variable.name, *variable.aliases, array.origin, array.name)
        return role(*map(normalise, names))

    @property
    def is_restored(self) -> bool:
        return self.kind in RESTORED

    @property
    def ndim(self) -> int:
        return len(self.variable.shape or ())

    @property
    def frameworks(self) -> tuple[str, ...]:
        return frameworks(normalise(self.variable.name), self.array.origin)

    @property
    def says_pytorch(self) -> bool:
        """Whether the array has a name of PyTorch, and the variable has not."""
        return is_pytorchs(self.array.origin) and not is_pytorchs(normalise(self.variable.name))

    def turned(self) -> Axes | None:
        """The order of the other framework, if the shape fits in that one and not as it is.

        The array is reshaped only because the order moves no other axes than those of length 1. So
        a kernel of a dense layer with one input is (4, 1) in PyTorch and (1, 4) in TensorFlow.
        """
        shape, wanted = self.array.shape, self.variable.shape or ()
        is_reshaped = self.kind is Kind.RESHAPED and self.array.axes is None
        if not is_reshaped or len(shape) != len(wanted) or self.role is Role.OTHER:
            return None
        found = (order(shape, wanted, each) for each in self.frameworks)
        return next((axes for axes in found if axes and not moves(shape, axes)), None)

    def orders(self) -> Mapping[str, Axes]:
        """The orders of axes in which the array fits, other than its own."""
        shape, wanted = self.array.shape, self.variable.shape
        if wanted is None or len(shape) < 2:
            return {}
        if len(shape) == len(wanted) == 2 and shape[::-1] != wanted:  # quickly seen for most arrays
            return {}
        return orders(shape, wanted, self.frameworks)


@record()
class Reordered:
    """An array with the orders of axes in which it fits, by the framework that it may be from."""

    pair: Pair
    orders: Mapping[str, Axes]

    @property
    def name(self) -> str:
        """The name of the array after the rules."""
        return self.pair.array.name

    @property
    def is_reshaped(self) -> bool:
        """Whether it fits as it is, but for axes of length 1."""
        return squeeze(self.pair.array.shape) == squeeze(self.pair.variable.shape or ())


@dataclass(slots=True)
class Study:
    """What is known of the order of axes of one source's arrays.

    Args:
        needed: arrays that do not fit, and would in another order.
        along: arrays that fit either way, and go with the kernels that need another order.
        asked: arrays that fit either way, of which names and neighbours do not say enough.
        stuck: arrays that no order of axes makes right, each with the reason.
        flattened: dense kernels that follow a convolution, so that a Flatten may be in between.
        unflattened: dense kernels of which it is known that an image is made of their outputs.
        doubts: what is in doubt about variables that are restored, by name.
    """

    needed: list[Reordered] = field(default_factory=list)
    along: list[Reordered] = field(default_factory=list)
    asked: list[Reordered] = field(default_factory=list)
    stuck: list[tuple[str, str]] = field(default_factory=list)
    flattened: list[Pair] = field(default_factory=list)
    unflattened: list[Pair] = field(default_factory=list)
    doubts: dict[str, str] = field(default_factory=dict)
