"""Variables of TF2 and of Keras 3 as they are, whatever tracks them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from initreg import VariableSpec
from initreg_targets import variables as eager
from initreg_targets.keeping import PutBack, can_keep, keep_values

if TYPE_CHECKING:
    from initreg.format_tools.living import LivingArrays


class Variables:
    """Variables by name. Those of Keras 3 are called by their path."""

    label = "TF variables"

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = eager.unique(variables)
        self._by_name: dict[str, Any] = {}
        self._memory = eager.Memory()

    def variables(self) -> Sequence[VariableSpec]:
        eager.check_writable(self._variables, self.label)
        return self._listed()

    def _listed(self) -> list[VariableSpec]:
        specs = self._specs()
        self._by_name = {spec.name: v for spec, v in zip(specs, self._variables, strict=True)}
        return specs

    def living(self) -> LivingArrays:
        """The same variables as a source."""
        from initreg_targets import reading  # few targets are sources, too

        eager.check_readable(self._variables, self.label)
        return reading.living(self.label, self._listed(), self._by_name)

    def identities(self) -> set[Hashable]:
        """See ``initreg.Target``."""
        from initreg_targets import reading

        return reading.identities(self._variables)

    def _specs(self) -> list[VariableSpec]:
        return [eager.spec(v, eager.name_of(v)) for v in self._variables]

    def room(self, variable: VariableSpec, shape: tuple[int, ...], nbytes: int) -> Any:
        """See ``initreg.Target``."""
        return self._memory.room(self._by_name[variable.name], shape, nbytes)

    def snapshot(self, variables: Iterable[VariableSpec]) -> PutBack | None:
        """See ``initreg.Target``."""
        eager.check_writable(self._variables, self.label)
        if not can_keep(self._variables):
            return None
        return keep_values([self._by_name[spec.name] for spec in variables])

    def write(self, arrays: Iterable[tuple[VariableSpec, Any]]) -> Iterator[str]:
        eager.check_writable(self._variables, self.label)
        try:
            for spec, array in arrays:
                done = self._memory.write(self._by_name[spec.name], spec, array)
                del array
                if done:
                    yield spec.name
        finally:
            self._memory.clear()
