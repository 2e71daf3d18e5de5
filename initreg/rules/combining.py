"""Changes that need other arrays beside the one that they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from initreg.errors import CastWarning, RuleError, warn
from initreg.records import record
from initreg.rules.casting import astype
from initreg.rules.rule import Entry
from initreg.text.wording import plural, printable

if TYPE_CHECKING:
    import numpy as np

    from initreg.specs import ArraySpec

    Array = np.ndarray[Any, Any]


class Readable(Protocol):
    """An array of a source: :class:`initreg.LazyArray`."""

    @property
    def read_from(self) -> list[Any]: ...
    def read(self) -> Array: ...


@record(kw_only=True)
class Combining:
    """What these changes have in common.

    Args:
        needs: the other arrays.
        others: what reads them. It is known once the rules are applied to a source.
    """

    needs: tuple[Entry, ...] = ()
    others: tuple[Readable, ...] = ()


def made_of(*arrays: ArraySpec) -> tuple[str, ...]:
    """The names in the source of all arrays that these are made of, each once."""
    return tuple(dict.fromkeys(name for a in arrays for name in a.made_of or (a.origin,)))


def refuse_unreadable(array: ArraySpec, clause: str) -> None:
    """Raise RuleError if the values of an array cannot be read.

    Args:
        array: the array.
        clause: the rule that needs them.
    """
    if array.opaque is not None:
        raise RuleError(
            clause + f": array {array.name!r} has the dtype {array.dtype}, which numpy does not "
            "have. It can be renamed or dropped, and its values cannot be changed"
        )
    if array.unreadable:
        raise RuleError(clause + f": array {array.name!r} cannot be read: {array.unreadable}")


def rounded(found: Array, given: Array, dtype: np.dtype[Any], name: str, what: str) -> Array:
    """A result in the dtype that it is to have.

    Args:
        found: the result, in a dtype that is as wide or wider.
        given: the array that it was made from, of the same shape.
        dtype: the dtype.
        name: the name of the array, for a warning.
        what: what was done, for a warning: ``"scaled"``.

    Warns:
        CastWarning: a finite value became infinite or NaN.
    """
    import numpy as np

    with np.errstate(all="ignore"):
        result = astype(np.asarray(found), dtype)
        lost = int(np.count_nonzero(np.isfinite(given) & ~np.isfinite(result)))
    if lost:
        values = plural(lost, "value")
        warn(f"{printable(name)}: {values} {what} beyond the range of {dtype}", CastWarning)
    return result
