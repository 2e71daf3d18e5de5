"""The map of what a merge gives: its arrays are computed when they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from initreg import dtypes
from initreg.arrays import memory
from initreg.arrays.array_map import ArrayMap
from initreg.arrays.lazy_array import LazyArray, RuledArray
from initreg.arrays.threads import Job, Pool
from initreg.errors import InitregError
from initreg.merging.combined import Combined
from initreg.merging.lora_arrays import Updated
from initreg.rules.casting import Losses, cast_values
from initreg.specs import ArraySpec
from initreg.store_paths import FilePath

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class MergedMap(ArrayMap):
    """The result of a merge, as a map. The sources have to stay open.

    Args:
        arrays: for each name, an array of a source that is kept as it is, or what is computed.
        sources: the open sources.
        label: what messages call the merge.
        metadata: texts by key.
    """

    def __init__(
        self,
        arrays: Mapping[str, LazyArray | Combined | Updated],
        sources: Sequence[ArrayMap],
        label: str,
        metadata: Mapping[str, str],
    ) -> None:
        reader = _Reader(sources, label)
        super().__init__({}, label=label, format="merge", reader=reader)
        self._sources = sources
        self._texts = dict(metadata)
        self._arrays = {name: self._lazy(name, value) for name, value in arrays.items()}

    def _lazy(self, name: str, value: LazyArray | Combined | Updated) -> LazyArray:
        if isinstance(value, LazyArray):
            spec = replace(value.spec, name=name, origin=name, aliases=(), places=(), automatic=())
            # What rules did is said in the plan, and counted from the end of the texts.
            return RuledArray(spec, value, (), self)
        return LazyArray(ArraySpec(name, value.shape, value.dtype), value, self)

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._texts

    @property
    def files(self) -> tuple[FilePath, ...]:
        return tuple(dict.fromkeys(file for each in self._sources for file in each.files))


class _Reader:
    """Computes arrays. In memory are the result and a few pieces of the inputs."""

    def __init__(self, sources: Sequence[ArrayMap], label: str) -> None:
        self._label = label
        self._is_open = True

    def read(self, array: LazyArray) -> Array:
        import numpy as np

        wanted: Combined | Updated = array.value
        dtype = dtypes.to_numpy(wanted.dtype)
        what = f"{self._label}: array {wanted.name!r}"
        found = memory.allocated(what, wanted.shape, dtype, InitregError)
        losses = Losses()
        for box, values in wanted.values():
            cast = cast_values(np.asarray(values), dtype, wanted.name, losses)
            found[box.slices] = cast.reshape(box.shape)
        losses.tell(wanted.name)
        return found

    def read_part(self, array: LazyArray, index: Any) -> Any:
        # Methods that look at a whole array do so in any case, and formats write whole arrays.
        return self.read(array)[index]

    def start(
        self,
        arrays: Sequence[LazyArray],
        pool: Pool,
        alignment: int | None = None,
        room: Any = None,
    ) -> Job:
        # In the caller's thread, which reads the inputs with threads of its own.
        return Job(lambda: [self.read(array) for array in arrays])

    def verify(self, array: LazyArray) -> None:
        for each in array.value.used:
            each.array.reader.verify(each.array.stored)

    def check_open(self, name: str) -> None:
        if not self._is_open:
            raise InitregError(f"{self._label}: array {name!r} cannot be read, it was closed")

    def close(self) -> None:
        self._is_open = False
