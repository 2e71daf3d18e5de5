"""Elements of an axis in another order: by their indices, or by the tokens of vocabularies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from initreg import dtypes
from initreg.errors import RuleError, SourceNotFound
from initreg.option_spelling import option
from initreg.rules.changes import Pad
from initreg.storage import small_files
from initreg.storage.locating import is_url
from initreg.text.wording import plural, printable, shape_text

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Shape = tuple[int, ...]

_LARGEST = 1 << 30  # bytes of a vocabulary
_NEW = -1  # the index of a token that the old vocabulary lacks
_SHOWN = 3  # tokens in a message


class Take:
    """The elements of one axis that have these indices, in this order.

    Args:
        axis: the axis.
        indices: the indices, or None for those that two vocabularies say. These are read when the
            change is first applied to an array.
        old: the file with the tokens of the array, in order.
        new: the file with the tokens of the result.
        fill: what the elements of new tokens are filled with: a number, or ``"mean"``, the mean
            along the axis. None if there must be none.
    """

    takes_apart: ClassVar[bool] = False

    def __init__(
        self,
        axis: int,
        indices: Sequence[int] | None,
        old: str = "",
        new: str = "",
        fill: Any = None,
    ) -> None:
        self.axis = axis
        self._indices = indices
        self._old = old
        self._new = new
        self._fill = fill
        self._count = 0  # of the old tokens
        self._added: list[str] = []

    @property
    def indices(self) -> Sequence[int]:
        """The index of each element of the result, -1 for a new token.

        Raises:
            InitregError: a vocabulary cannot be read.
        """
        if self._indices is None:
            old, new = _vocabulary(self._old), _vocabulary(self._new)
            self._count = len(old)
            self._added = [token for token in new if token not in old]
            self._indices = [old.get(token, _NEW) for token in new]
        return self._indices

    def announce(self, shape: Shape, dtype: str) -> tuple[Shape, str]:
        axis = self.axis
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"shape {shape_text(shape)} has no axis {axis}")
        axis, indices = axis % len(shape), self.indices
        length = shape[axis]
        if self._old and self._count != length:
            raise ValueError(
                f"axis {self.axis} of shape {shape_text(shape)} has {length:,} elements, and "
                f"{self._old} has {plural(self._count, 'token')}"
            )
        wrong = next((i for i in indices if i >= length or (i < 0 and not self._old)), None)
        if wrong is not None:
            raise ValueError(f"axis {self.axis} of shape {shape_text(shape)} has no index {wrong}")
        if self._added:
            if self._fill is None:
                shown = ", ".join(repr(printable(token)) for token in self._added[:_SHOWN])
                more = ", ..." if len(self._added) > _SHOWN else ""
                raise ValueError(
                    f"{self._old} lacks {plural(len(self._added), 'token')} of {self._new}: {shown}"
                    f'{more}. Say what to fill their elements with: a number, or "mean"'
                )
            Pad(axis, length, self._fill).announce(shape, dtype)  # whether it can be filled so
        return (*shape[:axis], len(indices), *shape[axis + 1 :]), dtype

    def text(self, shape: Shape, dtype: str) -> str:
        added = f", with {len(self._added):,} new" if self._added else ""
        return f"taken from {shape_text(shape)}{added}"

    def part(self, ndim: int) -> None:
        return None

    def apply(self, array: Array, name: str) -> Array:
        import numpy as np

        axis = self.axis % array.ndim
        indices = np.asarray(self.indices, "i8")
        if not self._added:
            return np.asarray(array.take(indices, axis), order="C")
        found = np.asarray(array.take(np.maximum(indices, 0), axis), order="C")
        added = (*[slice(None)] * axis, indices == _NEW)
        if self._fill == "mean":
            mean = array.mean(axis=axis, keepdims=True, dtype=np.float64)
            found[added] = mean.astype(array.dtype)
        else:
            found[added] = Pad(axis, 0, self._fill).filling(dtypes.to_numpy(array.dtype.name))
        return found

    def undone(self) -> list[int] | None:
        """The indices that undo it, None if elements are lost, new, or taken twice."""
        indices = list(self.indices)
        if sorted(indices) != list(range(len(indices))) or (
            self._old and self._count != len(indices)
        ):
            return None
        back = [0] * len(indices)
        for place, index in enumerate(indices):
            back[index] = place
        return back


def _vocabulary(path: str) -> dict[str, int]:
    """The index of each token, in the order of the indices. The file has one token on each line, or
    is JSON.

    Raises:
        RuleError: it is neither, or a token is there twice.
        InitregError: it cannot be read.
    """
    if is_url(path):
        raise RuleError(
            f"{path}: a vocabulary is read from the disk. Download it, and give its path, in "
            + option("take")
        )
    file = Path(path).expanduser()
    if not file.exists():
        raise SourceNotFound(f"{path}: no such file, in " + option("take"))
    data = small_files.content(file, _LARGEST, "a vocabulary")
    try:
        text = data.decode("utf-8")
        found = json.loads(text) if file.suffix == ".json" else text.split("\n")
    except (ValueError, RecursionError) as error:
        raise RuleError(f"{path}: this is not a vocabulary: {printable(str(error))}") from error
    if isinstance(found, dict):  # the index of each token
        if sorted(map(repr, found.values())) != sorted(map(repr, range(len(found)))):
            raise RuleError(f"{path}: the indices of its tokens are not 0 to {len(found) - 1:,}")
        return dict(sorted(found.items(), key=lambda item: item[1]))
    if file.suffix != ".json":
        found = [line.removesuffix("\r") for line in (found[:-1] if found[-1] == "" else found)]
    if not isinstance(found, list) or not all(isinstance(token, str) for token in found):
        raise RuleError(
            f"{path}: this is not a vocabulary: give a list of tokens, or their indices"
        )
    index: dict[str, int] = {}
    for number, token in enumerate(found):
        if index.setdefault(token, number) != number:
            raise RuleError(
                f"{path}: the token {printable(repr(token))} is there twice, as number "
                f"{index[token]:,} and {number:,}"
            )
    return index
